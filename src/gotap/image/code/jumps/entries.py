"""Sites behind the stack check by the bytes of the prologue alone: for thousands of functions, of each no other.

What is answered is what `JumpSites.at` would find, ten times sooner; other prologues are left to it. The forms:
cmd/internal/obj/x86/obj6.go, stacksplit and preprocess (Go 1.18–1.27).

    cmp 0x10(%r14),%rsp                     jbe morestack    push %rbp       (Go ≥ 1.21)
    lea -x(%rsp),%r12; cmp 0x10(%r14),%r12  jbe morestack    sub $x,%rsp …   (Go ≤ 1.20)
"""

from __future__ import annotations

import re

from .displaced import Displaced
from .model import JumpSite
from .unsafepoints import UnsafePoints
from .windows import JUMP, PAGE

#: The check's instructions before its jump, the jump, and what makes the frame, to which no jump leads.
_CHECK = re.compile(
    rb"(?:\x49\x3b\x66\x10|(?P<lea>\x4c\x8d\x64\x24.|\x4c\x8d\xa4\x24.{4})\x4d\x3b\x66\x10)"
    rb"(?P<jump>\x76.|(?P<far>\x0f\x86.{4}))(?=\x55|\x48\x83\xec|(?P<frame>\x48\x81\xec.{4}))",
    re.DOTALL,
)


def checked_entry(code: bytes, address: int, event: int, unsafe: UnsafePoints) -> JumpSite | None:
    """The site for an event right behind the stack check of the function at `address`, or at the check's jump.

    `code`: the function's. None: the bytes do not tell it, or there is none.
    """
    check = _CHECK.match(code)
    if check is None or unsafe.foreign or event - address not in (check.end(), check.start("jump")):
        return None
    behind = event - address == check.end()
    start, end, pun = _window(check, behind)
    if (address + start) % PAGE + (JUMP if pun is None else end) > PAGE:
        return None
    last = max(end, event - address)
    return JumpSite(
        event,
        address + start,
        end - start,
        Displaced(address + start, code[start : event - address]),
        Displaced(event, code[event - address : last]),
        address + last,
        pun,
        True,
        "",
        behind and not unsafe.assembly,
        nosplit=False,
    )


def _window(check: re.Match[bytes], behind: bool) -> tuple[int, int, int | None]:
    """What the jump overwrites, by offsets: always one instruction; and its pun."""
    for alone in ("frame", "far", "lea"):
        if check[alone] is not None and (behind or alone != "frame"):
            return *check.span(alone), None
    jump = check.start("jump")
    return 0, jump, check["jump"][0]
