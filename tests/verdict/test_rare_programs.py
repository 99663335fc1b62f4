"""Programs that no probe can be set in, really made so: the verdict says why, and its remedy ends it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import gobuild
import packers
from gotap.verdict.model import Finding
from oldgo import build_plain
from verdicts import held, rebuilt, verdict

TOO_OLD = "1.17.13"


def refused(target: Path, id: str) -> Finding:
    """The condition, which is why uprobes do not work."""
    found = verdict(target)
    assert found.mechanisms["uprobe"].works is False
    assert id in found.mechanisms["uprobe"].because
    return held(found)[id]


def test_packed(tmp_path: Path) -> None:
    packed = packers.upx_packed(gobuild.build("httpserver", gobuild.NEWEST, mode="stripped"), tmp_path / "server")
    found = refused(packed, "packed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/upx").symlink_to(packers.upx())
    gobuild.typed("", f"PATH={tmp_path}/bin:$PATH {found.remedy}", tmp_path)
    assert "packed" not in held(verdict(packed))
    assert verdict(packed).mechanisms["uprobe"].works is True


def test_obfuscated() -> None:
    """garble takes the build info, so the remedy does not know the package's path."""
    found = refused(packers.garbled("hello"), "obfuscated")
    rebuilt(found, gobuild.NEWEST, "hello", works=False)


@pytest.mark.matrix
def test_too_old(tmp_path: Path) -> None:
    """The remedy downloads a release that no other test needs."""
    executable = Path(shutil.copy(build_plain(TOO_OLD, "linux", "amd64"), tmp_path / "plainold"))
    found = refused(executable, "too-old")
    assert TOO_OLD in found.evidence
    rebuilt(found, gobuild.NEWEST, "plainold", prepare="echo module example.com/plainold > go.mod", works=False)
