"""Conditions of processes: each is started so, recognised, watched all the same; remedies are typed as they stand."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gobuild
from cli import gotap
from goservers import Server, serving
from gotap.verdict.model import Finding
from httpload import load
from processes import eventually, python
from vendor_table import Seen
from verdicts import attached, held, module, observed, releases, seen, verdict

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("able_host")]

#: Started below another program, a server must leave when that one does: its standard input ends.
LEAVES = "-until-eof"


@contextmanager
def server_below(*command: str, environment: dict[str, str] | None = None) -> Iterator[tuple[int, str]]:
    """Starts a command that starts a server; the server's pid and the address that it printed."""
    with serving(Path(command[0]), *command[1:], environment=environment) as started:
        yield youngest(started), started.http


def youngest(server: Server) -> int:
    """The last of the descendants. The server has spoken, so all of them are there."""
    pid = server.pid
    while children := children_of(pid):
        pid = children[0]
    return pid


def children_of(pid: int) -> list[int]:
    """Those of all its threads: the go command starts programs from any of them."""
    lists = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(word) for text in lists for word in text.split()]


def condition(pid: int, id: str) -> Finding:
    conditions = held(verdict(pid))
    assert id in conditions
    return conditions[id]


@pytest.fixture
def static(go: str) -> str:
    return str(gobuild.build("httpserver", go, mode="cgo0"))


@pytest.mark.parametrize("go", releases("go-run"))
def test_go_run(go: str, table: list[Seen]) -> None:
    root = gobuild.go_tool(go, "env", "GOROOT").strip()
    environment = {"PATH": f"{root}/bin:{os.environ['PATH']}", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    with module("httpserver") as directory:

        def shell(command: str) -> tuple[str, ...]:
            return "/bin/sh", "-c", f"cd {directory} && {command}"

        with server_below(*shell(f"go run . {LEAVES}"), environment=environment) as (pid, address):
            found = condition(pid, "go-run")
            watching = observed(pid, address)
            path = os.readlink(f"/proc/{pid}/exe")
        with server_below(*shell(found.remedy), environment=environment) as (pid, _):
            assert "go-run" not in held(verdict(pid))
    names = {os.path.dirname(path): "…"}
    table.append(seen(found, go, "`go run .`", watching, "it no longer holds", names))


@pytest.mark.parametrize("go", releases("static-parent"))
def test_static_parent(go: str, static: str, tmp_path: Path, table: list[Seen]) -> None:
    source, parent = tmp_path / "parent.c", tmp_path / "parent"
    source.write_text(
        "#include <unistd.h>\n#include <sys/wait.h>\n"
        "int main(int argc, char **argv) { if (!fork()) return execv(argv[1], argv + 1); wait(0); }\n"
    )
    if shutil.which("gcc") is None:
        raise gobuild.MissingTool("gcc is not installed (Debian package gcc)")
    subprocess.run(["gcc", "-static", "-o", parent, source], check=True)
    with server_below(str(parent), static, LEAVES) as (pid, address):
        found = condition(pid, "static-parent")
        watching = observed(pid, address)
        names = {str(parent_of(pid)): "PID", os.path.dirname(static): "…"}
    with server_below(*shlex.split(found.remedy)) as (pid, _):
        assert "static-parent" not in held(verdict(pid))
    table.append(seen(found, go, "a static C program that starts it", watching, "it no longer holds", names))


@pytest.mark.parametrize("go", releases("parent-restart"))
def test_parent_that_runs_already(go: str, static: str, table: list[Seen]) -> None:
    with serving(Path(static)) as server:
        found = condition(server.pid, "parent-restart")
        watching = observed(server.pid, server.http)
        outcome = attached(found, server.http)
    names = {str(server.pid): "PID", os.path.basename(os.readlink("/proc/self/exe")): "shell"}
    table.append(seen(found, go, "a static program, started as any other", watching, outcome, names))


@pytest.mark.parametrize("go", releases("static-entrypoint"))
def test_static_entrypoint(go: str, static: str, table: list[Seen]) -> None:
    with server_below("unshare", "--pid", "--fork", "--kill-child", static, LEAVES) as (pid, address):
        found = condition(pid, "static-entrypoint")
        watching = observed(pid, address)
        outcome = attached(found, address)
    made = "`unshare --pid --fork`, which starts a static program"
    table.append(seen(found, go, made, watching, outcome, {str(pid): "PID"}))


@pytest.mark.parametrize("go", releases("no-libc-in-container"))
def test_no_libc_in_container(go: str, static: str, tmp_path: Path, table: list[Seen]) -> None:
    shutil.copy(static, tmp_path / "server")
    command = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--root", str(tmp_path), "/server")
    with server_below(*command, LEAVES) as (pid, address):
        found = condition(pid, "no-libc-in-container")
        watching = observed(pid, address)
        outcome = attached(found, address)
    made = "`unshare --mount --root DIRECTORY` with nothing but the program in it"
    table.append(seen(found, go, made, watching, outcome, {str(pid): "PID"}))


@pytest.mark.parametrize("go", releases("ptrace-denied"))
def test_ptrace_denied(go: str, table: list[Seen]) -> None:
    """A process has one tracer at a time, whatever the privileges of the second.

    Each signal would stop the program until this tracer let it go on, so it sends itself none.
    """
    seize = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()\n"  # PTRACE_SEIZE
        "print(flush=True); input()\n"
    )
    quiet = {"GODEBUG": "asyncpreemptoff=1"}
    with (
        serving(gobuild.build("httpserver", go), environment=quiet) as server,
        python(seize, str(server.pid)) as tracer,
    ):
        assert tracer.stdout is not None
        tracer.stdout.readline()
        found = condition(server.pid, "ptrace-denied")
        watching = observed(server.pid, server.http)
        told = subprocess.run(["/bin/sh", "-c", found.remedy], capture_output=True, text=True, check=True).stdout
        assert str(tracer.pid) in told.split()
        tracer.kill()
        tracer.wait()
        assert "ptrace-denied" not in held(verdict(server.pid))
    names = {str(server.pid): "PID", str(tracer.pid): "TRACER"}
    outcome = "it shows the tracer; when that has ended, it no longer holds"
    table.append(seen(found, go, "a process that another one traces", watching, outcome, names))


