"""Programs that use every instruction: the kernel's answers to them hold interpreter and disassembler to account."""

from __future__ import annotations

import random

from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, R7, R8, R9, Assembler, Code, Reg

WORK = (R0, R1, R2, R3, R4, R6, R7, R8)  # R9 points to the registers' image
IMAGE = 8 * len(WORK)
INTERESTING = (0, 1, 2, 7, 31, 32, 63, 64, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
               0x100000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFF80)
ARITHMETIC = ("mov", "add", "sub", "mul", "div", "mod", "and", "or", "xor", "lsh", "rsh", "arsh")
JUMPS = ("jeq", "jne", "jgt", "jge", "jlt", "jle", "jset", "jsgt", "jsge", "jslt", "jsle")


def _arithmetic(asm: Assembler, rng: random.Random) -> None:
    name = rng.choice(ARITHMETIC)
    bits = rng.choice((32, 64))
    method = getattr(asm, f"{name}32" if bits == 32 else f"{name}_" if name in ("and", "or") else name)
    if rng.random() < 0.5:
        method(rng.choice(WORK), rng.choice(WORK))
    elif name in ("lsh", "rsh", "arsh"):
        method(rng.choice(WORK), rng.randrange(bits))
    else:
        method(rng.choice(WORK), rng.choice((-1, -128, 1, 2, 3, 255, 65535, 0x7FFFFFFF, -0x80000000, 12345)))


def _unary(asm: Assembler, rng: random.Random) -> None:
    dst = rng.choice(WORK)
    match rng.randrange(8):
        case 0:
            asm.neg(dst)
        case 1:
            asm.neg32(dst)
        case 2:
            asm.to_be(dst, rng.choice((16, 32, 64)))
        case 3:
            asm.to_le(dst, rng.choice((16, 32, 64)))
        case 4:
            asm.sign_extend(dst, rng.choice((8, 16, 32)))
        case 5:
            asm.ld_imm64(dst, rng.choice(INTERESTING))
        case 6:
            asm.constant(dst, rng.choice(INTERESTING))
        case _:
            asm.load(dst, R9, rng.randrange(IMAGE // 8) * 8 + rng.choice((0, 4)), rng.choice((1, 2, 4)))


def _memory(asm: Assembler, rng: random.Random) -> None:
    place, src, size = rng.randrange(IMAGE // 8) * 8, rng.choice(WORK), rng.choice((4, 8))
    match rng.randrange(5):
        case 0:
            asm.store(R9, place, src, rng.choice((1, 2, 4, 8)))
        case 1:
            asm.store(R9, place, rng.choice((0, 1, -1, 0x7F)), rng.choice((1, 2, 4, 8)))
        case 2:
            method = getattr(asm, f"atomic_{rng.choice(('add', 'or', 'and', 'xor'))}")
            method(R9, place, src, size, fetch=rng.random() < 0.5)
        case 3:
            asm.atomic_xchg(R9, place, src, size)
        case _:
            asm.atomic_cmpxchg(R9, place, src, size)


def random_program(seed: int) -> Code:
    """Loads the registers from the map `registers`, works on them with forward jumps only, stores them back."""
    rng = random.Random(seed)
    asm = Assembler()
    asm.ld_map_value(R9, "registers")
    for number, reg in enumerate(WORK):
        asm.load(reg, R9, 8 * number)
    pending: list[tuple[int, str]] = []
    for step in range(40):
        for due, label in list(pending):
            if due <= step:
                asm.label(label)
                pending.remove((due, label))
        kind = rng.random()
        if kind < 0.12 and len(pending) < 3:
            label = asm.new_label()
            pending.append((step + rng.randint(1, 8), label))
            right: Reg | int = rng.choice(WORK) if rng.random() < 0.5 else rng.choice((0, 1, -1, 255, -0x80000000))
            getattr(asm, rng.choice(JUMPS) + rng.choice(("", "32")))(rng.choice(WORK), right, label)
        elif kind < 0.3:
            _unary(asm, rng)
        elif kind < 0.45:
            _memory(asm, rng)
        else:
            _arithmetic(asm, rng)
    for _, label in pending:
        asm.label(label)
    for number, reg in enumerate(WORK):
        asm.store(R9, 8 * number, reg)
    asm.exit_()
    return asm.finish()


def signed_extensions() -> Code:
    """What Linux 6.6 added: signed division, sign-extending moves and loads, unconditional swaps."""
    asm = Assembler()
    asm.ld_map_value(R9, "registers")
    slot = 1
    for left in (-7, 7, -(1 << 63), 0x80, 0x1234567890ABCDEF):
        for right in (2, -3, 0, -1):
            for operation in (asm.sdiv, asm.smod):
                asm.ld_imm64(R1, left)
                asm.ld_imm64(R2, right)
                operation(R1, R2)
                asm.store(R9, 8 * slot, R1)
                slot += 1
        for bits in (8, 16, 32):
            asm.ld_imm64(R1, left)
            asm.movsx(R2, R1, bits)
            asm.store(R9, 8 * slot, R2)
            asm.load_signed(R2, R9, 8 * slot, bits // 8)
            asm.store(R9, 8 * slot + 8, R2)
            asm.bswap(R1, bits if bits > 8 else 64)
            asm.store(R9, 8 * slot + 16, R1)
            slot += 3
    asm.mov(R0, slot)
    asm.exit_()
    return asm.finish()
