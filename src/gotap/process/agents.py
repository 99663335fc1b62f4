"""Other tools that sit in a process: by its executable's name, its environment, its mappings, its changed code."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Mapping as Dictionary
from typing import TYPE_CHECKING

from gotap.process.proc import Mapping
from gotap.process.rootfs import open_regular
from gotap.process.surroundings import Agent

if TYPE_CHECKING:
    from gotap.process.code_changes import CodeChange

#: Name → what the path of a mapped file holds, below any directory.
_KNOWN = {
    "Dynatrace OneAgent": r"oneagent|liboneagent\w*\.so|ruxitagent",
    "Frida": r"frida-agent|frida-gadget|libfrida|re\.frida\.server|linjector",
    "bpftime": r"libbpftime",
    "Datadog": r"datadog|dd-?trace|libddwaf|ddprof|libdd_profiling",
    "New Relic": r"newrelic|libnewrelic",
    "AppDynamics": r"appdynamics|libappdprocess|appd-libzip",
    "Instana": r"instana",
    "OpenTelemetry injector": r"libotelinject|opentelemetry-injector|opentelemetry[-_](?:javaagent|auto)",
    "AppScope": r"libscope\.so|appscope|/ldscope",
    "Elastic APM": r"elastic-apm|elasticapm",
    "Odigos": r"/odigos/|libodigos",
    "Splunk": r"splunk-otel|libsplunk",
    "Contrast": r"contrast-security",
    "SkyWalking": r"skywalking",
    "Pixie": r"px-java-agent",
    "memray": r"memray/_inject",
    "Valgrind": r"/vgpreload_",
    "heaptrack": r"libheaptrack",
    "Alibaba ARMS": r"/\.apsara-apm/",
    "gotap": r"^/memfd:gotap-",  # what is behind its jumps (gotap.inject)
}
_AGENT = re.compile("|".join(f"(?P<a{number}>{pattern})" for number, pattern in enumerate(_KNOWN.values())), re.I)
_NAMES = tuple(_KNOWN)

#: The vendor's loader, which execs in the place of a static program and maps that next to a libc of its own.
_EXECUTABLES = {"oneagentdynamizer": "Dynatrace OneAgent", "ldscope": "AppScope", "ldscopedyn": "AppScope"}

_PRELOADS = ("LD_PRELOAD", "LD_AUDIT")


def agent_of(path: str) -> str | None:
    """The known agent that a path belongs to."""
    found = _AGENT.search(path)
    return _NAMES[int((found.lastgroup or "a0")[1:])] if found else None


def preloaded(environment: Dictionary[str, str], ld_so_preload: str) -> Iterator[tuple[str, str]]:
    """(library, where it is named) as ld.so would load them, which separates by blanks and colons."""
    for variable in _PRELOADS:
        for path in re.split(r"[\s:]+", environment.get(variable, "")):
            if path:
                yield path, variable
    for line in ld_so_preload.splitlines():
        for path in re.split(r"[\s:]+", line.partition("#")[0]):
            if path:
                yield path, "/etc/ld.so.preload"


def read_ld_so_preload(root: int | None) -> str:
    """Of the process' own root directory; empty when there is none."""
    if root is None:
        return ""
    try:
        descriptor = open_regular(root, "/etc/ld.so.preload")
    except OSError:
        return ""
    try:
        return os.pread(descriptor, 1 << 16, 0).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def find_agents(
    exe: str,
    mappings: Sequence[Mapping],
    preloads: Iterable[tuple[str, str]],
    changes: Iterable[CodeChange],
    tracer: int,
) -> tuple[Agent, ...]:
    """A library that is named for preloading counts when it is mapped: static programs ignore LD_PRELOAD."""
    found: dict[tuple[str, str], Agent] = {}

    def add(agent: Agent) -> None:
        found.setdefault((agent.name, agent.kind), agent)

    name = os.path.basename(exe)
    if name in _EXECUTABLES:
        add(Agent(_EXECUTABLES[name], "executable", f"/proc/PID/exe is {exe}"))
    paths = list(dict.fromkeys(mapping.path for mapping in mappings if mapping.path and mapping.path != exe))
    for library, where in preloads:
        wanted = os.path.basename(library)
        mapped = next((path for path in paths if os.path.basename(path.removesuffix(" (deleted)")) == wanted), None)
        if mapped is not None:
            add(Agent(agent_of(library) or wanted, "preload", f"{where} names {library}, mapped from {mapped}"))
    itself = agent_of(exe)  # the agent's own processes have its libraries, which is no news
    for path in paths:
        if (known := agent_of(path)) is not None and known != itself:
            add(Agent(known, "mapping", f"{path} is mapped"))
    areas = [path for path in paths if path.startswith("[uprobes")]
    for agent in _from_changes(changes, areas, tracer, jumps=any(agent_of(path) == "gotap" for path in paths)):
        add(agent)
    return tuple(found.values())


def _from_changes(
    changes: Iterable[CodeChange], areas: list[str], tracer: int, *, jumps: bool
) -> Iterator[Agent]:
    """Uprobes are the kernel's and may be anybody's, also another gotap's; a debugger shows as TracerPid. `jumps`: a
    gotap has written some.
    """
    for change in changes:
        where = f"of {change.path}, first at {change.first:#x}"
        if change.breakpoints:
            who = f"debugger (pid {tracer})" if tracer else "uprobes"
            area = f"; {areas[0]} is mapped" if areas else ""
            yield Agent(who, "breakpoint", f"{_bytes(change.breakpoints)} {where}: int3 in memory only{area}")
        if change.others:
            who = "gotap" if jumps else "uprobes" if "[uprobes-trampoline]" in areas else "code patched in memory"
            yield Agent(who, "patch", f"{_bytes(change.others)} {where}: not what the file has")


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"
