"""What springboards and hooks can do at entries and returns of listed functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from gotap.errors import GotapError
from gotap.image.code.jumps import Fit, UnsafePoints, jumpable
from gotap.inject.sites import Sites
from gotap.probe.functions.listing import ListedBody, Listing, result_registers

#: Reasons that a line tells.
_TOLD = 2


class Jump(Struct, frozen=True, omit_defaults=True):
    """A place in a process that runs. `reason`: why it cannot be both; then `springboard` leaves it to a uprobe."""

    address: int
    springboard: bool
    hook: bool
    reason: str = ""


class Jumps(Struct, frozen=True):
    """Of one function, none of which is in another's way. They need not be where uprobes are."""

    entry: Jump | None = None
    returns: tuple[Jump, ...] = ()


class Fitting:
    """Finds them. Code is that of the listing, which keeps what it has analysed."""

    def __init__(self, listing: Listing, sites: Sites) -> None:
        self._listing = listing
        self._sites = sites

    def of(self, bodies: Sequence[ListedBody]) -> Jumps:
        """The first body's entry and all returns, as the listing tells of uprobes."""
        found = [self._body(body) for body in bodies]
        return Jumps(found[0].entry, tuple(jump for one in found for jump in one.returns)) if found else Jumps()

    def _body(self, body: ListedBody) -> Jumps:
        function = body.function
        try:
            code = self._listing.code(function)
            priced = jumpable(code, UnsafePoints.of(self._sites.image.pclntab, function))
            entry = priced.entry_site()
            returns = []
            if body.returns:
                returns = [one.address for one in priced.return_sites(result_registers(body.signature),
                                                                      allow_faults=True)]  # fmt: skip
            wanted = dict.fromkeys([*([entry.address] if entry else []), *returns])
            fits = self._sites.fits_in(function, code, wanted.keys())
        except GotapError:  # damaged code: the listing says so
            return Jumps()
        return Jumps(
            _jump(entry.address, fits[entry.address]) if entry is not None else None,
            tuple(_jump(address, fits[address]) for address in dict.fromkeys(returns)),
        )


def _jump(address: int, fit: Fit) -> Jump:
    return Jump(address, fit.springboard and fit.live, fit.hook and fit.live, fit.reason)


def told(jumps: Jumps) -> Iterator[str]:
    """`springboard, hook` when both fit everywhere; else where each does, and why not elsewhere."""
    every = [*([jumps.entry] if jumps.entry is not None else []), *jumps.returns]
    if not every:
        return
    ways: dict[str, list[str]] = {}
    for name, fits in (("springboard", [one.springboard for one in every]), ("hook", [one.hook for one in every])):
        places = _places(fits[: len(every) - len(jumps.returns)], fits[len(every) - len(jumps.returns) :])
        ways.setdefault(places, []).append(name)
    for places, names in ways.items():
        yield f"{', '.join(names)}{places}" if places != _NOWHERE else f"no {' or '.join(names)}"
    yield from _reasons(one.reason for one in every if not (one.springboard and one.hook))


_NOWHERE = " nowhere"


def _places(entry: Sequence[bool], returns: Sequence[bool]) -> str:
    """` at the entry and 2 of 3 returns`; nothing: everywhere."""
    if all(entry) and all(returns):
        return ""
    places = ["the entry"] if any(entry) else []
    if returns and all(returns):
        places.append("the return" if len(returns) == 1 else "the returns")
    elif any(returns):
        places.append(f"{sum(returns)} of {len(returns)} returns")
    return f" at {' and '.join(places)}" if places else _NOWHERE


def _reasons(reasons: Iterable[str]) -> Iterator[str]:
    distinct = list(dict.fromkeys(reasons))
    if distinct:
        more = f"; and {len(distinct) - _TOLD} more" if len(distinct) > _TOLD else ""
        yield f"since {'; '.join(distinct[:_TOLD])}{more}"
