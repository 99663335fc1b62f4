"""What the analysis of machine code answers with: sites, what they cost, and where words are found at them.

Addresses are virtual addresses as in the image, not relocated. A probe at a site fires before the site's instruction.
"""

from __future__ import annotations

from enum import Enum, IntEnum

from msgspec import Struct

#: x86 condition codes by number: the low four bits of the opcode of a conditional jump.
CONDITIONS = ("o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")

_CF, _PF, _ZF, _SF, _OF = 1 << 0, 1 << 2, 1 << 6, 1 << 7, 1 << 11


class Cost(IntEnum):
    """What a uprobe on an instruction costs, cheapest first. Measured on Linux 6.18 in a VM, with an empty program."""

    NOP5 = 0  # 0.35 µs: the kernel turns the nop into a call, no trap
    EMULATED = 1  # 0.5 µs: one trap
    SINGLE_STEP = 2  # 10–20 µs, about 0.9 µs on bare metal: a second trap after the copied instruction
    FORBIDDEN = 3  # the kernel refuses it, or emulates it wrongly and so changes what the program computes

    @property
    def cheap(self) -> bool:
        return self <= Cost.EMULATED


class Register(Struct, frozen=True):
    """The value is the register's low `size` bytes, zero-extended. Names are of the full register: "rax", "xmm0"."""

    name: str
    size: int = 8


class Stack(Struct, frozen=True):
    """The value is the `size` bytes at SP + offset, SP as it is at the site, zero-extended."""

    offset: int
    size: int = 8


class Global(Struct, frozen=True):
    """The value is the `size` bytes at this address of the image, zero-extended (`return 0, io.EOF`)."""

    address: int
    size: int = 8


class StaticAddress(Struct, frozen=True):
    """The value is this address of the image, code or data; add the load bias."""

    address: int


class Constant(Struct, frozen=True):
    """The value itself, as an unsigned 64-bit word."""

    value: int


Location = Register | Stack | Global | StaticAddress | Constant

#: A word of a function's arguments or results: the name of a register, or an offset from the SP at entry
#: (0 is the return address, 8 the first stack argument).
Word = str | int


class Edge(Struct, frozen=True):
    """One direction of the conditional jump at a site: the probe fires for both, only this one counts.

    `condition` is the jump's own condition code (index of CONDITIONS); `taken` says which direction is meant.
    """

    condition: int
    taken: bool

    @property
    def required(self) -> int:
        """The condition code that must hold for the site to count."""
        return self.condition if self.taken else self.condition ^ 1

    def counts(self, rflags: int) -> bool:
        """Whether the site counts under these flags; the definition that backends compile."""
        sign_is_overflow = bool(rflags & _SF) == bool(rflags & _OF)
        holds = (
            bool(rflags & _OF),
            bool(rflags & _CF),
            bool(rflags & _ZF),
            bool(rflags & (_CF | _ZF)),
            bool(rflags & _SF),
            bool(rflags & _PF),
            not sign_is_overflow,
            bool(rflags & _ZF) or not sign_is_overflow,
        )[self.required >> 1]
        return holds != bool(self.required & 1)


class Site(Struct, frozen=True):
    """A place for a probe. SP at entry = SP at the site + `sp_offset`; None: the stack could not be followed."""

    address: int
    cost: Cost
    sp_offset: int | None
    edge: Edge | None = None


class EntrySite(Site, frozen=True):
    """Where a call begins: argument registers, closure register and stack arguments are as the caller left them.

    `once`: every call passes here exactly once. False only where the code could not be understood.
    """

    once: bool = True


class CallSite(Site, frozen=True):
    """A direct call. `always`: every path from entry to a return or tail call passes it; `once`: never twice.

    Both are said of calls without a panic; one that is recovered may skip the site or pass it again.
    """

    target: int = 0
    always: bool = False
    once: bool = False


class Restart(Struct, frozen=True):
    """Where a function asks for a larger stack, or is preempted, at its entry, and then begins anew.

    `site`: the call that does so. `kept`: the registers that are as the caller left them when it begins anew; of
    arguments that the function does not use the compiler keeps nothing.
    """

    site: Site
    kept: frozenset[str]


class Exit(Enum):
    RETURN = "return"
    RECOVERED = "recovered"  # a return that only a recovered panic leads to; it is a return to the caller all the same
    TAIL_CALL = "tail call"  # the callee returns to our caller: its results are ours, at its returns


class ReturnSite(Site, frozen=True):
    """One member of a set: whenever the function is left, exactly one member fires, exactly once.

    `results` are in the order in which they were asked for, all None for a tail call.
    """

    exit: Exit = Exit.RETURN
    results: tuple[Location | None, ...] = ()
