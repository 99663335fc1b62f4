"""Jump sites: where in a function a five-byte jump into a trampoline may go, and what the trampoline must run.

A jump is longer than most instructions, so it overwrites several, which are run in the trampoline instead. That is
right only if no branch leads between them, if no goroutine is parked there, and if they do the same elsewhere. What
cannot be proven is refused, with the reason. Pure: nothing is read or written but the image's bytes.
"""

from .displaced import Displaced, JumpTooFar, jump
from .entries import checked_entry
from .model import Fit, JumpSite, NoJump, fit_of, hook_refusal
from .sites import JumpSites, fits, jump_site, jump_sites, jumpable
from .unsafepoints import UnsafePoints

__all__ = [
    "Displaced",
    "Fit",
    "JumpSite",
    "JumpSites",
    "JumpTooFar",
    "NoJump",
    "UnsafePoints",
    "checked_entry",
    "fit_of",
    "fits",
    "hook_refusal",
    "jump",
    "jump_site",
    "jump_sites",
    "jumpable",
]
