"""A program packed by UPX, while it runs: its facts are those of the program before it was packed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gobuild import NEWEST, OLDEST, build
from gotap.image.facts.reading import read_facts
from gotap.process.proc import Process
from gotap.process.reading import read_surroundings
from gotap.process.unpacked import read_unpacked_facts
from packers import upx_packed
from processes import running


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_packed_program_is_read_from_its_memory(go: str, tmp_path: Path) -> None:
    original = build("pluginhost", go, mode="cgo0")
    packed = upx_packed(original, tmp_path / "packed")
    file, expected = read_facts(packed), read_facts(original)
    assert file.packed == "upx"
    assert expected.go is not None
    with running(str(packed)) as child, Process(child.pid) as process:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        found = read_unpacked_facts(process, file)
        assert read_surroundings(process).images == ()  # no file holds what runs
    assert found is not None
    assert found.go is not None
    assert found.packed == found.go.packed == "upx"
    assert "memory of a process" in found.evidence["unpacked"]
    unknown = {"packed", "symtab", "dwarf", "section_table"}
    for name in expected.go.__struct_fields__:
        if name not in unknown:
            assert getattr(found.go, name) == getattr(expected.go, name), name
    assert (found.language, found.os, found.arch) == ("go", "linux", "amd64")


def test_program_that_unpacked_nothing() -> None:
    with running("sleep", "60") as child, Process(child.pid) as process:
        facts = read_facts(process.exe)
        assert read_unpacked_facts(process, facts) is None
