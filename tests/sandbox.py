"""Commands that take rights away before they execute another: capabilities, the user, and system calls by seccomp."""

from __future__ import annotations

import sys

#: As root by name, with no capability at all.
POWERLESS_ROOT = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")

#: As nobody. It may still read all files, so that it finds Python wherever that is installed.
NOBODY = (
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
    "--bounding-set=-all,+dac_read_search", "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search",
)  # fmt: skip

BPF, LINK_CREATE = 321, 28
PERF_EVENT_OPEN = 298
PTRACE = 101

#: Installs a filter of classic BPF and executes the rest: `NR [ARG0] ERRNO` in argv[1].
_SECCOMP = """
import ctypes, os, struct, sys
number, first, error = (None if word == "-" else int(word) for word in sys.argv[1].split())
# offsetof(struct seccomp_data, nr) is 0, of args[0] 16; LD|W|ABS, JMP|JEQ|K, RET|K of linux/bpf_common.h.
code = [(0x20, 0, 0, 0), (0x15, 0, 3 if first is not None else 1, number)]
if first is not None:
    code += [(0x20, 0, 0, 16), (0x15, 0, 1, first)]
code += [(0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7FFF0000)]  # SECCOMP_RET_ERRNO, SECCOMP_RET_ALLOW
filters = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in code))
program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in ((38, 1, 0, 0, 0), (22, 2, program, 0, 0)):  # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP, MODE_FILTER
    if libc.prctl(*arguments):
        raise OSError(ctypes.get_errno(), "prctl")
os.execvp(sys.argv[2], sys.argv[2:])
"""


def refusing(number: int, error: int, first: int | None = None) -> tuple[str, ...]:
    """The x86-64 system call fails with this errno (only if its first argument is `first`), in all descendants."""
    return sys.executable, "-c", _SECCOMP, f"{number} {'-' if first is None else first} {error}"
