"""Arithmetic, shifts, bits and atomic operations of x86-64, and the groups of encodings that instructions share."""

from __future__ import annotations

from typing import Self

from gotap.inject.x86.encoder import Encoder
from gotap.inject.x86.operands import CL, RAX, EncodingError, Memory, Place, Register

Operand = Register | Memory | int


def width(place: Place, other: Operand | None = None) -> int:
    """Bytes that an instruction works on. EncodingError: nothing tells, or the operands differ."""
    size = place.size
    if isinstance(other, (Register, Memory)) and other.size:
        if size and size != other.size:
            raise EncodingError(f"operands are {size} and {other.size} bytes wide")
        size = other.size
    if not size:
        raise EncodingError("nothing tells how wide the operation is", "give the place in memory its size")
    return size


def immediate(value: int, size: int) -> bytes:
    """An immediate of an operation on `size` bytes; of 8 bytes it is 32 bits, sign-extended."""
    width = min(size, 4)
    if size < 8 and value >> 8 * size - 1 == 1:  # written unsigned
        value -= 1 << 8 * size
    if size == 8 and value >= 1 << 63:
        value -= 1 << 64
    try:
        return value.to_bytes(width, "little", signed=True)
    except OverflowError:
        raise EncodingError(f"immediate {value:#x} does not fit an operation on {size} bytes",
                            "load it into a register first") from None  # fmt: skip


