"""Files that are cut, written to or replaced while they are mapped: an error that says so, never a crash."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gotap.image.containers.container import open_container
from gotap.image.containers.mapping import FileMap, map_file
from gotap.image.errors import ChangedFile
from gotap.image.facts.reading import read_facts
from tiny_go import Recipe
from tiny_images import make_elf

READS: dict[str, Callable[[FileMap], object]] = {
    "a slice": lambda mapped: mapped[600_000:600_010],
    "a search": lambda mapped: mapped.find(b"B"),
    "an expression": lambda mapped: re.search(b"B", mapped),
    "an array": lambda mapped: np.frombuffer(mapped, np.uint8).astype(np.int64).sum(),
}


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big"
    path.write_bytes(b"A" * (1 << 20))
    return path


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_cut_while_it_is_read(big: Path, read: Callable[[FileMap], object]) -> None:
    mapped = map_file(big)
    os.truncate(big, 5000)
    read(mapped)
    with pytest.raises(ChangedFile, match="big changed while it was read"):
        mapped.check()
    assert mapped[:5000] == b"A" * 4096 + mapped[4096:5000]
    assert not any(mapped[8192:9000]), "what was lost is zeros"


def test_lost_and_complete_again_is_still_told(big: Path) -> None:
    mapped, state = map_file(big), os.stat(big)
    os.truncate(big, 0)
    assert mapped[:4] == bytes(4)
    big.write_bytes(b"A" * (1 << 20))
    os.utime(big, ns=(state.st_atime_ns, state.st_mtime_ns))
    with pytest.raises(ChangedFile):
        mapped.check()


def test_written_to(big: Path) -> None:
    mapped = map_file(big)
    os.utime(big, ns=(0, 0))  # as a write does, with no need to wait for the clock
    with pytest.raises(ChangedFile):
        mapped.check()


def test_replaced_or_removed_is_no_change(big: Path) -> None:
    mapped = map_file(big)
    other = big.with_name("other")
    other.write_bytes(b"B")
    other.replace(big)
    assert mapped.find(b"B") < 0
    mapped.check()
    big.unlink()
    mapped.check()


def test_facts_of_a_file_that_shrinks_are_not_told(tmp_path: Path) -> None:
    path = tmp_path / "tiny"
    path.write_bytes(make_elf(Recipe((1, 26))).content)
    container = open_container(path)
    os.truncate(path, 0)
    with pytest.raises(ChangedFile, match="tiny changed"):
        read_facts(container)


def test_signals_of_other_mappings_do_what_they_did(big: Path, tmp_path: Path) -> None:
    """A mapping that is not gotap's ends the program, as without gotap."""
    foreign = tmp_path / "foreign"
    foreign.write_bytes(bytes(8192))
    program = f"""
import mmap, os, sys
sys.path[:0] = {sys.path!r}
from gotap.image.containers.mapping import map_file
mapped = map_file({str(big)!r})
os.truncate({str(big)!r}, 0)
assert mapped[:3] == bytes(3)
with open({str(foreign)!r}, "r+b") as file:
    other = mmap.mmap(file.fileno(), 0)
os.truncate({str(foreign)!r}, 0)
print("so far", flush=True)
other[0]
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == -signal.SIGBUS, result.stderr
    assert result.stdout == "so far\n"
