"""Where variables stand at an address of a function: its parameters and locals, and those of inlined copies.

At a function's entry the calling convention says where parameters are, and at its returns where results are (see
`FunctionSignature.assignment`). Everywhere else DWARF's location lists say it; for parameters, what the machine code
proves of the registers and stack words that they came in. Nothing is guessed: what neither covers is optimised out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from gotap.image import abi
from gotap.image.code import Constant as ConstantLocation
from gotap.image.code import FunctionCode, Global, Location, Register, Stack
from gotap.image.errors import ImageError
from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.functions.pclntab import Function
from gotap.image.functions.pcvalue import value_at
from gotap.image.types.dwarf import DwarfError
from gotap.image.types.dwarf.constants import Operation
from gotap.image.types.dwarf.expressions import AtAddress, InFrame, InRegister, Known, Placed, placed
from gotap.image.types.dwarf.functions import Subprogram
from gotap.image.types.dwarf.scopes import LocalVariable, Scope
from gotap.image.types.gotypes import Kind, Type
from gotap.probe.functions.model import FunctionSignature, Part, Variable
from gotap.probe.functions.pattern import without_arguments
from gotap.probe.functions.signatures import UNNAMED, Signatures, is_method

_CONTRADICTION = "the debug information has another variable in its place"
OPTIMISED_OUT = "optimised out here"
_DEREF = bytes([Operation.DEREF])
_POINTER = Type("unsafe.Pointer", Kind.UNSAFE_POINTER, abi.WORD)
#: From SP at a function's first instruction to the CFA: the return address.
_RETURN_ADDRESS = 8
#: Names that `gotap go` has given to parameters without one, and its own variables.
_WOVEN = re.compile(r"__(argument|receiver|result)__(\d+)|gotap_\w+")


class Locations:
    """Variables of one binary's functions, at addresses of their code."""

    def __init__(self, signatures: Signatures) -> None:
        self._signatures = signatures
        self._image = signatures.image
        self._scopes: dict[int, tuple[Subprogram, Scope] | None] = {}

    def at(self, function: Function, pc: int, code: FunctionCode | None = None) -> dict[str, Variable]:
        """What the source can name at an address of a function's own code: parameters, named results, locals.

        `code` is the function's; with it, parameters are followed from the entry where DWARF does not cover them.
        Empty where nothing is known of the function.
        """
        found: dict[str, Variable] = {}
        scopes = self._read(function)
        if scopes is not None:
            found = self._visible(scopes, function, pc, list(scopes[1].chain(pc)), function.name)
        signature = self._signatures.of(function)
        uses = Counter(part.location for one in found.values() for part in one.parts)
        for variable in self._followed(signature, function, pc, code):
            known = found.get(variable.name)
            if known is None or not known.available:
                found[variable.name] = variable if known is None else _merged(known, variable)
            elif _contradicts(known, variable, uses):
                found[variable.name] = Variable(variable.name, variable.type, (), _CONTRADICTION)
        return found

    def inlined(self, call: InlinedCall, pc: int) -> dict[str, Variable]:
        """What the source of an inlined function can name at an address: of the copy, or where it is about to begin.

        Empty where that is unknown.
        """
        scopes = self._read(call.function)
        if scopes is None:
            return {}
        for inside in (pc, *(start for start, _ in call.ranges)):
            chain = list(scopes[1].chain(inside))
            starts = [i for i, scope in enumerate(chain) if scope.inlined and _same(scope.inlined, call.name)]
            if starts:
                break
        else:
            return {}
        found = self._visible(scopes, call.function, pc, chain[starts[-1] :], call.name)
        for one in self._signatures.of_inlined(call).arguments:
            # Of a constant argument nothing is left in the copy, not even a description.
            found.setdefault(one.name, Variable(one.name, one.type, (), OPTIMISED_OUT))
        return found

    def inlined_signature(self, call: InlinedCall) -> FunctionSignature:
        """The signature of an inlined function, which may have no code of its own."""
        return self._signatures.of_inlined(call)

    def package_variable(self, name: str) -> Variable | None:
        """`pkg.Var`; its type is None in binaries without DWARF. None: there is no such variable."""
        found = self._signatures.package_variable(name)
        if found is None:
            return None
        address, type_ = found
        if type_ is None:
            reason = f"the binary has no debug information that tells the type of {name}"
            return Variable(name, None, (Part(0, 8, Global(address)),), reason)
        return Variable(name, type_, (Part(0, type_.size, Global(address, type_.size)),) if type_.size else ())

    # -- DWARF --------------------------------------------------------------------------------------------------

    def _read(self, function: Function) -> tuple[Subprogram, Scope] | None:
        if function.address not in self._scopes:
            found = None
            try:
                subprogram, dwarf = self._signatures.subprogram(function), self._signatures.dwarf
                if subprogram is not None and dwarf is not None:
                    found = subprogram, dwarf.scopes(subprogram)
            except (DwarfError, ImageError):  # damaged: as if there were none
                found = None
            self._scopes[function.address] = found
        return self._scopes[function.address]

    def _visible(
        self, scopes: tuple[Subprogram, Scope], function: Function, pc: int, chain: Sequence[Scope], name: str
    ) -> dict[str, Variable]:
        """Variables of these scopes of the function called `name`, inner ones hiding outer ones; no further copies'."""
        doubtful = self._doubtful(function, scopes[0]) if not chain[0].inlined else frozenset()
        depth = self._depth(function, pc)
        own = next((i for i, scope in enumerate(chain) if scope.inlined and i), len(chain))
        position = self._image.pclntab.line(pc) if own == len(chain) else None
        method = is_method(name)
        found: dict[str, Variable] = {}
        for scope in chain[:own]:
            for variable in scope.variables:
                if (shown := _shown(variable, method)) and _is_declared(variable, position):
                    found[shown] = _variable(variable, shown, pc, depth, shown in doubtful)
        if "[" in name:
            shapes = self._signatures.shapes(self._signatures.full_name(function) if not chain[0].inlined else name)
            return {key: replace(one, type=one.type and shapes.concrete(one.type)) for key, one in found.items()}
        return found

    def _doubtful(self, function: Function, subprogram: Subprogram) -> frozenset[str]:
        """Parameters that come in registers, for which DWARF may name a place where they are never stored (Go 1.27)."""
        dwarf, signature = self._signatures.dwarf, self._signatures.of(function)
        assignment = signature.assignment()
        if assignment is None or dwarf is None or not dwarf.optimised(subprogram):
            return frozenset()
        return frozenset(
            one.name
            for one, home in zip(signature.parameters, assignment.homes, strict=True) if home is not None
        )

    def _depth(self, function: Function, pc: int) -> int | None:
        """SP at the function's first instruction minus SP at the address; None if that is not told."""
        depth = value_at(self._image.pclntab.stack_depths(function), pc - function.address)
        return depth if depth >= 0 else None

    # -- the calling convention ---------------------------------------------------------------------------------

    def _followed(
        self, signature: FunctionSignature, function: Function, pc: int, code: FunctionCode | None
    ) -> list[Variable]:
        """Parameters where the machine code provably still has them."""
        assignment = signature.assignment()
        if assignment is None:
            return []
        arguments = zip(signature.parameters, assignment.params, strict=True)
        words = [
            (argument, piece) for argument, pieces in arguments if not argument.hidden for piece in pieces
        ]
        places: Iterable[Location | None]
        if pc == function.address:
            places = [_at_entry(piece) for _, piece in words]
        elif code is not None:
            keys = [_word(piece) for _, piece in words]
            wanted = [key for key in keys if key is not None]
            known = dict(zip(wanted, code.words_at(pc, wanted), strict=True)) if wanted else {}
            places = [known.get(key) if key is not None else None for key in keys]
        else:
            return []
        parts: dict[str, list[Part]] = {}
        for (argument, piece), place in zip(words, places, strict=True):
            place = _narrowed(place, piece.size)
            parts.setdefault(argument.name, []).append(
                Part(piece.offset, piece.size, place, "" if place is not None else _why_not(piece))
            )
        own = {argument.name: argument for argument in signature.arguments}
        return [Variable(name, own[name].type, tuple(found), own[name].reason) for name, found in parts.items()]


