"""What a process lives in, gathered from /proc: no ptrace, nothing stops, and what is not permitted is None.

An `Observer` is gotap's own side of it, to be made once for many processes; `read_surroundings` makes one for one.
"""

from __future__ import annotations

import os

from msgspec import Struct
from msgspec.structs import replace

from gotap.process.agents import find_agents
from gotap.process.container import cgroup_path, container_of
from gotap.process.errors import ProcessError, ProcessGone, gone
from gotap.process.evidence import Evidence
from gotap.process.executable import Executable, entry_elsewhere, read_executable, read_header
from gotap.process.go_run import may_be_go_run, read_go_run
from gotap.process.language import language_of, needs_mappings
from gotap.process.namespaces import foreign, is_entry_point, read_namespaces
from gotap.process.privileges import (
    Denial,
    Status,
    explain_denial,
    may_open_memory,
    read_dumpable,
    read_lsm_label,
    read_ptrace_scope,
    read_status,
)
from gotap.process.proc import Mapping, Process, parse_maps, read_file
from gotap.process.stat import parse_stat, parse_status
from gotap.process.surroundings import Container, Inside, Relative, Surroundings

_ATTEMPTS = 3  # a process that executes another program while it is looked at is read again


def read_surroundings(process: Process, file_language: str | None = None) -> Surroundings:
    """Everything about one process. `file_language`: of its executable, as Facts has it, if that was read.

    Raises ProcessGone.
    """
    return Observer().read(process, file_language)


class Observer:
    """gotap's namespaces, credentials and Yama's setting; remembers which programs are static."""

    def __init__(self) -> None:
        self.namespaces = read_namespaces()
        self.status = read_status(parse_status(read_file("/proc/self/status")), os.getpid())
        self.scope = read_ptrace_scope()
        self.own_label = read_lsm_label("/proc/self")
        self._static: dict[tuple[int, int], bool | None] = {}

    @property
    def may_trace_all(self) -> bool:
        return "CAP_SYS_PTRACE" in self.status.capabilities

    def read(self, process: Process, file_language: str | None = None, *, inside: bool = True) -> Surroundings:
        """Raises ProcessGone. Without `inside`, for lists, what takes its mappings, memory or files in its root is left
        out: load_bias, images, plugin_loaded, libc_in_root, agents but a loader.
        """
        if not inside:
            return _Look(self, process, inside).surroundings(file_language)
        for _ in range(_ATTEMPTS):
            before = _execution(process)
            found = _Look(self, process, inside).surroundings(file_language)
            if _execution(process) == before:
                break
        if not process.is_alive():
            raise gone(process.pid)
        return found

    def is_static(self, exe: str) -> bool | None:
        """Whether a program has no interpreter; None when its file may not be read or is no ELF file."""
        try:
            status = os.stat(exe)
            key = status.st_dev, status.st_ino
            if key not in self._static:
                header = read_header(exe)
                self._static[key] = None if header is None else not header.interpreter
        except OSError:
            return None
        return self._static[key]


def _execution(process: Process) -> object:
    try:
        return process.execution()
    except ProcessGone:
        raise
    except ProcessError:
        return None


#: What None means where it is a value like others.
_NONE = {
    "container": "its cgroup names none",
    "exe_replaced": "it runs the file that is at its path",
    "libc_in_root": "no libc in its root",
    "load_bias": "its executable is not mapped where its headers say",
    "plugin_loaded": "its executable is no Go program",
    "ptrace_denied": "ptrace is not refused, as far as is known",
    "ptrace_scope": "this kernel has no Yama",
    "tracer": "no process traces it",
}
#: What takes a process' mappings, memory or files.
_INSIDE = ("exe_replaced", "libc_in_root", "load_bias", "plugin_loaded")


class _Attachable(Struct, frozen=True):
    allowed: bool | None
    denied: str | None


