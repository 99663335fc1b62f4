"""What the host says about itself in /proc and /sys; None where it says nothing."""

from __future__ import annotations

import os
import shlex
import sys

from gotap.kernel.findings import Feature

#: Bits of CapEff (include/uapi/linux/capability.h).
CAPABILITIES = {"CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_SYS_RESOURCE": 24, "CAP_PERFMON": 38, "CAP_BPF": 39}


def _read(path: str) -> str | None:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None


def _number(path: str) -> int | None:
    text = _read(path)
    return None if text is None else int(text)


def _status(field: str) -> str | None:
    for line in (_read("/proc/self/status") or "").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return value.strip()
    return None


def release() -> str:
    return os.uname().release


def capabilities() -> set[str]:
    """Those of CAPABILITIES that this process has in effect."""
    mask = int(_status("CapEff") or "0", 16)
    return {name for name, bit in CAPABILITIES.items() if mask >> bit & 1}


def in_user_namespace() -> bool:
    """Capabilities of a user namespace do not reach bpf(2) and perf_event_open(2)."""
    return (_read("/proc/self/uid_map") or "0 0 4294967295").split() != ["0", "0", "4294967295"]


def seccomp() -> bool:
    """Whether a system call filter is on, as in most containers."""
    return _status("Seccomp") == "2"


def perf_event_paranoid() -> int | None:
    return _number("/proc/sys/kernel/perf_event_paranoid")


def unprivileged_bpf_disabled() -> int | None:
    """0: allowed, 1: off until reboot, 2: off."""
    return _number("/proc/sys/kernel/unprivileged_bpf_disabled")


def ptrace_scope() -> int | None:
    """Yama: 0 anyone of the same user, 1 parents, 2 CAP_SYS_PTRACE, 3 nobody; None: no Yama."""
    return _number("/proc/sys/kernel/yama/ptrace_scope")


def lockdown() -> str | None:
    """The level in force, the one in brackets of `none [integrity] confidentiality`; None without securityfs."""
    return ((_read("/sys/kernel/security/lockdown") or "").partition("[")[2].partition("]")[0]) or None


def btf() -> int | None:
    """Bytes of the kernel's own BTF."""
    try:
        return os.stat("/sys/kernel/btf/vmlinux").st_size
    except OSError:
        return None


def in_virtual_machine() -> bool:
    """Whether a hypervisor says that it is there: what the processor traps takes much longer then."""
    return any(line.startswith("flags") and "hypervisor" in line.split()
               for line in (_read("/proc/cpuinfo") or "").split("\n"))  # fmt: skip


def mount_point(kind: str) -> str | None:
    """Where a file system of that type is mounted, e.g. `tracefs`."""
    for line in (_read("/proc/self/mounts") or "").split("\n"):  # a path may hold what else ends a line for Python
        _, place, name, *_ = *line.split(" "), "", "", ""
        if name == kind:
            return place
    return None


_UNBOUND = ", does not bind gotap"


def release_finding() -> Feature:
    return Feature("kernel", "kernel", True, f"{release()} {os.uname().machine}")


def missing_capabilities() -> list[str]:
    """Those without which nothing can be watched; CAP_SYS_PTRACE is for the processes of others."""
    have = capabilities()
    return [] if "CAP_SYS_ADMIN" in have else [name for name in ("CAP_BPF", "CAP_PERFMON") if name not in have]


def _missing() -> list[str]:
    return missing_capabilities() + ([] if "CAP_SYS_PTRACE" in capabilities() else ["CAP_SYS_PTRACE"])


#: What lets gotap work in a container of Docker or Podman.
CONTAINER = (
    "start it with --pid=host and --privileged, or with --pid=host --cap-add=BPF --cap-add=PERFMON "
    "--cap-add=SYS_PTRACE --security-opt seccomp=unconfined"
)


def way_to_capabilities() -> str:
    """What to type so that this program has the capabilities that it lacks now."""
    if in_user_namespace():
        return "run gotap outside the rootless container, as the host's root"
    if os.geteuid() == 0:
        return f"this root lacks {', '.join(_missing())}, as in a container: {CONTAINER}"
    return (
        f"run gotap as root: sudo {command()} …; or let all scripts of its Python do it: sudo setcap "
        f"cap_bpf,cap_perfmon,cap_sys_ptrace+ep {shlex.quote(os.path.realpath(sys.executable))}"
    )


def command() -> str:
    """sudo looks in places of its own, so the path is given whole."""
    script = os.path.abspath(sys.argv[0])
    if os.path.basename(script) == "gotap":
        return shlex.quote(script)
    return f"{shlex.quote(sys.executable)} -m gotap"


def capabilities_finding() -> Feature:
    have, missing = capabilities(), missing_capabilities()
    inside = " of a user namespace" if in_user_namespace() else ""
    if "CAP_SYS_PTRACE" in have and not missing:
        return Feature("capabilities", "capabilities", True, ", ".join(sorted(have)) + inside, needed=True)
    detail = f"missing: {', '.join(_missing())}" + ("" if missing else ": only processes of this user can be watched")
    return Feature("capabilities", "capabilities", False, detail, way_to_capabilities(), needed=bool(missing))


def btf_finding() -> Feature:
    size = btf()
    return Feature("btf", "kernel type information (BTF)", size is not None,
                  "absent" if size is None else f"{size // 1024} KiB",
                  "the kernel needs CONFIG_DEBUG_INFO_BTF=y; gotap does not need it for Go" if size is None else "")


def tracefs_finding() -> Feature:
    place = mount_point("tracefs")
    return Feature("tracefs", "tracefs", place is not None, f"mounted on {place}" if place else "not mounted",
                  "" if place else "nothing to do: gotap mounts it for itself where a script asks for tracepoints")


def paranoid_finding() -> Feature:
    level = perf_event_paranoid()
    free = bool(capabilities() & {"CAP_PERFMON", "CAP_SYS_ADMIN"}) or level == -1
    return Feature("perf_event_paranoid", "perf_event_paranoid", free,
                  f"{level}{_UNBOUND if free else ', binds gotap as long as it lacks CAP_PERFMON'}",
                  "" if free else way_to_capabilities())


def yama_finding() -> Feature:
    scope = ptrace_scope()
    if scope is None:
        return Feature("yama", "ptrace restrictions (Yama)", True, "none")
    free = scope == 0 or (scope < 3 and "CAP_SYS_PTRACE" in capabilities())
    return Feature("yama", "ptrace restrictions (Yama)", free, f"ptrace_scope {scope}{_UNBOUND if free else ''}",
                  "" if free else "sysctl kernel.yama.ptrace_scope=1 and CAP_SYS_PTRACE (3 lasts until reboot); "
                                  "gotap needs it only to inject code")
