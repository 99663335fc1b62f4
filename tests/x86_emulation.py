"""Runs x86-64 machine code in unicorn until it leaves given addresses, and tells everything that it did.

Memory that is not there yet appears when it is touched, filled by its address, so that any code can be run.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

unicorn: Any = pytest.importorskip("unicorn", reason="needs the Python package unicorn")
x86: Any = pytest.importorskip("unicorn.x86_const")

_GENERAL = (
    "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP", "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15",
)  # fmt: skip
_NAMES = (*_GENERAL, "EFLAGS", *(f"XMM{i}" for i in range(16)))
REGISTERS = {name: getattr(x86, f"UC_X86_REG_{name}") for name in _NAMES}
_PAGE = 4096
_LIMIT = 400
_NOWHERE = (1 << 64) - 1


@dataclass
class Ran:
    """`at`: the address that it went to. `stores`: single bytes by address, as written last."""

    at: int
    registers: dict[str, int]
    stores: dict[int, int] = field(default_factory=dict)
    steps: int = 0


class Impossible(Exception):
    """The emulator does not know an instruction, or does not get out."""


def run(
    code: Mapping[int, bytes], start: int, inside: Container[int], registers: Mapping[str, int], tls: int = 0x7F000000
) -> Ran:
    """From `start` until control leaves `inside`. Raises Impossible."""
    machine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    mapped: set[int] = set()

    def provide(page: int) -> None:
        if page not in mapped:
            mapped.add(page)
            machine.mem_map(page, _PAGE)
            machine.mem_write(page, (0x5100_0000 + (page >> 12 & 0xFFFFF)).to_bytes(8, "little") * (_PAGE // 8))

    def missing(_uc: Any, _access: int, address: int, size: int, _value: int, _data: object) -> bool:
        for at in (address, address + size - 1):
            provide(at & -_PAGE)
        return True

    for address, content in code.items():
        for page in range(address & -_PAGE, address + len(content), _PAGE):
            provide(page)
        machine.mem_write(address, content)
    ran = Ran(start, {})

    def stored(_uc: Any, _access: int, address: int, size: int, value: int, _data: object) -> None:
        for i in range(size):
            ran.stores[address + i] = value >> 8 * i & 0xFF

    def step(uc: Any, address: int, _size: int, _data: object) -> None:
        ran.at = address
        ran.steps += 1
        if (address not in inside or ran.steps > _LIMIT) and ran.steps > 1:
            uc.emu_stop()

    machine.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, missing)
    machine.hook_add(unicorn.UC_HOOK_MEM_WRITE, stored)
    machine.hook_add(unicorn.UC_HOOK_CODE, step)
    for name, value in registers.items():
        machine.reg_write(REGISTERS[name], value)
    machine.reg_write(x86.UC_X86_REG_FS_BASE, tls)
    try:
        machine.emu_start(start, _NOWHERE)
    except unicorn.UcError as error:
        raise Impossible(str(error)) from error
    if ran.at in inside:
        raise Impossible("it does not get out")
    ran.registers = {name: machine.reg_read(number) for name, number in REGISTERS.items()}
    return ran
