"""Files made to harm whoever looks at them: names that steer terminals, holes of gigabytes, files that change."""

from __future__ import annotations

import json
import os
import signal
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import gotap
from fuzz_bombs import sparse_programs, write_sparse
from gotap.commands.main import main
from gotap.image.facts import reading
from tiny_go import Recipe
from tiny_images import make_elf

#: Texts of the tiny program → others of the same length that a terminal would obey.
HOSTILE = {
    b"main.helper": b"main.\x1b[31mr",
    b"mod\tm\tv1.0.0": b"mod\t\x1b\tv\x9b.\x07.0",
    b"dep\td\tv1": b"dep\t\x07\t\x1b1",
    b"path\tcommand": b"path\t\x1b]0;a\x07\xff",
    b"GOOS=linux": b"GO\x1bS=l\x0bn\x85x",
    b"libc.so.6": b"lib\x1b.so.6",
    b"tiny/id": b"ti\x1b[/id",
    b"/src/main.go": b"/s\x1b[31min.go",
}


def hostile_program() -> bytes:
    content = make_elf(Recipe((1, 26))).content
    for text, other in HOSTILE.items():
        assert text in content
        assert len(text) == len(other)
        content = content.replace(text, other)
    return content


def is_harmless(output: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in output)


@pytest.mark.parametrize(
    "options",
    [[], ["-v"], ["--functions", "main"], ["--modules"], ["--inlined", "main."], ["--libraries", "-v"], ["--json"]],
    ids=" ".join,
)
def test_names_within_a_file_do_not_steer_the_terminal(options: list[str], tmp_path: Path) -> None:
    directory = tmp_path / "\x1b[31m\udcff\n"
    directory.mkdir()
    path = directory / "program\x07"
    path.write_bytes(hostile_program())
    done = gotap("inspect", *options, str(path))
    assert done.code == 0, done.err
    assert done.out
    assert is_harmless(done.out.decode("utf-8", "surrogateescape"))
    assert is_harmless(done.err)
    if options == ["--json"]:
        told = json.loads(done.out)
        assert told["go"]["settings"]["GO\x1bS"] == "l"
        assert told["target"] == str(path)


def test_a_symbol_of_a_megabyte(tmp_path: Path) -> None:
    """It runs through what stands behind it in the file, which so is another's: told, and not printed."""
    content = bytearray(make_elf(Recipe((1, 26))).content)
    table = content.index(struct.pack("<IHBB", 0xFFFFFFF1, 0, 1, 8))
    size = 1 << 20
    (names,) = struct.unpack_from("<Q", content, table + 8 + 8 * 3)
    at = table + names
    content[at : content.index(b"\0", at)] = b"A\x1b" * (size // 2)
    path = tmp_path / "long"
    path.write_bytes(content)
    for options in ([], ["-v"], ["--functions", "A"], ["--json"]):
        done = gotap("inspect", *options, str(path))
        assert done.code in (0, 1)
        assert len(done.out) + len(done.err) < 1 << 16
        assert is_harmless(done.out.decode())
        assert "Traceback" not in done.err


@pytest.mark.parametrize("name", ["a segment of data", "no table", "sections"])
def test_a_program_with_holes_of_100_gb(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    write_sparse(path, sparse_programs()[name])
    done = gotap("inspect", "-v", str(path))
    path.unlink()
    assert done.code == 0, done.err


def test_what_cannot_be_read_keeps_no_other_from_being_read(tmp_path: Path) -> None:
    good, fifo, cut = tmp_path / "good", tmp_path / "fifo", tmp_path / "cut"
    good.write_bytes(make_elf(Recipe((1, 26))).content)
    cut.write_bytes(good.read_bytes()[:2000])
    os.mkfifo(fifo)
    targets = (fifo, cut, tmp_path, good, Path("/dev/null"), tmp_path / "none")
    done = gotap("inspect", "--json", *map(str, targets))
    assert done.code == 1
    objects = [json.loads(line) for line in done.out.splitlines()]
    assert [bool(one["errors"]) for one in objects] == [True, True, True, False, True, True]
    assert objects[3]["go"]["functions"] == 4


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda path: os.truncate(path, 0), "changed while it was read"),
        (lambda path: os.truncate(path, 3000), "changed while it was read"),
        (lambda path: os.utime(path, ns=(0, 0)), "changed while it was read"),
        (lambda path: path.unlink(), ""),
    ],
    ids=["emptied", "cut", "written to", "removed"],
)
def test_a_file_that_changes_meanwhile(
    change: Callable[[Path], None], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = tmp_path / "program"
    path.write_bytes(make_elf(Recipe((1, 26))).content)
    first = reading.packer

    def changed(container: object) -> object:
        change(path)
        return first(container)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "packer", changed)
    interrupt = signal.getsignal(signal.SIGINT)
    code = main(["inspect", str(path)])
    signal.signal(signal.SIGINT, interrupt)
    output = capsys.readouterr()
    assert code == bool(told), output
    assert told in output.err
