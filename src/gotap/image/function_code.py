"""The machine code of one function of an executable, with what the rest of the executable says about it."""

from __future__ import annotations

from enum import Enum
from functools import partial

from msgspec.structs import replace

from gotap.image.code import Callees, FunctionCode, called_functions
from gotap.image.code.jumps import UnsafePoints, jumpable
from gotap.image.errors import ImageError
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image


class SitesFor(Enum):
    """What sites are chosen for: what costs a uprobe least, or where a jump into a trampoline fits."""

    UPROBES = "uprobes"
    JUMPS = "jumps"  # written before the program begins
    LIVE_JUMPS = "live jumps"  # written while goroutines exist


def function_code(
    image: Image, function: Function, *, quiet_defers: bool = False, sites_for: SitesFor = SitesFor.UPROBES
) -> FunctionCode:
    """Knows what it calls. `quiet_defers`: what it defers leaves its results alone. Raises NoCode, ImageError."""
    content = image.code(function)
    called = called_functions(content, function.address)
    known = [one for target in called if (one := image.pclntab.function_at(target)) is not None]
    callees = Callees.of((one.name, one.address) for one in known)
    if quiet_defers:
        plain = FunctionCode(content, function.address)
        callees = replace(callees, harmless_calls=frozenset(plain.deferred_calls()))
    code = FunctionCode(content, function.address, callees=callees, read=partial(read_pointers, image))
    return _priced(image, function, code, sites_for)


def _priced(image: Image, function: Function, code: FunctionCode, sites_for: SitesFor) -> FunctionCode:
    if sites_for is SitesFor.UPROBES:
        return code
    return jumpable(code, UnsafePoints.of(image.pclntab, function), live=sites_for is SitesFor.LIVE_JUMPS)


class FunctionCodes:
    """Code of functions of one image, each analysed once, for whatever sites: who asks for both spends half."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._known: dict[tuple[int, bool], FunctionCode] = {}

    def of(
        self, function: Function, *, quiet_defers: bool = False, sites_for: SitesFor = SitesFor.UPROBES
    ) -> FunctionCode:
        """As `function_code`."""
        key = (function.address, quiet_defers)
        if key not in self._known:
            self._known[key] = function_code(self._image, function, quiet_defers=quiet_defers)
        return _priced(self._image, function, self._known[key], sites_for)


def read_pointers(image: Image, address: int, size: int) -> bytes | None:
    """Words of the image with relocations applied: the tables of switches. None: they are not in the file."""
    try:
        words = [image.elf.pointer(address + at) for at in range(0, size, 8)]
    except ImageError:
        return None
    return b"".join(word.to_bytes(8, "little") for word in words)[:size]
