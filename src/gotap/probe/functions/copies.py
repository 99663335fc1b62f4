"""Inlined copies of functions: where each can be probed, and how many can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from msgspec import Struct

from gotap.image.code import FunctionCode, InlinedCopy, InlinedSite
from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image


class Coverage(Struct, frozen=True):
    """`covered` of `total` copies have a site that fires once for each call; `reasons`: why the others have none."""

    covered: int
    total: int
    reasons: tuple[tuple[str, int], ...] = ()

    @property
    def text(self) -> str:
        """`3 of 5 copies (2: its code was merged with that around it)`."""
        counted = "copy" if self.total == 1 else "copies"
        why = "; ".join(f"{count}: {reason}" for reason, count in self.reasons)
        return f"{self.covered} of {self.total} {counted}" + (f" ({why})" if why else "")


class Copies:
    """The inlined copies in one binary; `code` gives a function's code, analysed once."""

    def __init__(self, image: Image, code: Callable[[Function], FunctionCode]) -> None:
        self._code = code
        self._hoists = image.go_version.at_least(1, 27)

    def site(self, call: InlinedCall, *, arguments: bool = False) -> InlinedSite:
        """Where one copy begins, see `InlinedCopy.site`. `arguments`: they are to be read there. Raises NoCode."""
        code = self._code(call.function)
        return InlinedCopy(code, call.ranges, call.call_site, hoists=self._hoists).site(arguments=arguments)

    def coverage(self, calls: Iterable[InlinedCall]) -> Coverage:
        """How many of the copies can be probed. Raises NoCode."""
        sites = [self.site(call) for call in calls]
        reasons = Counter(site.reason for site in sites if site.site is None)
        return Coverage(len(sites) - reasons.total(), len(sites), tuple(reasons.most_common()))
