"""The memory that gotap's cgroup leaves: both hierarchies, limits of ancestors, and no limit at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from gotap.kernel import cgroup
from gotap.kernel.cgroup import Room, memory_finding, memory_room


def version2(top: Path, **places: tuple[str, str]) -> str:
    """A unified hierarchy: place → memory.max, memory.current. The text of its mounts."""
    for place, (limit, used) in places.items():
        directory = top / place.replace("_", "/")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "memory.max").write_text(f"{limit}\n")
        (directory / "memory.current").write_text(f"{used}\n")
    return f"proc /proc proc rw 0 0\ncgroup2 {top} cgroup2 rw,nosuid 0 0\n"


def test_the_tightest_of_all_ancestors_counts(tmp_path: Path) -> None:
    mounts = version2(tmp_path, system=("400", "100"), system_one=("max", "50"), system_one_two=("900", "40"))
    assert memory_room("0::/system/one/two\n", mounts) == Room("/system", 400, 100)
    assert memory_room("0::/system/one/two\n", mounts).left == 300  # type: ignore[union-attr]


def test_no_limit(tmp_path: Path) -> None:
    found = memory_room("0::/free\n", version2(tmp_path, free=("max", "50")))
    assert found is not None
    assert found.left is None


def test_version_1_has_a_hierarchy_of_its_own(tmp_path: Path) -> None:
    own = tmp_path / "docker" / "abc"
    own.mkdir(parents=True)
    for directory, limit in ((own, 1000), (own.parent, 9223372036854771712), (tmp_path, 9223372036854771712)):
        (directory / "memory.limit_in_bytes").write_text(f"{limit}\n")
        (directory / "memory.usage_in_bytes").write_text("700\n")
    mounts = f"cgroup {tmp_path} cgroup rw,relatime,memory 0 0\ncgroup2 /nowhere cgroup2 rw 0 0\n"
    assert memory_room("4:memory:/docker/abc\n0::/\n", mounts) == Room("/docker/abc", 1000, 700)


def test_nothing_mounted() -> None:
    assert memory_room("0::/a\n", "proc /proc proc rw 0 0\n") is None


def test_an_overdrawn_limit_leaves_nothing(tmp_path: Path) -> None:
    found = memory_room("0::/a\n", version2(tmp_path, a=("100", "120")))
    assert found is not None
    assert found.left == 0


@pytest.mark.parametrize(("room", "ok", "told"), [
    (None, True, "none"),
    (Room("/", None), True, "no limit"),
    (Room("/", 1 << 30, 1 << 20), True, "limit 1024 MiB, of which 1023 are left"),
    (Room("/pod", 64 << 20, 32 << 20), False, "limit 64 MiB, of which 32 are left (/pod)"),
])  # fmt: skip
def test_the_finding(room: Room | None, ok: bool, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "memory_room", lambda *_: room)
    found = memory_finding()
    assert found.ok is ok
    assert found.detail.startswith(told)
    assert ("raise it by 96 MiB" in found.remedy) == (not ok)
