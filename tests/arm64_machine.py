"""An emulated arm64 processor (unicorn, made of QEMU) as the judge of what machine code does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

unicorn: Any = pytest.importorskip("unicorn", reason="needs the Python package unicorn")
const: Any = pytest.importorskip("unicorn.arm64_const")

_PAGE = 1 << 12
NAMES = (*(f"x{i}" for i in range(31)), "sp", "nzcv")
VECTORS = tuple(f"q{i}" for i in range(32))
STACK, STACK_SIZE = 0x7F000000, 1 << 16


def _number(name: str) -> int:
    number: int = getattr(const, f"UC_ARM64_REG_{name.upper()}")
    return number


@dataclass
class State:
    registers: dict[str, int]
    pc: int
    memory: dict[int, bytes] = field(default_factory=dict)  # what was written to: page → contents

    def differing(self, other: State, ignore: tuple[str, ...] = ()) -> dict[str, tuple[int, int]]:
        """Registers that differ."""
        return {
            name: (value, other.registers[name])
            for name, value in self.registers.items()
            if value != other.registers[name] and name not in ignore
        }


class Machine:
    """A processor with a stack. Memory is mapped by `load`; what is not mapped faults."""

    def __init__(self) -> None:
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        self._pages: set[int] = set()
        self._watched: set[int] = set()
        self.load(STACK, bytes(STACK_SIZE), watch=True)

    def load(self, address: int, data: bytes, *, watch: bool = False) -> None:
        """Puts bytes into memory, mapping pages as needed. `watch`: they are part of the state."""
        for page in range(address & -_PAGE, address + max(len(data), 1), _PAGE):
            if page not in self._pages:
                self._uc.mem_map(page, _PAGE)
                self._pages.add(page)
            if watch:
                self._watched.add(page)
        self._uc.mem_write(address, bytes(data))

    def read(self, address: int, size: int) -> bytes:
        return bytes(self._uc.mem_read(address, size))

    def run(
        self, start: int, stops: set[int], registers: Mapping[str, int], *, limit: int = 10_000
    ) -> tuple[State, list[int]]:
        """Runs until an instruction of `stops` is reached, and before it; also the addresses that were executed.

        Fails if that takes more than `limit` instructions. Raises unicorn.UcError at faults.
        """
        trace: list[int] = []
        for name, value in registers.items():
            self._uc.reg_write(_number(name), value)

        def step(uc: Any, address: int, size: int, data: object) -> None:
            if address in stops and (trace or address != start):
                uc.emu_stop()
            else:
                trace.append(address)

        hook = self._uc.hook_add(unicorn.UC_HOOK_CODE, step)
        try:
            self._uc.emu_start(start, -1 & (1 << 64) - 1, count=limit)
        finally:
            self._uc.hook_del(hook)
        pc = self._uc.reg_read(_number("pc"))
        assert pc in stops, f"stopped at {pc:#x}"
        return self.state(), trace

    def state(self) -> State:
        registers = {name: self._uc.reg_read(_number(name)) for name in (*NAMES, *VECTORS)}
        memory = {page: self.read(page, _PAGE) for page in self._watched}
        return State(registers, self._uc.reg_read(_number("pc")), memory)
