"""An assembler for the A64 instructions that hook stubs are made of. Registers are numbers; 31 is ZR, or SP as a base.

Source of the encodings: Arm Architecture Reference Manual for A-profile (DDI 0487), C6.2; the tests have an independent
disassembler read them.
"""

from __future__ import annotations

from collections.abc import Callable

from gotap.image.code.arm64_relocation import address_of, jump, words_of

ZR = SP = 31
_HALF = (1 << 12) - 1


class Assembler:
    """Code for `address`. Methods append an instruction each; ValueError: an operand that has no encoding."""

    def __init__(self, address: int) -> None:
        self.address = address
        self._words: list[int] = []
        self._labels: dict[str, int] = {}
        self._open: list[tuple[int, str, Callable[[int], int]]] = []

    @property
    def here(self) -> int:
        """The address of the next instruction."""
        return self.address + 4 * len(self._words)

    def label(self, name: str) -> None:
        """Names the next instruction."""
        if name in self._labels:
            raise ValueError(f"label {name} is there already")
        self._labels[name] = self.here

    def finish(self) -> bytes:
        """The code; all labels that are jumped to must be there."""
        for index, name, encode in self._open:
            self._words[index] |= encode(self._labels[name] - (self.address + 4 * index))
        self._open.clear()
        return words_of(self._words)

    def word(self, *words: int) -> None:
        """Instructions that are encoded already."""
        self._words += words

    # -- where to go on ------------------------------------------------------------------------------------------

    def b(self, target: str | int) -> None:
        """To a label or an address."""
        if isinstance(target, int):
            self.word(*jump(self.here, target))
        else:
            self._to(0x14000000, target, 26, 0)

    def bl(self, target: int) -> None:
        self.word(jump(self.here, target)[0] | 1 << 31)

    def blr(self, register: int) -> None:
        self.word(0xD63F0000 | register << 5)

    def ret(self) -> None:
        self.word(0xD65F03C0)

    def cbz(self, register: int, label: str, *, bits: int = 64) -> None:
        self._to(0x34000000 | (bits == 64) << 31 | register, label, 19, 5)

    def cbnz(self, register: int, label: str, *, bits: int = 64) -> None:
        self._to(0x35000000 | (bits == 64) << 31 | register, label, 19, 5)

    def _to(self, word: int, label: str, bits: int, shift: int) -> None:
        def encode(distance: int) -> int:
            if not -1 << bits + 1 <= distance < 1 << bits + 1:
                raise ValueError(f"label {label} is too far away")
            return (distance >> 2 & (1 << bits) - 1) << shift

        self._open.append((len(self._words), label, encode))
        self.word(word)

    # -- registers -----------------------------------------------------------------------------------------------

    def mov(self, target: int, source: int) -> None:
        """Between general registers, not SP."""
        self.word(0xAA0003E0 | source << 16 | target)

    def movz(self, target: int, value: int) -> None:
        if not 0 <= value < 1 << 16:
            raise ValueError(f"{value} has more than 16 bits")
        self.word(0xD2800000 | value << 5 | target)

    def add(self, target: int, source: int, value: int) -> None:
        """A constant, negative too; 31 is SP. One instruction, or two for more than 12 bits."""
        base = 0x91000000 if value >= 0 else 0xD1000000
        value = abs(value)
        if value >> 24:
            raise ValueError(f"{value} has more than 24 bits")
        if value >> 12:
            self.word(base | 1 << 22 | value >> 12 << 10 | source << 5 | target)
            source = target
        if value & _HALF or not value >> 12:
            self.word(base | (value & _HALF) << 10 | source << 5 | target)

    def add_shifted(self, target: int, one: int, other: int, left: int) -> None:
        """target ← one + (other << left)"""
        self.word(0x8B000000 | other << 16 | left << 10 | one << 5 | target)

    def sub(self, target: int, one: int, other: int) -> None:
        """target ← one − other; no flags change."""
        self.word(0xCB000000 | other << 16 | one << 5 | target)

    def and_shifted(self, target: int, one: int, other: int, right: int) -> None:
        """target ← one & (other >> right)"""
        self.word(0x8A400000 | other << 16 | right << 10 | one << 5 | target)

    def address_in(self, target: int, address: int) -> None:
        """The register ← an address, by its distance from here."""
        self.word(*address_of(address, self.here, target))

    def read_flags(self, target: int) -> None:
        self.word(0xD53B4200 | target)

    def write_flags(self, source: int) -> None:
        self.word(0xD51B4200 | source)

    # -- memory --------------------------------------------------------------------------------------------------

    def ldr(self, target: int, base: int, offset: int = 0, *, size: int = 8) -> None:
        """`size` bytes, zero-extended; the offset is a multiple of that."""
        self.word(self._access(0x39400000, target, base, offset, size))

    def str(self, source: int, base: int, offset: int = 0, *, size: int = 8) -> None:
        self.word(self._access(0x39000000, source, base, offset, size))

    @staticmethod
    def _access(word: int, register: int, base: int, offset: int, size: int) -> int:
        scale = {1: 0, 2: 1, 4: 2, 8: 3}[size]
        if offset % size or not 0 <= offset // size <= _HALF:
            raise ValueError(f"no offset for {size} bytes: {offset}")
        return word | scale << 30 | offset // size << 10 | base << 5 | register

    def ldr_at(self, target: int, address: int, *, size: int = 8) -> None:
        """Memory at an address, which is found by its distance; it must be aligned."""
        self.word(*address_of(address, self.here, target, whole=False))
        self.ldr(target, target, address & 0xFFF, size=size)

    def ldp(self, one: int, two: int, base: int, offset: int = 0) -> None:
        self.word(self._pair(0xA9400000, one, two, base, offset))

    def stp(self, one: int, two: int, base: int, offset: int = 0) -> None:
        self.word(self._pair(0xA9000000, one, two, base, offset))

    def push(self, one: int, two: int, size: int) -> None:
        """SP ← SP − size, then both registers to where it points."""
        self.word(self._pair(0xA9800000, one, two, SP, -size))

    def pop(self, one: int, two: int, size: int) -> None:
        self.word(self._pair(0xA8C00000, one, two, SP, size))

    @staticmethod
    def _pair(word: int, one: int, two: int, base: int, offset: int) -> int:
        if offset & 7 or not -512 <= offset <= 504:
            raise ValueError(f"no offset for a pair: {offset}")
        return word | (offset >> 3 & 0x7F) << 15 | two << 10 | base << 5 | one

    def ldaxr(self, target: int, base: int, *, size: int = 8) -> None:
        self.word(0x885FFC00 | (size == 8) << 30 | base << 5 | target)

    def stxr(self, status: int, source: int, base: int, *, size: int = 8) -> None:
        """The status register, 32 bits of it, is 0 if that went well."""
        self.word(0x88007C00 | (size == 8) << 30 | status << 16 | base << 5 | source)

    def clrex(self) -> None:
        self.word(0xD5033F5F)