class _Look:
    """One look at one process; the evidence grows while its parts are read."""

    def __init__(self, observer: Observer, process: Process, inside: bool) -> None:
        self.observer, self.process, self.inside = observer, process, inside
        self.proc = f"/proc/{process.pid}"
        self.evidence = Evidence(process.pid)
        self.stat = process.stat()
        self.status = read_status(parse_status(process.read("status")), process.pid)

    def surroundings(self, file_language: str | None) -> Surroundings:
        process, status, evidence = self.process, self.status, self.evidence
        namespaces = evidence.attempt("namespaces", lambda: read_namespaces(self.proc)) or {}
        exe = evidence.attempt("exe", lambda: read_executable(process, self.shared("mnt", namespaces)))
        command_line = evidence.attempt("command_line", lambda: process.command_line) or ()
        maps = self.maps(file_language)
        mappings = list(parse_maps(maps)) if self.inside else []
        bias, replaced = self.placed(exe, mappings)
        within = self.within(exe, mappings)
        parent = self.parent()
        cgroup, container = self.container(foreign_mounts=self.shared("mnt", namespaces) is False)
        dumpable = evidence.told(
            "dumpable", evidence.attempt("dumpable", lambda: read_dumpable(self.proc, status.uids[1]))
        )
        # Where gotap itself has no label, no security module gives any.
        own = self.observer.own_label
        label = evidence.told("lsm_label", own if own[0] is None else read_lsm_label(self.proc))
        evidence["seccomp"] = _seccomp(status)
        attachable = self.attachable(dumpable, label, self.shared("user", namespaces))
        found = Surroundings(
            pid=process.pid,
            parent=parent,
            name=os.path.basename(exe.path) if exe else self.stat.comm,
            command_line=command_line,
            uid=status.uids[1],
            exe=exe.path if exe else None,
            exe_state=exe.state if exe else None,
            exe_replaced=replaced,
            load_bias=bias,
            images=within.images,
            namespaces=namespaces,
            foreign_namespaces=foreign(namespaces, self.observer.namespaces),
            namespace_pid=status.namespace_pids[-1],
            entry_point=is_entry_point(status.namespace_pids, self.observer.namespaces.get("pid")),
            container=container,
            cgroup=cgroup,
            libc_in_root=within.libc,
            capabilities=status.capabilities,
            no_new_privileges=status.no_new_privileges,
            dumpable=dumpable,
            ptrace_scope=self.observer.scope,
            ptrace_allowed=attachable.allowed,
            ptrace_denied=attachable.denied,
            seccomp=status.seccomp,
            lsm_label=label,
            tracer=status.tracer or None,
            plugin_loaded=within.plugin,
            go_run=self.go_run(exe, parent),
            agents=within.agents,
            language=evidence.told("language", language_of(file_language, exe.path if exe else "", command_line, maps)),
            evidence=dict(evidence),
        )
        return replace(found, evidence={**self.none(found), **found.evidence})

    def none(self, found: Surroundings) -> dict[str, str]:
        """Why values are None, where nothing else has told it."""
        reasons = _NONE if self.inside else {**_NONE, **dict.fromkeys(_INSIDE, "not looked at in a list of processes")}
        return {key: reasons.get(key, "unknown") for key in found.__struct_fields__ if getattr(found, key) is None}

    def shared(self, kind: str, namespaces: dict[str, int]) -> bool | None:
        """Whether it is in our namespace of that kind."""
        own = self.observer.namespaces.get(kind)
        return None if kind not in namespaces else namespaces[kind] == own

    def maps(self, file_language: str | None) -> bytes:
        """Only where they tell something: in a list, not for a file whose language is certain."""
        if not (self.inside or needs_mappings(file_language)):
            return b""
        return self.evidence.attempt("images", lambda: self.process.read("maps")) or b""

    def placed(self, exe: Executable | None, mappings: list[Mapping]) -> tuple[int | None, str | None]:
        """The load bias, and how the executable is not what was started."""
        if exe is None or not self.inside:
            return None, exe.replaced if exe else None
        header = read_header(self.process.exe)
        if header is None:
            self.evidence["load_bias"] = "its executable is no ELF file, or may not be read"
            return None, exe.replaced
        bias = self.evidence.attempt("load_bias", lambda: self.process.load_bias(header.entry, header.bits))
        if bias is None:
            return None, exe.replaced
        elsewhere = entry_elsewhere(mappings, header.entry + bias, exe.path)
        if elsewhere is not None:
            self.evidence["load_bias"] = elsewhere
        return None if elsewhere else bias, exe.replaced or elsewhere

    def within(self, exe: Executable | None, mappings: list[Mapping]) -> Inside:
        if self.inside:
            from gotap.process.inside import read_inside  # it loads numpy, which lists of processes do without

            return read_inside(self.process, exe, mappings, self.status.tracer, self.evidence)
        return Inside(agents=find_agents(exe.path, (), (), (), 0) if exe else ())

    def parent(self) -> Relative | None:
        """None: it has none, or one outside of our pid namespace."""
        pid = self.stat.parent
        if pid == 0:
            self.evidence["parent"] = "it has no parent in gotap's pid namespace"
            return None
        try:
            comm = parse_stat(read_file(f"/proc/{pid}/stat")).comm
        except OSError as error:
            self.evidence["parent"] = f"process {pid}: {error.strerror}"
            return None
        exe = f"/proc/{pid}/exe"
        static = self.observer.is_static(exe)
        try:
            name = os.path.basename(os.readlink(exe).removesuffix(" (deleted)"))
        except OSError:
            name = comm
        return Relative(pid, name, static)

    def container(self, foreign_mounts: bool) -> tuple[str | None, Container | None]:
        """The cgroup's path and the container. Mounts are asked where the cgroup says nothing."""
        text = self.evidence.attempt("cgroup", lambda: self.process.read("cgroup"))
        if text is None:
            return None, None
        cgroup = text.decode("utf-8", "replace")
        found, why = container_of(cgroup)
        if found is None and (self.inside or foreign_mounts):
            mounts = self.evidence.attempt("container", lambda: self.process.read("mountinfo"))
            if mounts is not None:
                found, why = container_of(cgroup, mounts.decode("utf-8", "replace"))
        self.evidence["container"] = why
        return cgroup_path(cgroup), found

    def attachable(self, dumpable: bool | None, label: str | None, same_users: bool | None) -> _Attachable:
        """Whether this gotap may ptrace it; the kernel is asked, as only it knows what its security modules say."""
        observer, tracer = self.observer, self.status.tracer
        if self.process.pid == os.getpid():
            return _Attachable(False, "it is gotap itself")
        if tracer:
            return _Attachable(False, f"process {tracer} traces it, and there can be only one tracer")
        if not (self.inside or observer.may_trace_all) and observer.scope not in (None, 0):
            self.evidence["ptrace_allowed"] = "not asked for each of a list, as Yama logs what it refuses"
            return _Attachable(None, None)
        error = may_open_memory(self.proc)
        if error is None:
            self.evidence["ptrace_allowed"] = "/proc/PID/mem opens for writing, which takes the same right"
            return _Attachable(True, None)
        denial = Denial(
            own=observer.status,
            theirs=self.status,
            dumpable=dumpable,
            scope=observer.scope,
            is_descendant=_descends(self.process.pid, os.getpid()),
            same_user_namespace=same_users,
            label=label,
            error=error.strerror or str(error),
        )
        self.evidence["ptrace_allowed"] = f"/proc/PID/mem: {denial.error}"
        return _Attachable(False, explain_denial(denial))

    def go_run(self, exe: Executable | None, parent: Relative | None) -> bool | None:
        if exe is None:
            return None
        command: tuple[str, ...] = ()
        if parent is not None and may_be_go_run(exe.path):
            try:
                words = read_file(f"/proc/{parent.pid}/cmdline").split(b"\0")
                command = tuple(word.decode("utf-8", "replace") for word in words)
            except OSError:
                pass
        return self.evidence.told("go_run", read_go_run(exe.path, parent.name if parent else "", command))


def _seccomp(status: Status) -> str:
    if status.seccomp is None:
        return "the kernel has no seccomp"
    if status.seccomp == 2 and status.filters is not None:  # the count came with Linux 5.9
        return f"{status.filters} filter{'' if status.filters == 1 else 's'}"
    return {0: "no filter", 1: "strict", 2: "at least one filter"}.get(status.seccomp, f"mode {status.seccomp}")


def _descends(pid: int, ancestor: int) -> bool:
    seen: set[int] = set()
    while pid not in seen and pid > 0:
        seen.add(pid)
        try:
            pid = parse_stat(read_file(f"/proc/{pid}/stat")).parent
        except OSError:
            return False
        if pid == ancestor:
            return True
    return False
