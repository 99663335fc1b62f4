"""Where a jump may be written into Go functions on arm64, and what then runs elsewhere. Pure.

Every instruction has four bytes, and so has the branch that takes its place. So what is hard on x86-64 does not arise:

- No instruction begins within the bytes that change: no jump leads there, no goroutine is parked there, and no thread
  stands there. A site may be patched whenever its threads are stopped, whatever PCDATA_UnsafePoint says of it.
- A call's begin is the single instruction behind the stack check: the check itself, and the block that grows the stack
  and begins anew, stay as they are. One event for each call.
- Every return is one instruction, RET, with all results in their places and SP as at the entry.

What is left are instructions that must stay where they are. One that may fault: a nil pointer there is a Go panic, and
the runtime finds the function that panics by the PC, which would be the trampoline's (sighandler and preparePanic,
runtime/signal_arm64.go, Go 1.18–1.27). The compiler has such faults only where an address is a pointer and a constant
(faultOnNilArg0 in cmd/compile/internal/ssa/_gen/ARM64Ops.go: no operation with an index has it). One within a
load-exclusive pair. One that enters the kernel. What is unknown.

Registers: X16, X17, X27 and the flags are free at entries, calls and returns: the calling convention lets linkers put
trampolines there, and has R27 for the assembler's own use (cmd/compile/abi-internal.md). Anywhere else a stub saves
what it uses on the goroutine's stack, which a function without a stack check may not have: there such sites are
refused.

A thread that executes an instruction while another changes it is safe for branches and NOP only (DDI 0487, B2.2.5,
"Concurrent modification and execution of instructions"). Sites are therefore written while all threads are stopped.
"""

from __future__ import annotations

from .arm64_function import Arm64Function, literal_size
from .arm64_instructions import CONTEXT, IP0, IP1, RETURN_TO_LINK, TEMPORARY, Instruction, Kind
from .arm64_relocation import Displaced
from .jumps.model import Fit, NoJump, Site


class JumpSite(Site[Displaced], frozen=True):
    """On arm64 the jump is one branch. `scratch` is X16, X17 and X27.

    `after` may hold more than is overwritten: the rest of a sequence that a preempted goroutine would begin anew
    (`Arm64Function.sequence`).
    """

    @property
    def moved_end(self) -> int:
        """Behind the instructions that run in the trampoline: no other event's place may lie between."""
        return self.after.instructions[-1].address + 4


def jump_site(function: Arm64Function, address: int) -> JumpSite | NoJump:
    """How an event at that address is made by a branch there."""
    one = function.at(address)
    if one is None:
        return NoJump(f"no instruction begins at {address:#x}")
    if function.foreign:
        return NoJump("the function is not Go's")
    if function.assembly:
        return NoJump("the function is written in assembly, which may keep values in any register")
    moved = function.sequence(address)
    if not moved:
        return NoJump("a goroutine that is preempted there begins the function anew")
    for trouble in (_why_it_stays(function, each) for each in moved):
        if trouble:
            return NoJump(trouble)
    scratch = has_scratch(function, one)
    entry = function.entry
    nosplit = entry is None or not entry.checked
    if nosplit and not scratch:
        return NoJump("the function does not check its stack, so there may be no room to save registers")
    literals = tuple((each.address, _literal(function, each)) for each in moved if each.kind is Kind.LITERAL)
    after = Displaced(tuple(moved), literals)
    return JumpSite(
        address=address,
        start=address,
        length=4,
        before=Displaced(),
        after=after,
        resume=None if after.leaves else moved[-1].address + 4,
        pun=None,
        live=True,
        reason_not_live="",
        scratch=scratch,
        nosplit=nosplit,
    )


def _literal(function: Arm64Function, load: Instruction) -> bytes:
    assert load.target is not None
    start = load.target - function.address
    return function.code[start : start + literal_size(load.word)]


def fits(function: Arm64Function, address: int) -> Fit:
    """Which mechanisms an event at that address can have, besides a uprobe."""
    site = jump_site(function, address)
    return Fit(False, False, False, site.reason) if isinstance(site, NoJump) else Fit(True, True, True, "")


def has_scratch(function: Arm64Function, one: Instruction) -> bool:
    """Whether X16, X17, X27 and the flags are free before an instruction, in code that the compiler made."""
    entry = function.entry
    if entry is not None and one.address == entry.address:
        return True
    if one.word == RETURN_TO_LINK or one.kind is Kind.CALL:
        return True
    if one.kind is Kind.JUMP:  # a tail call
        return one.target is not None and not function.address <= one.target < function.end
    return one.kind is Kind.CALL_REGISTER and one.register not in (IP0, IP1, TEMPORARY)


def _why_it_stays(function: Arm64Function, one: Instruction) -> str:
    """Why an instruction must not run elsewhere; empty: it may."""
    text = f"the instruction at {one.address:#x}"
    if one.kind is Kind.TRAP:
        return f"{text} enters the kernel or faults"
    if one.kind is Kind.UNKNOWN:
        return f"{text} is not known to work elsewhere"
    if one.kind in (Kind.EXCLUSIVE_LOAD, Kind.EXCLUSIVE_STORE) or function.in_exclusive_pair(one.address):
        return f"{text} belongs to a load-exclusive and store-exclusive pair, which an event between them breaks"
    if one.may_fault and not _is_there(function, one):
        return f"{text} touches memory that may not be there: its panic would come from the trampoline"
    if one.kind is Kind.LITERAL:
        assert one.target is not None
        if not function.address <= one.target <= function.end - literal_size(one.word):
            return f"{text} reads a constant outside of its function"
    return ""


def _is_there(function: Arm64Function, access: Instruction) -> bool:
    """Whether what the base of a memory access leads to is there for certain: a closure's context, a variable."""
    entry = function.entry
    if access.base == CONTEXT and entry is not None and access.address == entry.address:
        return True
    before = function.at(access.address - 4)
    straight = not function.targets.get(access.address)
    return straight and before is not None and before.kind is Kind.PAGE and before.register == access.base


__all__ = ["Arm64Function", "Displaced", "Fit", "JumpSite", "NoJump", "fits", "has_scratch", "jump_site"]
