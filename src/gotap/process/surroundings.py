"""What a process lives in, told by /proc alone: its executable, namespaces, privileges, and who else is in it."""

from __future__ import annotations

from msgspec import Struct, field

#: Evidence for `libc_in_root`: its root was looked through, and there is none. Otherwise None means not looked at.
NO_LIBC = "its root directory has no libc"


class MappedImage(Struct, frozen=True):
    """A Go image among the mappings: `path` as mapped, `role` "exe", "plugin", "c-shared", "shared" or "jit".

    `bias` is added to the file's addresses; None for code without a file. `version`: the Go release, as "1.26.8".
    """

    path: str
    role: str
    bias: int | None = None
    version: str | None = None


class Container(Struct, frozen=True):
    """`id` as the cgroup names it, `runtime` "docker", "containerd", "cri-o", "podman", "lxc", "systemd-nspawn" or
    None.
    """

    id: str
    runtime: str | None = None


class Relative(Struct, frozen=True):
    """The live parent. `static`: its executable has no interpreter; None when it could not be read."""

    pid: int
    name: str
    static: bool | None = None


class Agent(Struct, frozen=True):
    """Another tool in the process: `kind` "preload", "mapping", "breakpoint", "patch" (code that is neither the file's
    nor a breakpoint) or "executable"; `evidence` one line.
    """

    name: str
    kind: str
    evidence: str


class Inside(Struct, frozen=True):
    """What of Surroundings takes a process' mappings, memory or root directory: its `images`, `plugin_loaded`,
    `agents` and `libc_in_root`.
    """

    images: tuple[MappedImage, ...] = ()
    plugin: bool | None = None
    agents: tuple[Agent, ...] = ()
    libc: str | None = None


class Surroundings(Struct, frozen=True, kw_only=True):
    """One process. What could not be read is None and `evidence` says why.

    exe             the executable's path as the kernel tells it, without " (deleted)"
    exe_state       "file", "deleted" or "memfd"
    exe_replaced    the path now holds another file, or a loader runs in the program's stead: one line, else None
    namespaces      name → inode, of "pid", "mnt", "net", "user", …; `foreign_namespaces`: those not gotap's own
    namespace_pid   its pid in its own pid namespace; `entry_point`: that is 1 and the namespace is not the host's
    libc_in_root    path of a libc within the process' root, resolved in that root; None for none (NO_LIBC) or unknown
    dumpable        /proc/PID belongs to the process' own user; None for root's, which it belongs to either way
    ptrace_scope    Yama's sysctl, None without Yama; seccomp 0 none, 1 strict, 2 filter; lsm_label as the LSM tells it
    ptrace_allowed  whether this gotap may read and write its memory; ptrace_denied says why not
    plugin_loaded   a Go plugin is mapped; modules in the chain of moduledata without a file are images of role "jit"
    go_run          it is the temporary executable of `go run`
    language        as Facts.language, but also by what is mapped, the name and the arguments
    """

    pid: int
    parent: Relative | None = None
    name: str = ""
    command_line: tuple[str, ...] = ()
    uid: int | None = None
    exe: str | None = None
    exe_state: str | None = None
    exe_replaced: str | None = None
    load_bias: int | None = None
    images: tuple[MappedImage, ...] = ()
    namespaces: dict[str, int] = field(default_factory=dict)
    foreign_namespaces: tuple[str, ...] = ()
    namespace_pid: int | None = None
    entry_point: bool | None = None
    container: Container | None = None
    cgroup: str | None = None
    libc_in_root: str | None = None
    capabilities: tuple[str, ...] = ()
    no_new_privileges: bool | None = None
    dumpable: bool | None = None
    ptrace_scope: int | None = None
    ptrace_allowed: bool | None = None
    ptrace_denied: str | None = None
    seccomp: int | None = None
    lsm_label: str | None = None
    tracer: int | None = None
    plugin_loaded: bool | None = None
    go_run: bool | None = None
    agents: tuple[Agent, ...] = ()
    language: str | None = None
    evidence: dict[str, str] = field(default_factory=dict)
