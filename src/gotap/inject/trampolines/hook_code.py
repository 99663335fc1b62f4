"""The machine code of hook stubs; what it does and why is told in `hook`.

R12 is the slot from where it is taken; R13 the site's record while the registers are saved, then the programs'. In a
window's common code RSP is in the slot's stack, so calls and pushes are free there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gotap.inject.machine.layout import OWN_STRIPES, STRIPES, Slot
from gotap.inject.trampolines.slots import MULTIPLIER, SHIFT, Context
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    AL,
    AX,
    EAX,
    R8,
    R9,
    R10,
    R11,
    R12,
    R12D,
    R13,
    R13D,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    RSP,
    Condition,
    Memory,
    Register,
    byte,
    dword,
    mem,
    qword,
    rip,
)

#: What programs may change and the site wants back, besides RAX; R12 and R13 are the stubs' business.
_SAVED = (
    (RBX, Context.RBX),
    (RCX, Context.RCX),
    (RDI, Context.RDI),
    (RSI, Context.RSI),
    (R8, Context.R8),
    (R9, Context.R9),
    (R10, Context.R10),
    (R11, Context.R11),
    (RDX, Context.RDX),
    (RBP, Context.RBP),
    (R14, Context.R14),
    (R15, Context.R15),
)

#: In a slot: what a thread keeps while it claims the slot, and the site's flags.
_KEPT, _FLAGS = Slot.SAVED, Slot.SAVED + 8

#: Addresses that stubs refer to: `common` and `common_saved`, the entries of the window's common code, the latter for
#: stubs that have saved RAX; `record`, the site's; `mask`; and of words that hold addresses: `slots` and `end`, of the
#: slots, `busy`, `no_slot` and `claimed`, of counters.
Places = Mapping[str, int]
HEAD = ("slots", "end", "busy", "no_slot", "claimed")
NAMES = ("common", "common_saved", "record", "mask", *HEAD)


def common() -> tuple[bytes, int]:
    """Called with R12 = slot, R13 = record: saves the registers, runs the programs, restores the registers, RAX too.

    Runs at any address. Also the offset of the entry for those who have saved RAX.
    """
    a = Assembler()
    a.mov(_context(Context.RAX), RAX)
    a.label("saved")
    for register, place in _SAVED:
        a.mov(_context(place), register)
    a.mov(RAX, mem(R13))
    a.mov(_context(Context.RIP), RAX)
    a.mov(R13, mem(R13, 8))
    a.mov(RAX, mem(R13))
    a.test(RAX, RAX)
    a.jz("done")
    a.label("next")
    a.mov(RCX, mem(R13, 8))
    a.mov(mem(R12, Slot.COOKIE), RCX)
    a.lea(RDI, mem(R12, Slot.CONTEXT))
    a.push(R13)
    a.call(RAX)
    a.pop(R13)
    a.add(R13, 16)
    a.mov(RAX, mem(R13))
    a.test(RAX, RAX)
    a.jnz("next")
    a.label("done")
    for register, place in ((RAX, Context.RAX), *_SAVED):
        a.mov(register, _context(place))
    a.ret()
    return a.finish(), a.address("saved")


def scratch(a: Assembler, places: Places) -> None:
    """Where R12, R13 and the flags are free."""
    a.rdfsbase(R12)
    a.imul(R13, R12, MULTIPLIER)
    a.shr(R13, SHIFT)
    a.and_(R13D, rip(places["mask"], 4))
    a.add(R13, rip(places["slots"], 8))
    a.cmp(mem(R13, Slot.OWNER), R12)
    a.jne("search")
    a.label("found")
    a.cmp(byte(R13, Slot.BUSY), 0)
    a.jne("busy")
    a.mov(byte(R13, Slot.BUSY), 1)
    a.mov(_context(Context.RSP, R13), RSP)
    a.lea(RSP, mem(R13, Slot.STACK))
    a.mov(R12, R13)
    a.lea(R13, rip(places["record"]))
    a.call(places["common"])
    a.mov(RSP, _context(Context.RSP))
    a.mov(byte(R12, Slot.BUSY), 0)
    a.jmp("end")

    a.label("search")
    a.cmp(rip(places["mask"], 4), 0)
    a.je("end")  # a forked child
    a.jmp("look")
    a.label("taken")
    a.add(R13, Slot.SIZE)
    a.cmp(R13, rip(places["end"], 8))
    a.jae("none")
    a.label("look")
    a.cmp(mem(R13, Slot.OWNER), R12)
    a.je("found")
    a.cmp(dword(R13, Slot.CLAIM), 0)  # only read: the slots of others stay in their caches
    a.jne("taken")
    a.lock().bts(dword(R13, Slot.CLAIM), 0)
    a.jc("taken")
    a.mov(mem(R13, Slot.OWNER), R12)
    a.mov(R12, rip(places["claimed"], 8))
    _number_claim(a, R13, R12)
    a.jmp("found")
    a.label("none")
    a.mov(R13, rip(places["no_slot"], 8))
    a.jmp("count")
    a.label("busy")
    a.mov(R13, rip(places["busy"], 8))
    a.label("count")
    a.lock().inc(qword(R13))
    a.label("end")


def careful(a: Assembler, places: Places) -> None:
    """Where everything is in use. Until the slot is found R13 keeps RAX, and RAX is flags << 48 | FS base.

    The flags are what LAHF and SETO give, AH:AL. The FS base has 48 bits (the upper half of 5-level paging is given
    only to who asks for it); it is compared in two parts, and *turned* means that the halves of RAX are exchanged.
    """
    a.push(R12)
    a.push(R13)
    a.mov(R13, RAX)
    a.lahf()
    a.setcc(Condition.OVERFLOW, AL)
    a.shl(RAX, 48)
    a.rdfsbase(R12)
    a.or_(RAX, R12)
    a.imul(R12, R12, MULTIPLIER)
    a.shr(R12, SHIFT)
    a.and_(R12D, rip(places["mask"], 4))
    a.add(R12, rip(places["slots"], 8))
    a.cmp(mem(R12, Slot.OWNER), EAX)
    a.jne("search")
    a.rol(RAX, 32)
    a.cmp(mem(R12, Slot.OWNER + 4), AX)
    a.jne("search_turned")
    a.label("found")  # turned
    a.cmp(byte(R12, Slot.BUSY), 0)
    a.jne("busy")
    a.mov(byte(R12, Slot.BUSY), 1)
    a.shr(EAX, 16)
    a.mov(mem(R12, _FLAGS), EAX)
    a.mov(_context(Context.RAX), R13)
    a.pop(_context(Context.R13))
    a.pop(_context(Context.R12))
    a.mov(_context(Context.RSP), RSP)
    a.lea(RSP, mem(R12, Slot.STACK))
    a.lea(R13, rip(places["record"]))
    a.call(places["common_saved"])
    a.mov(RSP, _context(Context.RSP))
    a.mov(R13, RAX)
    a.mov(EAX, mem(R12, _FLAGS))
    a.push(_context(Context.R12))
    a.push(_context(Context.R13))
    a.mov(byte(R12, Slot.BUSY), 0)  # from here on a signal handler may use the slot
    a.jmp("leave")
    _search_carefully(a, places)
    a.label("leave")
    a.add(AL, 0x7F)  # 1 + 0x7f overflows, 0 + 0x7f does not
    a.sahf()
    a.mov(RAX, R13)
    a.pop(R13)
    a.pop(R12)


def _search_carefully(a: Assembler, places: Places) -> None:
    """Leads to `found`, turned, or counts the event as lost and goes on behind, with the flags in AX."""
    a.label("search_turned")
    a.rol(RAX, 32)
    a.label("search")
    a.cmp(rip(places["mask"], 4), 0)
    a.jne("look")
    a.shr(RAX, 48)  # a forked child
    a.jmp("leave")
    a.label("taken")
    a.add(R12, Slot.SIZE)
    a.cmp(R12, rip(places["end"], 8))
    a.jae("none")
    a.label("look")
    a.cmp(mem(R12, Slot.OWNER), EAX)
    a.jne("another")
    a.rol(RAX, 32)
    a.cmp(mem(R12, Slot.OWNER + 4), AX)
    a.je("found")
    a.rol(RAX, 32)
    a.label("another")
    a.cmp(dword(R12, Slot.CLAIM), 0)
    a.jne("taken")
    a.lock().bts(dword(R12, Slot.CLAIM), 0)
    a.jc("taken")
    a.mov(mem(R12, Slot.OWNER), EAX)
    a.rol(RAX, 32)
    a.mov(mem(R12, Slot.OWNER + 4), AX)
    a.mov(mem(R12, _KEPT), R13)  # nobody else has the slot, and a handler that finds it leaves this alone
    a.mov(R13, rip(places["claimed"], 8))
    _number_claim(a, R12, R13)
    a.mov(R13, mem(R12, _KEPT))
    a.jmp("found")
    a.label("none")
    a.mov(R12, rip(places["no_slot"], 8))
    a.rol(RAX, 32)
    a.jmp("count")
    a.label("busy")  # turned
    a.mov(R12, rip(places["busy"], 8))
    a.label("count")
    a.lock().inc(qword(R12))
    a.shr(EAX, 16)


def _number_claim(a: Assembler, slot: Register, counter: Register) -> None:
    """`counter` holds its address. The first threads get stripes of their own.

    A signal handler may use the slot in the midst of this, so that it never is alone before it has its own stripe.
    """
    alone = a.new_label("alone")
    a.mov(mem(slot, Slot.CLAIMING), RAX)
    a.mov(EAX, 1)
    a.lock().xadd(mem(counter), EAX)
    a.mov(byte(slot, Slot.ALONE), 0)
    a.cmp(EAX, OWN_STRIPES)
    a.jb(alone)
    a.and_(EAX, STRIPES - OWN_STRIPES - 1)
    a.or_(EAX, OWN_STRIPES)  # which clears the carry
    a.label(alone)
    a.mov(mem(slot, Slot.STRIPE), EAX)
    a.setcc(Condition.BELOW, byte(slot, Slot.ALONE))
    a.mov(RAX, mem(slot, Slot.CLAIMING))


def _context(register: Context, slot: Register = R12) -> Memory:
    return mem(slot, Slot.CONTEXT + register)


class Template:
    """Code of a stub that is assembled once; its distances to what it refers to are found by assembling it again.

    Each reference is 32 bits relative to RIP. Moving a target by 0x01010101 changes all four bytes of those that name
    it.
    """

    _FAR, _MOVED = 0x10000000, 0x01010101

    def __init__(self, write: Callable[[Assembler, Places], None]) -> None:
        def assembled(moved: str = "") -> bytes:
            a = Assembler()
            write(a, {name: self._FAR + (self._MOVED if name == moved else 0) for name in NAMES})
            return a.finish()

        self._code = assembled()
        self._fields: list[tuple[int, str, int]] = []  # offset, what it refers to, distance less the target's address
        for name in NAMES:
            other = assembled(name)
            changed = [at for at, (one, two) in enumerate(zip(self._code, other, strict=True)) if one != two]
            for at in changed[::4]:
                distance = int.from_bytes(self._code[at : at + 4], "little", signed=True)
                self._fields.append((at, name, distance - self._FAR))

    def __len__(self) -> int:
        return len(self._code)

    def at(self, address: int, places: Places) -> bytes:
        """The code for that address. Raises OverflowError when a target is more than 2 GB away."""
        code = bytearray(self._code)
        for offset, name, distance in self._fields:
            code[offset : offset + 4] = (distance + places[name] - address).to_bytes(4, "little", signed=True)
        return bytes(code)
