"""In-process hooks on arm64: a stub runs programs on the thread's slot, before the instruction it displaced.

    take the slot and its stack | registers into the context; programs; registers back | leave | after

Nothing of the site changes: registers, flags and the goroutine's stack are as if the stub were not there. Programs are
machine code with the context in X0 and the slot in X19. They may change every other register but SP, X18, which Go
leaves to the platform, and **X28**: without cgo a signal handler takes g from there, wherever it came from (sigtramp in
runtime/sys_linux_arm64.s, sigFetchG; Go 1.18–1.27), so it must be g at every instruction. They use no vectors.

**Registers.** At a *scratch* site X16, X17 and X27 mean nothing, and no byte of the goroutine's stack is touched.
Elsewhere they are saved below it: 64 bytes, of which the upper 40 are left alone. There a function keeps the frame
pointer of its caller (8 bytes, cmd/compile/abi-internal.md), and up to Go 1.20 calls of duffzero make a frame (24).
Nothing that finds the slot changes the flags, so they are saved with the rest.

**Signals** may come at any instruction. The handler runs on the thread's alternate stack, and the runtime preempts
nobody whose PC is not Go's (isAsyncSafePoint). When it calls a hooked function while the slot is taken, that event is
lost and counted; before or after, it uses the slot and gives it back.

**fork.** A child shares the slots with its parent, and its m has the same address. So each window has a page that
children find zeroed (MADV_WIPEONFORK): where the mask is 0 the stub does nothing.

**No g.** What runs before the runtime has set R28, in threads that C made, has no slot; such events are counted.

**Caches.** A processor of this kind may go on with stale instructions when code is written where it was executed
before, or read, through another mapping. A window is therefore written before the target maps it: Linux makes pages
coherent when they are first mapped executable (__sync_icache_dcache, arch/arm64/mm/flush.c). Text that is patched by
way of /proc/PID/mem is made coherent by that write (flush_ptrace_access, the same file).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from gotap.image.code.arm64 import JumpSite
from gotap.image.code.arm64_instructions import IP0, IP1, LR, TEMPORARY, G
from gotap.inject.arm64.assembler import SP, ZR, Assembler
from gotap.inject.arm64.slots import G_M, Context, Slots
from gotap.inject.arm64.stub import after_code, largest_after

_M, _SLOT, _TEMP = IP0, IP1, TEMPORARY
#: The programs' slot; the list of programs while none runs.
_HELD_SLOT, _LIST = 19, 20
#: Never changed, but part of the context.
_PLATFORM = 18

#: Stack below SP that careful stubs use: registers at its lower end.
_FRAME = 64

#: What `common` saves in pairs; stubs save X16, X17, X27, the link register and SP.
_PAIRS = (*((n, n + 1) for n in range(0, 16, 2)), *((n, n + 1) for n in range(19, 27, 2)))
_SINGLE = (29,)

#: A site's record: its address, and where its list of programs is.
RECORD = struct.Struct("<QQ")
#: The head of a window's data: begin and end of the slots.
HEAD = struct.Struct("<QQ")
#: In the page that children find zeroed.
MASK = struct.Struct("<I")


class Places(NamedTuple):
    """Addresses that a stub refers to: the window's common code, its head and its mask, the site's record."""

    common: int
    head: int
    mask: int
    record: int


class Stub(NamedTuple):
    """A stub's code and its record, for the addresses they were made for."""

    code: bytes
    record: bytes


def common(slots: Slots, at: int) -> bytes:
    """Called with X17 = slot, X27 = record: saves the registers, runs the programs, restores the registers."""
    a = Assembler(at)
    for one, two in _PAIRS:
        a.stp(one, two, _SLOT, slots.context + 8 * one)
    for register in (_PLATFORM, G, *_SINGLE):
        a.str(register, _SLOT, slots.context + 8 * register)
    a.ldr(_M, _TEMP)
    a.str(_M, _SLOT, slots.context + Context.PC)
    a.read_flags(_M)
    a.str(_M, _SLOT, slots.context + Context.PSTATE)
    a.mov(_HELD_SLOT, _SLOT)
    a.ldr(_LIST, _TEMP, 8)
    a.push(LR, _LIST, 16)
    a.label("next")
    a.ldr(_M, _LIST)
    a.cbz(_M, "done")
    a.ldr(1, _LIST, 8)
    a.str(1, _HELD_SLOT, slots.cookie)
    a.add(0, _HELD_SLOT, slots.context)
    a.str(_LIST, SP, 8)
    a.blr(_M)
    a.ldr(_LIST, SP, 8)
    a.add(_LIST, _LIST, 16)
    a.b("next")
    a.label("done")
    a.pop(LR, _LIST, 16)
    a.mov(_SLOT, _HELD_SLOT)
    a.ldr(_M, _SLOT, slots.context + Context.PSTATE)
    a.write_flags(_M)
    for one, two in _PAIRS:
        a.ldp(one, two, _SLOT, slots.context + 8 * one)
    for register in _SINGLE:
        a.ldr(register, _SLOT, slots.context + 8 * register)
    a.ret()
    return a.finish()


def programs(programs: list[tuple[int, int]]) -> bytes:
    """The list that a record names: programs' addresses and cookies, in the order in which they are to run."""
    return b"".join(RECORD.pack(*one) for one in programs) + bytes(8)


def largest(site: JumpSite, slots: Slots) -> int:
    """A bound for the bytes of the stub, wherever it is."""
    return len(_core(slots, 0, Places(0, 0, 0, 0), scratch=site.scratch)) + largest_after(site)


