"""Types of real binaries: DWARF says the same as the runtime's metadata, which is why it need not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz_bombs import sparse_programs, write_sparse
from gobuild import ALL, NEWEST, OLDEST, build
from gotap.image.containers.elf import Elf
from gotap.image.image import Image
from gotap.image.types.dwarf import DwarfTypes
from gotap.image.types.gotypes import LayeredTypes
from gotap.image.types.rtype import RuntimeTypes
from gotap.probe.binding import Binding, bind
from gotap.probe.catalogue import libraries, runtime
from gotap.probe.sources import types_of
from gotap.probe.typing import Types

VERSIONS = [one if one in (OLDEST, NEWEST) else pytest.param(one, marks=pytest.mark.matrix) for one in ALL]


def bound_by_dwarf(image: Image) -> Binding:
    """DWARF describes every type; where descriptors are, only the runtime's metadata tells."""
    metadata = RuntimeTypes(image.elf, image.moduledata, image.go_version)
    types = Types(LayeredTypes([DwarfTypes(image.elf, image.moduledata.types), metadata]), metadata)
    return bind(image, types, libraries(), runtime())


def told(binding: Binding) -> list[object]:
    operations = [(one.output, one.probes, one.missing) for one in binding.operations]
    return [operations, binding.spawn, binding.goid, binding.stack_high, binding.missing]


@pytest.mark.parametrize("version", VERSIONS)
def test_bindings_are_those_that_dwarf_gives(version: str) -> None:
    image = Image.open(build("httpserver", version))
    binding = bind(image, types_of(image, runtime()), libraries(), runtime())
    assert binding.bound
    assert told(binding) == told(bound_by_dwarf(image))


@pytest.mark.parametrize("version", VERSIONS)
def test_dwarf_is_not_read_when_the_metadata_knows_the_types(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Elf, name: str) -> bytes:
        raise AssertionError(f"{name} was read")

    image = Image.open(build("httpserver", version))
    monkeypatch.setattr(Elf, "section_data", refuse)
    assert bind(image, types_of(image, runtime()), libraries(), runtime()).bound


def test_debug_information_that_cannot_be_read_is_as_none(tmp_path: Path) -> None:
    """Sections that claim 50 GB each; what the metadata or the declarations know is told all the same."""
    path = tmp_path / "program"
    write_sparse(path, sparse_programs()["sections"])
    types = types_of(Image.open(path), runtime())
    path.unlink()
    assert types.source.lookup("main.T") is not None
    assert types.source.lookup("main.absent") is None
