"""Layouts of Swiss maps against what the compiler wrote into the runtime's own descriptors of map types."""

from __future__ import annotations

import re
import subprocess

import pytest

import gobuild
from gotap.image.facts.goversion import GoVersion
from gotap.image.image import Image
from gotap.image.types.gotypes import Kind, Type, TypeRef
from gotap.probe import ir
from gotap.probe.expression import ExpressionError
from gotap.probe.maps import map_layout
from gotap.probe.typing import STRING


def map_of(size: int) -> Type:
    elem = Type(f"[{size}]uint8", Kind.ARRAY, size, count=size, elem=TypeRef(Type("uint8", Kind.UINT, 1)))
    return Type(f"map[string]{elem.name}", Kind.MAP, 8, key=TypeRef(STRING), elem=TypeRef(elem))


def described(words: list[int], version: GoVersion) -> dict[str, int]:
    """What the descriptor says: since 1.27 offsets and strides of both, before only those of interleaved slots."""
    if version.at_least(1, 27):
        return dict(zip(("group_size", "keys", "key_stride", "elems", "elem_stride"), words, strict=False))
    group, slot, elem = words[:3]
    return {"group_size": group, "keys": 8, "key_stride": slot, "elems": 8 + elem, "elem_stride": slot}


@pytest.mark.parametrize(
    ("go", "experiment"),
    [("1.24.13", ""), (gobuild.NEWEST, ""), (gobuild.NEWEST, "mapsplitgroup"), (gobuild.NEWEST, "nomapsplitgroup")],
)
def test_layouts_are_those_of_the_compiler(go: str, experiment: str) -> None:
    program = gobuild.build("maplayout", go, experiment=experiment)
    version = Image.open(program).go_version
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(said) == 8
    for line in said:
        size, *words = map(int, re.findall(r"\d+", line))
        layout = map_layout(map_of(size), version)
        assert isinstance(layout, ir.SwissLayout)
        wanted = described(words, version)
        assert {name: getattr(layout, name) for name in wanted} == wanted, f"elements of {size} bytes"


def test_large_elements_are_refused_for_they_stand_elsewhere() -> None:
    version = GoVersion.parse("go1.26")
    assert version is not None
    with pytest.raises(ExpressionError, match="behind pointers"):
        map_layout(map_of(129), version)
