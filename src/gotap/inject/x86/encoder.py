"""Bytes, labels and distances of x86-64 code: what `Assembler`'s instructions are written with.

Encodings: Intel SDM volume 2, chapter 2 (prefixes, ModR/M, SIB, REX). Jumps take two bytes where the distance allows;
which those are is known when all code is there, so that offsets into the unfinished code mean nothing outside.
"""

from __future__ import annotations

import itertools

from gotap.inject.x86.operands import EncodingError, Memory, Place, Register, Target

#: Recommended multi-byte nops (Intel SDM, volume 2, NOP), by length.
NOPS = tuple(
    bytes.fromhex(text)
    for text in (
        "",
        "90",
        "6690",
        "0f1f00",
        "0f1f4000",
        "0f1f440000",
        "660f1f440000",
        "0f1f8000000000",
        "0f1f840000000000",
        "660f1f840000000000",
    )
)

#: The condition of a jmp.
ALWAYS = -1


class _Branch:
    """A jump whose length is still open; `condition` ALWAYS: a jmp."""

    __slots__ = ("condition", "long", "position", "target")

    def __init__(self, position: int, condition: int, target: Target) -> None:
        self.position, self.condition, self.target, self.long = position, condition, target, False

    def size(self, address: int) -> int:
        if not self.long:
            return 2
        return 5 if self.condition == ALWAYS else 6


class _Align:
    """Nops up to a multiple of `boundary`."""

    __slots__ = ("boundary", "position")

    def __init__(self, position: int, boundary: int) -> None:
        self.position, self.boundary = position, boundary

    def size(self, address: int) -> int:
        return -address % self.boundary


