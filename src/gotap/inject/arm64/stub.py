"""What stubs of springboards and hooks have in common: the displaced instruction, and the way back."""

from __future__ import annotations

from gotap.image.code.arm64 import JumpSite
from gotap.image.code.arm64_relocation import LARGEST, jump, words_of


def largest_after(site: JumpSite) -> int:
    """A bound for the bytes of `after_code`, wherever it is."""
    return LARGEST * len(site.after.instructions) + 4


def after_code(site: JumpSite, at: int, bias: int) -> bytes:
    """`after` and the branch back into the function, for address `at` of the process. Raises OutOfReach."""
    code = site.after.encode(at - bias)
    if site.resume is None:
        return code
    return code + words_of(jump(at + len(code) - bias, site.resume))
