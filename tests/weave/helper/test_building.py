"""The helper is built once for each Go release and source, whoever else does so at the same time."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gotap.weave.errors import CacheError
from gotap.weave.helper.errors import HelperFailed, HelperNotBuilt
from gotap.weave.helper.helper import Helper
from gotap.weave.helper.protocol import Request
from gotap.weave.toolchain import Toolchain, find_toolchain

NOTHING = Request(goversion="", goroot="", packages=[], targets=[], aspects=[])


@pytest.fixture
def toolchain(tmp_path: Path) -> Toolchain:
    return find_toolchain(str(tmp_path))


def test_one_build_serves_all(tmp_path: Path, toolchain: Toolchain) -> None:
    cache = tmp_path / "größer cache"
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda _: Helper.built(toolchain.go, toolchain.version, cache), range(3)))
    assert len(set(made)) == 1
    assert [path.name for path in cache.iterdir()] == [made[0].program.parent.name]
    assert made[0].ask(NOTHING).edits == ()
    before = made[0].program.stat().st_mtime_ns
    assert Helper.built("/nowhere/go", toolchain.version, cache) == made[0]
    assert made[0].program.stat().st_mtime_ns == before


def test_what_is_meant_for_the_users_program_does_not_matter(
    tmp_path: Path, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags, workspace, target platform, and a go.mod that asks for more than the helper."""
    for name, value in {
        "GOFLAGS": "-mod=vendor -tags=none", "GOWORK": str(tmp_path / "none.work"), "GOOS": "plan9",
        "GOARCH": "arm", "CGO_ENABLED": "1", "GOEXPERIMENT": "", "GO111MODULE": "off",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    helper = Helper.built(toolchain.go, toolchain.version, tmp_path / "cache")
    assert helper.ask(NOTHING).errors == ()


def test_the_helper_is_of_the_users_release(tmp_path: Path, release: str) -> None:
    helper = Helper.built(find_toolchain(str(tmp_path)).go, f"go{release}", tmp_path / "cache")
    said = subprocess.run(["go", "version", helper.program], capture_output=True, text=True, check=True)
    assert said.stdout.split()[-1] == f"go{release}"


def test_a_toolchain_that_does_not_build(tmp_path: Path) -> None:
    broken = tmp_path / "go"
    broken.write_text("#!/bin/sh\necho cannot compile >&2\nexit 1\n")
    broken.chmod(0o755)
    cache = tmp_path / "cache"
    with pytest.raises(HelperNotBuilt, match=r"go1\.25\.0 does not build gotap's Go helper:$") as raised:
        Helper.built(str(broken), "go1.25.0", cache)
    assert raised.value.excerpt == ("cannot compile",)
    with pytest.raises(HelperNotBuilt, match="cannot be run: No such file"):
        Helper.built(str(tmp_path / "none"), "go1.25.0", cache)
    assert list(cache.iterdir()) == []


def test_a_cache_that_cannot_be_written(tmp_path: Path, toolchain: Toolchain) -> None:
    """A file where the folder should be refuses everybody, root too."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CacheError, match="cannot be written"):
        Helper.built(toolchain.go, toolchain.version, tmp_path / "file" / "cache")


def test_helpers_that_do_not_answer(tmp_path: Path) -> None:
    program = tmp_path / "weavehelper"
    with pytest.raises(HelperFailed, match="cannot be run"):
        Helper(program).ask(NOTHING)
    program.write_text("#!/bin/sh\ncat >/dev/null\necho why >&2\nexit ${STATUS}\n")
    program.chmod(0o755)
    os.environ["STATUS"] = "3"
    try:
        with pytest.raises(HelperFailed, match="ends with status 3: why"):
            Helper(program).ask(NOTHING)
        os.environ["STATUS"] = "0"
        with pytest.raises(HelperFailed, match="cannot be read"):
            Helper(program).ask(NOTHING)
    finally:
        del os.environ["STATUS"]


def test_requests_that_are_none_are_refused(tmp_path: Path, toolchain: Toolchain) -> None:
    helper = Helper.built(toolchain.go, toolchain.version, Path(os.environ["GOTAP_CACHE"]) / "helper")
    done = subprocess.run([helper.program], input="[1]", capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the request is not what is expected" in done.stderr
