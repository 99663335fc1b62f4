"""Values read from a live program against what the program says of them itself, by fmt and reflect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import gobuild
from gotap.image.types.dwarf import DwarfTypes
from gotap.signals.values import ImageMemory, Memory, SnapshotMemory, decode, to_json, to_text
from gotap.signals.values.memory import Chunk
from valuezoo import Zoo, running_zoo

DESIGNS = ("1.23.12", "1.24.13")  # the last one with buckets, the first one with Swiss tables


def _versions() -> list[object]:
    always = (gobuild.OLDEST, *DESIGNS, gobuild.NEWEST)
    return [go if go in always else pytest.param(go, marks=pytest.mark.matrix) for go in gobuild.ALL]


@pytest.fixture(scope="module", params=_versions())
def go(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def zoo(go: str) -> Iterator[Zoo]:
    with running_zoo(go) as zoo:
        yield zoo


def comparable(form: Any) -> Any:
    """A JSON form whose maps' entries stand in one order, and in which 1.0 and 1 differ."""
    if isinstance(form, dict):
        plain = {key: comparable(value) for key, value in form.items()}
        if isinstance(plain.get("map"), list):
            plain["map"].sort(key=lambda entry: json.dumps(entry))
        return plain
    return [comparable(one) for one in form] if isinstance(form, list) else form


def differences(zoo: Zoo) -> list[str]:
    """Without captured variables, of which the program itself cannot tell."""
    context = zoo.context(captures=lambda entry: None)
    found = []
    for one in zoo.specimens:
        value = decode(zoo.type(one), zoo.root(one), zoo.memory, context)
        form = json.loads(json.dumps(to_json(value), allow_nan=False))
        if comparable(form) != comparable(one.json):
            found.append(f"{one.name}: {form} is not {one.json}")
        if to_text(value) != one.text:
            found.append(f"{one.name}: {to_text(value)!r} is not {one.text!r}")
    return found


def test_values_are_what_the_program_says(zoo: Zoo) -> None:
    assert len(zoo.specimens) > 250
    assert differences(zoo) == []


def test_types_of_debug_information_give_the_same_values(zoo: Zoo) -> None:
    dwarf = DwarfTypes(zoo.image.elf, zoo.image.moduledata.types)
    context = zoo.context(captures=lambda entry: None)
    for one in zoo.specimens:
        type = dwarf.lookup(zoo.type(one).name)
        assert type is not None, one.name
        value = decode(type, zoo.root(one), zoo.memory, context)
        assert to_text(value) == one.text, one.name


def test_captured_variables_are_those_that_the_compiler_describes(zoo: Zoo) -> None:
    """From Go 1.23 on, and not `step`, which the compiler uses where it stands."""
    one = zoo.named("closure")
    value = decode(zoo.type(one), zoo.root(one), zoo.memory, zoo.context())
    if zoo.image.go_version.at_least(1, 23):
        assert to_json(value) == {"func": "main.counting.func1", "captured": {"total": 6, "label": "n"}}
        assert to_text(value) == "main.counting.func1{total:6 label:n}"
    else:
        assert to_json(value) == one.json


def test_what_was_read_is_enough_of_a_snapshot(zoo: Zoo) -> None:
    """Without the process: the pieces that a decoding asked for, and for constants the executable."""
    _compare_with_snapshot(zoo)


@pytest.mark.parametrize("go", _versions())
def test_a_stripped_program_that_is_loaded_anywhere(go: str) -> None:
    with running_zoo(go, "pie_stripped") as zoo:
        assert zoo.bias
        assert differences(zoo) == []
        _compare_with_snapshot(zoo)


@pytest.mark.parametrize(
    ("go", "experiment"),
    [
        (gobuild.NEWEST, "mapsplitgroup"),
        pytest.param("1.24.13", "noswissmap", marks=pytest.mark.matrix),
        pytest.param("1.25.10", "noswissmap", marks=pytest.mark.matrix),
    ],
)
def test_maps_of_experiments(go: str, experiment: str) -> None:
    with running_zoo(go, experiment=experiment) as zoo:
        assert differences(zoo) == []


def _compare_with_snapshot(zoo: Zoo) -> None:
    constants = ImageMemory(zoo.image.elf, zoo.bias)
    skipped = 0
    for one in zoo.specimens:
        recorder = Recorder(zoo.memory)
        root = zoo.root(one)
        live = decode(zoo.type(one), root, recorder, zoo.context(lasting=None))
        chunks = [chunk for chunk in recorder.chunks if not constants.prefix(chunk.address, 1)]
        skipped += len(recorder.chunks) - len(chunks)
        later = decode(zoo.type(one), root, SnapshotMemory(chunks, constants), zoo.context(lasting=None))
        assert later == live or to_text(later) == to_text(live), one.name  # NaN is not itself
    assert skipped > 50


class Recorder:
    """Memory that keeps what was read of it."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.chunks: list[Chunk] = []

    def prefix(self, address: int, size: int) -> bytes:
        found = self.memory.prefix(address, size)
        self.chunks.append(Chunk(address, found, len(found)))
        return found

    def why(self, address: int) -> str:
        return self.memory.why(address)
