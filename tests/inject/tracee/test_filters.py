"""seccomp: what filters would do is what they do, and no call is made that ends the process."""

from __future__ import annotations

import ctypes
import errno
import itertools
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gotap.inject import tracee
from gotap.inject.tracee import filters
from gotap.inject.tracee.errors import CallFailed, CallForbidden
from processes import python

MMAP = tracee.mmap(0, 4096, tracee.PROT_READ, tracee.MAP_PRIVATE | tracee.MAP_ANONYMOUS)
MEMFD = tracee.memfd_create("gotap-test")
MEMFD_CREATE = 319

#: Installs the filter given in hex and says so; then waits.
INSTALL = """
import ctypes, sys, time
content = bytes.fromhex(sys.argv[1])
filters = ctypes.create_string_buffer(content)
program = ctypes.create_string_buffer((len(content) // 8).to_bytes(8, "little")
                                      + ctypes.addressof(filters).to_bytes(8, "little"))
libc = ctypes.CDLL(None, use_errno=True)
assert not libc.prctl(38, 1, 0, 0, 0) and not libc.prctl(22, 2, program, 0, 0)
print(flush=True)
"""
WAIT = "sys.stdin.readline()"


def unless(number: int, action: int) -> bytes:
    """A filter: `action` for this call, all others are allowed."""
    return b"".join(
        struct.pack("=HBBI", *one)
        for one in ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, action), (0x06, 0, 0, filters.ALLOW))
    )


@pytest.mark.root
@pytest.mark.parametrize("action", [filters.KILL_PROCESS, filters.KILL_THREAD, filters.TRAP])
def test_a_call_that_would_end_the_process_is_not_made(action: int) -> None:
    with python(INSTALL + WAIT, unless(MEMFD_CREATE, action).hex()) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(CallForbidden, match="would end it when it calls memfd_create"):
            tracee.call(child.pid, [MEMFD])
        assert tracee.call(child.pid, [MMAP])[0] > 0
        assert child.poll() is None


@pytest.mark.root
def test_a_call_that_a_filter_refuses_fails() -> None:
    with python(INSTALL + WAIT, unless(MEMFD_CREATE, filters.ERRNO | errno.EPERM).hex()) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(CallFailed, match="memfd_create for gotap: Operation not permitted"):
            tracee.call(child.pid, [MMAP, MEMFD])
        assert child.poll() is None


@pytest.mark.root
def test_a_process_whose_handlers_cannot_return_is_left_alone() -> None:
    with python(INSTALL + WAIT, unless(15, filters.ERRNO | errno.EPERM).hex()) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(CallForbidden, match="lets no signal handler return"):
            tracee.call(child.pid, [MMAP])
        assert child.poll() is None


#: gotap itself under a filter, and a child with the same: then the child's filters cannot be read.
SAME = (
    INSTALL
    + """
import subprocess
from gotap.inject import tracee
from gotap.inject.tracee.errors import CallForbidden
child = subprocess.Popen(["sleep", "60"])
try:
    tracee.call(child.pid, [tracee.munmap(4096, 4096)])
    try:
        tracee.call(child.pid, [tracee.memfd_create("gotap-test")])
    except CallForbidden as error:
        print(error)
    print("alive" if child.poll() is None else "dead")
finally:
    child.kill()
"""
)


def test_who_may_not_read_the_filters_but_has_the_same_tries_the_call() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tracee.__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", SAME, unless(MEMFD_CREATE, filters.KILL_PROCESS).hex()],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "would end it when it calls memfd_create" in done.stdout
    assert done.stdout.endswith("alive\n")


#: gotap under two filters, and a child started before that which has one of its own.
OTHER = f"""
import subprocess, sys
from gotap.inject import tracee
child = subprocess.Popen([sys.executable, "-c", {INSTALL + WAIT!r}, sys.argv[1]], stdout=-1, stdin=-1)
child.stdout.readline()
{INSTALL}{INSTALL}
try:
    tracee.call(child.pid, [tracee.munmap(4096, 4096)])
except tracee.TraceeError as error:
    print(error)
print("alive" if child.poll() is None else "dead")
child.kill()
"""


