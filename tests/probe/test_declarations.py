"""The catalogue's struct definitions against the DWARF of every Go version."""

import pytest

from gobuild import ALL, NEWEST, OLDEST, build
from gotap.image.image import Image
from gotap.image.types.declared import DeclaredTypes, mismatches
from gotap.image.types.dwarf import DwarfTypes
from gotap.probe.catalogue import runtime

VERSIONS = [
    version if version in (OLDEST, NEWEST) else pytest.param(version, marks=pytest.mark.matrix) for version in ALL
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", [f"runtime.{name}" for name in ("g", "m", "gobuf", "stack", "_panic", "hmap")])
def test_declared_structs_are_those_of_the_compiler(version: str, name: str) -> None:
    image = Image.open(build("httpserver", version))
    actual = DwarfTypes(image.elf).lookup(name)
    if name == "runtime.hmap" and image.go_version.at_least(1, 24):
        return  # Swiss maps
    declared = DeclaredTypes(runtime().declarations, image.go_version).lookup(name)
    assert actual is not None
    assert declared is not None
    assert mismatches(declared, actual) == []