def stub(site: JumpSite, slots: Slots, at: int, places: Places, program_list: int, bias: int = 0) -> Stub:
    """The stub for address `at` of the process; `bias` is what the process adds to the image's addresses.

    `program_list`: address of the site's list of programs. Raises OutOfReach.
    """
    code = site.before.encode(at - bias)
    code += _core(slots, at + len(code), places, scratch=site.scratch)
    code += after_code(site, at + len(code), bias)
    return Stub(code, RECORD.pack(site.address + bias, program_list))


def _core(slots: Slots, at: int, places: Places, *, scratch: bool) -> bytes:
    """What finds the slot and calls the common code; it ends where the site's own code goes on."""
    a = Assembler(at)
    if not scratch:
        a.push(_M, _SLOT, _FRAME)
        a.str(_TEMP, SP, 16)
    _find_home(a, slots, places)
    a.ldr(_TEMP, _SLOT, slots.owner)
    a.sub(_TEMP, _TEMP, _M)
    a.cbnz(_TEMP, "search")
    a.label("found")
    a.ldr(_TEMP, _SLOT, slots.busy, size=1)
    a.cbnz(_TEMP, "busy", bits=32)
    a.movz(_TEMP, 1)
    a.str(_TEMP, _SLOT, slots.busy, size=1)
    a.str(LR, _SLOT, slots.context + 8 * LR)
    _save(a, slots, scratch)
    a.address_in(_TEMP, places.record)
    a.add(SP, _SLOT, slots.stack)
    a.bl(places.common)
    a.ldr(LR, _SLOT, slots.context + 8 * LR)
    a.ldr(_TEMP, _SLOT, slots.context + Context.SP)
    a.add(SP, _TEMP, 0 if scratch else -_FRAME)
    a.str(ZR, _SLOT, slots.busy, size=1)  # from here on a signal handler may use the slot
    a.b("end")
    _search(a, slots, places)
    a.label("end")
    if not scratch:
        a.ldr(_TEMP, SP, 16)
        a.pop(_M, _SLOT, _FRAME)
    return a.finish()


def _find_home(a: Assembler, slots: Slots, places: Places) -> None:
    """X16 = m, X17 = the slot where its search begins."""
    a.ldr_at(_SLOT, places.mask, size=4)
    a.cbz(_SLOT, "end", bits=32)  # a forked child
    a.cbz(G, "none")
    a.ldr(_M, G, G_M)
    a.cbz(_M, "none")
    a.and_shifted(_SLOT, _SLOT, _M, slots.hash_shift)
    a.ldr_at(_TEMP, places.head)
    a.add_shifted(_SLOT, _TEMP, _SLOT, slots.size.bit_length() - 1)


def _save(a: Assembler, slots: Slots, scratch: bool) -> None:
    """Into the context what the common code does not find any more: SP, X16, X17, X27."""
    if not scratch:
        a.ldp(_M, _TEMP, SP, 0)
        a.stp(_M, _TEMP, _SLOT, slots.context + 8 * IP0)
        a.ldr(_M, SP, 16)
        a.str(_M, _SLOT, slots.context + 8 * TEMPORARY)
    a.add(_TEMP, SP, 0 if scratch else _FRAME)
    a.str(_TEMP, _SLOT, slots.context + Context.SP)


def _search(a: Assembler, slots: Slots, places: Places) -> None:
    """Leads to `found`, or counts the event as lost and goes on behind. X16 = m, X17 = a slot of somebody else."""
    a.label("search")
    a.b("look")
    a.label("lost_race")
    a.clrex()
    a.add(_SLOT, _SLOT, -slots.claimed)
    a.ldr(_M, G, G_M)
    a.label("taken")
    a.add(_SLOT, _SLOT, slots.size)
    a.ldr_at(_TEMP, places.head + 8)
    a.sub(_TEMP, _TEMP, _SLOT)
    a.cbz(_TEMP, "none")
    a.label("look")
    a.ldr(_TEMP, _SLOT, slots.owner)
    a.sub(_TEMP, _TEMP, _M)
    a.cbz(_TEMP, "found")
    a.ldr(_TEMP, _SLOT, slots.claimed, size=4)  # only read: the slots of others stay in their caches
    a.cbnz(_TEMP, "taken", bits=32)
    a.add(_SLOT, _SLOT, slots.claimed)
    a.label("claim")
    a.ldaxr(_TEMP, _SLOT, size=4)
    a.cbnz(_TEMP, "lost_race", bits=32)
    a.movz(_M, 1)
    a.stxr(_TEMP, _M, _SLOT, size=4)
    a.cbnz(_TEMP, "claim", bits=32)
    a.add(_SLOT, _SLOT, -slots.claimed)
    a.ldr(_M, G, G_M)
    a.str(_M, _SLOT, slots.owner)
    a.b("found")
    a.label("none")
    a.ldr_at(_SLOT, places.head)
    a.label("busy")
    a.add(_SLOT, _SLOT, slots.lost)
    a.label("count")
    a.ldaxr(_M, _SLOT)
    a.add(_M, _M, 1)
    a.stxr(_TEMP, _M, _SLOT)
    a.cbnz(_TEMP, "count", bits=32)


def check(slots: Slots) -> None:
    """Raises ValueError if stubs cannot find such slots."""
    if slots.size & (slots.size - 1) or slots.homes & (slots.homes - 1) or slots.stack & 15:
        raise ValueError(f"slots of {slots.size} bytes, {slots.homes} homes, a stack at {slots.stack}")
    if slots.count <= slots.homes or slots.busy < slots.context + Context.SIZE:
        raise ValueError("homes are as many as slots, or the context lies over other fields")