class Arithmetic(Encoder):
    """Encoder with instructions that compute."""

    # Arithmetic: dst op= src

    def add(self, dst: Place, src: Operand) -> None:
        self._alu(0, dst, src)

    def or_(self, dst: Place, src: Operand) -> None:
        self._alu(1, dst, src)

    def adc(self, dst: Place, src: Operand) -> None:
        self._alu(2, dst, src)

    def sbb(self, dst: Place, src: Operand) -> None:
        self._alu(3, dst, src)

    def and_(self, dst: Place, src: Operand) -> None:
        self._alu(4, dst, src)

    def sub(self, dst: Place, src: Operand) -> None:
        self._alu(5, dst, src)

    def xor(self, dst: Place, src: Operand) -> None:
        self._alu(6, dst, src)

    def cmp(self, dst: Place, src: Operand) -> None:
        self._alu(7, dst, src)

    def test(self, dst: Place, src: Register | int) -> None:
        if isinstance(src, Register):
            self._rm(0x84, dst, src)
            return
        size = width(dst)
        if size == 8 and isinstance(dst, Register) and 0 <= src <= 0x7FFFFFFF:
            dst, size = dst.sized(4), 4  # the same flags: the upper half of such a mask is 0
        if size == 4 and isinstance(dst, Register) and 0 <= src <= 0x7F:
            dst, size = dst.sized(1), 1
        self._instruction(b"\xf6" if size == 1 else b"\xf7", 0, dst, size, immediate(src, size))

    def imul(self, dst: Register, src: Place, factor: int | None = None) -> None:
        """dst *= src, or dst = src * factor; the lower half of the product."""
        size = width(dst, src)
        if factor is None:
            self._instruction(b"\x0f\xaf", dst.number, src, size)
        elif -128 <= factor <= 127:
            self._instruction(b"\x6b", dst.number, src, size, immediate(factor, 1))
        else:
            self._instruction(b"\x69", dst.number, src, size, immediate(factor, size))

    def mul(self, src: Place) -> None:
        """RDX:RAX = RAX * src, unsigned."""
        self._unary(0xF6, 4, src)

    def div(self, src: Place) -> None:
        """RAX, RDX = RDX:RAX divided by src and what remains, unsigned; traps when it is 0 or too small."""
        self._unary(0xF6, 6, src)

    def idiv(self, src: Place) -> None:
        """Signed `div`."""
        self._unary(0xF6, 7, src)

    def neg(self, dst: Place) -> None:
        self._unary(0xF6, 3, dst)

    def not_(self, dst: Place) -> None:
        self._unary(0xF6, 2, dst)

    def inc(self, dst: Place) -> None:
        self._unary(0xFE, 0, dst)

    def dec(self, dst: Place) -> None:
        self._unary(0xFE, 1, dst)

    def cdq(self) -> None:
        """EDX = sign of EAX."""
        self._code.append(0x99)

    def cqo(self) -> None:
        """RDX = sign of RAX."""
        self._code += b"\x48\x99"

    # Shifts, by a constant or by CL (modulo the width)

    def rol(self, dst: Place, count: Register | int) -> None:
        self._shift(0, dst, count)

    def ror(self, dst: Place, count: Register | int) -> None:
        self._shift(1, dst, count)

    def shl(self, dst: Place, count: Register | int) -> None:
        self._shift(4, dst, count)

    def shr(self, dst: Place, count: Register | int) -> None:
        self._shift(5, dst, count)

    def sar(self, dst: Place, count: Register | int) -> None:
        self._shift(7, dst, count)

    # Bits

    def bt(self, dst: Place, bit: Register | int) -> None:
        """Carry = the bit; a register's number of a bit in memory may lead outside the operand."""
        self._bit(4, dst, bit)

    def bts(self, dst: Place, bit: Register | int) -> None:
        self._bit(5, dst, bit)

    def btr(self, dst: Place, bit: Register | int) -> None:
        self._bit(6, dst, bit)

    def btc(self, dst: Place, bit: Register | int) -> None:
        self._bit(7, dst, bit)

    def bsf(self, dst: Register, src: Place) -> None:
        """Number of the lowest bit that is set; zero flag: there is none, dst is undefined."""
        self._instruction(b"\x0f\xbc", dst.number, src, width(dst, src))

    def bsr(self, dst: Register, src: Place) -> None:
        """Number of the highest bit that is set; zero flag: there is none, dst is undefined."""
        self._instruction(b"\x0f\xbd", dst.number, src, width(dst, src))

    def bswap(self, dst: Register) -> None:
        """4 or 8 bytes; of 2 use rol by 8."""
        if dst.size < 4:
            raise EncodingError("bswap swaps 4 or 8 bytes")
        self._plain(0xC8, dst, dst.size == 8, lead=b"\x0f")

    def crc32(self, dst: Register, src: Place) -> None:
        """dst = CRC-32C of 8 more bytes; its upper half becomes 0. SSE4.2."""
        self._instruction(b"\x0f\x38\xf1", dst.number, src, width(dst, src), prefix=b"\xf2")

    # Atomic

    def lock(self) -> Self:
        """Prefix of the next instruction, which must write to memory: `a.lock().add(…)`."""
        self._code.append(0xF0)
        return self

    def xadd(self, dst: Place, src: Register) -> None:
        """dst, src = dst + src, dst."""
        self._two_byte(0xC0, dst, src)

    def cmpxchg(self, dst: Place, src: Register) -> None:
        """If dst equals RAX, dst = src and the zero flag is set; else RAX = dst."""
        self._two_byte(0xB0, dst, src)

    def cmpxchg16b(self, dst: Memory) -> None:
        """If the 16 bytes equal RDX:RAX, they become RCX:RBX; the place must be aligned."""
        self._instruction(b"\x0f\xc7", 1, dst, 8)

    # Groups of encodings

    def _rm(self, opcode: int, place: Place, register: Register) -> None:
        """`opcode` works on bytes, the next one on more."""
        size = width(place, register)
        self._instruction(bytes((opcode | (size > 1),)), register.number, place, size,
                          low=register.number if size == 1 else -1)  # fmt: skip

    def _two_byte(self, opcode: int, place: Place, register: Register) -> None:
        size = width(place, register)
        self._instruction(bytes((0x0F, opcode | (size > 1))), register.number, place, size,
                          low=register.number if size == 1 else -1)  # fmt: skip

    def _plain(self, opcode: int, register: Register, wide: bool, behind: bytes = b"", lead: bytes = b"") -> None:
        """The register stands in the opcode."""
        rex = (0x48 if wide else 0) | (0x41 if register.number > 7 else 0)
        if rex:
            self._code.append(rex)
        self._code += lead
        self._code.append(opcode | register.number & 7)
        self._code += behind

    def _alu(self, number: int, dst: Place, src: Operand) -> None:
        if isinstance(src, Register):
            self._rm(number << 3, dst, src)
        elif isinstance(src, Memory):
            if isinstance(dst, Memory):
                raise EncodingError("an instruction cannot have two places in memory")
            self._rm(number << 3 | 2, src, dst)
        else:
            size = width(dst)
            data = immediate(src, size)
            value = int.from_bytes(data, "little", signed=True)
            if size == 1:
                self._instruction(b"\x80", number, dst, 1, data)
            elif -128 <= value <= 127:
                self._instruction(b"\x83", number, dst, size, data[:1])
            elif dst == RAX.sized(size):
                self._code += {2: b"\x66", 4: b"", 8: b"\x48"}[size]
                self._code.append(number << 3 | 5)
                self._code += data
            else:
                self._instruction(b"\x81", number, dst, size, data)

    def _unary(self, opcode: int, number: int, place: Place) -> None:
        size = width(place)
        self._instruction(bytes((opcode | (size > 1),)), number, place, size)

    def _shift(self, number: int, dst: Place, count: Register | int) -> None:
        size = width(dst)
        wide = size > 1
        if isinstance(count, Register):
            if count != CL:
                raise EncodingError("shifts count by CL or a constant")
            self._instruction(bytes((0xD2 | wide,)), number, dst, size)
        elif not 0 <= count < 8 * size:
            raise EncodingError(f"a shift of {8 * size} bits by {count}")
        elif count == 1:
            self._instruction(bytes((0xD0 | wide,)), number, dst, size)
        else:
            self._instruction(bytes((0xC0 | wide,)), number, dst, size, bytes((count,)))

    def _bit(self, number: int, dst: Place, bit: Register | int) -> None:
        size = width(dst, bit if isinstance(bit, Register) else None)
        if isinstance(bit, Register):
            self._instruction(bytes((0x0F, 0x83 | number << 3)), bit.number, dst, size)
        else:
            self._instruction(b"\x0f\xba", number, dst, size, bytes((bit,)))
