"""DWARF against reflect in the running program, the linker's symbol table, and pyelftools."""

from __future__ import annotations

import contextlib
import random
import subprocess
from collections.abc import Iterator

import pytest
from elftools.dwarf.die import DIE
from elftools.dwarf.locationlists import BaseAddressEntry, LocationParser
from elftools.elf.elffile import ELFFile

from gobuild import NEWEST, OLDEST, every_version
from gotap.image.containers.elf import Elf
from gotap.image.types.dwarf import DwarfError, DwarfTypes
from typezoo import Zoo, expected, seen_as, typezoo

#: Addresses [low, high) and an expression.
Place = tuple[int, int, bytes]

#: Builds whose debug information the linker lays out in its own way.
BUILDS = [*every_version()] + [(go, mode) for go in (OLDEST, NEWEST) for mode in ("pie", "external")]


def zoo_of(build: str | tuple[str, str]) -> Zoo:
    return typezoo(build) if isinstance(build, str) else typezoo(*build)


@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_types_are_those_of_reflect(build: str | tuple[str, str]) -> None:
    zoo = zoo_of(build)
    types = DwarfTypes(Elf.open(zoo.path))
    assert len(zoo.types) > 60
    for described in zoo.types:
        found = types.lookup(described.name)
        assert found is not None, described.name
        assert seen_as(found) == expected(described)


@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_addresses_are_those_of_the_running_program(build: str | tuple[str, str]) -> None:
    zoo = zoo_of(build)
    types = DwarfTypes(Elf.open(zoo.path))
    without_address = []
    for described in zoo.types:
        found = types.lookup(described.name)
        assert found is not None
        if found.address == 0:
            without_address.append(described.name)
        else:
            assert found.address == described.address, described.name
    # The linker writes none for it before Go 1.26 (ld/dwarf.go, dwarfGenerateDebugInfo).
    assert set(without_address) <= {"unsafe.Pointer"}


def test_import_paths_may_be_written_as_in_source() -> None:
    types = DwarfTypes(Elf.open(typezoo(NEWEST).path))
    found = types.lookup("map[example.com/typezoo.v1/odd.v2.Shape][]example.com/typezoo.v1/odd.v2.Shape")
    assert found is not None
    path = "example.com/typezoo.v1/odd%2ev2.Shape"
    assert found.name == f"map[{path}][]{path}"


def test_what_is_not_there_is_none() -> None:
    zoo = typezoo(NEWEST)
    types = DwarfTypes(Elf.open(zoo.path))
    for name in ("main.Zo", "ain.Zoo", "Zoo", "", "main.main", "no/such.Type", "map.group[int]no/such.Type"):
        assert types.lookup(name) is None, name
    assert types.function("main.nothing") is None
    assert types.variable_address("main.Zoo") is None
    bare = DwarfTypes(Elf.open(typezoo(NEWEST, "stripped").path))
    assert bare.lookup("main.Zoo") is None
    assert list(bare.functions()) == []


@pytest.mark.parametrize("go", every_version())
def test_variables_are_where_the_symbol_table_has_them(go: str) -> None:
    zoo = typezoo(go)
    types = DwarfTypes(Elf.open(zoo.path))
    symbols = {}
    for line in subprocess.check_output(["go", "tool", "nm", zoo.path], text=True).splitlines():
        address, _, name = line.strip().partition(" ")
        symbols[name.partition(" ")[2]] = address
    for name in ("os.Args", "io.EOF", "runtime.m0", "runtime.allgs", "unicode/utf8.acceptRanges"):
        assert types.variable_address(name) == int(symbols[name], 16), name


@pytest.mark.parametrize("go", every_version())
def test_buckets_and_groups_of_maps(go: str) -> None:
    types = DwarfTypes(Elf.open(typezoo(go).path))
    swiss = types.lookup("internal/runtime/maps.Map") is not None
    kept = types.lookup("map.group[string]*main.Inner" if swiss else "map.bucket[string]*main.Inner")
    assert kept is not None
    assert types.lookup("map.bucket[string]*main.Inner" if swiss else "map.group[string]*main.Inner") is None
    fields = {field.name: (field.offset, field.type.get()) for field in kept.fields}
    if swiss:
        slots = fields["slots"][1]
        assert (fields["ctrl"][0], fields["slots"][0], slots.count) == (0, 8, 8)
        assert slots.elem is not None
        assert [(f.name, f.offset) for f in slots.elem.get().fields] == [("key", 0), ("elem", 16)]
    else:
        assert {name: offset for name, (offset, _) in fields.items()} == {
            "topbits": 0,
            "keys": 8,
            "elems": 8 + 8 * 16,
            "overflow": 8 + 8 * 24,
        }


