"""stdin, stdout and stderr as a command finds them: closed, broken or full, they are never in the way of watching."""

from __future__ import annotations

import contextlib
import os
import sys

from gotap.errors import GotapError
from gotap.sinks.sanitize import printable


class StdoutFailed(GotapError):
    """What was asked for cannot be written to stdout."""


def prepare() -> None:
    """Makes sure that descriptors 0, 1 and 2 exist, so that no file or map of ours gets one of their numbers.

    As glibc does for setuid programs (csu/check_fds.c), those that are closed get a file that cannot be used: what is
    written to a closed stdout fails as it should.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(*(("/dev/full", os.O_WRONLY) if descriptor == 0 else (os.devnull, os.O_RDONLY)))
            os.set_inheritable(descriptor, True)
    if sys.stderr is None:  # print would take stdout instead
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115


def say(*lines: str) -> None:
    """Prints lines on stderr, each with gotap's name before it and made safe. Nobody reads them: goes on without."""
    try:
        # One write, since threads tell things too.
        sys.stderr.write("".join(f"gotap: {printable(line)}\n" for line in lines))
        sys.stderr.flush()
    except OSError:
        _silence(2)


def show(text: str) -> None:
    """Prints what was asked for on stdout. Raises BrokenPipeError when the reader has gone, StdoutFailed else."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _silence(1)
        raise
    except OSError as error:
        _silence(1)
        raise StdoutFailed(f"cannot write to stdout: {error.strerror}", "give it a place that can be written") from None


def settle() -> None:
    """Writes out what argparse has left in stdout's buffer; that nobody takes it must not fail a second time."""
    try:
        sys.stdout.flush()
    except OSError:
        _silence(1)


def _silence(descriptor: int) -> None:
    """What Python still holds of it at the end must not fail a second time."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
