"""Location expressions (DWARF 5 §2.6) → where the bytes of a value stand.

Go's compiler writes registers, memory relative to the call frame's CFA, static addresses and constants, whole or in
pieces (cmd/compile/internal/ssa/debug.go, cmd/internal/dwarf/dwarf.go; Go 1.18–1.27). The frame base of every Go
function is the CFA: SP at the function's first instruction + 8, where the first stack argument stands.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from gotap.image.abi import WORD, flatten
from gotap.image.types.dwarf.constants import Operation
from gotap.image.types.dwarf.debuginfo import DwarfError
from gotap.image.types.dwarf.forms import sleb128, uleb128
from gotap.image.types.gotypes import Type

#: DWARF's numbers of the x86-64 registers (System V ABI, AMD64 supplement, figure 3.36); 16 is the return address.
REGISTERS = (
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "",
    *(f"xmm{i}" for i in range(16)),
)  # fmt: skip

_FIXED = {
    Operation.CONST1U: (1, False), Operation.CONST1S: (1, True), Operation.CONST2U: (2, False),
    Operation.CONST2S: (2, True), Operation.CONST4U: (4, False), Operation.CONST4S: (4, True),
    Operation.CONST8U: (8, False), Operation.CONST8S: (8, True), Operation.ADDR: (8, False),
}  # fmt: skip
_WORD_MASK = (1 << 64) - 1
_LITERALS = range(Operation.LIT0, Operation.LIT0 + 32)
_IN_REGISTER = range(Operation.REG0, Operation.REG0 + 32)
_BASE_REGISTER = range(Operation.BREG0, Operation.BREG0 + 32)


class InRegister(Struct, frozen=True):
    name: str


class InFrame(Struct, frozen=True):
    """Memory at the CFA + `offset`."""

    offset: int


class AtAddress(Struct, frozen=True):
    """Static memory, unrelocated."""

    address: int


class Known(Struct, frozen=True):
    """The value itself, as an unsigned 64-bit word."""

    value: int


class Nowhere(Struct, frozen=True):
    """Not kept: optimised out."""


Place = InRegister | InFrame | AtAddress | Known | Nowhere
NOWHERE = Nowhere()


class Placed(Struct, frozen=True):
    """Where `size` bytes at `offset` of a value stand."""

    offset: int
    size: int
    place: Place


class PartlyDescribed(DwarfError):
    """A place is given for some of a value's words, and not for which: the compiler leaves out those that are not used.

    Or words come twice, which some compilers do (seen in Go 1.18–1.22).
    """

    def __init__(self) -> None:
        super().__init__("the debug information tells only of some of its words")


def placed(expression: bytes, type_: Type, *, everywhere: bool = False) -> tuple[Placed, ...]:
    """Where the parts of a value of that type stand. Raises DwarfError for what makes no sense, PartlyDescribed.

    `everywhere`: the expression is that of a variable with one place, not of a location list. Pieces are the type's
    primitives, one after the other, without what is padding between them (cmd/compile/internal/ssa/debug.go,
    Go 1.18–1.27).
    """
    try:
        parts = _parts(expression, type_.size)
    except (IndexError, ValueError) as error:
        raise DwarfError(f"the location expression {expression.hex()} is cut off") from error
    primitives = flatten(type_) or ()
    if len(primitives) > 1 and not (everywhere and isinstance(parts[0].place, InFrame) and len(parts) == 1):
        if [one.size for one in parts] != [one.size for one in primitives]:
            raise PartlyDescribed
        parts = [replace(one, offset=primitive.offset) for one, primitive in zip(parts, primitives, strict=True)]
    elif sum(one.size for one in parts) != type_.size or any(_is_too_large(one) for one in parts):
        raise PartlyDescribed
    return tuple(parts)


def _is_too_large(part: Placed) -> bool:
    return isinstance(part.place, InRegister) and part.size > WORD and not part.place.name.startswith("xmm")


def _parts(expression: bytes, size: int) -> list[Placed]:
    """The pieces as they follow each other."""
    parts: list[Placed] = []
    offset = at = 0
    current: Place | None = None
    while at < len(expression):
        operation = expression[at]
        if operation == Operation.PIECE:
            length, at = uleb128(expression, at + 1)
            parts.append(Placed(offset, length, current or NOWHERE))
            offset += length
            current = None
        else:
            current, at = _step(expression, at, current)
    if parts:
        return parts if current is None else [*parts, Placed(offset, max(size - offset, 0), current)]
    return [Placed(0, size, current or NOWHERE)]


def _step(expression: bytes, at: int, current: Place | None) -> tuple[Place, int]:
    """One operation: what is on top of the stack behind it, and where the next one is."""
    operation = expression[at]
    at += 1
    if operation in _IN_REGISTER:
        return _register(operation - Operation.REG0), at
    if operation == Operation.REGX:
        number, at = uleb128(expression, at)
        return _register(number), at
    if operation == Operation.FBREG:
        offset, at = sleb128(expression, at)
        return InFrame(offset), at
    if operation == Operation.CALL_FRAME_CFA:
        return InFrame(0), at
    if operation == Operation.PLUS_UCONST and isinstance(current, InFrame):
        offset, at = uleb128(expression, at)
        return InFrame(current.offset + offset), at
    if operation == Operation.STACK_VALUE:
        return (current if isinstance(current, Known) else NOWHERE), at
    return _constant(expression, at, operation)


def _constant(expression: bytes, at: int, operation: int) -> tuple[Place, int]:
    if operation in _LITERALS:
        return Known(operation - Operation.LIT0), at
    if operation in (Operation.CONSTU, Operation.CONSTS):
        value, at = (uleb128 if operation == Operation.CONSTU else sleb128)(expression, at)
        return Known(value & _WORD_MASK), at
    if (fixed := _FIXED.get(Operation(operation)) if operation in _FIXED else None) is not None:
        size, signed = fixed
        value = int.from_bytes(expression[at : at + size], "little", signed=signed)
        at += size
        return (AtAddress(value) if operation == Operation.ADDR else Known(value & _WORD_MASK)), at
    raise DwarfError(f"the location expression {expression.hex()} has operation {operation:#x}, which is unknown")


def _register(number: int) -> Place:
    name = REGISTERS[number]
    return InRegister(name) if name else NOWHERE
