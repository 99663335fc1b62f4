"""One patch: bytes of a jump in place of bytes of the program. Pure."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from gotap.inject.trampolines.windows import PAGE

_JUMP = b"\xe9"
JUMP_SIZE = 5


class Found(Enum):
    """Whose bytes stand at a patch's address."""

    OURS = "ours"
    ORIGINAL = "original"
    FOREIGN = "foreign"  # somebody else has written there since: a debugger, a uprobe, another agent


class Patch(Struct, frozen=True):
    """`new` replaces `original`, which has as many bytes, at an address of the process."""

    address: int
    original: bytes
    new: bytes

    @property
    def size(self) -> int:
        return len(self.new)

    @property
    def end(self) -> int:
        return self.address + len(self.new)

    def whose(self, actual: bytes) -> Found:
        if actual == self.new:
            return Found.OURS
        return Found.ORIGINAL if actual == self.original else Found.FOREIGN


def jump_patch(address: int, original: bytes, target: int, pun: int | None = None) -> Patch:
    """A jump to `target`; `original`: five bytes at least. With `pun` the fifth byte stays as it is: it is that one.

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
    return Patch(address, original[: len(new)], new)


def why_not(address: int, pun: int | None = None) -> str:
    """Why no jump may be written at an address, as a clause; empty: it may.

    Bytes of one page are written at once, whatever happens to gotap; of two pages the second write may never come
    (a fatal signal ends access_remote_vm between pages: __get_user_pages, mm/gup.c), and half a jump would be left.
    """
    size = JUMP_SIZE if pun is None else JUMP_SIZE - 1
    if address % PAGE + size > PAGE:
        return "its first bytes lie in two pages, which cannot be written in one step"
    return ""
