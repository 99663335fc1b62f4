"""Functions of one Go program as a script's probes see them: sites, and what arguments and results are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from gotap.image import abi
from gotap.image.code import EntrySite, Location, Register, Site, Stack
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.image.types.gotypes import Kind, Type
from gotap.probe import ir
from gotap.probe.functions.entries import entries_by_prologue
from gotap.probe.functions.locations import parameters_at_entry
from gotap.probe.functions.model import DICTIONARY, Argument, FunctionSignature, Part, Variable
from gotap.probe.places import BoundSite, NotInBinary, Places
from gotap.probe.script.bound import SiteInfo
from gotap.probe.signature import package_of
from gotap.probe.typing import pieces
from gotap.probe.value import Value

Names = Mapping[str, Callable[[], Value]]

_UNKNOWN = Type("unknown", Kind.STRUCT, 0)
_UINTPTR = Type("uintptr", Kind.UINT, 8)

#: Values on the stack that are larger are read where they lie, not word by word.
_LARGEST_OF_WORDS = 32


class Point(Struct, frozen=True):
    """A site with what can be read there."""

    bound: BoundSite
    values: Mapping[str, Value]

    def names(self) -> dict[str, Callable[[], Value]]:
        return {name: _constant(value) for name, value in self.values.items()}


class GoPoints:
    """Points in one binary."""

    def __init__(self, image: Image, places: Places) -> None:
        self.image = image
        self.places = places
        self._entries: dict[int, EntrySite] = {}  # by the function's address

    def foresee(self, functions: Sequence[Function]) -> None:
        """Finds where calls of many functions begin, at once; those it does not find are left to `entry`."""
        found = entries_by_prologue(self.image, functions, self.places.sites_for)
        for function, site in zip(functions, found, strict=True):
            if site is not None:
                self._entries[function.address] = site

    def entry(self, function: Function, signature: FunctionSignature) -> Point:
        """Where a call begins, once for each call. Raises NotInBinary."""
        site = self._entries.get(function.address) or self.places.code(function).entry_site()
        if site is None or site.sp_offset is None:
            raise NotInBinary(f"the code of {function.name} could not be understood", "")
        variables = [*parameters_at_entry(signature, site.sp_offset), *_dictionary(signature)]
        return self.at(function, site, "argument", variables)

    def returns(self, function: Function, signature: FunctionSignature, *, settled: bool) -> list[Point]:
        """Where calls return: exactly one of them fires for each. Empty: it never returns.

        `settled`: results and what they lead to are read there, so that nothing may be written any more.
        """
        assignment = signature.assignment()
        assigned = assignment.results if assignment is not None else ()
        wanted = [
            piece.register
            for words in assigned
            for piece in words
            if piece.register is not None and not piece.register.startswith("xmm")
        ]
        points = []
        for site in self.places.code(function).return_sites(wanted, allow_faults=True, settled=settled):
            if site.sp_offset is None:
                raise NotInBinary(f"the stack of {function.name} could not be followed", "")
            known = {name: place for name, place in zip(wanted, site.results, strict=True) if place is not None}
            variables = _results(signature.results, assigned, site.sp_offset + 8, known)
            points.append(self.at(function, site, "result", variables))
        return points

    def at(self, function: Function, site: Site, role: ir.InputRole, variables: Iterable[Variable]) -> Point:
        """A point with these values."""
        inputs: dict[ir.Input, Location] = {}
        values = {
            one.name: _value(role, index, one, site.sp_offset, inputs) for index, one in enumerate(variables)
        }
        return Point(self.places.bound(site, inputs, function), values)

    def info(self, function: str, address: int, *, inlined_into: str = "") -> SiteInfo:
        file, line = self.image.pclntab.line(address) or ("", 0)
        return SiteInfo(function, package_of(function), file, line, address, inlined_into)


def _dictionary(signature: FunctionSignature) -> list[Variable]:
    """The hidden argument of a generic function at its entry."""
    index, assignment = signature.dictionary, signature.assignment()
    if index is None or assignment is None:
        return []
    (piece,) = assignment.params[index]
    place = Register(piece.register) if piece.register is not None else None
    return [Variable(DICTIONARY, _UINTPTR, (Part(0, 8, place),))] if place is not None else []


def _results(
    results: Iterable[Argument], assigned: Iterable[abi.Pieces], stack_base: int, registers: Mapping[str, Location]
) -> list[Variable]:
    """Where results stand at a return; `registers`: where a register's value is there."""
    found = []
    for result, pieces_ in zip(results, assigned, strict=False):
        parts = []
        for piece in pieces_:
            location: Location | None = None
            reason = ""
            if piece.register is None:
                assert piece.stack_offset is not None
                location = Stack(stack_base + piece.stack_offset, piece.size)
            elif piece.register.startswith("xmm"):
                reason = f"float in X{piece.register[3:]}"
            else:
                location = registers.get(piece.register)
                reason = "" if location is not None else "not known at the return"
            parts.append(Part(piece.offset, piece.size, location, reason))
        found.append(Variable(result.name, result.type, tuple(parts), result.reason))
    return found


def _value(
    role: ir.InputRole, index: int, variable: Variable, sp_offset: int | None, inputs: dict[ir.Input, Location]
) -> Value:
    """A variable as a value; where its words stand goes into `inputs`."""
    type = variable.type
    if type is None:
        return Value(_UNKNOWN, {}, missing=variable.reason or "its type is unknown")
    if variable.by_reference:
        address = ir.Input(role, index, 0, 8, False)
        if variable.parts and variable.parts[0].location is not None:
            inputs[address] = variable.parts[0].location
            return Value(type, None, address)
        return Value(type, {}, missing=variable.reason or "not available here")
    memory = variable.memory
    if isinstance(memory, Stack) and type.size > _LARGEST_OF_WORDS and sp_offset is not None:
        return Value(type, None, ir.Add(ir.Ambient("sp"), ir.Const(memory.offset - sp_offset)))
    words: dict[int, ir.Word] = {}
    for offset, size, signed in pieces(type):
        location = _location(variable, offset, size)
        if location is not None:
            word = ir.Input(role, index, offset, size, signed)
            inputs[word] = location
            words[offset] = word
    reasons = [part.reason for part in variable.parts if part.location is None and part.reason]
    missing = variable.reason or ", ".join(dict.fromkeys(reasons)) or "not available here"
    return Value(type, words, missing=missing)


def _location(variable: Variable, offset: int, size: int) -> Location | None:
    """Where `size` bytes at `offset` of a variable stand."""
    for part in variable.parts:
        if part.offset <= offset and offset + size <= part.offset + part.size:
            if isinstance(part.location, Stack):
                return Stack(part.location.offset + offset - part.offset, size)
            return part.location if part.offset == offset else None
    return None


def _constant(value: Value) -> Callable[[], Value]:
    return lambda: value
