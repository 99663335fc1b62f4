"""Which places of an executable can be hooked, and why the others cannot. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gotap.errors import GotapError
from gotap.image.code.jumps import JumpSite, NoJump
from gotap.inject.patches.patch import why_not
from gotap.inject.sites import Sites
from gotap.inject.trampolines.hook import hook_refusal


class HookRefused(GotapError):
    """Some of the sites cannot be hooked."""


def unhookable(sites: Sites, offsets: Iterable[int]) -> dict[int, str]:
    """Those places (file offsets) that no hook can be put into while the program runs, and why."""
    return divided(sites.at(offsets), held=False)[1]


def divided(found: Mapping[int, JumpSite | NoJump], *, held: bool) -> tuple[dict[int, JumpSite], dict[int, str]]:
    """What can be hooked, and why the rest cannot. `held`: the program has not begun."""
    fitting: dict[int, JumpSite] = {}
    refused: dict[int, str] = {}
    for offset, site in found.items():
        if isinstance(site, NoJump):
            refused[offset] = site.reason
        elif reason := hook_refusal(site) or ("" if held else site.reason_not_live) or why_not(site.start, site.pun):
            refused[offset] = reason
        else:
            fitting[offset] = site
    return fitting, refused
