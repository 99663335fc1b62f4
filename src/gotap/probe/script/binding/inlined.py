"""Probes of inlined copies: each where its code begins, once for each call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

from gotap.errors import GotapError
from gotap.image.code.inlined import InlinedCopy, InlinedSite
from gotap.image.functions.inlinetree import InlinedCall
from gotap.probe import ir
from gotap.probe.functions.locations import Locations
from gotap.probe.functions.pattern import plain_name
from gotap.probe.functions.signatures import Signatures
from gotap.probe.places import BoundSite
from gotap.probe.script.binding.context import Context
from gotap.probe.script.binding.points import Point
from gotap.probe.script.binding.watches import watch
from gotap.probe.script.compiling.kinds import CODE
from gotap.probe.script.compiling.stage import Stage, mentions, reads_signature
from gotap.probe.script.language import tree
from gotap.probe.signature import package_of
from gotap.probe.value import Value


def names_caller(probe: tree.Probe) -> bool:
    """Whether a probe says `caller`: of a copy that is the function it was put into, which no register tells."""
    return mentions((probe.predicate, probe.block), "caller")


class InlinedProbes:
    def __init__(self, context: Context, signatures: Callable[[], Signatures]) -> None:
        self.context = context
        self._signatures = signatures

    @cached_property
    def locations(self) -> Locations:
        return Locations(self._signatures())

    def bind(
        self, number: int, probe: tree.Probe, spec: tree.Function, copies: Sequence[InlinedCall], *, bodies: bool
    ) -> None:
        """Adds routines for the copies that can be probed, and tells how many those are. `bodies`: there are others."""
        reads = reads_signature(probe)
        found: list[tuple[InlinedCall, InlinedSite]] = []
        reasons: Counter[str] = Counter()
        for call in copies:
            place = self.site(call, reads)
            if place.site is None or place.site.sp_offset is None:
                reasons[place.reason or "its stack could not be followed"] += 1
            else:
                found.append((call, place))
        if reasons:
            self.context.shared.notices.append(
                f"{spec.pattern}: {len(found)} of {len(copies)} inlined copies can be probed; of the others: "
                + ", ".join(f"{why} ({count})" for why, count in reasons.most_common(2))
            )
        if not found and not copies and spec.point == "inline":
            raise self.context.error(
                spec.at, f"`{spec.pattern}` has no inlined copy", f"its calls are probed by {spec.pattern}:entry"
            )
        if not found and copies and (spec.point == "inline" or not bodies):
            why = ", ".join(why for why, _ in reasons.most_common(2))
            raise self.context.error(
                spec.at, f"none of the {len(copies)} inlined copies of `{spec.pattern}` can be probed: {why}",
                "probe the functions it was inlined into, or build with -gcflags=-l",
            )  # fmt: skip
        if reads or names_caller(probe):
            for call, place in found:
                self.one(number, probe, call, place, reads=reads)
        elif found:
            sites = [self.numbered(call, self.point(call, place, reads=False)) for call, place in found]
            watch(self.context, number, probe, Stage(package=package_of(found[0][0].name)), sites, probe.text)

    def site(self, call: InlinedCall, reads: bool) -> InlinedSite:
        try:
            code = self.context.points.places.code(call.function)
            return InlinedCopy(code, call.ranges, call.call_site).site(arguments=reads)
        except GotapError as error:
            return InlinedSite(None, str(error))

    def point(self, call: InlinedCall, place: InlinedSite, *, reads: bool) -> Point:
        assert place.site is not None
        variables = self.locations.inlined(call, place.site.address).values() if reads else ()
        return self.context.points.at(call.function, place.site, "argument", variables)

    def numbered(self, call: InlinedCall, point: Point) -> tuple[BoundSite, int]:
        address = point.bound.site.address
        info = self.context.points.info(plain_name(call.name), address, inlined_into=plain_name(call.caller))
        return point.bound, self.context.shared.sites.add(info)

    def one(self, number: int, probe: tree.Probe, call: InlinedCall, place: InlinedSite, *, reads: bool) -> None:
        """A routine of its own, since arguments stand elsewhere in every copy, and each has its own caller."""
        point = self.point(call, place, reads=reads)
        signature = self.locations.inlined_signature(call)
        named = {one.name for one in signature.arguments}
        caller = ir.StaticAddress(call.function.address)
        names = {name: value for name, value in point.names().items() if name in named}
        stage = Stage(
            package=package_of(call.name),
            args=names if signature.known else None,
            no_args=signature.reason or f"{call.name} takes no arguments",
            functions=frozenset({plain_name(call.name)}),
            words={"caller": lambda: Value(CODE, {0: caller})} if names_caller(probe) else {},
        )
        watch(self.context, number, probe, stage, [self.numbered(call, point)], call.name)