def parameters_at_entry(signature: FunctionSignature, sp_offset: int) -> list[Variable]:
    """Parameters at a function's entry site; `sp_offset` as in Site. Floating-point registers cannot be read."""
    assignment = signature.assignment()
    if assignment is None:
        return [Variable(one.name, None, (), one.reason or signature.reason) for one in signature.arguments]
    variables = []
    for argument, pieces in zip(signature.parameters, assignment.params, strict=True):
        if argument.hidden:
            continue
        parts = []
        for piece in pieces:
            place = _at_entry(piece)
            if isinstance(place, Stack):
                place = replace(place, offset=place.offset + sp_offset)
            parts.append(Part(piece.offset, piece.size, place, "" if place is not None else _why_not(piece)))
        variables.append(Variable(argument.name, argument.type, tuple(parts), argument.reason))
    return variables


def _at_entry(piece: abi.Piece) -> Location | None:
    """Where a piece stands at the function's first instruction; None for floating-point registers."""
    if piece.register is None:
        assert piece.stack_offset is not None
        return Stack(_RETURN_ADDRESS + piece.stack_offset, piece.size)
    return None if piece.register.startswith("xmm") else Register(piece.register, piece.size)


def _word(piece: abi.Piece) -> str | int | None:
    """The word of the entry that holds a piece, as `FunctionCode.words_at` wants it; None for what it cannot follow."""
    if piece.register is not None:
        return None if piece.register.startswith("xmm") else piece.register
    assert piece.stack_offset is not None
    return _RETURN_ADDRESS + piece.stack_offset if piece.size == abi.WORD else None


