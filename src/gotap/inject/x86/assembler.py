"""An assembler for x86-64: labels, and one method per instruction, operands in Intel's order.

    a = Assembler(0x7F0000001000)       # the address that the code will lie at
    a.mov(RAX, mem(RBX, 8))             # widths come from the registers: this reads 8 bytes,
    a.add(EAX, 1)                       # this adds 32 bits wide,
    a.inc(dword(RCX, 4, RDX, 8))        # and where there is no register the place says it
    a.lock().xadd(mem(RDI), RAX)
    a.je("done")                        # short or long, as the distance wants
    a.call(0x7F0000002000)              # labels or absolute addresses
    a.label("done")
    a.ret()
    code = a.finish(); a.address("done")

Operands and their widths are checked (EncodingError); immediates are signed numbers of the operand's width, or unsigned
ones of as many bits; those of 64-bit operations are 32 bits wide and sign-extended, but for `mov` into a register,
which takes any constant. Encodings: Intel SDM volume 2.
"""

from __future__ import annotations

from gotap.inject.x86.arithmetic import Arithmetic, Operand, immediate, width
from gotap.inject.x86.encoder import ALWAYS
from gotap.inject.x86.operands import Condition, EncodingError, Memory, Place, Register, Target

__all__ = ["Assembler"]

