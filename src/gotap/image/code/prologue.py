"""Entry sites of thousands of functions at once, by the bytes of the prologues that the compiler writes.

What is answered is what `FunctionCode.entry_site` would find; what begins otherwise is left to it. The prologues:
cmd/internal/obj/x86/obj6.go, preprocess and stacksplit, Go 1.18–1.27. Each begins with the stack check, in one of two
forms by the size of the frame, or without one:

    cmp 0x10(%r14),%rsp                     jbe morestack    push %rbp       (Go ≥ 1.21)
    lea -x(%rsp),%r12; cmp 0x10(%r14),%r12  jbe morestack    sub $x,%rsp …   (Go ≤ 1.20)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .model import Cost, Edge, EntrySite

_Bytes = NDArray[np.uint8]
_Ints = NDArray[np.int64]
_Flags = NDArray[np.bool_]

#: Bytes of each function that are looked at: the longest prologue and some instructions behind it.
_PREFIX = 96
#: Bytes behind a site within which a five-byte nop would be a cheaper one.
_REACH = 64
#: Functions without a prologue are small; those that are larger are left out.
_LONGEST_LEAF = 2048
_NOP5 = b"\x0f\x1f\x44\x00\x00"
_BELOW_OR_EQUAL = 6  # condition code of jbe
_PUSH_RBP = 0x55
_NOP = 0x90
#: Bytes of the instructions up to a site without stack check.
_START = 8
#: Numbers of registers in instructions: RAX, RCX, RDX, RBX, RSI, RDI; R8–R11; those that frames are made with.
_ARGUMENTS = (0, 1, 2, 3, 6, 7)
_EXTENDED_ARGUMENTS = (0, 1, 2, 3)
_SP, _BP = 4, 5


def entry_sites(text: memoryview, base: int, addresses: Sequence[int], sizes: Sequence[int]) -> list[EntrySite | None]:
    """The entry site of each function; None where the bytes do not tell it, which does not mean that there is none.

    `text`: machine code from address `base` on, in which all functions lie with their padding.
    """
    if not len(addresses) or not len(text):
        return [None] * len(addresses)
    code = np.frombuffer(text, np.uint8)
    starts = np.asarray(addresses, np.int64) - base
    lengths = np.asarray(sizes, np.int64)
    places = np.minimum(starts[:, None] + np.arange(_PREFIX), len(code) - 1)
    prefixes = code[places]
    prefixes[np.arange(_PREFIX) >= lengths[:, None]] = 0xCC  # what follows is another function's
    sites, proven = _checked(prefixes)
    leaves = np.flatnonzero(sites < 0)
    sites[leaves], proven[leaves] = _unchecked(prefixes[leaves])
    suspects = leaves[(sites[leaves] >= 0) & (prefixes[leaves, 0] != _PUSH_RBP)]
    sites[suspects[_jumps_to_start(code, starts[suspects], lengths[suspects])]] = -1
    return [
        None if site < 0 or not (sure or _NOP5 not in prefix[site : site + _REACH].tobytes())
        else _made(address, site, prefix)
        for address, site, sure, prefix in zip(addresses, sites.tolist(), proven.tolist(), prefixes, strict=True)
    ]  # fmt: skip


def _made(address: int, site: int, prefix: _Bytes) -> EntrySite:
    opcode = prefix[site]
    if site and opcode in (0x76, 0x0F) and prefix[0] in (0x49, 0x4C):
        return EntrySite(address + site, Cost.EMULATED, 0, Edge(_BELOW_OR_EQUAL, False))
    cheap = opcode in (_PUSH_RBP, _NOP) or site > 0
    return EntrySite(address + site, Cost.EMULATED if cheap else Cost.SINGLE_STEP, 0)


def _checked(rows: _Bytes) -> tuple[_Ints, _Flags]:
    """Of functions that check their stack the site's offset: the push, else the jump; −1 for the others.

    And whether what follows is known to hold nothing cheaper, which a jump without a push needs.
    """
    small = _begins(rows, 0, "493b6610")
    large = _begins(rows, 0, "4c8d6424") & _begins(rows, 5, "4d3b6610")
    larger = _begins(rows, 0, "4c8da424") & _begins(rows, 8, "4d3b6610")
    jump = np.select([small, large, larger], [4, 9, 12], 0)
    opcode, second = _at(rows, jump), _at(rows, jump + 1)
    is_short, is_near = opcode == 0x76, (opcode == 0x0F) & (second == 0x86)
    behind = jump + np.where(is_short, 2, 6)
    pushes, quiet = _at(rows, behind) == _PUSH_RBP, _quiet(rows, behind)
    site = np.where(pushes, behind, np.where(quiet, jump, -1))
    proven = np.where(pushes, _quiet_behind_push(rows, behind + 1), quiet)
    return np.where((jump > 0) & (is_short | is_near), site, -1).astype(np.int64), proven


def _unchecked(rows: _Bytes) -> tuple[_Ints, _Flags]:
    """The same of functions without a stack check: the first instruction, or the jump behind a first test."""
    start = np.zeros(len(rows), np.int64)
    first = rows[:, 0]
    ends, pushes = _ends(rows, start, start) | _quiet(rows, start), first == _PUSH_RBP
    tests = _begins(rows, 0, "4885") & (rows[:, 2] >> 6 == 3)
    jumps = (rows[:, 3] & 0xF0 == 0x70) | ((rows[:, 3] == 0x0F) & (rows[:, 4] & 0xF0 == 0x80))
    site = np.where(pushes | ends | (first == _NOP), 0, np.where(tests & jumps, 3, -1))
    return site.astype(np.int64), np.where(pushes, _quiet_behind_push(rows, start + 1), ends | (site == 3))


def _quiet_behind_push(rows: _Bytes, at: _Ints) -> _Flags:
    """The same as `_quiet` where the frame is made so: `mov %rsp,%rbp`, perhaps `sub $frame,%rsp`."""
    known = _begins(rows, at, "4889e5")
    at = at + 3
    short, long = _begins(rows, at, "4883ec"), _begins(rows, at, "4881ec")
    frame = np.where(short, _at(rows, at + 3), np.where(long, _number(rows, at + 3), 0))
    known &= ~short | (frame < 0x80)
    ends: _Flags = _ends(rows, at + np.where(short, 4, np.where(long, 7, 0)), frame + 8)
    return known & ends


def _quiet(rows: _Bytes, at: _Ints) -> _Flags:
    """Whether the frame is made from there on, and then an argument register or the caller's frame changes.

    `sub $frame,%rsp; mov %rbp,x(%rsp); lea x(%rsp),%rbp`.
    """
    short = _at(rows, at + 1) == 0x83
    frame = np.where(short, _at(rows, at + 3), _number(rows, at + 3))
    known: _Flags = ~short | (frame < 0x80)  # larger ones are negative
    for forms in (("4883ec", 4), ("4881ec", 7)), (("48896c24", 5), ("4889ac24", 8)), (("488d6c24", 5), ("488dac24", 8)):
        length = np.zeros(len(rows), np.int64)
        for form, size in forms:
            length[_begins(rows, at, form)] = size
        at = at + length
        known &= length > 0
    return np.asarray(known & _ends(rows, at, frame))


def _ends(rows: _Bytes, at: _Ints, frame: _Ints) -> _Flags:
    """Whether the instruction there is single-stepped and changes what the function was called with, or may fault.

    `frame`: bytes between SP and its value at the entry. Instructions that are not looked for: False.
    """
    prefix = _at(rows, at)
    wide, extended = np.isin(prefix, (0x48, 0x49, 0x4C)), prefix == 0x4C
    behind = at + wide
    opcode, form, third = (_at(rows, behind + i) for i in range(3))
    register, target = form >> 3 & 7, form & 7
    in_register = form >> 6 == 3
    argument = np.isin(register, _ARGUMENTS) | (extended & np.isin(register, _EXTENDED_ARGUMENTS))
    argument &= ~extended | np.isin(register, _EXTENDED_ARGUMENTS)
    loads = np.isin(opcode, (0x8B, 0x8D)) & argument  # mov, lea
    known = prefix != 0x49  # with it, the rest means other registers
    # mov to a register (never an extended one here), to the caller's frame, through a pointer
    on_stack = ~in_register & (target == _SP)
    offset = np.where(form >> 6 == 1, _at(rows, behind + 3), _number(rows, behind + 3))
    plain = (third == 0x24) & (form >> 6 != 0) & ((form >> 6 == 2) | (offset < 0x80))
    to_caller = on_stack & plain & (offset >= frame)
    through = ~in_register & (target != _SP) & ~((form >> 6 == 0) & (target == _BP))
    stores = (opcode == 0x89) & ((in_register & np.isin(target, _ARGUMENTS)) | to_caller | through)
    zeroes = ~wide & np.isin(opcode, (0x31, 0x33)) & in_register & np.isin(target, _ARGUMENTS) & (register == target)
    constant = ~wide & np.isin(opcode, [0xB8 + one for one in _ARGUMENTS])
    widens = ~wide & (opcode == 0x0F) & np.isin(form, (0xB6, 0xB7)) & np.isin(third >> 3 & 7, _ARGUMENTS)
    pointed = ~in_register & np.isin(target, _ARGUMENTS)
    touches = pointed & np.isin(opcode, (0x83, 0x84, 0x85, 0x87, 0xC7, 0x39, 0x3B))
    returns = ~wide & (opcode == 0xC3)
    return np.asarray(loads | (known & (stores | zeroes | constant | widens | touches | returns)))


def _jumps_to_start(code: _Bytes, starts: _Ints, lengths: _Ints) -> _Flags:
    """Whether a function may jump to where it begins: any bytes that would be such a jump count."""
    found = lengths > _LONGEST_LEAF
    kept = np.flatnonzero(~found)
    sizes = lengths[kept]
    owner = np.repeat(np.arange(len(kept)), sizes)
    offset = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = starts[kept][owner] + offset
    last = len(code) - 1
    opcode = code[place]
    step8 = code[np.minimum(place + 1, last)].astype(np.int8).astype(np.int64)
    short = ((opcode == 0xEB) | (opcode & 0xF0 == 0x70)) & _is_start(offset + 2 + step8)
    number = sum(code[np.minimum(place + 1 + i, last)].astype(np.int64) << 8 * i for i in range(4))
    step32 = number - (number >> 31 << 32)
    near = ((opcode == 0xE9) | (opcode & 0xF0 == 0x80)) & _is_start(offset + 5 + step32)
    found[kept[owner[short | near]]] = True
    return found


def _is_start(target: _Ints) -> _Flags:
    return (target >= 0) & (target < _START)


def _at(rows: _Bytes, at: _Ints) -> _Ints:
    """The byte at an offset of each row."""
    return rows[np.arange(len(rows)), np.minimum(at, _PREFIX - 1)].astype(np.int64)


def _number(rows: _Bytes, at: _Ints) -> _Ints:
    """The 32-bit number at an offset of each row, unsigned."""
    return sum((_at(rows, at + i) << 8 * i for i in range(4)), np.zeros(len(rows), np.int64))


def _begins(rows: _Bytes, at: _Ints | int, text: str) -> _Flags:
    """Whether these bytes, in hex, stand at an offset of each row."""
    where = np.full(len(rows), at) if isinstance(at, int) else at
    same = np.ones(len(rows), np.bool_)
    for i, value in enumerate(bytes.fromhex(text)):
        same &= _at(rows, where + i) == value
    return same