def _narrowed(place: Location | None, size: int) -> Location | None:
    return replace(place, size=size) if isinstance(place, Register | Stack) and size < abi.WORD else place


def _why_not(piece: abi.Piece) -> str:
    if piece.register is not None and piece.register.startswith("xmm"):
        return f"float in X{piece.register.removeprefix('xmm')}"
    return OPTIMISED_OUT


def _shown(variable: LocalVariable, method: bool) -> str:
    """The name that users have for a variable; empty for what the compiler made."""
    name = variable.name.removeprefix("&")
    if variable.is_parameter and not variable.is_result and (number := UNNAMED.fullmatch(name)) and number[1]:
        position = int(number[1]) - method
        return f"~a{position}" if position >= 0 else "~recv"
    if woven := _WOVEN.fullmatch(name):
        return f"~a{woven[2]}" if woven[1] == "argument" else "~recv" if woven[1] == "receiver" else ""
    return "" if "." in name or name.startswith("~") or name == "_" else name


def _is_declared(variable: LocalVariable, position: tuple[str, int] | None) -> bool:
    """Whether a variable is declared at a position; True where that is not known."""
    return variable.is_parameter or position is None or not variable.line or variable.line <= position[1]


def _variable(variable: LocalVariable, name: str, pc: int, depth: int | None, doubtful: bool) -> Variable:
    type_ = variable.type.get()
    by_reference = variable.name.startswith("&")
    value_type = type_
    if by_reference and type_.kind is Kind.POINTER and type_.elem is not None:
        value_type = type_.elem.get()
    expression = next((one.expression for one in variable.locations if one.low <= pc < one.high), b"")
    if not type_.size:
        return Variable(name, value_type)
    if expression[-1:] == _DEREF:  # moved to the heap; there stands its address
        by_reference, expression, type_ = True, expression[:-1], _POINTER
    if not expression or (variable.everywhere and doubtful):
        return Variable(name, value_type, (Part(0, type_.size, None, OPTIMISED_OUT),), OPTIMISED_OUT, by_reference)
    try:
        parts = tuple(_part(one, depth) for one in placed(expression, type_, everywhere=variable.everywhere))
    except DwarfError as error:
        return Variable(name, value_type, (), str(error), by_reference)
    return Variable(name, value_type, parts, by_reference=by_reference)


def _part(one: Placed, depth: int | None) -> Part:
    place = one.place
    if isinstance(place, InRegister):
        if place.name.startswith("xmm"):
            return Part(one.offset, one.size, None, f"float in X{place.name.removeprefix('xmm')}")
        return Part(one.offset, one.size, Register(place.name, min(one.size, abi.WORD)))
    if isinstance(place, InFrame):
        if depth is None:
            return Part(one.offset, one.size, None, "the stack's depth is not known here")
        return Part(one.offset, one.size, Stack(depth + _RETURN_ADDRESS + place.offset, one.size))
    if isinstance(place, AtAddress):
        return Part(one.offset, one.size, Global(place.address, one.size))
    if isinstance(place, Known):
        return Part(one.offset, one.size, ConstantLocation(place.value & ((1 << 8 * min(one.size, 8)) - 1)))
    return Part(one.offset, one.size, None, OPTIMISED_OUT)


def _contradicts(told: Variable, followed: Variable, uses: Counter[Location | None]) -> bool:
    """Whether a parameter is still where it came in, and DWARF has it where it has another variable too.

    It does so for parameters that are assigned later (seen in Go 1.18–1.27: context.(*cancelCtx).cancel), from where
    they then are; which of both it is cannot be told.
    """
    places = [part.location for part in told.parts]
    return (
        followed.available
        and places != [part.location for part in followed.parts]
        and any(uses[place] > 1 for place in places)
    )


def _merged(told: Variable, followed: Variable) -> Variable:
    """DWARF's parts, and where it has none, those that the code proves."""
    if not told.parts or told.by_reference or told.type is None:
        return told if told.by_reference else followed
    proven = {part.offset: part for part in followed.parts if part.location is not None}
    if all(part.location is None for part in told.parts):
        return followed if proven else told
    parts = tuple(
        proven[part.offset] if part.location is None and part.offset in proven and
        proven[part.offset].size == part.size else part
        for part in told.parts
    )  # fmt: skip
    return replace(told, parts=parts)


def _same(one: str, other: str) -> bool:
    """Whether two names are one function's: the function table leaves type arguments out up to Go 1.20."""
    return without_arguments(one) == without_arguments(other)
