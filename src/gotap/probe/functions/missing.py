"""Parameters without a name, which DWARF leaves out up to Go 1.21: found again by the argument info.

They move the others to other registers. The argument info has all of them, by size and place; which of them DWARF
describes follows from the types and from where DWARF says that they stand at the entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice, product

from msgspec.structs import replace

from gotap.image import abi
from gotap.image.functions.arginfo import expected_info, parts_of
from gotap.image.types.dwarf import DwarfError, Parameter
from gotap.image.types.dwarf.expressions import InFrame, InRegister, placed
from gotap.image.types.gotypes import Kind, Type
from gotap.probe.functions.model import Argument, FunctionSignature

#: Ways to fill the gaps that are tried.
_MOST_WAYS = 4096
_REASON = "it has no name, and Go before 1.22 does not describe such parameters"


def complete(
    signature: FunctionSignature, described: Sequence[Parameter], info: bytes, start: int, entry: int
) -> FunctionSignature | None:
    """The signature with what is missing put in, without a type; None where that is not clear.

    `start`: how many parameters the argument info leaves out at the front. `entry`: the function's address.
    """
    parts = parts_of(info)
    if parts is None:
        return None
    found: FunctionSignature | None = None
    ways = islice(_ways(signature.parameters, [part.type for part in parts], start), _MOST_WAYS)
    for parameters in sorted(ways, key=_floats):  # the likeliest first; one that only moves what is missing is no other
        candidate = replace(signature, parameters=parameters)
        assignment = candidate.assignment()
        types = [one.type or one.layout for one in parameters]
        if assignment is None or expected_info([one for one in types if one is not None], assignment, start) != info:
            continue
        if not _stands_there(parameters, assignment, described, entry):
            continue
        if found is not None and _places(found) != _places(candidate):
            return None
        found = found or candidate
    return found


def _ways(known: tuple[Argument, ...], parts: Sequence[Type], start: int) -> Iterator[tuple[Argument, ...]]:
    """All ways to put the known parameters in order among those that the info tells of.

    A part of 4 or 8 bytes may be a floating-point number, which is passed elsewhere.
    """
    front, rest = known[:start], known[start:]
    missing = len(parts) - len(rest)
    if missing <= 0:
        return
    for positions in combinations(range(len(parts)), missing):
        choices = [_kinds(parts[position]) for position in positions]
        for layouts in product(*choices):
            unknown = dict(zip(positions, layouts, strict=True))
            others = iter(rest)
            yield (*front, *(
                Argument("_", None, _REASON, layout=unknown[position]) if position in unknown else next(others)
                for position in range(len(parts))
            ))  # fmt: skip


def _floats(parameters: Sequence[Argument]) -> int:
    return sum(one.layout is not None and one.layout.kind is Kind.FLOAT for one in parameters)


def _kinds(part: Type) -> tuple[Type, ...]:
    if part.kind is Kind.UINT and part.size >= 4:
        return part, replace(part, kind=Kind.FLOAT)
    return (part,)


def _stands_there(
    parameters: Sequence[Argument], assignment: abi.Assignment, described: Sequence[Parameter], entry: int
) -> bool:
    """Whether the calling convention puts what DWARF describes where DWARF says that it is at the entry."""
    placed_by_name = {one.name: pieces for one, pieces in zip(parameters, assignment.params, strict=True)}
    for parameter in described:
        pieces = placed_by_name.get(parameter.name, ())
        expression = next((one.expression for one in parameter.locations if one.low <= entry < one.high), None)
        if expression is None:
            continue
        try:
            told = placed(expression, parameter.type.get())
        except DwarfError:
            continue
        by_offset = {piece.offset: piece for piece in pieces}
        for part in told:
            piece = by_offset.get(part.offset)
            if isinstance(part.place, InRegister) and (piece is None or piece.register != part.place.name):
                return False
            if isinstance(part.place, InFrame) and piece is not None and piece.register is None \
                    and piece.stack_offset != part.place.offset:
                return False
    return True


def _places(signature: FunctionSignature) -> list[tuple[str, abi.Pieces]]:
    assignment = signature.assignment()
    assert assignment is not None
    return [
        (one.name, pieces)
        for one, pieces in zip(signature.parameters, assignment.params, strict=True)
        if one.type is not None
    ]
