"""What a process may do and who may touch it: /proc/PID/status, the owner of /proc/PID, Yama, the LSM's label."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

from msgspec import Struct

from gotap.process.errors import UnexpectedText
from gotap.process.proc import read_file

#: By bit, include/uapi/linux/capability.h up to Linux 6.18; capabilities(7).
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN",
    "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip

_SCOPES = {
    1: "kernel.yama.ptrace_scope is 1: only descendants may be traced without CAP_SYS_PTRACE",
    2: "kernel.yama.ptrace_scope is 2: tracing needs CAP_SYS_PTRACE",
    3: "kernel.yama.ptrace_scope is 3: nobody may trace until the host restarts",
}


class Status(Struct, frozen=True):
    """Of /proc/PID/status what matters here. `uids` and `gids` are real, effective, saved, file system.

    `seccomp` 0 none, 1 strict, 2 filter, None for kernels without it; `filters` how many; `tracer` 0 for none.
    `namespace_pids` from our pid namespace down to its own.
    """

    uids: tuple[int, ...]
    gids: tuple[int, ...]
    effective: int
    permitted: int
    tracer: int
    namespace_pids: tuple[int, ...]
    no_new_privileges: bool | None = None
    seccomp: int | None = None
    filters: int | None = None

    @property
    def capabilities(self) -> tuple[str, ...]:
        return capability_names(self.effective)


def read_status(fields: dict[str, list[str]], pid: int) -> Status:
    """`fields` as parse_status gives them. Raises UnexpectedText."""
    try:
        return _status(fields, pid)
    except (KeyError, IndexError, ValueError):
        raise UnexpectedText("status") from None


def _status(fields: dict[str, list[str]], pid: int) -> Status:
    def number(name: str) -> int | None:
        return int(fields[name][0]) if fields.get(name) else None

    no_new_privileges = number("NoNewPrivs")
    return Status(
        uids=tuple(map(int, fields["Uid"])),
        gids=tuple(map(int, fields["Gid"])),
        effective=int(fields["CapEff"][0], 16),
        permitted=int(fields["CapPrm"][0], 16),
        tracer=number("TracerPid") or 0,
        namespace_pids=tuple(map(int, fields.get("NSpid") or [str(pid)])),
        no_new_privileges=None if no_new_privileges is None else bool(no_new_privileges),
        seccomp=number("Seccomp"),
        filters=number("Seccomp_filters"),
    )


@functools.lru_cache(maxsize=64)
def capability_names(mask: int) -> tuple[str, ...]:
    """Those without a name yet are told as `CAP_41`."""
    return tuple(
        CAPABILITIES[bit] if bit < len(CAPABILITIES) else f"CAP_{bit}"
        for bit in range(mask.bit_length())
        if mask >> bit & 1
    )


def read_dumpable(proc: str, euid: int) -> tuple[bool | None, str]:
    """Whether the files of /proc/PID belong to the process' own user, and the evidence.

    The kernel gives them to root, of the user namespace it was executed in, when the process is not dumpable
    (task_dump_owner, fs/proc/base.c); but not the directory, so one of its files is looked at. Raises OSError.
    """
    owner = os.stat(f"{proc}/environ").st_uid
    if owner != euid:
        return False, f"/proc/PID/environ belongs to uid {owner}, the process runs as {euid}"
    if euid == _root_of(proc):
        return None, "the process runs as root, to whom /proc/PID belongs either way"
    return True, f"/proc/PID/environ belongs to the process' own uid {euid}"


def _root_of(proc: str) -> int:
    """Our number for uid 0 of its user namespace."""
    try:
        lines = [[int(word) for word in line.split()] for line in read_file(f"{proc}/uid_map").splitlines()]
    except OSError:
        return 0
    return next((outside for inside, outside, _ in lines if inside == 0), 0)


def read_ptrace_scope() -> int | None:
    """Yama's sysctl; None: the kernel has no Yama, or it is off."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as file:
            return int(file.read())
    except OSError:
        return None


def read_lsm_label(proc: str) -> tuple[str | None, str]:
    """The label, as the LSM that owns /proc/PID/attr/current tells it (AppArmor: `profile (mode)`), and evidence."""
    try:
        label = read_file(f"{proc}/attr/current").rstrip(b"\0\n").decode("utf-8", "replace")
    except OSError as error:
        # EINVAL: no LSM that labels processes is on (security_getprocattr).
        return None, f"/proc/PID/attr/current: {error.strerror}"
    return (label, "/proc/PID/attr/current") if label else (None, "/proc/PID/attr/current is empty")


def may_open_memory(proc: str) -> OSError | None:
    """None when /proc/PID/mem opens for reading and writing, else why not. Nothing is read, and nothing stops.

    The kernel asks for the same right as for ptrace, its LSMs and Yama included (mem_open, PTRACE_MODE_ATTACH).
    """
    try:
        os.close(os.open(f"{proc}/mem", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return error
    return None


class Denial(Struct, frozen=True, kw_only=True):
    """What bears on being refused, as far as it is known."""

    own: Status
    theirs: Status | None
    dumpable: bool | None
    scope: int | None
    is_descendant: bool
    same_user_namespace: bool | None
    label: str | None
    error: str


def explain_denial(case: Denial) -> str:
    """Why the kernel refused, by the rules of __ptrace_may_access (kernel/ptrace.c), then Yama's, then other LSMs."""
    privileged = "CAP_SYS_PTRACE" in case.own.capabilities
    reasons: list[str] = []
    if case.same_user_namespace is False and privileged:
        reasons.append("it lives in a user namespace where gotap's CAP_SYS_PTRACE does not count")
    if not privileged and case.theirs is not None:
        if set(case.theirs.uids[:3]) != {case.own.uids[3]} or set(case.theirs.gids[:3]) != {case.own.gids[3]}:
            reasons.append(f"it runs as {_ids(case.theirs)}, gotap as {_ids(case.own)} without CAP_SYS_PTRACE")
        elif case.dumpable is False:
            reasons.append("it is not dumpable, and gotap has no CAP_SYS_PTRACE")
        elif more := case.theirs.permitted & ~case.own.permitted:
            reasons.append(f"it has capabilities that gotap has not: {', '.join(capability_names(more))}")
    if (case.scope == 1 and not privileged and not case.is_descendant) or (case.scope == 2 and not privileged):
        reasons.append(_SCOPES[case.scope])
    if case.scope == 3:
        reasons.append(_SCOPES[3])
    if not reasons and case.label:
        reasons.append(f"a security module refuses it; the process is labelled {case.label}")
    return "; ".join(reasons) or f"the kernel says: {case.error}"


def _ids(status: Status) -> str:
    return f"uid {_joined(status.uids[:3])} gid {_joined(status.gids[:3])}"


def _joined(ids: Sequence[int]) -> str:
    return "/".join(map(str, dict.fromkeys(ids)))
