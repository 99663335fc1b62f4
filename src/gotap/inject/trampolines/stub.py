"""What stubs of springboards and hooks have in common: the displaced instructions, and the way back."""

from __future__ import annotations

from gotap.image.code.jumps.displaced import jump
from gotap.image.code.jumps.model import JumpSite

_JUMP = 5

#: At most what an instruction becomes when it runs elsewhere: jcc rel8 6 bytes, a call 26 (a push in four steps, a
#: jump).
_LONGEST, _LONGEST_CALL = 6, 26


def after_code(site: JumpSite, at: int, bias: int) -> bytes:
    """`after` and the jump back into the function, for address `at` of the process. Raises JumpTooFar."""
    code = site.after.encode(at - bias, bias)
    if site.resume is None:
        return code
    return code + jump(at + len(code) - bias, site.resume)


def original(site: JumpSite) -> bytes:
    """The first five bytes at the site's start, or fewer where it moves fewer."""
    content = (site.before.code + site.after.code)[:_JUMP]
    return content + bytes((site.pun,)) if site.pun is not None and len(content) == _JUMP - 1 else content


def largest(site: JumpSite) -> int:
    """A bound for the bytes of the displaced instructions and the jump back, wherever they are."""
    moved = sum(max(_LONGEST, one.len) for part in (site.before, site.after) for one in part.instructions)
    return moved + _LONGEST_CALL + _JUMP