@pytest.mark.parametrize("go", every_version())
def test_parameters_and_their_places_are_those_of_pyelftools(go: str) -> None:
    zoo = typezoo(go)
    types = DwarfTypes(Elf.open(zoo.path))
    compared = 0
    for name, children in _subprograms(zoo, "main"):
        parameters = types.function(name)
        assert parameters is not None, name
        named = {parameter.name: parameter for parameter in parameters}
        for child_name, is_result, places in children:
            parameter = named[child_name]
            assert parameter.is_result == is_result
            assert [(p.low, p.high, p.expression) for p in parameter.locations] == places, (name, child_name)
            compared += len(places)
    assert compared > 20


def _subprograms(zoo: Zoo, package: str) -> Iterator[tuple[str, list[tuple[str, bool, list[Place]]]]]:
    """Functions of a package's unit that pyelftools finds with code of their own, and their formal parameters."""
    with zoo.path.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        parser = LocationParser(dwarf.location_lists())
        unit = next(unit for unit in dwarf.iter_CUs() if _name(unit.get_top_DIE()) == package)
        for die in unit.get_top_DIE().iter_children():
            if die.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in die.attributes:
                children = [child for child in die.iter_children() if child.tag == "DW_TAG_formal_parameter"]
                yield (
                    _name(_origin(die)),
                    [
                        (_name(_origin(c)), bool(_origin(c).attributes["DW_AT_variable_parameter"].value), places)
                        for c in children
                        if (places := _places(c, parser)) is not None
                    ],
                )


def _name(die: DIE) -> str:
    return die.attributes["DW_AT_name"].value.decode()


def _origin(die: DIE) -> DIE:
    return die.get_DIE_from_attribute("DW_AT_abstract_origin") if "DW_AT_abstract_origin" in die.attributes else die


def _places(variable: DIE, parser: LocationParser) -> list[Place] | None:
    """The variable's places by absolute address; None for one that has a single place."""
    unit, location = variable.cu, variable.attributes["DW_AT_location"]
    if location.form != "DW_FORM_sec_offset":
        return None
    told = parser.parse_from_attribute(location, unit["version"], variable)
    base = unit.get_top_DIE().attributes["DW_AT_low_pc"].value
    places = []
    for entry in told:
        if isinstance(entry, BaseAddressEntry):
            base = entry.base_address
            continue
        offset = 0 if entry.is_absolute else base
        place = (entry.begin_offset + offset, entry.end_offset + offset, bytes(entry.loc_expr))
        if place[2] and place[0] < place[1]:
            places.append(place)
    return places


class _Damaged:
    """An executable's debug sections, some bytes of one of them replaced."""

    def __init__(self, elf: Elf, damaged: str, randomness: random.Random) -> None:
        self._elf = elf
        content = bytearray(elf.section_data(damaged) or b"")
        for _ in range(randomness.randrange(1, 2000)):
            content[randomness.randrange(len(content))] = randomness.randrange(256)
        if randomness.random() < 0.3:
            del content[randomness.randrange(len(content)) :]
        self._sections = {damaged: bytes(content)}

    def section_data(self, name: str) -> bytes | None:
        return self._sections[name] if name in self._sections else self._elf.section_data(name)

    def symbols(self) -> dict[str, tuple[int, int]]:
        return {}


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_damage_is_told_and_never_crashes(go: str) -> None:
    elf = Elf.open(typezoo(go).path)
    locations = ".debug_loc" if elf.section_data(".debug_loc") else ".debug_loclists"
    for seed in range(24):
        randomness = random.Random(seed)
        section = randomness.choice((".debug_info", ".debug_info", ".debug_abbrev", locations))
        types = DwarfTypes(_Damaged(elf, section, randomness))  # type: ignore[arg-type]
        for name in ("main.Zoo", "*main.Zoo", "io.Reader", "map[string]*main.Inner", "runtime.g"):
            with contextlib.suppress(DwarfError):
                if (found := types.lookup(name)) is not None:
                    [field.type.get() for field in found.fields]
        for name in ("main.describe", "main.main", "os.ReadFile"):
            with contextlib.suppress(DwarfError):
                types.function(name)
