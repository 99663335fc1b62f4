"""cost_of against the kernel's own behaviour: a uprobe that is single-stepped maps [uprobes] into the process."""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gotap.image.code import Cost, cost_of

NOPS = {
    "nop": "90",
    "xchg %ax,%ax": "6690",
    "data16 nop": "666690",
    "pause": "f390",
    "rex.W nop": "4890",
    "nopl 3": "0f1f00",
    "nopl 4": "0f1f4000",
    "nopl 5": "0f1f440000",
    "nopw 6": "660f1f440000",
    "nopl 7": "0f1f8000000000",
    "nopl 8": "0f1f840000000000",
}
EMULATED = {
    "push %rbp": "55",
    "push %r12": "4154",
    "call": "e800000000",
    "jmp short": "eb00",
    "jmp near": "e900000000",
    "jne short": "7500",
    "jne near": "0f8500000000",
}
STEPPED = {
    "cmp 0x10(%r14),%rsp": "493b6610",
    "lea -8(%rsp),%r12": "4c8d6424f8",
    "mov %rsp,%rbp": "4889e5",
    "sub $0x20,%rsp": "4883ec20",
    "xor %eax,%eax": "31c0",
    "test %rdx,%rdx": "4885d2",
    "pop %rbp": "5d",
    "rex.W push %rbp": "4855",
    "push $1": "6a01",
    "nopw 9": "660f1f840000000000",
    "nopl %eax": "0f1fc0",
    "endbr64": "f30f1efa",
    "call *%rax": "ffd0",
    "ret": "c3",
}
REFUSED = {
    "cs nopw": "662e0f1f840000000000",
    "lock addl": "f0830c2400",
    "ds jne": "3e7500",
    "int3": "cc",
}
REFUSED_BY_SOME = {"syscall": "0f05", "ud2": "0f0b"}
#: The kernel takes these, and computes something else (see cost.py).
WRONGLY_EMULATED = {
    "vpor": "c5f9ebc1",
    "vpsubsb": "c5f9e8c1",
    "vpsubsw": "c5f9e9c1",
    "vpcmpeqb": "c5f174c1",
    "vpshufd": "c5f970c100",
    "xchg %r8,%rax": "4990",
}


@pytest.mark.parametrize("name", EMULATED)
def test_emulated(name: str) -> None:
    assert cost_of(bytes.fromhex(EMULATED[name])) == Cost.EMULATED


@pytest.mark.parametrize("name", NOPS)
def test_nops(name: str) -> None:
    assert cost_of(bytes.fromhex(NOPS[name])).cheap


@pytest.mark.parametrize("name", STEPPED)
def test_single_stepped(name: str) -> None:
    assert cost_of(bytes.fromhex(STEPPED[name])) == Cost.SINGLE_STEP


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_BY_SOME, *WRONGLY_EMULATED])
def test_forbidden(name: str) -> None:
    assert cost_of(bytes.fromhex((REFUSED | REFUSED_BY_SOME | WRONGLY_EMULATED)[name])) == Cost.FORBIDDEN


def test_nop5_is_optimised_within_a_page_only() -> None:
    nop5 = bytes.fromhex(NOPS["nopl 5"])
    assert cost_of(nop5, 0x400FFB) == Cost.NOP5
    assert cost_of(nop5, 0x400FFC) == Cost.EMULATED


def test_older_kernels() -> None:
    assert cost_of(bytes.fromhex("0f1f440000"), long_nops=False) == Cost.SINGLE_STEP
    assert cost_of(bytes.fromhex("6690"), long_nops=False) == Cost.FORBIDDEN
    assert cost_of(b"\x90", long_nops=False) == Cost.EMULATED


# -- the kernel's answer ---------------------------------------------------------------------------------------

_STOP = bytes.fromhex("b827000000 0f05 89c7 be13000000 b83e000000 0f05")  # kill(getpid(), SIGSTOP)
_EXIT = bytes.fromhex("31ff b83c000000 0f05")
_BASE, _HEADERS = 0x400000, 0x78


def write_program(path: Path, instruction: bytes) -> int:
    """An executable that stops itself, executes the instruction, stops again; returns the instruction's file offset."""
    # mov %rsp,%r14; sub $0x100,%rsp; mov %r14,%rbp; lea after(%rip),%rax; push %rax: for `ret` and `call *%rax`
    before = _STOP + bytes.fromhex("4989e6 4881ec00010000 4c89f5 488d05")
    before += struct.pack("<i", 1 + len(instruction)) + b"\x50"
    code = before + instruction + _STOP + _EXIT
    size = _HEADERS + len(code)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    path.write_bytes(header + segment + code)
    path.chmod(0o755)
    return _HEADERS + len(before)


@contextmanager
def stopped(path: Path) -> Iterator[int]:
    process = subprocess.Popen([str(path)])
    try:
        _wait_for_stop(process.pid)
        yield process.pid
    finally:
        process.kill()
        process.wait()


def _wait_for_stop(pid: int) -> None:
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), f"ended with wait status {status:#x}"


def open_uprobe(path: Path, offset: int, pid: int) -> int:
    """A counting perf event on an instruction of one process; no BPF."""
    kind = int(Path("/sys/bus/event_source/devices/uprobe/type").read_text())
    name = ctypes.create_string_buffer(os.fsencode(path))
    attributes = struct.pack("<IIQQQQQIIQQ", kind, 112, 0, 0, 0, 0, 0, 0, 0, ctypes.addressof(name), offset)
    buffer = ctypes.create_string_buffer(attributes.ljust(112, b"\0"), 112)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = int(libc.syscall(298, buffer, pid, -1, -1, 8))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return descriptor


def kernel_steps(path: Path, instruction: bytes) -> bool:
    """Whether this kernel single-steps a copy of the instruction; OSError when it refuses the probe."""
    offset = write_program(path, instruction)
    with stopped(path) as pid:
        event = open_uprobe(path, offset, pid)
        try:
            os.kill(pid, signal.SIGCONT)
            _wait_for_stop(pid)
            assert int.from_bytes(os.read(event, 8), "little") == 1, "the probe was not hit"
            return "[uprobes]" in Path(f"/proc/{pid}/maps").read_text()
        finally:
            os.close(event)


@pytest.fixture(scope="module")
def long_nops(tmp_path_factory: pytest.TempPathFactory) -> bool:
    if os.geteuid() != 0 or not Path("/sys/bus/event_source/devices/uprobe").exists():
        pytest.skip("needs root and perf_event uprobes")
    return not kernel_steps(tmp_path_factory.mktemp("nop") / "probe", bytes.fromhex(NOPS["nopl 3"]))


@pytest.mark.root
@pytest.mark.parametrize("name", [*EMULATED, *NOPS, *STEPPED])
def test_kernel_agrees(name: str, tmp_path: Path, long_nops: bool) -> None:
    instruction = bytes.fromhex((EMULATED | NOPS | STEPPED)[name])
    cost = cost_of(instruction, long_nops=long_nops)
    if cost == Cost.FORBIDDEN:
        pytest.skip("this kernel may refuse it")
    assert kernel_steps(tmp_path / "probe", instruction) == (cost == Cost.SINGLE_STEP)


@pytest.mark.root
@pytest.mark.parametrize("name", REFUSED)
def test_kernel_refuses(name: str, tmp_path: Path, long_nops: bool) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - ENOTSUPP (524) has no name in Python
        kernel_steps(tmp_path / "probe", bytes.fromhex(REFUSED[name]))
