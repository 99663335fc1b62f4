"""Other tools in a process: libraries that are really preloaded, code that is really changed in memory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gotap.kernel import syscalls
from gotap.kernel.attach import uprobe_pmu
from gotap.process.agents import agent_of, find_agents, preloaded
from gotap.process.code_changes import CodeChange
from gotap.process.proc import Mapping, Process
from gotap.process.reading import read_surroundings
from gotap.process.surroundings import Agent
from kernel_access import needs_bpf
from processes import eventually, running

#: Prints where its function is, which is never called, and waits.
PROGRAM = """
#include <stdio.h>
int answer(int a) { return a * 42 + 1; }
int main(void) { printf("%p\\n", (void *)answer); fflush(stdout); return getchar(); }
"""


def agents(pid: int) -> tuple[Agent, ...]:
    with Process(pid) as process:
        return read_surroundings(process).agents


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("agents")
    (directory / "program.c").write_text(PROGRAM)
    subprocess.check_call(["gcc", "-o", directory / "program", directory / "program.c"])
    return directory / "program"


def library(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], input="int x;", text=True, check=True)
    return path


def test_nothing_is_in_an_ordinary_process(program: Path) -> None:
    with running(str(program)) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert agents(child.pid) == ()


def test_preloaded_library(program: Path, tmp_path: Path) -> None:
    injected = library(tmp_path / "liboneagentproc.so")
    other = library(tmp_path / "liblucky.so")
    with running(str(program), env={"LD_PRELOAD": f"{injected}:{other}"}) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        found = {agent.name: agent for agent in agents(child.pid) if agent.kind == "preload"}
    assert set(found) == {"Dynatrace OneAgent", "liblucky.so"}
    assert f"LD_PRELOAD names {other}" in found["liblucky.so"].evidence


def test_static_program_ignores_what_is_named_for_preloading(tmp_path: Path) -> None:
    (tmp_path / "program.c").write_text(PROGRAM)
    static = tmp_path / "static"
    subprocess.check_call(["gcc", "-static", "-o", static, tmp_path / "program.c"])
    with running(str(static), env={"LD_PRELOAD": str(library(tmp_path / "liboneagentproc.so"))}) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert agents(child.pid) == ()


@pytest.mark.parametrize(
    ("patch", "kind", "count"),
    [(b"\xcc", "breakpoint", 1), (b"\xcc\xcc\xcc", "breakpoint", 3), (b"\xe9\x11\x22\x33\x44", "patch", 5)],
)
def test_code_that_was_changed_in_memory(program: Path, patch: bytes, kind: str, count: int) -> None:
    with running(str(program)) as child:
        address = int(child.stdout.readline(), 16)  # type: ignore[union-attr]
        with open(f"/proc/{child.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            before = memory.read(len(patch))
            memory.seek(address)
            memory.write(patch)
        (found,) = agents(child.pid)
    changed = sum(a != b for a, b in zip(before, patch, strict=True))
    assert found.kind == kind
    plural = "" if changed == 1 else "s"
    assert found.evidence.startswith(f"{changed} byte{plural} of {program}, first at {address:#x}")
    assert changed <= count


def test_code_that_was_written_back_is_no_change(program: Path) -> None:
    """Its page stays the process' own, as after the last uprobe is gone."""
    with running(str(program)) as child:
        address = int(child.stdout.readline(), 16)  # type: ignore[union-attr]
        with open(f"/proc/{child.pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(address)
            original = memory.read(1)
            for byte in (b"\xcc", original):
                memory.seek(address)
                memory.write(byte)
        assert agents(child.pid) == ()


@needs_bpf
@pytest.mark.root
def test_uprobe_of_the_kernel(program: Path) -> None:
    """Set by perf_event_open, of which no trace is in /proc but the changed code."""
    with running(str(program)) as child, Process(child.pid) as process:
        address = int(child.stdout.readline(), 16)  # type: ignore[union-attr]
        code = next(mapping for mapping in process.mappings() if mapping.start <= address < mapping.end)
        offset = address - code.start + code.offset
        event = syscalls.perf_event_open_uprobe(uprobe_pmu(), str(program), offset, child.pid)
        try:
            (found,) = agents(child.pid)
        finally:
            os.close(event)
        assert (found.name, found.kind) == ("uprobes", "breakpoint")
        assert found.evidence.startswith(f"1 byte of {program}, first at {address:#x}")
        eventually(lambda: agents(child.pid) == (), "the end of the uprobe")


def test_executable_of_the_vendors_loader(program: Path, tmp_path: Path) -> None:
    loader = tmp_path / "oneagentdynamizer"
    os.link(program, loader) if os.stat(program).st_dev == os.stat(tmp_path).st_dev else loader.symlink_to(program)
    with running(str(loader), "--run", "/app/server") as child:
        child.stdout.readline()  # type: ignore[union-attr]
        with Process(child.pid) as process:
            found = read_surroundings(process)
    assert Agent("Dynatrace OneAgent", "executable", f"/proc/PID/exe is {loader}") in found.agents
    assert "which runs /app/server in its stead" in (found.exe_replaced or "")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/opt/dynatrace/oneagent/agent/lib64/liboneagentproc.so", "Dynatrace OneAgent"),
        ("/memfd:frida-agent-64.so (deleted)", "Frida"),
        ("/opt/.bpftime/libbpftime-agent.so", "bpftime"),
        ("/opt/datadog/apm/library/ddprof/libdd_profiling.so", "Datadog"),
        ("/usr/lib/newrelic/x.so", "New Relic"),
        ("/opt/appdynamics/x.so", "AppDynamics"),
        ("/opt/instana/agent/libinstana.so", "Instana"),
        ("/usr/lib/opentelemetry/libotelinject.so", "OpenTelemetry injector"),
        ("/tmp/libscope.so", "AppScope"),
        ("/usr/lib/x86_64-linux-gnu/libc.so.6", None),
        ("/usr/lib/jvm/lib/server/libjvm.so", None),
    ],
)
def test_known_agents_by_what_is_mapped(path: str, name: str | None) -> None:
    assert agent_of(path) == name


def test_libraries_are_separated_as_the_loader_does() -> None:
    environment = {"LD_PRELOAD": " /a.so:/b.so  c.so", "LD_AUDIT": "/d.so"}
    names = [path for path, _ in preloaded(environment, "# none\n/e.so /f.so # why\n\n")]
    assert names == ["/a.so", "/b.so", "c.so", "/d.so", "/e.so", "/f.so"]


def test_who_set_breakpoints_as_far_as_it_can_be_told() -> None:
    changes = [CodeChange("/app", 2, 0, 0x401000)]
    area = Mapping(0x7000, 0x8000, "--xp", 0, 0, "[uprobes]")
    (uprobes,) = find_agents("/app", [area], (), changes, 0)
    assert (uprobes.name, uprobes.kind) == ("uprobes", "breakpoint")
    assert "[uprobes] is mapped" in uprobes.evidence
    (debugger,) = find_agents("/app", [], (), changes, 17)
    assert debugger.name == "debugger (pid 17)"


def test_agent_does_not_sit_in_its_own_processes() -> None:
    library = Mapping(0x1000, 0x2000, "r-xp", 0, 5, "/opt/datadog-agent/embedded/lib/libssl.so.3")
    assert find_agents("/opt/datadog-agent/bin/agent/agent", [library], (), (), 0) == ()
    (found,) = find_agents("/app/server", [library], (), (), 0)
    assert (found.name, found.kind) == ("Datadog", "mapping")
