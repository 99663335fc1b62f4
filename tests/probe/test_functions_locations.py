"""Where parameters are: DWARF's location lists against Go's calling convention over the whole standard library, and
against a running program.

At a function's entry the convention is right: callers follow it, and so does the function table's argument info, which
is compared with it too. DWARF is made by another part of the compiler, from what it knows of the finished code. Where
the two differ it is DWARF that is wrong, in ways that show: see `excused`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from msgspec import Struct

from everystd import everystd
from gobuild import NEWEST, every_version
from gotap.image import abi
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.image.types.dwarf import DwarfError, Parameter
from gotap.image.types.dwarf.expressions import InFrame, InRegister, Nowhere, Placed, placed
from gotap.probe.catalogue import runtime
from gotap.probe.functions.locations import Locations
from gotap.probe.functions.matching import FunctionKind, Functions
from gotap.probe.functions.model import DICTIONARY, FunctionSignature
from gotap.probe.functions.signatures import Signatures
from gotap.probe.places import Places
from gotap.probe.sources import types_of


def opened(image: Image) -> Signatures:
    return Signatures(Functions(image), types_of(image, runtime()))


class Told(Struct, frozen=True):
    """What DWARF says of one parameter at the entry, and the convention's places for it and for its home."""

    parameter: Parameter
    parts: tuple[Placed, ...]
    pieces: abi.Pieces
    home: int | None


def told(signatures: Signatures, function: Function, signature: FunctionSignature) -> Iterator[Told | str]:
    """For every described parameter; or why there is nothing to compare: "optimised out", "nonsense"."""
    subprogram, dwarf, assignment = signatures.subprogram(function), signatures.dwarf, signature.assignment()
    assert subprogram is not None
    assert dwarf is not None
    assert assignment is not None
    places = zip(signature.parameters, assignment.params, assignment.homes, strict=True)
    # Those that DWARF describes, in its order; it leaves out some that have no name.
    own = {one.name: (pieces, home) for one, pieces, home in places if not one.hidden}
    names = iter(own)
    for parameter in dwarf.parameters(subprogram):
        if parameter.is_result or parameter.name == DICTIONARY:
            continue
        name = next(names)
        while not parameter.name.startswith("~") and name != parameter.name.removeprefix("&"):
            name = next(names)
        pieces, home = own[name]
        here = [one for one in parameter.locations if one.low <= function.address < one.high]
        if not here:
            yield "optimised out"
            continue
        try:
            yield Told(parameter, placed(here[0].expression, parameter.type.get()), pieces, home)
        except DwarfError:  # pieces that are repeated, or stand for another size
            yield "nonsense"


def disagreements(one: Told) -> Iterator[Placed]:
    """Parts that DWARF has elsewhere than the convention."""
    for part in one.parts:
        piece = next((p for p in one.pieces if p.offset <= part.offset < p.offset + p.size), None)
        if isinstance(part.place, Nowhere) or not part.size:
            continue
        expected: object = None
        if piece is not None and piece.register is not None and part.size == piece.size:
            expected = InRegister(piece.register)
        elif piece is not None and piece.stack_offset is not None:
            expected = InFrame(piece.stack_offset + part.offset - piece.offset)
        if part.place != expected:
            yield part


def excused(one: Told, part: Placed, others: Sequence[Told]) -> str:
    """Why DWARF cannot be right there; empty: no reason is known."""
    if isinstance(part.place, InFrame):
        if one.home is not None and part.place.offset == one.home + part.offset:
            return "home"  # where it would be stored if it were: nothing is there yet
        start = next((p.stack_offset for p in one.pieces if p.stack_offset is not None), None)
        if start is not None and start < part.place.offset < start + one.parameter.type.get().size:
            return "one word for all"  # only one word of it is used, and its place is given as that of the whole
    same = sum(other.place == part.place for each in others for other in each.parts)
    return "two in one place" if same > 1 else ""  # it is assigned later, and where it then is was taken for here


@pytest.mark.parametrize("go", every_version())
def test_the_standard_library_follows_the_calling_convention(go: str) -> None:
    image = Image.open(everystd(go))
    signatures = opened(image)
    counts: Counter[str] = Counter()
    unexplained = []
    for function in image.pclntab.functions():
        signature = signatures.of(function)
        if not signature.known or signatures.functions.kind_of(function) is FunctionKind.ASSEMBLY:
            counts["unknown" if "not agree" in signature.reason else "without Go code"] += 1
            continue
        assert signature.assignment() is not None, function.name
        all_told = list(told(signatures, function, signature))
        comparable = [one for one in all_told if isinstance(one, Told)]
        counts.update(one for one in all_told if isinstance(one, str))
        for one in comparable:
            wrong = list(disagreements(one))
            counts["same" if not wrong else "excused"] += 1
            unexplained += [(function.name, one, part) for part in wrong if not excused(one, part, comparable)]
    assert unexplained == []
    assert counts["same"] > 15_000
    assert counts["unknown"] < 5
    assert counts["without Go code"] < 400
    assert counts["optimised out"] + counts["nonsense"] + counts["excused"] < counts["same"] / 15


def test_contradictions_are_told() -> None:
    """DWARF of Go 1.27 has `cause` of context.(*cancelCtx).cancel where `err` is, from the entry on."""
    image = Image.open(everystd(NEWEST))
    signatures = opened(image)
    cancel = signatures.functions.named("context.(*cancelCtx).cancel")
    assert cancel is not None
    places = Places(image, signatures.types)
    code = places.code(cancel.bodies[0])
    site = code.entry_site()
    assert site is not None
    found = Locations(signatures).at(cancel.bodies[0], site.address, code)
    assert found["err"].available
    assert not found["cause"].available
    assert "another variable in its place" in found["cause"].reason
