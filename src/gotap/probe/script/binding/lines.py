"""Probes of lines: `main.go:42`, with what the source can name there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from gotap.errors import GotapError
from gotap.probe.functions.lines import LinePlace, Lines
from gotap.probe.functions.locations import Locations
from gotap.probe.functions.pattern import plain_name
from gotap.probe.functions.signatures import Signatures
from gotap.probe.places import BoundSite
from gotap.probe.script.binding.context import Context
from gotap.probe.script.binding.points import Point
from gotap.probe.script.binding.watches import watch
from gotap.probe.script.bound import SiteInfo
from gotap.probe.script.compiling.stage import Stage, names_in
from gotap.probe.script.language import tree
from gotap.probe.script.language.vocabulary import BUILTINS
from gotap.probe.signature import package_of


class LineProbes:
    def __init__(self, context: Context, signatures: Callable[[], Signatures]) -> None:
        self.context = context
        self._signatures = signatures

    @cached_property
    def signatures(self) -> Signatures:
        return self._signatures()

    @cached_property
    def locations(self) -> Locations:
        return Locations(self.signatures)

    def bind(self, number: int, probe: tree.Probe, spec: tree.Line) -> None:
        reads = probe.block is None or bool(names_in((probe.predicate, probe.block)) - (BUILTINS.keys() - {"args"}))
        lines = Lines(self.signatures, self.context.points.places.code)
        try:
            places = lines.find(spec.file, spec.line, variables=reads)
        except GotapError as error:
            raise self.context.error(spec.at, str(error), error.remedy) from None
        if len(places) > self.context.most_probes:
            raise self.context.error(
                spec.at, f"{spec.file}:{spec.line} is at {len(places)} places", "raise --max-probes"
            )
        self.tell(spec, places)
        if reads:
            for place in places:
                point = self.point(place)
                names = point.names()
                stage = Stage(package=package_of(self.function(place)), names=names, args=names)
                watch(self.context, number, probe, stage, [self.numbered(place, point)], probe.text)
            return
        sites = [self.numbered(place, self.context.points.at(place.function, place.site, "argument", ()))
                 for place in places]  # fmt: skip
        watch(self.context, number, probe, Stage(package=package_of(self.function(places[0]))), sites, probe.text)

    def tell(self, spec: tree.Line, places: list[LinePlace]) -> None:
        files = {place.file for place in places}
        if len(files) > 1:
            self.context.shared.notices.append(f"{spec.file}:{spec.line} is in {len(files)} files: {', '.join(files)}")
        vague = sum(not place.exact for place in places)
        if vague:
            self.context.shared.notices.append(
                f"{spec.file}:{spec.line}: at {vague} of {len(places)} places the line's code is reached in several "
                "ways, of which one is seen"
            )

    def function(self, place: LinePlace) -> str:
        return plain_name(place.call.name if place.call is not None else place.function.name)

    def point(self, place: LinePlace) -> Point:
        """The site with the locals that are alive there."""
        address = place.site.address
        if place.call is not None:
            variables = self.locations.inlined(place.call, address)
        else:
            code = self.context.points.places.code(place.function)
            variables = self.locations.at(place.function, address, code)
        return self.context.points.at(place.function, place.site, "argument", variables.values())

    def numbered(self, place: LinePlace, point: Point) -> tuple[BoundSite, int]:
        name = self.function(place)
        into = plain_name(place.function.name) if place.call is not None else ""
        info = SiteInfo(name, package_of(name), place.file, place.line, place.site.address, into)
        return point.bound, self.context.shared.sites.add(info)
