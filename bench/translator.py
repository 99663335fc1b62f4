"""BPF programs as machine code of ours, beside the kernel's translation of the same programs.

Straight-line code shaped like what gotap generates (loads, stores, comparisons, a counter in an array), the logarithm
behind a histogram's bucket, a loop with a callback. The kernel runs them by BPF_PROG_TEST_RUN, which adds about the
same few ns to each run as the loop around ours; ns per run, CPU time, least of the rounds.
"""

from __future__ import annotations

import argparse
import ctypes
import mmap
import time
from collections.abc import Callable

from bench.measure import alternate
from bench.programs import NotPossible
from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Assembler, Code
from gotap.bpf.enums import MapType, ProgramType
from gotap.bpf.isa import Helper
from gotap.errors import GotapError
from gotap.inject.x86 import assembler as x86
from gotap.inject.x86.operands import R12, R13, R14, R15, RBP, RBX, RSI, RSP, qword
from gotap.inject.x86.translator import MapPlace, translate
from gotap.kernel.bpf import Map, Program

_RUNS = 200_000
_LOOPS = 64


def _nothing(asm: Assembler) -> None:
    asm.mov(R0, 0)


def _straight(asm: Assembler) -> None:
    """Sixteen words are stored, read again, compared and added up."""
    asm.mov(R6, 0)
    for number in range(16):
        asm.mov(R1, number)
        asm.store(R10, -8 * (number + 1), R1)
        asm.load(R2, R10, -8 * (number + 1))
        asm.jne(R2, number, "exit")
        asm.mov(R3, R10)
        asm.add(R3, -8 * (number + 1))
        asm.load(R4, R3, 0, 4)
        asm.add(R6, R4)
    asm.label("exit")
    asm.mov(R0, R6)


def _counter(asm: Assembler) -> None:
    """Eight counts in an array, looked up as generated programs do."""
    for number in range(8):
        asm.store(R10, -4, number, 4)
        asm.ld_map(R1, "counters")
        asm.mov(R2, R10)
        asm.add(R2, -4)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "exit")
        asm.load(R1, R0)
        asm.add(R1, 1)
        asm.store(R0, 0, R1)
    asm.label("exit")
    asm.mov(R0, 0)


def _logarithm(asm: Assembler) -> None:
    """Of eight numbers that are not known beforehand, as in gotap.bpf.codegen.script.buckets."""
    asm.call(Helper.GET_SMP_PROCESSOR_ID)
    asm.mov(R9, R0)
    asm.mov(R6, 0)
    for number in range(8):
        asm.mov(R2, R9)
        asm.add(R2, 1000 << number)
        asm.mov(R0, 0)
        for bits in (32, 16, 8, 4, 2, 1):
            low = asm.new_label("low")
            asm.mov(R1, R2)
            asm.rsh(R1, bits)
            asm.jeq(R1, 0, low)
            asm.mov(R2, R1)
            asm.add(R0, bits)
            asm.label(low)
        asm.add(R6, R0)
    asm.mov(R0, R6)


def _loop(asm: Assembler) -> None:
    asm.store(R10, -8, 0)
    asm.mov(R1, _LOOPS)
    asm.ld_func(R2, "step")
    asm.mov(R3, R10)
    asm.add(R3, -8)
    asm.mov(R4, 0)
    asm.call(Helper.LOOP)
    asm.mov(R0, 0)
    asm.exit_()
    asm.label("step")
    asm.mov(R7, R1)
    asm.mov(R8, R2)
    asm.load(R1, R8)
    asm.add(R1, R7)
    asm.store(R8, 0, R1)
    asm.mov(R0, 0)


PROGRAMS: dict[str, Callable[[Assembler], None]] = {
    "nothing": _nothing, "128 instructions": _straight, "8 counters": _counter, "8 logarithms": _logarithm,
    f"{_LOOPS} callbacks": _loop,
}  # fmt: skip


def _code(emit: Callable[[Assembler], None]) -> Code:
    asm = Assembler()
    emit(asm)
    asm.exit_()
    return asm.finish()


class _Native:
    """Programs as machine code in this process."""

    def __init__(self, size: int = 1 << 16) -> None:
        self._pages = mmap.mmap(-1, size, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._bytes = (ctypes.c_char * size).from_buffer(self._pages)
        self._start = self._next = ctypes.addressof(self._bytes)
        self._counters = MapPlace(self._take(64), self._take(64), MapType.ARRAY, 8, 8)
        self._processor = self._put(bytes.fromhex("31c0c3"))  # xor eax, eax; ret

    def _take(self, size: int) -> int:
        at, self._next = self._next, (self._next + size + 63) // 64 * 64
        return at

    def _put(self, code: bytes) -> int:
        at = self._take(len(code))
        ctypes.memmove(at, code, len(code))
        return at

    def size(self, code: Code) -> int:
        return len(self._translated(code))

    def _translated(self, code: Code) -> bytes:
        helpers = {Helper.GET_SMP_PROCESSOR_ID: self._processor}
        return translate(code, self._next, {"counters": self._counters}, helpers)

    def runner(self, code: Code) -> Callable[[], float]:
        """Seconds of CPU for _RUNS runs."""
        program = self._put(self._translated(code))
        asm = x86.Assembler(self._next)
        kept = (RBX, RBP, R12, R13, R14, R15)
        for register in kept:
            asm.push(register)
        asm.push(RSI)
        asm.label("again")
        asm.call(program)
        asm.dec(qword(RSP))
        asm.jne("again")
        asm.pop(RSI)
        for register in reversed(kept):
            asm.pop(register)
        asm.ret()
        function = ctypes.CFUNCTYPE(None, ctypes.c_uint64, ctypes.c_uint64)(self._put(asm.finish()))
        return _timed(lambda: function(0, _RUNS))


def _timed(run: Callable[[], object]) -> Callable[[], float]:
    def seconds() -> float:
        before = time.thread_time()
        run()
        return time.thread_time() - before

    return seconds


def _kernel(code: Code, counters: Map) -> Callable[[], float]:
    program = Program.load(code.bytes({"counters": counters.fd}), ProgramType.SOCKET_FILTER,
                           subprograms=code.subprograms)  # fmt: skip
    return _timed(lambda: program.test_run(bytes(64), repeat=_RUNS))


def _translation_time(code: Code) -> float:
    """µs for each instruction."""
    before = time.thread_time()
    translate(code, 1 << 40, {}, {Helper.GET_SMP_PROCESSOR_ID: 1 << 40})
    return (time.thread_time() - before) * 1e6 / len(code)


def run(arguments: argparse.Namespace) -> None:
    native = _Native()
    try:
        counters = Map.create(MapType.ARRAY, 4, 8, 8)
    except GotapError as error:
        raise NotPossible(f"the kernel's side: {error}") from error
    print(f"{'program':>18} {'BPF':>5} {'bytes':>6} {'ours':>8} {'kernel':>8}   ns per run")
    for name, emit in PROGRAMS.items():
        code = _code(emit)
        variants = {"ours": native.runner(code), "kernel": _kernel(code, counters)}
        least = {one: min(values.all) * 1e9 / _RUNS for one, values in alternate(variants, arguments.rounds).items()}
        print(f"{name:>18} {len(code):>5} {native.size(code):>6} {least['ours']:>8.1f} {least['kernel']:>8.1f}")
    code = _code(_logarithm)
    print(f"translating: {min(_translation_time(code) for _ in range(arguments.rounds)):.1f} µs per BPF instruction")


if __name__ == "__main__":
    run(argparse.Namespace(rounds=5))