@pytest.mark.parametrize("go", releases("exe-replaced"))
def test_exe_replaced(go: str, tmp_path: Path, table: list[Seen]) -> None:
    """As an update does it: the path holds another file when gotap comes."""
    program = tmp_path / "server"
    shutil.copy(gobuild.build("httpserver", go), program)
    with serving(program) as server:
        shutil.copy(gobuild.build("hello", go), tmp_path / "update")
        inodes = {str(program.stat().st_ino): "A", str((tmp_path / "update").stat().st_ino): "B"}
        (tmp_path / "update").replace(program)
        found = condition(server.pid, "exe-replaced")
        watching = observed(server.pid, server.http)
        words = shlex.split(found.remedy)
        assert words[0] == "gotap"
        told = gotap(*words[1:])
    assert (told.code, told.err) == (0, "")
    assert "http.server" in told.out.decode()
    names = {str(server.pid): "PID", str(tmp_path): "…", **inodes}
    table.append(seen(found, go, "another file moved to the path of a running program", watching,
                      "it tells what runs, not what lies there", names))  # fmt: skip


@pytest.mark.parametrize("go", releases("plugin-loaded"))
def test_plugin(go: str, table: list[Seen]) -> None:
    plugin = gobuild.build("pluginpart", go, flags=("-buildmode=plugin",))
    with serving(gobuild.build("pluginserver", go)) as server:
        capable = condition(server.pid, "plugin-capable")
        watching = observed(server.pid, server.http)
        table.append(seen(capable, go, "a server that imports `plugin`", watching))
        assert "plugin-loaded" not in held(verdict(server.pid))
        assert load(server.http, f"/load?path={plugin}", 1).status == {200: 1}
        loaded = eventually(lambda: held(verdict(server.pid)).get("plugin-loaded"), "the plugin")
        watching = observed(server.pid, server.http, works="partly")
    assert loaded is not None
    names = {os.path.dirname(plugin): "…"}
    table.append(seen(loaded, go, "the same, after it has loaded one", watching, names=names))


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
