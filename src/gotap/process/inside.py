"""What is within a process: Go images, other agents, a C library. By its mappings, memory and root directory."""

from __future__ import annotations

import os

from gotap.process.agents import find_agents, preloaded, read_ld_so_preload
from gotap.process.code_changes import CodeChange, changed_code
from gotap.process.evidence import Evidence
from gotap.process.executable import Executable
from gotap.process.go_images import read_go_images
from gotap.process.libc_in_root import find_libc
from gotap.process.memory import Memory
from gotap.process.proc import Mapping, Process
from gotap.process.rootfs import open_root
from gotap.process.surroundings import NO_LIBC, Inside


def read_inside(
    process: Process, exe: Executable | None, mappings: list[Mapping], tracer: int, evidence: Evidence
) -> Inside:
    """Raises ProcessGone; what is refused stands in `evidence`."""
    root = evidence.attempt("libc_in_root", lambda: open_root(f"/proc/{process.pid}"))
    try:
        identity = exe.identity if exe else (0, 0)
        go = read_go_images(process, root, mappings, identity) if mappings else None
        environment = evidence.attempt("agents", lambda: process.environment) or {}
        preloads = list(preloaded(environment, read_ld_so_preload(root)))
        changes = evidence.attempt("agents", lambda: _changes(process, root, mappings)) or []
        agents = find_agents(exe.path if exe else "", mappings, preloads, changes, tracer)
        libc = find_libc(root) if root is not None else None
    finally:
        if root is not None:
            os.close(root)
    if root is not None:
        evidence["libc_in_root"] = f"{libc[0]} is {libc[1]}" if libc else NO_LIBC
    if go is not None:
        evidence["plugin_loaded"] = go.evidence
    return Inside(
        images=go.images if go else (),
        plugin=go.plugin if go else None,
        agents=agents,
        libc=libc[0] if libc else None,
    )


def _changes(process: Process, root: int | None, mappings: list[Mapping]) -> list[CodeChange]:
    with Memory(process) as memory:
        return changed_code(process, root, mappings, memory)