def nops(size: int) -> bytes:
    """`size` bytes that do nothing, in as few instructions as possible."""
    return NOPS[9] * (size // 9) + NOPS[size % 9]


class Encoder:
    """Collects code for the address `origin`. A label may be used before it is placed."""

    def __init__(self, origin: int = 0) -> None:
        self.origin = origin
        self._code = bytearray()
        self._gaps: list[_Branch | _Align] = []
        self._labels: dict[str, tuple[int, int]] = {}  # position in _code, gaps before it
        self._relative: list[tuple[int, int, int, Target, int]] = []  # position, gaps, bytes up to the end, target, +
        self._absolute: list[tuple[int, int, str]] = []  # position, gaps, label
        self._addresses: dict[str, int] = {}
        self._numbers = itertools.count(1)

    # Labels

    def label(self, name: str) -> None:
        """Places a label here."""
        if name in self._labels:
            raise EncodingError(f"label {name} is placed twice")
        self._labels[name] = len(self._code), len(self._gaps)

    def new_label(self, prefix: str = "L") -> str:
        """A name no one else has; place it with `label`."""
        return f"{prefix}.{next(self._numbers)}"

    def address(self, label: str) -> int:
        """Where a label came to lie: known after `finish`."""
        try:
            return self._addresses[label]
        except KeyError:
            raise EncodingError(f"label {label} is used and not placed") from None

    # Bytes

    def raw(self, data: bytes) -> None:
        """Bytes as they are: code from elsewhere, data."""
        self._code += data

    def quad(self, value: Target) -> None:
        """Eight bytes of data: a number, or a label's address."""
        if isinstance(value, str):
            self._absolute.append((len(self._code), len(self._gaps), value))
            value = 0
        self._code += (value & (1 << 64) - 1).to_bytes(8, "little")

    def nop(self, size: int = 1) -> None:
        self._code += nops(size)

    def align(self, boundary: int) -> None:
        """Nops up to an address that is a multiple of `boundary`."""
        self._gaps.append(_Align(len(self._code), boundary))

    def _instruction(self, opcode: bytes, field: int, place: Place, size: int, immediate: bytes = b"", *, low: int = -1,
                     prefix: bytes = b"") -> None:  # fmt: skip
        """One instruction with a ModR/M byte.

        `field`: number of the register operand, or the opcode's extension; `size`: of the operation, 8 sets REX.W, 2
        the operand size prefix; `low`: number of a register operand of one byte, which needs a REX prefix from SPL on.
        """
        code = self._code
        code += prefix
        if size == 2:
            code.append(0x66)
        rex = (0x48 if size == 8 else 0) | (0x44 if field > 7 else 0) | (0x40 if 4 <= low < 8 else 0)
        if isinstance(place, Register):
            if place.number > 7:
                rex |= 0x41
            elif place.size == 1 and place.number > 3:
                rex |= 0x40
            if rex:
                code.append(rex)
            code += opcode
            code.append(0xC0 | (field & 7) << 3 | place.number & 7)
        else:
            if place.base is not None and place.base.number > 7:
                rex |= 0x41
            if place.index is not None and place.index.number > 7:
                rex |= 0x42
            if rex:
                code.append(rex)
            code += opcode
            self._address(place, (field & 7) << 3, len(immediate))
        code += immediate

    def _address(self, place: Memory, field: int, behind: int) -> None:
        """ModR/M, SIB and displacement; `behind`: bytes of the instruction that follow."""
        code, base, index, displacement = self._code, place.base, place.index, place.displacement
        if place.target is not None:
            code.append(field | 5)
            self._relative.append((len(code), len(self._gaps), 4 + behind, place.target, displacement))
            code += bytes(4)
            return
        if base is None:
            code.append(field | 4)
            code.append(_sib(index, place.scale, 5))
            code += displacement.to_bytes(4, "little", signed=True)
            return
        low = base.number & 7
        mode = 0 if displacement == 0 and low != 5 else 0x40 if -128 <= displacement <= 127 else 0x80
        if index is not None or low == 4:
            code.append(mode | field | 4)
            code.append(_sib(index, place.scale, low))
        else:
            code.append(mode | field | low)
        if mode:
            code += displacement.to_bytes(1 if mode == 0x40 else 4, "little", signed=True)

    def _branch(self, condition: int, target: Target) -> None:
        self._gaps.append(_Branch(len(self._code), condition, target))

    def _relative_call(self, opcode: int, target: Target) -> None:
        """An opcode with the distance to `target` in 32 bits."""
        self._code.append(opcode)
        self._relative.append((len(self._code), len(self._gaps), 4, target, 0))
        self._code += bytes(4)

    # The end

    def finish(self) -> bytes:
        """The code for `origin`. EncodingError: a label that is not placed, a target more than 2 GB away."""
        starts = self._layout()
        out = bytearray()
        done = 0
        for gap, start in zip(self._gaps, starts, strict=False):
            out += self._code[done : gap.position]
            done = gap.position
            size = gap.size(start)
            out += nops(size) if isinstance(gap, _Align) else self._jump(gap, start + size)
        out += self._code[done:]
        shifts = self._shifts(starts)
        for position, gaps, behind, target, more in self._relative:
            place = position + shifts[gaps]
            distance = self._where(target) + more - (self.origin + place + behind)
            out[place : place + 4] = self._distance(distance, 4, target)
        for position, gaps, label in self._absolute:
            place = position + shifts[gaps]
            out[place : place + 8] = self.address(label).to_bytes(8, "little")
        return bytes(out)

    def _layout(self) -> list[int]:
        """Address of each gap, with the jumps that need it made long; they only ever grow, so this ends."""
        while True:
            starts, shift = [], self.origin
            for gap in self._gaps:
                starts.append(gap.position + shift)
                shift += gap.size(starts[-1])
            shifts = self._shifts(starts)
            self._addresses = {name: self.origin + position + shifts[gaps]
                               for name, (position, gaps) in self._labels.items()}  # fmt: skip
            grown = False
            for gap, start in zip(self._gaps, starts, strict=True):
                if isinstance(gap, _Branch) and not gap.long and not -128 <= self._where(gap.target) - start - 2 <= 127:
                    gap.long = grown = True
            if not grown:
                return starts

    def _shifts(self, starts: list[int]) -> list[int]:
        """How much longer than _code the final code is before the n-th gap."""
        shifts, shift = [0], 0
        for gap, start in zip(self._gaps, starts, strict=True):
            shift += gap.size(start)
            shifts.append(shift)
        return shifts

    def _where(self, target: Target) -> int:
        return self.address(target) if isinstance(target, str) else target

    def _jump(self, branch: _Branch, end: int) -> bytes:
        distance = self._where(branch.target) - end
        if not branch.long:
            opcode = 0xEB if branch.condition == ALWAYS else 0x70 | branch.condition
            return bytes((opcode,)) + self._distance(distance, 1, branch.target)
        head = b"\xe9" if branch.condition == ALWAYS else bytes((0x0F, 0x80 | branch.condition))
        return head + self._distance(distance, 4, branch.target)

    def _distance(self, distance: int, size: int, target: Target) -> bytes:
        try:
            return distance.to_bytes(size, "little", signed=True)
        except OverflowError:
            name = target if isinstance(target, str) else f"{target:#x}"
            raise EncodingError(f"{name} is {distance:#x} bytes away, ±2 GB can be reached",
                                "place the code nearer, or go through a register") from None  # fmt: skip


def _sib(index: Register | None, scale: int, base: int) -> int:
    number = 4 if index is None else index.number & 7  # 4: no index (R12 has REX.X)
    return {1: 0, 2: 0x40, 4: 0x80, 8: 0xC0}[scale] | number << 3 | base
