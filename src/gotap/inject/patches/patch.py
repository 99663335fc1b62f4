"""One patch: bytes of a jump in place of bytes of the program. Pure."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from gotap.inject.trampolines.windows import PAGE

_JUMP, _BREAKPOINT = b"\xe9", b"\xcc"
JUMP_SIZE = 5


class Found(Enum):
    """Whose bytes stand at a patch's address."""

    OURS = "ours"
    ORIGINAL = "original"
    FOREIGN = "foreign"  # somebody else has written there since: a debugger, a uprobe, another agent


class Patch(Struct, frozen=True):
    """`new` replaces the beginning of `original` at an address of the process.

    `original` goes on as far as the trampoline runs instructions of the program, or runs on behind them: no other jump
    may stand there, nor a breakpoint, which would never be met.
    """

    address: int
    original: bytes
    new: bytes

    @property
    def size(self) -> int:
        """Bytes that are written."""
        return len(self.new)

    @property
    def end(self) -> int:
        """Behind what is written."""
        return self.address + len(self.new)

    @property
    def moved_end(self) -> int:
        return self.address + len(self.original)

    def whose(self, actual: bytes) -> Found:
        """`actual`: the bytes there now, a whole jump at least, since others' jumps begin with the same byte."""
        jump = self.new + self.original[len(self.new) : JUMP_SIZE]
        if actual[: len(jump)] == jump:
            return Found.OURS
        return Found.ORIGINAL if actual == self.original[: len(actual)] else Found.FOREIGN

    def is_under_uprobe(self, actual: bytes) -> bool:
        """Whether a breakpoint and the program's own bytes stand there: no jump does, nor will one when the kernel
        takes its uprobe away, for which it writes what the file has. A gotap that was killed leaves such for a moment.
        """
        return actual[:1] == _BREAKPOINT and actual[1:JUMP_SIZE] == self.original[1 : len(actual[:JUMP_SIZE])]


def jump_patch(address: int, original: bytes, target: int, pun: int | None = None) -> Patch:
    """A jump to `target`; `original`: see Patch, five bytes at least. With `pun` the fifth byte stays, and is that one.

    Raises ValueError when the distance does not fit, or its top byte is another.
    """
    distance = target - (address + JUMP_SIZE)
    if not -1 << 31 <= distance < 1 << 31:
        raise ValueError(f"{target:#x} cannot be reached from {address:#x}")
    new = _JUMP + distance.to_bytes(4, "little", signed=True)
    if pun is not None:
        if not new[-1] == original[JUMP_SIZE - 1] == pun:
            raise ValueError(f"a jump from {address:#x} to {target:#x} does not end in {pun:#x}")
        new = new[:-1]
    if new[1:] == original[1 : len(new)]:
        new = new[:1]  # it leads to a landing pad
    return Patch(address, original, new)


def why_not(address: int, pun: int | None = None) -> str:
    """Why no jump may be written at an address, as a clause; empty: it may.

    Bytes of one page are written at once, whatever happens to gotap; of two pages the second write may never come
    (a fatal signal ends access_remote_vm between pages: __get_user_pages, mm/gup.c), and half a jump would be left.
    """
    size = JUMP_SIZE if pun is None else JUMP_SIZE - 1
    if address % PAGE + size > PAGE:
        return "its first bytes lie in two pages, which cannot be written in one step"
    return ""
