"""Go's register calling convention (ABIInternal) on amd64: where each parameter and result stands.

Source: cmd/compile/abi-internal.md and cmd/compile/internal/abi/abiutils.go, identical in effect from Go 1.18 to 1.27
(checked against the DWARF locations of net/http servers built by each). A value goes entirely into registers or
entirely onto the stack. Assembly (ABI0) passes everything there. Vector types of GOEXPERIMENT=simd are not known here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from gotap.image.types.gotypes import Kind, Type

WORD = 8

INTEGER_REGISTERS = ("rax", "rbx", "rcx", "rdi", "rsi", "r8", "r9", "r10", "r11")
FLOAT_REGISTERS = tuple(f"xmm{i}" for i in range(15))

#: Holds the closure's context at the entry of a closure; no parameter.
CLOSURE_REGISTER = "rdx"
#: Holds the current g in every ABIInternal function.
G_REGISTER = "r14"

_WORDS = {
    Kind.STRING: 2,
    Kind.SLICE: 3,
    Kind.INTERFACE: 2,
    Kind.POINTER: 1,
    Kind.UNSAFE_POINTER: 1,
    Kind.MAP: 1,
    Kind.CHAN: 1,
    Kind.FUNC: 1,
}


class Primitive(Struct, frozen=True):
    """A part of a value that takes one register: `size` bytes at `offset` of the value."""

    offset: int
    size: int
    is_float: bool = False


class Piece(Struct, frozen=True):
    """Where `size` bytes at `offset` of a value stand: in a register or on the stack, never both.

    A register holds one primitive in its low bytes; the bits above `size` are undefined. `stack_offset` counts from the
    slot above the return address: the bytes are at SP + 8 + stack_offset when SP is that of the function's first
    instruction.
    """

    offset: int
    size: int
    register: str | None = None
    stack_offset: int | None = None


#: All pieces of one value, in the order of their offsets. A stack-assigned value is one piece; one of size 0 has none.
Pieces = tuple[Piece, ...]


class Assignment(Struct, frozen=True):
    """The pieces of every parameter (a receiver is the first) and every result of one signature.

    `homes` has for every parameter that comes in registers the stack offset of the space the caller leaves for it,
    which holds nothing at the entry and may be used by the callee at will; None for the others.
    """

    params: tuple[Pieces, ...]
    results: tuple[Pieces, ...]
    homes: tuple[int | None, ...]


class _NotRegisterAssignable(Exception):
    """The value holds an array of more than one element, which ABIInternal keeps on the stack."""


def flatten(type_: Type) -> tuple[Primitive, ...] | None:
    """The primitives of a value in memory order, padding left out; None for types that never go in registers."""
    try:
        return tuple(_primitives(type_, 0))
    except _NotRegisterAssignable:
        return None


def alignment(type_: Type) -> int:
    """The alignment of a type in bytes. Size 0 aligns as its parts do: [0]int64 to 8."""
    if type_.kind is Kind.STRUCT:
        return max((alignment(field.type.get()) for field in type_.fields), default=1)
    if type_.kind is Kind.ARRAY:
        assert type_.elem is not None
        return alignment(type_.elem.get())
    if type_.kind in _WORDS:
        return WORD
    if type_.kind is Kind.COMPLEX:
        return type_.size // 2
    return type_.size


def assign(params: Sequence[Type], results: Sequence[Type]) -> Assignment:
    """Where the parameters stand at a function's entry and the results at its return.

    Results on the stack lie above the parameters on the stack, in the caller's frame, so their offsets too count from
    the entry's SP.
    """
    stack = _Stack()
    assigned_params = _Registers().assign(params, stack)
    stack.align(WORD)
    assigned_results = _Registers().assign(results, stack)
    stack.align(WORD)
    in_registers = [bool(pieces) and pieces[0].register is not None for pieces in assigned_params]
    homes = tuple(stack.push(type_) if spills else None for type_, spills in zip(params, in_registers, strict=True))
    return Assignment(assigned_params, assigned_results, homes)


def assign_stack(params: Sequence[Type], results: Sequence[Type]) -> Assignment:
    """The same for ABI0, the convention of assembly: everything on the stack, in order, results behind parameters."""
    stack = _Stack()

    def place(types: Sequence[Type]) -> tuple[Pieces, ...]:
        placed: list[Pieces] = []
        for type_ in types:
            offset = stack.push(type_)
            placed.append((Piece(0, type_.size, stack_offset=offset),) if type_.size else ())
        return tuple(placed)

    placed_params = place(params)
    stack.align(WORD)
    return Assignment(placed_params, place(results), (None,) * len(params))


class _Stack:
    """The stack sequence of one signature as far as it is laid out."""

    def __init__(self) -> None:
        self.size = 0

    def align(self, to: int) -> None:
        self.size = align(self.size, to)

    def push(self, type_: Type) -> int:
        self.align(alignment(type_))
        offset = self.size
        self.size += type_.size
        return offset


class _Registers:
    """The registers that are still free for the values to come."""

    def __init__(self) -> None:
        self._integers: tuple[str, ...] = INTEGER_REGISTERS
        self._floats: tuple[str, ...] = FLOAT_REGISTERS

    def assign(self, types: Sequence[Type], stack: _Stack) -> tuple[Pieces, ...]:
        return tuple(self._assign(type_, stack) for type_ in types)

    def _assign(self, type_: Type, stack: _Stack) -> Pieces:
        primitives = flatten(type_)
        if type_.size != 0 and primitives is not None:
            floats = sum(primitive.is_float for primitive in primitives)
            if floats <= len(self._floats) and len(primitives) - floats <= len(self._integers):
                return tuple(Piece(p.offset, p.size, register=self._take(p)) for p in primitives)
        offset = stack.push(type_)  # zero-sized values too: they may add alignment
        return (Piece(0, type_.size, stack_offset=offset),) if type_.size else ()

    def _take(self, primitive: Primitive) -> str:
        if primitive.is_float:
            register, self._floats = self._floats[0], self._floats[1:]
        else:
            register, self._integers = self._integers[0], self._integers[1:]
        return register


def align(offset: int, to: int) -> int:
    """`offset` rounded up to a multiple of `to`."""
    return (offset + to - 1) // to * to if to > 1 else offset


def _primitives(type_: Type, at: int) -> Iterator[Primitive]:
    if type_.kind is Kind.STRUCT:
        for field in type_.fields:
            yield from _primitives(field.type.get(), at + field.offset)
    elif type_.kind is Kind.ARRAY:
        if type_.count > 1:
            raise _NotRegisterAssignable
        if type_.count == 1:
            assert type_.elem is not None
            yield from _primitives(type_.elem.get(), at)
    elif type_.kind is Kind.COMPLEX:
        half = type_.size // 2
        yield Primitive(at, half, is_float=True)
        yield Primitive(at + half, half, is_float=True)
    elif (words := _WORDS.get(type_.kind)) is not None:
        for i in range(words):
            yield Primitive(at + i * WORD, WORD)
    else:
        yield Primitive(at, type_.size, is_float=type_.kind is Kind.FLOAT)
