"""Uprobes do not go where somebody has written into the process's code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import gobuild
from gotap.image.containers.elf import Elf
from gotap.kernel.errors import CodeChangedError
from gotap.kernel.patched import check_code
from processes import running

pytestmark = pytest.mark.root

_JUMP = b"\xe9\x44\x33\x22\x11"


class Patched:
    """A Go program that waits, and bytes of a function of it that nobody calls."""

    def __init__(self, pid: int, executable: Path) -> None:
        self.pid = pid
        self.path = f"/proc/{pid}/exe"
        listing = gobuild.go_tool("", "tool", "nm", str(executable))
        self.address = next(int(line.split()[0], 16) for line in listing.splitlines() if line.endswith(" main.main"))
        offset = Elf.open(executable).offset_of(self.address)
        assert offset is not None
        self.offset = offset

    def write(self, at: int, content: bytes) -> None:
        with Path(f"/proc/{self.pid}/mem").open("r+b", buffering=0) as memory:
            memory.seek(self.address + at)
            memory.write(content)

    def check(self, *places: int) -> None:
        check_code(self.path, [(self.offset + at, 0) for at in places], self.pid)


@pytest.fixture
def patched() -> Iterator[Patched]:
    with ExitStack() as stack:
        executable = gobuild.build("orders")
        child = stack.enter_context(running(str(executable)))
        assert child.stdout is not None
        child.stdout.readline()
        yield Patched(child.pid, executable)


def test_code_as_it_was(patched: Patched) -> None:
    patched.check(*range(64))


@pytest.mark.parametrize(("at", "places", "harmed"), [
    (16, (16,), True),
    (16, (18,), True),  # within the jump
    (16, (20,), True),
    (16, (21,), False),  # behind it
    (16, (15,), False),  # the instruction before it
])  # fmt: skip
def test_a_jump(patched: Patched, at: int, places: tuple[int, ...], harmed: bool) -> None:
    patched.write(at, _JUMP)
    if not harmed:
        return patched.check(*places)
    with pytest.raises(CodeChangedError, match=f"offset {patched.offset + places[0]:#x} is no longer that of") as told:
        patched.check(*places)
    assert "another agent" in str(told.value)
    assert told.value.remedy
    return None


def test_uprobes_of_others_are_no_change(patched: Patched) -> None:
    patched.write(16, b"\xcc")
    patched.check(*range(64))


def test_a_process_that_has_gone_is_for_the_kernel_to_tell(patched: Patched) -> None:
    check_code(patched.path, [(patched.offset, 0)], 1 << 22)
