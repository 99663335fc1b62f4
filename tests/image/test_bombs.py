"""Files made to cost much time or memory: each is done within 2 s of CPU and 200 MB, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fuzz_bombs import compressed_zeros, debug_bombs, nested_structs, sparse_programs, write_sparse

TESTS = Path(__file__).parents[1]

#: Every question to one file; what gotap refuses is refused within the same bounds.
_ASK = """
import sys
sys.path[:0] = {path!r}
from fuzz_runner import Target, check, limits
from fuzz_targets import _walk, read_build_info, target, versions_in_data
from gotap.image.containers.container import open_container, read_container
from gotap.image.types.dwarf import DwarfTypes
from gotap.image.containers.elf import Elf
from gotap.image.image import Image
from gotap.image.facts.language import language_of
from gotap.image.facts.reading import read_facts
from gotap.image.types.rtype import RuntimeTypes
from gotap.image.functions.tables import read_tables

def names(file):
    tables = read_tables(file)
    return tables and (len(tables.names), tables.inlined_calls, tables.pclntab.files)

def types(file):
    image = Image(file)
    return RuntimeTypes(file, image.moduledata, image.go_version)

questions = dict(
    facts=read_facts, names=names, language=language_of, versions=versions_in_data, build=read_build_info,
    symbols=lambda file: file.symbols(), notes=lambda file: list(file.notes()), words=lambda file: file.relocated,
    dwarf=lambda file: _walk(DwarfTypes(file)),
    types=lambda file: _walk(types(file)), name=lambda file: types(file).lookup("struct"),
)
kind, path = sys.argv[1:]
findings = []
file = None if kind != "file" else open_container(path)
with limits():
    if file is None:
        findings.append(check(target(kind), open(path, "rb").read()))
    else:
        for name, question in questions.items():
            findings.append(check(Target(name, [], lambda _: question(file)), b""))
bad = [finding for finding in findings if not isinstance(finding, str)]
print(findings)
sys.exit(bool(bad))
"""


def ask(path: Path, kind: str = "file") -> None:
    code = _ASK.format(path=[str(TESTS), str(TESTS.parent / "src")])
    result = subprocess.run([sys.executable, "-c", code, kind, path], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def sparse(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "sparse"
    yield path
    path.unlink()


@pytest.mark.parametrize("name", sparse_programs())
def test_a_file_of_100_gb(name: str, sparse: Path) -> None:
    write_sparse(sparse, sparse_programs()[name])
    ask(sparse)


@pytest.mark.parametrize("name", debug_bombs())
def test_debug_information(name: str, tmp_path: Path) -> None:
    path = tmp_path / "sections"
    path.write_bytes(debug_bombs()[name])
    ask(path, "dwarf")


def test_a_name_that_doubles_at_each_level(tmp_path: Path) -> None:
    path = tmp_path / "nested"
    path.write_bytes(nested_structs(40).content)
    ask(path)


def test_a_type_within_a_type_within_a_type(tmp_path: Path) -> None:
    path = tmp_path / "nested"
    path.write_bytes(nested_structs(5000).content)
    ask(path)


def test_a_section_that_decompresses_to_a_gigabyte(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(compressed_zeros(1 << 30))
    ask(path)


@pytest.mark.parametrize("text", ["[]" * 50_000 + "int", "(" * 50_000, "func(" * 50_000, "map[" * 50_000])
def test_texts_of_types(text: str, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text(text)
    ask(path, "typetext")
