"""Variables of packages in a script: `main.counter`, `http.DefaultClient`."""

from __future__ import annotations

from functools import cached_property

from gotap.errors import GotapError
from gotap.image.code import Global
from gotap.image.image import Image
from gotap.probe import ir
from gotap.probe.functions.locations import Locations
from gotap.probe.script.binding.functions import FunctionProbes
from gotap.probe.signature import package_of
from gotap.probe.value import NotAtHand, Value


class PackageVariables:
    """Finds them by the package's name, which is the last part of its import path."""

    def __init__(self, functions: FunctionProbes) -> None:
        self._functions = functions

    @cached_property
    def _locations(self) -> Locations:
        return Locations(self._functions.signatures)

    @cached_property
    def _packages(self) -> dict[str, list[str]]:
        image: Image = self._functions.context.program
        found: dict[str, list[str]] = {}
        for path in {package_of(name) for name in image.pclntab.names}:
            found.setdefault(path.rpartition("/")[2], []).append(path)
        return found

    def find(self, package: str, name: str) -> Value | None:
        """None: there is no such variable. Raises NotAtHand where its type is unknown."""
        for path in dict.fromkeys([package, *sorted(self._packages.get(package, ()), key=len)]):
            try:
                found = self._locations.package_variable(f"{path}.{name}")
            except GotapError:
                continue
            if found is None:
                continue
            if found.type is None:
                raise NotAtHand(found.reason, "build without -ldflags=-w")
            place = found.parts[0].location if found.parts else None
            address = place.address if isinstance(place, Global) else 0
            return Value(found.type, None, ir.StaticAddress(address))
        return None
