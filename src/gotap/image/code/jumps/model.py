"""What the analysis of jump sites answers with. Addresses are as in the image, not relocated."""

from __future__ import annotations

from typing import Generic, TypeVar

from msgspec import Struct

from .displaced import Displaced

_JUMP = 5

Moved = TypeVar("Moved")


class Site(Struct, Generic[Moved], frozen=True):
    """A place for a jump into a trampoline that makes an event happen at `address`, on any processor.

    The trampoline runs `before`, makes the event, with the state as before the instruction at `address`, runs `after`
    and goes on at `resume`; None: `after` leaves by itself. `before` may leave in the middle, by a conditional jump:
    then `address` would not have been reached either.

    `start`, `length`: whole instructions that the jump overwrites. `pun`: see `JumpSite`.

    `live`: it may be written while goroutines exist, since none can be parked between the overwritten instructions;
    else `reason_not_live`. Threads that stand there are another matter. A goroutine parked between `before` and
    `address` goes on in the function and passes `address` without event, once.

    `scratch`: the registers that a hook uses and the flags mean nothing at `address`. `nosplit`: the function does not
    check its stack.
    """

    address: int
    start: int
    length: int
    before: Moved
    after: Moved
    resume: int | None
    pun: int | None
    live: bool
    reason_not_live: str
    scratch: bool
    nosplit: bool

    @property
    def end(self) -> int:
        """Behind the overwritten instructions."""
        return self.start + self.length


class JumpSite(Site[Displaced], frozen=True):
    """On x86-64 the jump takes five bytes. `scratch` is R12 and R13.

    `start`, `length`: whole instructions that the jump overwrites; behind its five bytes the rest is dead. What
    `before` and `after` hold beyond them stays in place as well. `pun`: the jump's top byte, which must be this (below
    0x80, mostly 0x5d, `pop %rbp`): it is the first byte of an instruction that stays in place and can still be
    executed, so that only `length` = 4 bytes are written.
    """

    @property
    def moved_end(self) -> int:
        """Behind the instructions that run in the trampoline, and behind a pun's byte: no other jump may stand between
        `start` and there.
        """
        return max(self.start + _JUMP, self.end, self.after.end)


class NoJump(Struct, frozen=True):
    """No jump can be placed: why, as a clause ("the instruction at 0x401000 enters the kernel")."""

    reason: str


class Fit(Struct, frozen=True):
    """Which mechanisms an event at an address can have. `live`: also in a process that runs already.

    `reason`: why not, or why not live; empty: all is well.
    """

    springboard: bool
    hook: bool
    live: bool
    reason: str


def hook_refusal(site: JumpSite) -> str:
    """Why no hook stub may stand at this site, as a clause; empty: it may."""
    if site.nosplit and not site.scratch:
        return "the function does not check its stack, and there is no register free"
    return ""


def fit_of(site: JumpSite | NoJump) -> Fit:
    """Which mechanisms an event has by that site, if it is one."""
    if isinstance(site, NoJump):
        return Fit(False, False, False, site.reason)
    refusal = hook_refusal(site)
    return Fit(True, not refusal, site.live, site.reason_not_live or refusal)
