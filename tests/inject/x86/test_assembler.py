"""The assembler against iced-x86's decoder."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from iced_x86 import Decoder, Formatter, FormatterSyntax

from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    AL,
    AX,
    CL,
    CX,
    DIL,
    EAX,
    EBP,
    EBX,
    ECX,
    EDX,
    ESI,
    R8,
    R8B,
    R9,
    R10,
    R10D,
    R11,
    R12,
    R13,
    R14,
    R15,
    R15B,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    SIL,
    Condition,
    EncodingError,
    Memory,
    Register,
    byte,
    dword,
    mem,
    qword,
    rip,
    word,
)

ORIGIN = 0x7F1200003000
REGISTERS = (RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15)


def decoded(code: bytes, origin: int = ORIGIN) -> list[str]:
    formatter = Formatter(FormatterSyntax.NASM)
    formatter.hex_prefix, formatter.hex_suffix = "0x", ""
    formatter.space_after_operand_separator = False
    formatter.rip_relative_addresses = False
    formatter.small_hex_numbers_in_decimal = False
    formatter.show_branch_size = False
    formatter.branch_leading_zeros = False
    formatter.uppercase_hex = False
    formatter.signed_immediate_operands = True
    decoder = Decoder(64, code, ip=origin)
    out = [formatter.format(one) for one in decoder]
    assert not any("(bad)" in text for text in out), (code.hex(), out)
    return out


def text(emit: Callable[[Assembler], object]) -> str:
    asm = Assembler(ORIGIN)
    emit(asm)
    return ";".join(decoded(asm.finish()))


CASES: list[tuple[Callable[[Assembler], object], str]] = [
    (lambda a: a.mov(RAX, RBX), "mov rax,rbx"),
    (lambda a: a.mov(R10D, ESI), "mov r10d,esi"),
    (lambda a: a.mov(SIL, R8B), "mov sil,r8b"),
    (lambda a: a.mov(AX, CX), "mov ax,cx"),
    (lambda a: a.mov(RAX, 0), "mov eax,0x0"),
    (lambda a: a.mov(R9, 0xFFFFFFFF), "mov r9d,-0x1"),
    (lambda a: a.mov(R9, -1), "mov r9,-0x1"),
    (lambda a: a.mov(RBX, -0x80000000), "mov rbx,-0x80000000"),
    (lambda a: a.mov(RBX, 0xFFFFFFFF80000000), "mov rbx,-0x80000000"),
    (lambda a: a.mov(R15, 0x123456789ABCDEF0), "mov r15,0x123456789abcdef0"),
    (lambda a: a.mov(RDI, -0x80000001), "mov rdi,-0x80000001"),
    (lambda a: a.mov(DIL, 200), "mov dil,-0x38"),
    (lambda a: a.mov(CX, -2), "mov cx,-0x2"),
    (lambda a: a.mov(qword(RDI, 8), -5), "mov qword [rdi+0x8],-0x5"),
    (lambda a: a.mov(dword(R12), 0xFFFFFFFF), "mov dword [r12],-0x1"),
    (lambda a: a.mov(word(R13), 0x1234), "mov word [r13],0x1234"),
    (lambda a: a.mov(byte(RSP, 3), 255), "mov byte [rsp+0x3],-0x1"),
    (lambda a: a.mov(RAX, mem(RBP)), "mov rax,[rbp]"),
    (lambda a: a.mov(mem(RAX, -128, RCX, 4), R8B), "mov [rax+rcx*4-0x80],r8b"),
    (lambda a: a.mov(mem(None, 0x1000, RBX, 8), RSI), "mov [rbx*8+0x1000],rsi"),
    (lambda a: a.mov(EAX, mem(None, 0x7000)), "mov eax,[0x7000]"),
    (lambda a: a.movabs(R11, 1), "mov r11,0x1"),
    (lambda a: a.movzx(RAX, byte(RSI)), "movzx eax,byte [rsi]"),
    (lambda a: a.movzx(RAX, word(RSI)), "movzx eax,word [rsi]"),
    (lambda a: a.movzx(RCX, dword(RSI)), "mov ecx,[rsi]"),
    (lambda a: a.movzx(EDX, SIL), "movzx edx,sil"),
    (lambda a: a.movsx(RAX, byte(RSI)), "movsx rax,byte [rsi]"),
    (lambda a: a.movsx(EAX, CX), "movsx eax,cx"),
    (lambda a: a.movsx(R15, EBP), "movsxd r15,ebp"),
    (lambda a: a.lea(R11, mem(RBX, 300, R12, 2)), "lea r11,[rbx+r12*2+0x12c]"),
    (lambda a: a.lea(EAX, mem(RBX, -1)), "lea eax,[rbx-0x1]"),
    (lambda a: a.xchg(mem(RDI), R9), "xchg r9,[rdi]"),
    (lambda a: a.cmov(Condition.ABOVE, RAX, R12), "cmova rax,r12"),
    (lambda a: a.cmov(Condition.EQUAL, ECX, mem(RSI)), "cmove ecx,[rsi]"),
    (lambda a: a.setcc(Condition.LESS, DIL), "setl dil"),
    (lambda a: a.setcc(Condition.NOT_EQUAL, byte(RAX, 1)), "setne [rax+0x1]"),
    (lambda a: a.push(R12), "push r12"),
    (lambda a: a.push(-3), "push -0x3"),
    (lambda a: a.push(0x1000), "push 0x1000"),
    (lambda a: a.push(mem(RAX, 8)), "push qword [rax+0x8]"),
    (lambda a: a.pop(mem(R9)), "pop qword [r9]"),
    (lambda a: a.pop(RBP), "pop rbp"),
    (lambda a: a.add(RAX, 0x1000), "add rax,0x1000"),
    (lambda a: a.add(EAX, 0xFFFFFFFF), "add eax,-0x1"),
    (lambda a: a.sub(R12, 0x80), "sub r12,0x80"),
    (lambda a: a.and_(AL, 0xF0), "and al,-0x10"),
    (lambda a: a.and_(RCX, 0xFFFFFFFFFFFFF000), "and rcx,-0x1000"),
    (lambda a: a.xor(EBX, EBX), "xor ebx,ebx"),
    (lambda a: a.cmp(dword(RDI, 4), 7), "cmp dword [rdi+0x4],0x7"),
    (lambda a: a.cmp(RAX, mem(R13, 0, R14)), "cmp rax,[r13+r14]"),
    (lambda a: a.cmp(word(RDI), 0x1234), "cmp word [rdi],0x1234"),
    (lambda a: a.or_(mem(RDI), DIL), "or [rdi],dil"),
    (lambda a: a.adc(RDX, 0), "adc rdx,0x0"),
    (lambda a: a.sbb(EAX, EAX), "sbb eax,eax"),
    (lambda a: a.test(RAX, RAX), "test rax,rax"),
    (lambda a: a.test(RBX, 0x40), "test bl,0x40"),
    (lambda a: a.test(RSI, 0x12345), "test esi,0x12345"),
    (lambda a: a.test(RSI, -2), "test rsi,-0x2"),
    (lambda a: a.test(byte(RDI, 9), 0x80), "test byte [rdi+0x9],-0x80"),
    (lambda a: a.imul(RAX, R9), "imul rax,r9"),
    (lambda a: a.imul(R8, mem(RSI), 24), "imul r8,[rsi],0x18"),
    (lambda a: a.imul(ECX, EDX, 1000), "imul ecx,edx,0x3e8"),
    (lambda a: a.mul(R9), "mul r9"),
    (lambda a: a.div(EBX), "div ebx"),
    (lambda a: a.idiv(qword(RSI)), "idiv qword [rsi]"),
    (lambda a: a.neg(R15B), "neg r15b"),
    (lambda a: a.not_(RAX), "not rax"),
    (lambda a: a.inc(dword(RCX, 4, RDX, 8)), "inc dword [rcx+rdx*8+0x4]"),
    (lambda a: a.dec(byte(RCX)), "dec byte [rcx]"),
    (lambda a: (a.cdq(), a.cqo()), "cdq;cqo"),
    (lambda a: a.shl(RAX, CL), "shl rax,cl"),
    (lambda a: a.shr(R12, 1), "shr r12,0x1"),
    (lambda a: a.sar(EBX, 31), "sar ebx,0x1f"),
    (lambda a: a.rol(AX, 8), "rol ax,0x8"),
    (lambda a: a.ror(qword(RDI), 63), "ror qword [rdi],0x3f"),
    (lambda a: a.bt(RAX, 40), "bt rax,0x28"),
    (lambda a: a.bts(mem(RDI), ECX), "bts [rdi],ecx"),
    (lambda a: a.btr(R9, RCX), "btr r9,rcx"),
    (lambda a: a.btc(dword(RDI), 3), "btc dword [rdi],0x3"),
    (lambda a: a.bsf(RAX, R10), "bsf rax,r10"),
    (lambda a: a.bsr(EAX, mem(RDI)), "bsr eax,[rdi]"),
    (lambda a: a.bswap(R10), "bswap r10"),
    (lambda a: a.bswap(EAX), "bswap eax"),
    (lambda a: a.lock().xadd(mem(RDI), R9), "lock xadd [rdi],r9"),
    (lambda a: a.lock().cmpxchg(mem(R12, 8), ECX), "lock cmpxchg [r12+0x8],ecx"),
    (lambda a: a.lock().cmpxchg(mem(R12), SIL), "lock cmpxchg [r12],sil"),
    (lambda a: a.lock().cmpxchg16b(mem(R8)), "lock cmpxchg16b [r8]"),
    (lambda a: a.lock().add(qword(RDI, 8), 1), "lock add qword [rdi+0x8],0x1"),
    (lambda a: a.jmp(RAX), "jmp rax"),
    (lambda a: a.jmp(mem(R12, 8)), "jmp qword [r12+0x8]"),
    (lambda a: a.call(R15), "call r15"),
    (lambda a: a.call(mem(RAX)), "call qword [rax]"),
    (lambda a: a.call(ORIGIN + 0x100), f"call {ORIGIN + 0x100:#x}"),
    (lambda a: a.jmp(ORIGIN - 0x70000000), f"jmp {ORIGIN - 0x70000000:#x}"),
    (lambda a: a.jae(ORIGIN), f"jae {ORIGIN:#x}"),
    (lambda a: a.jmp_long(ORIGIN), f"jmp {ORIGIN:#x}"),
    (lambda a: a.lea(RAX, rip(ORIGIN + 0x1000)), f"lea rax,[rel {ORIGIN + 0x1000:#x}]"),
    (lambda a: a.cmp(rip(ORIGIN + 0x1000, 4), 0x12345), f"cmp dword [rel {ORIGIN + 0x1000:#x}],0x12345"),
    (lambda a: a.mov(rip(ORIGIN, 1, 5), 3), f"mov byte [rel {ORIGIN + 5:#x}],0x3"),
    (lambda a: (a.ret(), a.rdtsc(), a.rdtscp(), a.cpuid(), a.syscall()), "ret;rdtsc;rdtscp;cpuid;syscall"),
    (lambda a: (a.rdpid(RCX), a.rdpid(R9)), "rdpid rcx;rdpid r9"),
    (lambda a: a.lsl(EAX, ECX), "lsl eax,ecx"),
    (lambda a: (a.rdfsbase(R11), a.rdgsbase(RAX)), "rdfsbase r11;rdgsbase rax"),
    (lambda a: (a.pause(), a.lfence(), a.mfence(), a.sfence()), "pause;lfence;mfence;sfence"),
    (lambda a: (a.pushfq(), a.popfq(), a.lahf(), a.sahf(), a.cld()), "pushf;popf;lahf;sahf;cld"),
    (lambda a: (a.rep_movsb(), a.rep_movsq()), "rep movsb;rep movsq"),
    (lambda a: (a.rep_stosb(), a.rep_stosq(), a.repe_cmpsb()), "rep stosb;rep stosq;repe cmpsb"),
    (lambda a: (a.int3(), a.ud2()), "int3;ud2"),
]


@pytest.mark.parametrize(("emit", "expected"), CASES, ids=[expected for _, expected in CASES])
def test_instruction(emit: Callable[[Assembler], object], expected: str) -> None:
    assert text(emit) == expected


def _place(rng: random.Random) -> tuple[Memory, str]:
    base, index = rng.choice((None, *REGISTERS)), rng.choice((None, *(one for one in REGISTERS if one != RSP)))
    scale = rng.choice((1, 2, 4, 8))
    displacement = rng.choice((0, 1, -1, 127, -128, 128, -129, 0x7FFFFFFF, -0x80000000))
    if base is None and index is None:
        displacement &= 0x7FFFFFFF
    parts = [] if base is None else [repr(base)]
    if index is not None:
        parts.append(repr(index) + (f"*{scale}" if scale > 1 or base is None else ""))
    return mem(base, displacement, index, scale), "+".join(parts) + f" {displacement}"


def _normal(operand: str) -> str:
    """[rax+rcx*4-0x80] → 'rax+rcx*4 -128'"""
    inner = operand.strip("[]").replace("-", "+-")
    parts = [part for part in inner.split("+") if part]
    numbers = [part for part in parts if part.lstrip("-").startswith("0x")]
    names = [part for part in parts if part not in numbers]
    return "+".join(names) + f" {sum(int(number, 16) for number in numbers)}"


def test_every_way_to_address_memory() -> None:
    rng = random.Random(7)
    for _ in range(3000):
        place, expected = _place(rng)
        register = rng.choice(REGISTERS).sized(rng.choice((1, 2, 4, 8)))
        (found,) = decoded(_one(lambda a, r=register, p=place: a.mov(r, p)))
        name, operand = found.removeprefix("mov ").split(",")
        assert name == repr(register)
        assert _normal(operand) == expected, found


def _one(emit: Callable[[Assembler], object]) -> bytes:
    asm = Assembler(ORIGIN)
    emit(asm)
    return asm.finish()


def test_every_pair_of_registers() -> None:
    for size in (1, 2, 4, 8):
        for a in REGISTERS:
            for b in REGISTERS:
                dst, src = a.sized(size), b.sized(size)
                assert decoded(_one(lambda asm, d=dst, s=src: asm.xor(d, s))) == [f"xor {dst!r},{src!r}"]
                if size > 1:
                    assert decoded(_one(lambda asm, d=dst, s=src: asm.imul(d, s))) == [f"imul {dst!r},{src!r}"]


@pytest.mark.parametrize("distance", [0, 1, 123, 124, 125, 126, 127, 128, 1000])
def test_jumps_are_as_short_as_they_can_be(distance: int) -> None:
    asm = Assembler(ORIGIN)
    asm.label("back")
    asm.je("there")
    asm.nop(distance)
    asm.label("there")
    asm.jmp("back")
    code = asm.finish()
    first, *_, last = decoded(code)
    assert first == f"je {asm.address('there'):#x}"
    assert last == f"jmp {ORIGIN:#x}"
    assert asm.address("back") == ORIGIN
    assert asm.address("there") - ORIGIN == distance + (2 if distance <= 127 else 6)
    assert len(code) == asm.address("there") - ORIGIN + (2 if asm.address("there") - ORIGIN <= 126 else 5)


def test_many_jumps_across_each_other() -> None:
    rng = random.Random(3)
    for _ in range(20):
        asm = Assembler(ORIGIN)
        expected = []
        for number in range(150):
            asm.label(f"at{number}")
            kind = rng.randrange(4)
            target = f"at{rng.randrange(150)}"
            expected.append((number, kind, target))
            if kind == 0:
                asm.jmp(target)
            elif kind == 1:
                asm.jg(target)
            elif kind == 2:
                asm.lea(R9, rip(target))
            else:
                asm.align(16)
        code = asm.finish()
        for number, kind, target in expected:
            at = asm.address(f"at{number}")
            first = decoded(code[at - ORIGIN :], at)[:1]
            if kind < 2:
                assert first == [f"{('jmp', 'jg')[kind]} {asm.address(target):#x}"]
            elif kind == 2:
                assert first == [f"lea r9,[rel {asm.address(target):#x}]"]
            elif number < 149:
                assert asm.address(f"at{number + 1}") % 16 == 0


def test_data_of_labels() -> None:
    asm = Assembler(ORIGIN)
    asm.movabs(RAX, "table")
    asm.jmp("table")
    asm.align(8)
    asm.label("table")
    asm.quad("table")
    asm.quad(-2)
    code = asm.finish()
    table = asm.address("table")
    assert code[table - ORIGIN :] == table.to_bytes(8, "little") + b"\xfe" + b"\xff" * 7
    assert decoded(code[:10])[0] == f"mov rax,{table:#x}"


@pytest.mark.parametrize("size", range(30))
def test_nops(size: int) -> None:
    code = _one(lambda a: a.nop(size))
    assert len(code) == size
    assert all(one.startswith(("nop", "xchg ax,ax")) for one in decoded(code))


def test_new_labels_differ() -> None:
    asm = Assembler()
    assert asm.new_label() != asm.new_label()


WRONG: list[Callable[[Assembler], object]] = [
    lambda a: a.mov(RAX, EBX),
    lambda a: a.mov(mem(RAX), mem(RBX)),
    lambda a: a.mov(mem(RAX), 1),
    lambda a: a.mov(RAX, 1 << 64),
    lambda a: a.mov(EAX, 1 << 32),
    lambda a: a.mov(byte(RAX), 256),
    lambda a: a.add(RAX, 1 << 31),
    lambda a: a.add(mem(RAX), mem(RBX)),
    lambda a: a.cmp(byte(RAX), RBX),
    lambda a: a.shl(RAX, 64),
    lambda a: a.shl(RAX, RBX),
    lambda a: a.bswap(AX),
    lambda a: a.movzx(AX, EBX),
    lambda a: a.setcc(Condition.EQUAL, EAX),
    lambda a: a.cmov(Condition.EQUAL, AL, CL),
    lambda a: a.inc(mem(RAX)),
    lambda a: mem(RAX, 0, RSP),
    lambda a: mem(RAX, 1 << 31),
    lambda a: mem(RAX, 0, RBX, 3),
    lambda a: (a.call(ORIGIN + (1 << 33)), a.finish()),
    lambda a: (a.je(0), a.finish()),
    lambda a: (a.jmp("nowhere"), a.finish()),
    lambda a: (a.label("twice"), a.label("twice")),
]


@pytest.mark.parametrize("emit", WRONG)
def test_what_cannot_be_encoded(emit: Callable[[Assembler], object]) -> None:
    with pytest.raises(EncodingError):
        emit(Assembler(ORIGIN))


def test_widths_of_registers() -> None:
    for register in REGISTERS:
        for size in (1, 2, 4, 8):
            narrow: Register = register.sized(size)
            assert (narrow.number, narrow.size) == (register.number, size)
            assert narrow.sized(8) == register