class Assembler(Arithmetic):
    """Encoder with the instructions of general-purpose registers that gotap's code is made of."""

    # Moves

    def mov(self, dst: Place, src: Operand) -> None:
        """A constant takes the shortest form; 0 is not made by xor, so that flags stay."""
        if isinstance(src, int):
            self._mov_constant(dst, src)
        elif isinstance(dst, Memory):
            if isinstance(src, Memory):
                raise EncodingError("mov cannot have two places in memory")
            self._rm(0x88, dst, src)
        elif isinstance(src, Memory):
            self._rm(0x8A, src, dst)
        else:
            self._rm(0x88, dst, src)

    def _mov_constant(self, dst: Place, value: int) -> None:
        size = width(dst)
        if isinstance(dst, Memory):
            self._instruction(b"\xc6" if size == 1 else b"\xc7", 0, dst, size, immediate(value, size))
            return
        if size == 8:
            if not -(1 << 63) <= value < 1 << 64:
                raise EncodingError(f"constant {value:#x} does not fit in 64 bits")
            unsigned = value & (1 << 64) - 1
            if unsigned >> 32 == 0:
                dst, size, value = dst.sized(4), 4, unsigned
            elif unsigned >= (1 << 64) - 0x80000000:
                self._instruction(b"\xc7", 0, dst, 8, immediate(value, 8))
                return
            else:
                self._plain(0xB8, dst, True, unsigned.to_bytes(8, "little"))
                return
        if size == 1:
            self._instruction(b"\xc6", 0, dst, 1, immediate(value, 1))
            return
        if size == 2:
            self._code.append(0x66)
        self._plain(0xB8, dst, False, immediate(value, size))

    def movabs(self, dst: Register, value: Target) -> None:
        """Always ten bytes, the last eight of them the constant, or a label's absolute address."""
        self._code += bytes((0x49 if dst.number > 7 else 0x48, 0xB8 | dst.number & 7))
        self.quad(value)

    def movzx(self, dst: Register, src: Place) -> None:
        """From 1 or 2 bytes; from 4 a plain mov."""
        size = width(src)
        if size == 4 and dst.size == 8:
            self._rm(0x8A, src, dst.sized(4))
            return
        self._extend(0xB6, dst.sized(4) if dst.size == 8 else dst, src, size)

    def movsx(self, dst: Register, src: Place) -> None:
        """From 1, 2 or 4 bytes."""
        size = width(src)
        if size == 4:
            self._instruction(b"\x63", dst.number, src, dst.size)
        else:
            self._extend(0xBE, dst, src, size)

    def _extend(self, opcode: int, dst: Register, src: Place, size: int) -> None:
        if size > 2 or dst.size <= size:
            raise EncodingError(f"no extension from {size} to {dst.size} bytes")
        self._instruction(bytes((0x0F, opcode | size - 1)), dst.number, src, dst.size)

    def lea(self, dst: Register, src: Memory) -> None:
        self._instruction(b"\x8d", dst.number, src, dst.size)

    def xchg(self, dst: Place, src: Register) -> None:
        """With memory it is atomic, without `lock`."""
        self._rm(0x86, dst, src)

    def cmov(self, condition: Condition, dst: Register, src: Place) -> None:
        size = width(dst, src)
        if size == 1:
            raise EncodingError("cmov has no form for bytes")
        self._instruction(bytes((0x0F, 0x40 | condition)), dst.number, src, size)

    def setcc(self, condition: Condition, dst: Place) -> None:
        """1 or 0 into one byte."""
        if dst.size > 1:
            raise EncodingError("setcc sets one byte")
        self._instruction(bytes((0x0F, 0x90 | condition)), 0, dst, 1)

    def push(self, src: Operand) -> None:
        """8 bytes; an immediate is sign-extended from 32 bits."""
        if isinstance(src, int):
            short = -128 <= src <= 127
            self._code.append(0x6A if short else 0x68)
            self._code += src.to_bytes(1, "little", signed=True) if short else immediate(src, 8)
        elif isinstance(src, Register):
            self._plain(0x50, src, False)
        else:
            self._instruction(b"\xff", 6, src, 4)

    def pop(self, dst: Place) -> None:
        if isinstance(dst, Register):
            self._plain(0x58, dst, False)
        else:
            self._instruction(b"\x8f", 0, dst, 4)

    # Flow

    def jmp(self, target: Target | Place) -> None:
        """To a label or address; a register or place in memory holds the address."""
        if isinstance(target, (Register, Memory)):
            self._instruction(b"\xff", 4, target, 4)
        else:
            self._branch(ALWAYS, target)

    def call(self, target: Target | Place) -> None:
        if isinstance(target, (Register, Memory)):
            self._instruction(b"\xff", 2, target, 4)
        else:
            self._relative_call(0xE8, target)

    def jmp_long(self, target: Target) -> None:
        """Five bytes, whatever the distance."""
        self._relative_call(0xE9, target)

    def jcc(self, condition: Condition, target: Target) -> None:
        self._branch(condition, target)

    def je(self, target: Target) -> None:
        self._branch(Condition.EQUAL, target)

    def jne(self, target: Target) -> None:
        self._branch(Condition.NOT_EQUAL, target)

    jz, jnz = je, jne

    def ja(self, target: Target) -> None:
        """Unsigned, as jae, jb and jbe."""
        self._branch(Condition.ABOVE, target)

    def jae(self, target: Target) -> None:
        self._branch(Condition.ABOVE_EQUAL, target)

    def jb(self, target: Target) -> None:
        self._branch(Condition.BELOW, target)

    def jbe(self, target: Target) -> None:
        self._branch(Condition.BELOW_EQUAL, target)

    jc, jnc = jb, jae

    def jg(self, target: Target) -> None:
        """Signed, as jge, jl and jle."""
        self._branch(Condition.GREATER, target)

    def jge(self, target: Target) -> None:
        self._branch(Condition.GREATER_EQUAL, target)

    def jl(self, target: Target) -> None:
        self._branch(Condition.LESS, target)

    def jle(self, target: Target) -> None:
        self._branch(Condition.LESS_EQUAL, target)

    def js(self, target: Target) -> None:
        self._branch(Condition.SIGN, target)

    def jns(self, target: Target) -> None:
        self._branch(Condition.NOT_SIGN, target)

    def ret(self) -> None:
        self._code.append(0xC3)

    # Machine

    def rdtsc(self) -> None:
        """EDX:EAX = time stamp counter; it is not ordered with what stands before and behind."""
        self._code += b"\x0f\x31"

    def rdtscp(self) -> None:
        """As rdtsc, after all loads before it; ECX = IA32_TSC_AUX: on Linux node << 12 | CPU."""
        self._code += b"\x0f\x01\xf9"

    def rdpid(self, dst: Register) -> None:
        """IA32_TSC_AUX; not every CPU has it."""
        self._instruction(b"\x0f\xc7", 7, dst.sized(4), 4, prefix=b"\xf3")

    def lsl(self, dst: Register, selector: Register) -> None:
        """Limit of a segment; on Linux that of selector 0x7b is node << 12 | CPU."""
        self._instruction(b"\x0f\x03", dst.number, selector.sized(dst.size), dst.size)

    def rdfsbase(self, dst: Register) -> None:
        """Base of FS: an address of the thread's own. Allowed where AT_HWCAP2 has bit 1."""
        self._instruction(b"\x0f\xae", 0, dst, dst.size, prefix=b"\xf3")

    def rdgsbase(self, dst: Register) -> None:
        self._instruction(b"\x0f\xae", 1, dst, dst.size, prefix=b"\xf3")

    def cpuid(self) -> None:
        self._code += b"\x0f\xa2"

    def syscall(self) -> None:
        """Number in RAX, arguments in RDI, RSI, RDX, R10, R8, R9; RCX and R11 are lost."""
        self._code += b"\x0f\x05"

    def pause(self) -> None:
        self._code += b"\xf3\x90"

    def lfence(self) -> None:
        self._code += b"\x0f\xae\xe8"

    def mfence(self) -> None:
        self._code += b"\x0f\xae\xf0"

    def sfence(self) -> None:
        self._code += b"\x0f\xae\xf8"

    def pushfq(self) -> None:
        self._code.append(0x9C)

    def popfq(self) -> None:
        self._code.append(0x9D)

    def lahf(self) -> None:
        """AH = the flags but overflow."""
        self._code.append(0x9F)

    def sahf(self) -> None:
        """The flags but overflow = AH."""
        self._code.append(0x9E)

    def cld(self) -> None:
        self._code.append(0xFC)

    def rep_movsb(self) -> None:
        """RCX bytes from [RSI] to [RDI], upwards if the direction flag is clear, as the ABI has it."""
        self._code += b"\xf3\xa4"

    def rep_movsq(self) -> None:
        """RCX times 8 bytes."""
        self._code += b"\xf3\x48\xa5"

    def rep_stosb(self) -> None:
        """AL into RCX bytes from [RDI]."""
        self._code += b"\xf3\xaa"

    def rep_stosq(self) -> None:
        """RAX into RCX times 8 bytes from [RDI]."""
        self._code += b"\xf3\x48\xab"

    def repe_cmpsb(self) -> None:
        """Compares up to RCX bytes at [RSI] and [RDI]; zero flag: all are equal (or RCX was 0 and it was set)."""
        self._code += b"\xf3\xa6"

    def int3(self) -> None:
        self._code.append(0xCC)

    def ud2(self) -> None:
        """Traps: what never runs."""
        self._code += b"\x0f\x0b"
