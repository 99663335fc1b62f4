"""Process and container: its executable, who may look at it, who else is in it."""

from __future__ import annotations

import shlex

from gotap.process.surroundings import NO_LIBC, Surroundings
from gotap.verdict.conditions.rules import CODE, INSIDE, NO_CODE, of_process, seen
from gotap.verdict.filling import package, rebuild
from gotap.verdict.model import LIMITS, RULES_OUT, Condition, Situation

#: Build modes whose file is loaded by another program instead of being started.
_LIBRARIES = ("c-shared", "plugin", "shared")
#: How gotap's own memory in a process is called among its agents.
_OWN = "gotap"
_SECCOMP = {1: "strict", 2: "a filter"}


def _replaced(situation: Situation, process: Surroundings) -> str | None:
    return process.exe_replaced or None


def _deleted(situation: Situation, process: Surroundings) -> str | None:
    if process.exe_state == "deleted":
        return seen(situation, "exe_state", f"{process.exe} is deleted")
    if process.exe_state == "memfd":
        return seen(situation, "exe_state", "the executable is in memory only (memfd)")
    return None


def _hosted(situation: Situation) -> str | None:
    """A process that is no Go program and holds Go code, or the file of such code."""
    go, process = situation.facts.go, situation.process
    if process is not None:
        images = [one for one in process.images if one.role == "c-shared"]
        return ", ".join(f"{one.path}{f' (Go {one.version})' if one.version else ''}" for one in images) or None
    if go is not None and go.build_mode in _LIBRARIES:
        return f"the file is a library: -buildmode={go.build_mode}"
    return None


def _plugin(situation: Situation, process: Surroundings) -> str | None:
    if not process.plugin_loaded:
        return None
    loaded = [one.path for one in process.images if one.role == "plugin"]
    return seen(situation, "plugin_loaded", ", ".join(loaded) or "more than one module in the runtime's chain")


def _go_run(situation: Situation, process: Surroundings) -> str | None:
    return seen(situation, "go_run", f"{process.exe}") if process.go_run else None


def _ptrace_denied(situation: Situation, process: Surroundings) -> str | None:
    return (process.ptrace_denied or "its memory may not be read") if process.ptrace_allowed is False else None


def _ptrace_remedy(situation: Situation) -> str:
    """By what stands in the way, as far as it is known."""
    process = situation.process
    if process is None:
        return "sudo gotap attach PID"
    if process.tracer:
        return f"ps -fp {process.tracer}"
    if process.ptrace_scope in (1, 2):  # 3 lasts until reboot
        return "sudo sysctl kernel.yama.ptrace_scope=0"
    if process.container:
        return "docker run --cap-add=SYS_PTRACE IMAGE"
    return f"sudo {situation.host.command if situation.host else 'gotap'} attach {process.pid}"


def _seccomp_remedy(situation: Situation) -> str:
    """A container's profile is given when it is started; otherwise the filter is that of the process' unit."""
    process = situation.process
    if process is not None and process.container is None:
        return f"systemctl status {process.pid}"
    return "docker run --security-opt seccomp=unconfined IMAGE"


def _no_libc(situation: Situation, process: Surroundings) -> str | None:
    inside = process.container is not None or "mnt" in process.foreign_namespaces
    return NO_LIBC if inside and process.evidence.get("libc_in_root") == NO_LIBC else None


def _traced(situation: Situation, process: Surroundings) -> str | None:
    return seen(situation, "tracer", f"TracerPid {process.tracer}") if process.tracer else None


def _seccomp(situation: Situation, process: Surroundings) -> str | None:
    kind = _SECCOMP.get(process.seccomp or 0)
    return f"Seccomp: {process.seccomp} ({kind})" if kind else None


def _agents(situation: Situation, process: Surroundings) -> str | None:
    return "; ".join(f"{one.name}: {one.evidence}" for one in process.agents if one.name != _OWN) or None


def _jumps(situation: Situation, process: Surroundings) -> str | None:
    return next((one.evidence for one in process.agents if one.name == _OWN), None)


def _go_run_remedy(situation: Situation) -> str:
    process, go = situation.process, situation.facts.go
    arguments = shlex.join(process.command_line[1:]) if process else ""
    name = shlex.quote(process.name if process and process.name else "program")
    where = package(situation) if go is not None else "."
    return f"go build -o {name} {where} && ./{name} {arguments}".rstrip()


CONDITIONS = (
    Condition(
        id="c-shared-host",
        holds=_hosted,
        effects=NO_CODE,
        message="Go code inside another program; gotap watches executables, not libraries, so far",
        remedy=rebuild(without=("-buildmode",), flags=("-buildmode=exe",)),
    ),
    Condition(
        id="plugin-loaded",
        holds=of_process(_plugin),
        effects=dict.fromkeys(("uprobe", "springboard", "hook"), LIMITS),
        message="a plugin is loaded: the program itself is watched, packages that only the plugin holds are not",
        vendor="Deep monitoring is disabled when a plugin is loaded",
    ),
    Condition(
        id="being-traced",
        holds=of_process(_traced),
        effects=dict.fromkeys(INSIDE, RULES_OUT),
        message="a debugger is attached; uprobes work beside it, jumps cannot be written until it lets go",
        remedy="ps -fp {tracer}",
    ),
    Condition(
        id="ptrace-denied",
        holds=of_process(_ptrace_denied),
        effects=dict.fromkeys(INSIDE, RULES_OUT),
        message="gotap may not trace it, so not write jumps into its code; uprobes do not need that",
        remedy=_ptrace_remedy,
        vendor="Needs SYS_PTRACE in containers, which is the default from Docker 19.03 with Linux 4.8",
    ),
    Condition(
        id="seccomp",
        holds=of_process(_seccomp),
        effects=dict.fromkeys(INSIDE, LIMITS),
        message="a system call filter is on (the container's profile, or SystemCallFilter= of its unit); for jumps the "
        "process is made to map memory, which gotap does not do where the filter forbids it",
        remedy=_seccomp_remedy,
    ),
    Condition(
        id="other-agent",
        holds=of_process(_agents),
        effects=dict.fromkeys(INSIDE, LIMITS),
        message="another agent is in the process; where it has changed code gotap writes no jump",
    ),
    Condition(
        id="gotap-inside",
        holds=of_process(_jumps),
        effects=dict.fromkeys(CODE, LIMITS),
        message="jumps of a gotap are in it, which is attached or was killed; another is refused where both want the "
        "same place",
        remedy="gotap detach {pid}",
    ),
    Condition(
        id="exe-replaced",
        holds=of_process(_replaced),
        message="the executable is not the file that was started; gotap reads the one that runs, by /proc/{pid}/exe, "
        "and writes jumps into what is mapped of it",
        remedy="gotap inspect {pid}",
        vendor="/proc/PID/exe is oneagentdynamizer, and ps and top show that name",
    ),
    Condition(
        id="deleted-exe",
        holds=of_process(_deleted),
        message="the executable is no longer at its path; gotap reads it by /proc/{pid}/exe",
        remedy="gotap attach {pid}",
    ),
    Condition(
        id="go-run",
        holds=of_process(_go_run),
        message="started by `go run`, from a temporary file without symbols; gotap needs neither path nor symbols",
        remedy=_go_run_remedy,
        vendor="Programs started by `go run` cannot be monitored: build them with `go build`",
    ),
    Condition(
        id="no-libc-in-container",
        holds=of_process(_no_libc),
        message="the container has no C library; gotap needs nothing inside it",
        remedy="gotap attach {pid}",
        vendor="Images without a C library (scratch) are not supported: use an alpine or distroless base",
    ),
)
