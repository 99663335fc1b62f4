"""Probes on a C program that does what it is told, by both ways that kernels offer."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import probe_target
from gotap.bpf.asm import R0, R1, R2, R6, R7, R10, Assembler, Helper
from gotap.kernel import features, syscalls
from gotap.kernel.attach import Link, attach_type, attach_uprobes, close_all
from gotap.kernel.bpf import Map, MapType, Program
from gotap.kernel.errors import (
    AttachDeniedError,
    AttachUnsupportedError,
    BadSiteError,
    ImageGoneError,
    TargetGoneError,
)
from kernel_access import needs_bpf
from probe_target import Target

pytestmark = [pytest.mark.root, needs_bpf]


@dataclass
class Offers:
    """Features of a kernel that offers one way."""

    multi: bool

    def has(self, feature: str) -> bool:
        return feature == "uprobe_multi" and self.multi


class Counting:
    """A program that counts its hits by attach cookie."""

    def __init__(self, offers: Offers) -> None:
        self.offers = offers
        self.counts = Map.create(MapType.ARRAY, 4, 8, 8)
        asm = Assembler()
        asm.mov(R6, R1)
        asm.call(Helper.GET_ATTACH_COOKIE)
        asm.store(R10, -4, R0, 4)
        asm.ld_map(R1, "counts")
        asm.mov(R2, R10)
        asm.add(R2, -4)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "out")
        asm.mov(R7, 1)
        asm.atomic_add(R0, 0, R7)
        asm.label("out")
        asm.mov(R0, 0)
        asm.exit_()
        self.program = Program.load(asm.finish().bytes({"counts": self.counts.fd}), name="counting",
                                    attach_type=attach_type(offers))

    def attach(self, path: str, *sites: tuple[int, int], pid: int) -> Link:
        return attach_uprobes(self.program, path, sites, pid=pid, features=self.offers)

    def hits(self) -> list[int]:
        return [int.from_bytes(value, "little") for _, value in sorted(self.counts.items())][:3]

    def close(self) -> None:
        self.program.close()
        self.counts.close()


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe_target.build(tmp_path_factory.mktemp("target"))


@pytest.fixture(params=[True, False], ids=["uprobe_multi", "perf_event"])
def counting(request: pytest.FixtureRequest) -> Iterator[Counting]:
    if request.param and not features.essential().has("uprobe_multi"):
        pytest.skip("this kernel has no uprobe_multi links for whole processes")
    made = Counting(Offers(request.param))
    yield made
    made.close()


@pytest.fixture
def target(executable: Path) -> Iterator[Target]:
    with Target(executable) as running:
        yield running


def test_counts_one_process_in_all_its_threads_and_gives_the_text_back(
    counting: Counting, target: Target, executable: Path
) -> None:
    (pushed, pushed_at), (stepped, stepped_at) = (probe_target.symbol(executable, n) for n in ("pushed", "stepped"))
    texts = target.text(pushed, 3), target.text(stepped, 4)
    assert texts == (b"\x55\x5d\xc3", b"\x48\x39\xc3\xc3")
    with Target(executable) as other, counting.attach(target.exe, (pushed_at, 1), (stepped_at, 2), pid=target.pid):
        assert target.text(pushed, 1) == b"\xcc"
        assert other.text(pushed, 1) == b"\x55", "the neighbour is left alone"
        target.do("mmts")
        assert counting.hits() == [0, 3, 1]
        other.do("mts")
        target.do("f")
        assert counting.hits() == [0, 3, 1], "neither the neighbour nor a fork counts"
    assert (target.text(pushed, 3), target.text(stepped, 4)) == texts
    target.do("mts")
    assert counting.hits() == [0, 3, 1]


def test_returns_of_a_c_function(counting: Counting, target: Target, executable: Path) -> None:
    _, offset = probe_target.symbol(executable, "pushed")
    link = attach_uprobes(counting.program, target.exe, [(offset, 1)], pid=target.pid, features=counting.offers,
                          returns=True)
    with link:
        target.do("mmt")
        assert counting.hits() == [0, 3, 0]


def test_process_0_is_everyone(counting: Counting, target: Target, executable: Path) -> None:
    _, offset = probe_target.symbol(executable, "pushed")
    with Target(executable) as other, counting.attach(str(executable), (offset, 0), pid=0):
        target.do("mt")
        other.do("mt")
        assert counting.hits()[0] == 4


def test_a_deleted_executable(counting: Counting, executable: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(executable.read_bytes())
    copy.chmod(0o755)
    _, offset = probe_target.symbol(executable, "pushed")
    with Target(copy) as target:
        copy.unlink()
        with counting.attach(target.exe, (offset, 1), pid=target.pid):
            target.do("m")
        assert counting.hits()[1] == 1


def test_an_executable_in_another_mount_namespace(counting: Counting, executable: Path, tmp_path: Path) -> None:
    _, offset = probe_target.symbol(executable, "pushed")
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    script = f"mount -t tmpfs none {hidden} && cp {executable} {hidden}/target && exec {hidden}/target"
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    with Target("unshare", "-m", "sh", "-c", script) as target:
        assert not (hidden / "target").exists()
        with counting.attach(target.exe, (offset, 1), pid=target.pid):
            target.do("m")
        assert counting.hits()[1] == 1


def test_a_bad_site_is_named_among_good_ones_and_nothing_is_left(
    counting: Counting, target: Target, executable: Path
) -> None:
    (pushed, good), (_, bad) = (probe_target.symbol(executable, name) for name in ("pushed", "invalid"))
    _, also_good = probe_target.symbol(executable, "stepped")
    with pytest.raises(BadSiteError, match=f"file offset {bad:#x}") as refused:
        counting.attach(target.exe, (good, 0), (bad, 1), (also_good, 2), pid=target.pid)
    assert refused.value.offset == bad
    assert target.text(pushed, 1) == b"\x55"


def test_a_site_outside_the_file(counting: Counting, target: Target) -> None:
    with pytest.raises(BadSiteError, match="outside the file"):
        counting.attach(target.exe, (1 << 40, 0), pid=target.pid)


def test_a_process_that_is_gone(counting: Counting, executable: Path) -> None:
    _, offset = probe_target.symbol(executable, "pushed")
    with Target(executable) as target:
        exe, pid = target.exe, target.pid
    with pytest.raises(TargetGoneError, match=f"PID {pid}: the process has ended"):
        counting.attach(exe, (offset, 0), pid=pid)
    with pytest.raises(TargetGoneError):
        counting.attach(str(executable), (offset, 0), pid=pid)


def test_a_path_to_nothing(counting: Counting, tmp_path: Path) -> None:
    with pytest.raises(ImageGoneError, match="no regular file"):
        counting.attach(str(tmp_path / "nothing"), (0, 0), pid=0)


def test_what_is_denied(counting: Counting, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> int:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(syscalls, "link_create_uprobe_multi", denied)
    monkeypatch.setattr(syscalls, "perf_event_open_uprobe", denied)
    with pytest.raises(AttachDeniedError, match="EACCES") as refused:
        counting.attach(target.exe, (0x1000, 0), pid=target.pid)
    assert "CAP_PERFMON" in refused.value.remedy


def test_a_kernel_without_uprobes(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gotap.kernel.attach._PMU", "/sys/bus/event_source/devices/no_such/type")
    counting = Counting(Offers(multi=False))
    with pytest.raises(AttachUnsupportedError, match="no uprobes"):
        counting.attach(target.exe, (0x1000, 0), pid=target.pid)
    counting.close()


def test_no_sites_are_no_link(counting: Counting, target: Target) -> None:
    with counting.attach(target.exe, pid=target.pid) as link:
        assert link.sites == 0


def test_a_cookieless_attachment_of_kernels_before_5_15(
    target: Target, executable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(syscalls, "link_create_perf", no_links)
    counting = Counting(Offers(multi=False))
    _, offset = probe_target.symbol(executable, "pushed")
    with counting.attach(target.exe, (offset, 0), pid=target.pid):
        target.do("mt")
    target.do("m")
    assert counting.hits()[0] == 2
    counting.close()


def test_many_links_are_closed_together(counting: Counting, target: Target, executable: Path) -> None:
    pushed, offset = probe_target.symbol(executable, "pushed")
    links = [counting.attach(target.exe, (offset, number), pid=target.pid) for number in range(3)]
    target.do("m")
    close_all(links)
    target.do("m")
    assert counting.hits() == [1, 1, 1]
    assert target.text(pushed, 1) == b"\x55"


def test_something_else_goes_on_while_links_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the kernel takes: here as long as the something else."""
    closed, done = threading.Event(), []
    monkeypatch.setattr("gotap.kernel.attach.os.close", lambda _: closed.wait())

    def meanwhile() -> None:
        done.append(len(done))
        if len(done) == 3:
            closed.set()

    close_all([Link([-1], 1)], meanwhile)
    assert len(done) >= 3


_AGENT = """
import sys, time
from gotap.kernel import features
from gotap.bpf.asm import R0, Assembler
from gotap.kernel.attach import attach_type, attach_uprobes
from gotap.kernel.bpf import Program
asm = Assembler()
asm.mov(R0, 0)
asm.exit_()
found = features.essential()
program = Program.load(asm.finish().bytes({}), attach_type=attach_type(found))
pid, offset = int(sys.argv[1]), int(sys.argv[2])
link = attach_uprobes(program, f"/proc/{pid}/exe", [(offset, 0)], pid=pid, features=found)
print("attached", flush=True)
sys.stdin.read()
"""


def test_a_killed_agent_leaves_nothing(target: Target, executable: Path) -> None:
    pushed, offset = probe_target.symbol(executable, "pushed")
    command = [sys.executable, "-c", _AGENT, str(target.pid), str(offset)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"attached\n"
        assert target.text(pushed, 1) == b"\xcc"
        agent.send_signal(signal.SIGKILL)
        agent.wait()
    assert target.text(pushed, 1) == b"\x55"
    target.do("mt")
