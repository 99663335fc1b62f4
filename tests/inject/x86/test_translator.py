"""Translated programs do what the interpreter does."""

from __future__ import annotations

import random

import pytest

from bpf_interpreter import ArrayMap
from bpf_samples import IMAGE, INTERESTING, random_program, signed_extensions
from gotap.bpf.asm import Assembler, Code
from native_machine import NativeMachine


def finished(asm: Assembler) -> Code:
    asm.exit_()
    return asm.finish()


@pytest.mark.parametrize("seed", range(300))
def test_random_programs(seed: int) -> None:
    rng = random.Random(seed)
    registers = ArrayMap(IMAGE, 1)
    image = b"".join(rng.choice((rng.choice(INTERESTING), rng.getrandbits(64))).to_bytes(8, "little") for _ in range(8))
    registers.update(bytes(4), image, 0, 0)
    NativeMachine({"registers": registers}).run(random_program(seed))


def test_what_linux_6_6_added() -> None:
    NativeMachine({"registers": ArrayMap(8 * 256, 1)}).run(signed_extensions())
