"""What can be probed in a binary, for `gotap trace BINARY -l PATTERN -v`: signatures, sites and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from gotap.errors import GotapError
from gotap.image.code import Cost, EntrySite, FunctionCode, ReturnSite
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.probe.functions.copies import Copies, Coverage
from gotap.probe.functions.entries import entry_sites
from gotap.probe.functions.matching import FunctionKind, Match, Matches
from gotap.probe.functions.model import FunctionSignature
from gotap.probe.functions.pattern import plain_name
from gotap.probe.functions.signatures import Signatures

#: Functions whose code is kept: some 20 MB.
_KEPT = 1024


class ListedBody(Struct, frozen=True):
    """Code of its own. `name`: with type arguments or shapes. `entry` None: no instruction there can carry a probe.

    `returns`: every call that returns passes one of them; empty: it never returns, or that is not known, `problem`.
    """

    name: str
    function: Function
    signature: FunctionSignature
    entry: EntrySite | None
    returns: tuple[ReturnSite, ...]
    problem: str = ""

    @property
    def text(self) -> str:
        return self.signature.text(self.name)

    @property
    def entry_cost(self) -> Cost:
        return self.entry.cost if self.entry is not None else Cost.FORBIDDEN

    @property
    def return_costs(self) -> tuple[Cost, ...]:
        return tuple(site.cost for site in self.returns)


class Listed(Struct, frozen=True):
    """One function. `inlined`: which of its copies can be probed. `signature`: its first body's, if it has one."""

    name: str
    kind: FunctionKind
    signature: FunctionSignature
    bodies: tuple[ListedBody, ...]
    inlined: Coverage | None
    instances: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.signature.text(self.name)


class _Latest:
    """Keeps the code of the functions that were asked for last: a listing looks at a function for its entry, its
    returns and for each call that was inlined into it, and a whole program's analysed code takes gigabytes.
    """

    def __init__(self, code: Callable[[Function], FunctionCode]) -> None:
        self._code = code
        self._kept: dict[int, FunctionCode] = {}  # by address, the latest last

    def __call__(self, function: Function) -> FunctionCode:
        found = self._kept.pop(function.address, None)
        if found is None:
            found = self._code(function)
            if len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
        self._kept[function.address] = found
        return found


class Listing:
    """Lists the functions of one binary. `code` analyses a function's code; the latest are kept here."""

    def __init__(self, signatures: Signatures, code: Callable[[Function], FunctionCode]) -> None:
        self._signatures = signatures
        self._image: Image = signatures.image
        self._code = _Latest(code)
        self._copies = Copies(self._image, self._code)

    def code(self, function: Function) -> FunctionCode:
        """As it was analysed for the list."""
        return self._code(function)

    def of(self, matches: Matches) -> Iterator[Listed]:
        """What is known of each function of a pattern, in their order."""
        bodies = [body for match in matches.functions for body in match.bodies]
        entries = dict(zip((one.address for one in bodies), self._entries(bodies), strict=True))
        for match in matches.functions:
            yield self._listed(match, entries)

    def _entries(self, bodies: list[Function]) -> list[EntrySite | None]:
        try:
            return entry_sites(self._image, bodies, self._code)
        except GotapError:  # one of them has damaged code
            return [self._entry(body) for body in bodies]

    def _entry(self, body: Function) -> EntrySite | None:
        try:
            return self._code(body).entry_site()
        except GotapError:
            return None

    def _listed(self, match: Match, entries: dict[int, EntrySite | None]) -> Listed:
        bodies = tuple(self._body(body, entries[body.address]) for body in match.bodies)
        if bodies:
            signature = bodies[0].signature
        elif match.copies:
            signature = self._signatures.of_inlined(match.copies[0])
        else:
            signature = FunctionSignature()
        return Listed(
            match.name,
            match.kind,
            signature,
            bodies,
            self._copies.coverage(match.copies) if match.copies else None,
            tuple(one.name for one in match.instances),
        )

    def _body(self, body: Function, entry: EntrySite | None) -> ListedBody:
        signature, problem = FunctionSignature(), ""
        returns: tuple[ReturnSite, ...] = ()
        try:
            signature = self._signatures.of(body)
            returns = tuple(self._code(body).return_sites(result_registers(signature), allow_faults=True))
        except GotapError as error:
            problem = str(error)
        name = plain_name(self._signatures.full_name(body))
        return ListedBody(name, body, signature, entry, returns, problem)


def result_registers(signature: FunctionSignature) -> list[str]:
    """Those that hold results, as far as they are known."""
    assignment = signature.assignment()
    return [
        piece.register
        for pieces in (assignment.results if assignment is not None else ())
        for piece in pieces
        if piece.register is not None and not piece.register.startswith("xmm")
    ]
