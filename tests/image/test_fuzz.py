"""Readers under damaged bytes: a value or gotap's own error, within 2 s and 200 MB, whatever they are given."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from fuzz_mutations import mutated
from fuzz_runner import Target
from fuzz_targets import all_targets, target
from gotap.errors import GotapError
from gotap.image.containers.container import read_container
from gotap.image.containers.elf import Elf
from gotap.image.errors import NotExecutable
from gotap.image.facts.reading import read_facts
from gotap.image.functions.tables import read_tables
from gotap.image.image import Image
from gotap.image.types.dwarf import DwarfTypes
from gotap.image.types.rtype import RuntimeTypes
from tiny_go import FILES, INLINED, NAMES
from tiny_images import Tiny, all_images, other_programs

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / "tests" / "fuzzing" / "corpus"
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_stays_repaired(path: Path) -> None:
    with contextlib.suppress(GotapError):
        target(path.parent.name).run(path.read_bytes())


def test_some_tens_of_thousands_of_inputs(tmp_path: Path) -> None:
    """In a process of its own, whose memory is bounded."""
    command = [sys.executable, ROOT / "scripts" / "fuzz.py", "--inputs", "250", "--findings", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


# -- the seeds are what they should be ---------------------------------------------------------------------------


@pytest.mark.parametrize("tiny", all_images(), ids=lambda tiny: tiny.name)
def test_a_tiny_program_is_read_as_what_it_is(tiny: Tiny) -> None:
    container = read_container(tiny.content, tiny.name)
    facts, tables = read_facts(container), read_tables(container)
    assert facts.go is not None
    assert tables is not None
    assert tables.is_obfuscated == ("garbled" in tiny.name)
    assert (facts.go.race, facts.go.build_id is not None, facts.go.functions) == (True, True, len(NAMES))
    if tables.is_obfuscated:
        return
    since = tables.module.layout
    if tiny.name != "macho-fat":
        assert tiny.name.endswith(f"-go{since[0]}.{since[1]}")
    assert facts.go.version == f"{since[0]}.{since[1]}"
    assert tables.names == NAMES
    assert all(function.size == 32 and function.file in FILES for function in tables.functions())
    main = tables.pclntab.find("main.main")
    assert main is not None
    inlined = [call.name for call in tables.pclntab.inlined_calls(main)]
    assert inlined == (list(INLINED) if since >= (1, 18) else [])
    assert len(container.symbols()) == 2
    assert len(container.needed) == 1


@pytest.mark.parametrize("tiny", other_programs(), ids=lambda tiny: tiny.name)
def test_other_programs_are_read_as_what_they_are(tiny: Tiny) -> None:
    facts = read_facts(read_container(tiny.content, tiny.name))
    if tiny.name == "upx":
        assert (facts.packed, facts.language) == ("upx", "go")
    elif tiny.name in ("tinygo", "gccgo"):
        assert facts.go is not None
        assert facts.go.compiler == tiny.name
    else:
        assert facts.language == tiny.name


@pytest.mark.parametrize("tiny", [tiny for tiny in all_images() if tiny.name.startswith("elf64-go1.2")],
                         ids=lambda tiny: tiny.name)  # fmt: skip
def test_its_types_are_those_of_its_debug_information(tiny: Tiny) -> None:
    image = Image(Elf(tiny.content, tiny.name))
    since = image.moduledata.layout
    sources = RuntimeTypes(image.elf, image.moduledata, image.go_version), DwarfTypes(image.elf, image.moduledata.types)
    for source in sources:
        struct, array = source.lookup("main.T"), source.lookup("[3]int")
        assert struct is not None
        assert [(field.name, field.offset) for field in struct.fields] == [("A", 0), ("B", 8)]
        assert struct.fields[0].type.get().name == "int"
        assert array is not None
        assert array.count == 3
    dwarf = sources[1]
    parameters = dwarf.function("main.main") or []
    places = 2 if since >= (1, 26) else 1  # in the location lists of DWARF 5 and 4
    found = [(one.name, one.is_result, len(one.locations)) for one in parameters]
    assert found == [("a", False, places), ("~r0", True, places)]
    functions = [(one.name, one.low_pc) for one in dwarf.functions()]
    assert functions == [("main.main", 0x401000), ("main.inlined", 0x401020)]


@pytest.mark.parametrize("one", all_targets(), ids=lambda one: one.name)
def test_seeds_pass_undamaged(one: Target) -> None:
    for seed in one.seeds:
        if one.name == "container" and not seed.fields:
            with pytest.raises(NotExecutable):  # files that are named for what they are
                one.run(seed.content)
        else:
            one.run(seed.content)


# -- the harness finds what there is to find ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("content[10**6]", "IndexError"),
        ("[0 for _ in iter(int, 1)]", "MemoryError|TookTooLong"),
        ("bytearray(1 << 40)", "MemoryError"),
        ("bytearray(300 << 20)", "MemoryError"),
        ("next(iter(int, 1) for _ in iter(int, 1) if 0)", "TookTooLong"),
    ],
)
def test_the_harness_sees_crashes_hangs_and_memory(program: str, error: str) -> None:
    """In a process of its own, since it bounds all of its memory."""
    code = f"""
import re, sys
sys.path[:0] = {[str(ROOT / "src"), str(ROOT / "tests")]!r}
from fuzz_mutations import Seed
from fuzz_runner import Target, limits, run
target = Target("bad", [Seed("seed", b"seed")], lambda content: {program})
with limits():
    tally = run(target, 1, 0, 3, most_findings=1)
assert re.match({error!r}, tally.findings[0].error), tally
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_input_comes_back_by_its_number() -> None:
    one = target("tables")
    inputs = []
    for number in (7, 7, 8):
        random = Random()
        random.seed(1 << 40 | number)
        inputs.append(mutated(random, one.seeds))
    assert inputs[0] == inputs[1] != inputs[2]
