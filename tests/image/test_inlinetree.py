"""Inlined calls against DWARF's DW_TAG_inlined_subroutine, which the compiler writes by other code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.dwarf.die import DIE
from elftools.elf.elffile import ELFFile

from gobuild import build, every_version
from gotap.image.image import Image

Call = tuple[str, str, int]  # function, inlined function, line of the call


def calls_in_dwarf(path: Path) -> set[Call]:
    """Inlined calls in functions of package main."""
    with path.open("rb") as file:
        dwarf = ELFFile(file).get_dwarf_info()
        found = set()
        for unit in dwarf.iter_CUs():
            top = unit.get_top_DIE()
            if top.attributes["DW_AT_name"].value != b"main":
                continue
            for die in top.iter_children():
                if die.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in die.attributes:
                    found |= {(name_of(die), *call) for call in inlined(die)}
        return found


def inlined(die: DIE) -> Iterator[tuple[str, int]]:
    for child in die.iter_children():
        if child.tag == "DW_TAG_inlined_subroutine":
            yield name_of(child), child.attributes["DW_AT_call_line"].value
        yield from inlined(child)


def name_of(die: DIE) -> str:
    while "DW_AT_name" not in die.attributes:
        die = die.get_DIE_from_attribute("DW_AT_abstract_origin")
    name: str = die.attributes["DW_AT_name"].value.decode()
    return name.partition("[")[0]


@pytest.mark.parametrize("go", every_version())
def test_calls_are_those_of_dwarf(go: str) -> None:
    path = build("hello", go)
    pclntab = Image.open(path).pclntab
    found: set[Call] = set()
    for function in pclntab.find_prefix("main."):
        for call in pclntab.inlined_calls(function):
            position = pclntab.line(call.call_site)
            assert position is not None
            found.add((function.name.partition("[")[0], call.name.partition("[")[0], position[1]))
    ours = {call for call in found if call[1].startswith("main.")}
    theirs = {call for call in calls_in_dwarf(path) if call[1].startswith("main.")}
    assert ours == theirs
    assert {name for _, name, _ in ours} >= {"main.doubled", "main.scaled", "main.offset"}


@pytest.mark.parametrize("go", every_version())
@pytest.mark.parametrize("mode", ["plain", "pie_stripped"])
def test_nesting_and_ranges(go: str, mode: str) -> None:
    pclntab = Image.open(build("hello", go, mode=mode)).pclntab
    compute = pclntab.find("main.compute")
    assert compute is not None
    calls = {call.index: call for call in pclntab.inlined_calls(compute)}
    nested = [call for call in calls.values() if call.name == "main.doubled"]
    assert nested
    for call in nested:
        assert call.parent is not None
        parent = calls[call.parent]
        assert parent.name == "main.scaled"
        assert parent.parent is None
        for start, end in call.ranges:
            assert any(low <= start < end <= high for low, high in parent.ranges)
    for call in calls.values():
        assert call.caller == "main.compute"
        assert all(compute.address <= start < end <= compute.end for start, end in call.ranges)
        assert list(call.ranges) == sorted(call.ranges)


@pytest.mark.parametrize("go", every_version())
def test_search_by_name_finds_what_decoding_everything_finds(go: str) -> None:
    pclntab = Image.open(build("hello", go, mode="stripped")).pclntab
    everything = [call for function in pclntab.functions() for call in pclntab.inlined_calls(function)]
    for name in ("main.offset", "main.doubled", "sync.(*Mutex).Unlock", "runtime.(*mspan).base", "main.nothing"):
        assert pclntab.where_inlined(name) == [call for call in everything if call.name == name]
    assert len(everything) > 1000


def test_a_function_that_is_only_inlined_has_no_body() -> None:
    pclntab = Image.open(build("hello")).pclntab
    assert pclntab.find("main.doubled") is None
    assert {call.caller for call in pclntab.where_inlined("main.doubled")} == {"main.compute"}
    assert pclntab.find("main.offset") is not None
    assert pclntab.where_inlined("main.offset")
