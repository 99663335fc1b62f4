"""gotap's cache where it cannot be written, is full, or somebody was killed who wrote there."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from cli import GOTAP
from gotap.weave.cache import made
from processes import eventually
from weavecases import SPANS, go, module, tree


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return module(tmp_path / "app", {"main.go": SPANS})


@pytest.mark.root
@pytest.mark.parametrize(("options", "said"), [
    ("ro", "Read-only file system\ngotap: make it writable, or set GOTAP_CACHE to another folder"),
    ("size=1m,nr_inodes=50", "No space left on device\ngotap: make room there, or set GOTAP_CACHE to another folder"),
])  # fmt: skip
def test_where_nothing_can_be_written(options: str, said: str, app: Path, tmp_path: Path) -> None:
    """Nothing is built then, and nothing of the user's has changed."""
    cache = tmp_path / "cache"
    cache.mkdir()
    before = tree(app)
    mount = shlex.join(["mount", "-t", "tmpfs", "-o", options, "none", str(cache)])
    command = f"{mount} && exec {shlex.join([*GOTAP, 'go', 'build'])}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command],
        cwd=app, capture_output=True, text=True, env={**os.environ, "GOTAP_CACHE": str(cache)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr
    assert f"gotap's cache {cache}" in done.stderr
    assert "Traceback" not in done.stderr
    assert tree(app) == before


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.matrix)])
def test_a_build_that_is_ended_while_the_tree_is_made(number: signal.Signals, app: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    settings = {**os.environ, "GOTAP_CACHE": str(cache)}
    with subprocess.Popen([*GOTAP, "go", "build"], cwd=app, stderr=subprocess.DEVNULL, env=settings) as build:
        eventually(lambda: any((cache / "goroot").glob(".*/src")), "a tree that is not whole")
        build.send_signal(number)
    assert build.returncode == -number
    done = go(app, "run", ".", GOTAP_CACHE=str(cache))
    assert done.out.startswith("2 <nil>\n"), done.err
    shutil.rmtree(cache)


def test_what_is_left_of_them_is_removed(tmp_path: Path) -> None:
    folder = tmp_path / "trees"
    for name, old in ((".a.old", True), (".a.young", False), ("b", True)):
        (folder / name / "inner").mkdir(parents=True)
        if old:
            os.utime(folder / name, (10**9, 10**9))
    made(folder / "c", lambda fresh: None)
    assert sorted(one.name for one in folder.iterdir()) == [".a.young", "b", "c"]
