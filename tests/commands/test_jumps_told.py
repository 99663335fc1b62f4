"""What is told of springboards and hooks, held against what attaching by them does, in processes that are not plain."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shlex
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import gobuild
from cli import gotap, started
from goservers import Server, serving
from httpload import load
from kernel_access import needs_bpf
from sandbox import NOBODY, PERF_EVENT_OPEN, refusing

pytestmark = [pytest.mark.root, needs_bpf]

MECHANISMS = pytest.mark.parametrize("mechanism", ["springboard", "hook"])
_MEMFD_CREATE = 319
_REQUESTS = 20


def told(pid: int, prefix: Sequence[str] = ()) -> dict[str, Any]:
    done = gotap("inspect", "--json", str(pid), prefix=prefix)
    assert done.code == 0, done.err
    document: dict[str, Any] = json.loads(done.out)
    return document


def answers(document: dict[str, Any]) -> dict[str, tuple[bool | str, list[str]]]:
    return {name: (one["works"], one["because"]) for name, one in document["mechanisms"].items()}


def watched(server: Server, *how: str, prefix: Sequence[str] = ()) -> None:
    """Sees each request, and leaves no jump and no trampoline."""
    with started(*how, "--to", "json", prefix=prefix) as watching:
        watching.attached()
        load(server.http, "/hello", _REQUESTS)
        watching.wait_for_spans(_REQUESTS)
        done = watching.finish(signal.SIGINT)
    assert done.code == 0, done.err
    assert len(done.spans) == _REQUESTS
    assert_untouched(server, done.err)


def assert_untouched(server: Server, err: str = "") -> None:
    """Memory that a thread was in may stay, which is told with what takes it out."""
    maps = Path(f"/proc/{server.pid}/maps")
    if f"`gotap detach {server.pid}` takes" in err:
        assert gotap("detach", str(server.pid)).code == 0
    assert "memfd:gotap" not in maps.read_text(), err
    load(server.http, "/hello", 3)


@pytest.fixture
def moved(httpserver: Path, tmp_path: Path) -> Iterator[tuple[Server, Path]]:
    """A server whose executable is about to be elsewhere."""
    path = Path(shutil.copy(httpserver, tmp_path / "service"))
    with serving(path) as server:
        yield server, path


@MECHANISMS
def test_an_executable_that_is_gone(moved: tuple[Server, Path], mechanism: str) -> None:
    server, path = moved
    path.unlink()
    found = told(server.pid)
    assert "deleted-exe" in {one["id"] for one in found["conditions"]}
    assert answers(found)[mechanism] == (True, [])
    watched(server, "attach", "--via", mechanism, str(server.pid))


@MECHANISMS
def test_an_executable_in_whose_place_there_is_another(
    moved: tuple[Server, Path], mechanism: str, tmp_path: Path
) -> None:
    """Another build of the same program: other code at the same addresses."""
    server, path = moved
    newer = shutil.copy(gobuild.build("httpserver", gobuild.OLDEST), tmp_path / "newer")
    os.replace(newer, path)
    found = told(server.pid)
    assert "exe-replaced" in {one["id"] for one in found["conditions"]}
    assert answers(found)[mechanism] == (True, [])
    watched(server, "attach", "--via", mechanism, str(server.pid))


@MECHANISMS
def test_a_filter_that_lets_memory_be_mapped(httpserver: Path, mechanism: str) -> None:
    with serving(httpserver, prefix=refusing(PERF_EVENT_OPEN, errno.EPERM)) as server:
        assert answers(told(server.pid))[mechanism] == ("partly", ["seccomp"])
        watched(server, "attach", "--via", mechanism, str(server.pid))


@MECHANISMS
def test_a_filter_that_does_not(httpserver: Path, mechanism: str) -> None:
    with serving(httpserver, prefix=refusing(_MEMFD_CREATE, errno.EPERM)) as server:
        assert answers(told(server.pid))[mechanism] == ("partly", ["seccomp"])
        done = gotap("attach", "--via", mechanism, str(server.pid))
        assert done.code == 1
        assert "memfd_create" in done.err
        assert_untouched(server)


@contextmanager
def traced(pid: int) -> Iterator[None]:
    """By a child that does nothing else."""
    seize, detach = 0x4206, 17
    ready, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        code = ctypes.CDLL(None).ptrace(seize, pid, None, None)
        os.write(ready[1], b"%d" % code)
        os.read(go_on[0], 1)
        os._exit(detach)
    try:
        assert os.read(ready[0], 8) == b"0"
        yield
    finally:
        os.write(go_on[1], b"!")
        os.waitpid(child, 0)
        for end in (*ready, *go_on):
            os.close(end)


@MECHANISMS
def test_a_debugger_in_the_way(server: Server, mechanism: str) -> None:
    with traced(server.pid):
        found = answers(told(server.pid))
        assert found["uprobe"] == (True, [])
        works, because = found[mechanism]
        assert works is False
        assert "being-traced" in because
        done = gotap("attach", "--via", mechanism, str(server.pid))
        assert done.code == 1
        assert "traced by" in done.err
    assert_untouched(server, done.err)


@MECHANISMS
def test_a_gotap_that_is_there_already(httpserver: Path, mechanism: str) -> None:
    """And after it, nothing of it is told."""
    with serving(httpserver) as server:
        with started("attach", "--via", mechanism, str(server.pid), "--to", "json") as watching:
            watching.attached()
            found = told(server.pid)
            assert answers(found)["uprobe"] == ("partly", ["gotap-inside"])
            [remedy] = [one["remedy"] for one in found["conditions"] if one["id"] == "gotap-inside"]
            assert gotap("attach", str(server.pid)).code == 1
            command, *detach = shlex.split(remedy)
            assert (command, gotap(*detach).code) == ("gotap", 0)
            assert watching.finish(None).code == 0
        assert answers(told(server.pid))["uprobe"] == (True, [])


def test_ones_own_process_without_any_privilege(httpserver: Path) -> None:
    """The remedy is typed as it stands, by who is told of it."""
    with serving(httpserver, prefix=NOBODY) as server:
        found = told(server.pid, NOBODY)
        assert answers(found)["uprobe"] == (False, ["no-privilege"])
        assert answers(found)["springboard"] == (False, ["no-privilege"])
        assert answers(found)["hook"] == (True, [])
        [remedy] = [one["remedy"] for one in found["conditions"] if one["id"] == "no-privilege"]
        command, *how = shlex.split(remedy)
        assert command == "gotap"
        watched(server, *how, prefix=NOBODY)


def test_the_process_of_another_user(server: Server) -> None:
    """Root's: it may not even be looked at."""
    done = gotap("inspect", str(server.pid), prefix=NOBODY)
    assert done.code == 1
    assert str(server.pid) in done.err
