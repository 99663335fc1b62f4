"""Runtime type metadata against reflect in the running program, and against DWARF of the same program."""

from __future__ import annotations

import contextlib
import random
import re

import pytest

from gobuild import NEWEST, OLDEST, every_version
from gotap.image.containers.elf import Elf
from gotap.image.image import Image
from gotap.image.types.dwarf import DebugInfo, DwarfTypes
from gotap.image.types.dwarf.constants import Attribute, Tag
from gotap.image.types.gotypes import Type
from gotap.image.types.rtype import RuntimeTypes, TypesDamaged
from typezoo import Zoo, expected, seen_as, typezoo

MODES = ("stripped", "pie", "pie_stripped", "external", "race")
BUILDS = [
    *every_version(),
    *((go, "pie_stripped") for go in (OLDEST, NEWEST)),
    *(pytest.param((go, mode), marks=pytest.mark.matrix) for go in (OLDEST, NEWEST) for mode in MODES),
]


def zoo_of(build: str | tuple[str, str]) -> Zoo:
    return typezoo(build) if isinstance(build, str) else typezoo(*build)


def runtime_types(zoo: Zoo) -> RuntimeTypes:
    image = Image.open(zoo.path)
    return RuntimeTypes(image.elf, image.moduledata, image.go_version)


@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_descriptors_are_those_of_the_running_program(build: str | tuple[str, str]) -> None:
    zoo = zoo_of(build)
    types = runtime_types(zoo)
    assert len(zoo.types) > 60
    for described in zoo.types:
        assert types.name_at(described.address) == described.name
        found = types.at(described.address)
        assert seen_as(found) == expected(described)
        assert found.address == described.address


@pytest.mark.parametrize("build", BUILDS, ids=str)
def test_every_type_is_found_by_its_name(build: str | tuple[str, str]) -> None:
    zoo = zoo_of(build)
    types = runtime_types(zoo)
    for described in zoo.types:
        found = types.lookup(described.name)
        assert found is not None, described.name
        assert found.address == described.address
    assert types.lookup("example.com/typezoo.v1/odd.v2.Shape") is types.lookup("example.com/typezoo.v1/odd%2ev2.Shape")


def test_packages_of_one_name_are_told_apart() -> None:
    types = runtime_types(typezoo(NEWEST, "stripped"))
    assert types.lookup("internal/poll.FD") is not None
    assert types.lookup("poll.FD") is None
    assert types.lookup("other/poll.FD") is None
    assert types.lookup("*other/poll.FD") is None
    assert types.lookup("") is None
    assert types.lookup("map.group[int]no/such.Type") is None


@pytest.mark.parametrize("go", every_version())
def test_agrees_with_dwarf_on_every_type(go: str) -> None:
    """Names but for `noalg.` and the number of function-local types, which runtime metadata does not have."""
    zoo = typezoo(go)
    types = runtime_types(zoo)
    dwarf = DwarfTypes(Elf.open(zoo.path))
    compared = found = 0
    for name in _types_with_descriptors(Elf.open(zoo.path)):
        described = dwarf.lookup(name)
        if described is None or described.address == 0:
            continue
        compared += 1
        same = types.at(described.address)
        if "map.bucket[" not in name and "map.group[" not in name:
            assert _structure(same) == _structure(described)
        found += types.lookup(_plain(name)) is same
    assert compared > 600
    # Not found by name: unnamed interfaces that only code refers to, types a function declares, noalg twins.
    assert found > 0.85 * compared, f"{found} of {compared}"


def _types_with_descriptors(elf: Elf) -> list[str]:
    debug = DebugInfo(elf)
    return [
        entry.name
        for unit in debug.units
        for entry in debug.children(debug.entry(unit.first_entry))
        if entry.number(Attribute.GO_RUNTIME_TYPE) and entry.tag != Tag.VARIABLE
    ]


def _structure(type_: Type) -> tuple:
    fields = tuple((f.name, f.offset, _plain(f.type.get().name), f.embedded) for f in type_.fields)
    parts = [_plain(part.get().name) for part in (type_.elem, type_.key) if part is not None]
    return (_plain(type_.name), type_.kind, type_.size, type_.count, type_.empty, parts, fields)


def _plain(name: str) -> str:
    # Types inside a map's bucket keep the package's name: their text is all there is.
    name = re.sub(r"·\d+", "", name.replace("noalg.", ""))
    return re.sub(r"map\.(bucket|group)\[.*", r"map.\1", name)


@pytest.mark.parametrize("go", every_version())
def test_buckets_and_groups_of_maps(go: str) -> None:
    zoo = typezoo(go)
    types, dwarf = runtime_types(zoo), DwarfTypes(Elf.open(zoo.path))
    for map_name in ("[string]*main.Inner", "[[2]int]map[string]interface {}", "[main.big]main.big"):
        kept = [types.lookup(f"map.{word}{map_name}") for word in ("bucket", "group")]
        assert kept.count(None) == 1
        word = "bucket" if kept[0] is not None else "group"
        mine, theirs = types.lookup(f"map.{word}{map_name}"), dwarf.lookup(f"map.{word}{map_name}")
        assert mine is not None
        assert theirs is not None
        assert (mine.name, mine.size) == (theirs.name, theirs.size) == (f"map.{word}{map_name}", mine.size)
        assert [(f.name, f.offset) for f in mine.fields] == [(f.name, f.offset) for f in theirs.fields]


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_damage_is_told_and_never_crashes(go: str) -> None:
    zoo = typezoo(go)
    image = Image.open(zoo.path)
    module, version = image.moduledata, image.go_version
    content = zoo.path.read_bytes()
    start = image.elf.offset_of(module.types)
    assert start is not None
    for seed in range(24):
        randomness = random.Random(seed)
        damaged = bytearray(content)
        for _ in range(randomness.randrange(1, 3000)):
            damaged[start + randomness.randrange(module.etypes - module.types)] = randomness.randrange(256)
        types = RuntimeTypes(Elf(bytes(damaged)), module, version)
        for described in zoo.types:
            with contextlib.suppress(TypesDamaged):
                types.name_at(described.address)
                [field.type.get() for field in types.at(described.address).fields]
        with contextlib.suppress(TypesDamaged):
            types.lookup("main.Zoo")
            types.lookup("no/such.Type")


def test_addresses_of_other_things_are_told() -> None:
    image = Image.open(typezoo(NEWEST).path)
    types = RuntimeTypes(image.elf, image.moduledata, image.go_version)
    for address in (0, 8, image.moduledata.text, image.moduledata.types, image.moduledata.etypes, 1 << 63):
        with pytest.raises(TypesDamaged):
            types.at(address)