def test_other_filters_that_cannot_be_read_are_a_reason() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tracee.__file__).parents[3])}
    done = subprocess.run(
        [sys.executable, "-c", OTHER, unless(MEMFD_CREATE, filters.ERRNO | errno.EPERM).hex()],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "has seccomp filters that gotap may not read" in done.stdout
    assert done.stdout.endswith("alive\n")


def random_filter(choice: random.Random) -> list[filters.Instruction]:
    """Any instructions that the kernel accepts; the last return the accumulator's errno, or a constant."""
    loads = [(0x20, 0, 0, choice.choice(range(0, 64, 4))), (0x00, 0, 0, choice.getrandbits(32)),
             (0x01, 0, 0, choice.getrandbits(5)), (0x80, 0, 0, 0), (0x81, 0, 0, 0)]  # fmt: skip
    body: list[filters.Instruction] = [(0x02, 0, 0, 3), (0x03, 0, 0, 4)]
    for _ in range(choice.randrange(30)):
        operation = choice.choice((0x00, 0x10, 0x20, 0x40, 0x50, 0x60, 0x70))
        body.append(
            choice.choice(
                (
                    *loads,
                    (0x04 | operation, 0, 0, choice.randrange(1, 32)),
                    (0x0C | operation, 0, 0, 0),
                    (0x34, 0, 0, choice.randrange(1, 1 << 32)),
                    (0x84, 0, 0, 0),
                    (0x07, 0, 0, 0),
                    (0x87, 0, 0, 0),
                    (0x60, 0, 0, 3),
                    (0x61, 0, 0, 4),
                    (choice.choice((0x15, 0x25, 0x35, 0x45)), 0, 1, choice.getrandbits(8)),
                    (choice.choice((0x1D, 0x2D, 0x3D, 0x4D)), 1, 0, 0),
                )
            )
        )
    # Only for getppid with what the body made of it; else all is allowed, so that the child lives.
    end: list[filters.Instruction] = [(0x54, 0, 0, 0xFFF), (0x44, 0, 0, filters.ERRNO), (0x16, 0, 0, 0)]
    body += [(0x05, 0, 0, 1), (0x05, 0, 0, 0), *end]
    return [(0x20, 0, 0, 0), (0x15, 1, 0, 110), (0x06, 0, 0, filters.ALLOW), *body]


ASK = INSTALL + "libc.syscall.restype = ctypes.c_long\n" + (
    "print(libc.syscall(110, *map(ctypes.c_ulong, map(int, sys.argv[2:]))), ctypes.get_errno())"
)  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_what_random_filters_say_is_what_the_kernel_does(seed: int) -> None:
    """getppid with six arguments, answered by the filter with an errno that depends on all it did."""
    choice = random.Random(seed)
    instructions = random_filter(choice)
    arguments = [choice.getrandbits(63) for _ in range(6)]
    content = b"".join(struct.pack("=HBBI", *one) for one in instructions)
    # What lies at the instruction pointer is unknown: no load of it (bytes 8 to 15).
    if any(code == 0x20 and k in (8, 12) for code, _, _, k in instructions):
        content = b"".join(
            struct.pack("=HBBI", code, jt, jf, 16 if code == 0x20 and k in (8, 12) else k)
            for code, jt, jf, k in instructions
        )
    parsed = filters.parse(content)
    data = struct.pack("=IIQ6Q", 110, 0xC000003E, 0, *arguments)
    expected = filters.run(parsed, data)
    done = subprocess.run(
        [sys.executable, "-c", ASK, content.hex(), *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = int(done.stdout.split()[-1])
    assert expected & 0xFFFF0000 == filters.ERRNO
    assert told == min(expected & 0xFFF, 4095)


def test_the_strictest_of_several_counts() -> None:
    def always(action: int) -> tuple[filters.Instruction, ...]:
        return ((0x06, 0, 0, action),)

    order = [filters.KILL_PROCESS, filters.KILL_THREAD, filters.TRAP, filters.ERRNO, filters.USER_NOTIF,
             filters.TRACE, filters.LOG, filters.ALLOW]  # fmt: skip
    for stricter, other in itertools.pairwise(order):
        assert filters.answer([always(other), always(stricter)], 1, (), 0) == stricter
    assert filters.answer([], 1, (), 0) == filters.ALLOW
    assert filters.answer([((0xFFFF, 0, 0, 0),)], 1, (), 0) == filters.KILL_PROCESS
    assert ctypes.c_int32(filters.KILL_PROCESS).value < filters.KILL_THREAD
