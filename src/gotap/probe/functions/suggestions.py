"""What a user may have meant by a pattern that matches nothing."""

from __future__ import annotations

import re

from gotap.errors import GotapError
from gotap.image.image import Image
from gotap.probe.functions.pattern import parse_pattern, plain_name, without_arguments
from gotap.probe.signature import package_of

_AT_MOST = 3
_ALIKE = 0.6


class NoSuchFunction(GotapError):
    """A pattern that matches no function of the binary. `suggestions`: names that do exist, likeliest first."""

    def __init__(self, message: str, remedy: str, suggestions: tuple[str, ...]) -> None:
        super().__init__(message, remedy)
        self.suggestions = suggestions


def no_such_function(image: Image, pattern: str) -> NoSuchFunction:
    """The error for a pattern without a match, with what is likely meant."""
    import difflib  # for an error alone

    found = suggestions(image, pattern)
    if found:
        return NoSuchFunction(f"no function matches `{pattern}`", f"did you mean {_listed(found)}?", tuple(found))
    package = package_of(pattern.replace("*", ""))
    packages = _packages(image)
    if package and package not in packages:
        close = difflib.get_close_matches(package, packages, _AT_MOST, _ALIKE)
        meant = f"did you mean {_listed([f'{one}.*' for one in close])}?" if close else "`-l '*'` lists what there is"
        return NoSuchFunction(
            f"no function matches `{pattern}`: no code of package {package} is in this binary",
            meant,
            tuple(f"{one}.*" for one in close),
        )
    remedy = f"`-l '{package or '*'}{'.*' if package else ''}'` lists what there is"
    return NoSuchFunction(f"no function matches `{pattern}`", remedy, ())


def suggestions(image: Image, pattern: str) -> list[str]:
    """Names of functions that are like the pattern: by case, by package left out or wrong, by a few other letters."""
    wanted = pattern.strip("*")
    table = b"\0" + image.pclntab.name_table
    same = re.compile(parse_pattern(pattern).expression, re.IGNORECASE)
    found = [match["name"] for match in same.finditer(table)]
    if not found:  # with another package or receiver
        last = wanted.rpartition(".")[2].encode()
        others = re.finditer(rb"\0([^\0:]*\." + re.escape(last) + rb")(?=\0)", table, re.IGNORECASE)
        found = [match[1] for match in others]
        found.sort(key=lambda name: (not name.endswith(last), -_alike(name, wanted)))
    if not found:
        found = _misspelt(table, wanted)
    names = (plain_name(without_arguments(name.decode("utf-8", "replace"))) for name in found)
    return list(dict.fromkeys(names))[:_AT_MOST]


def _alike(name: bytes, wanted: str) -> float:
    import difflib  # for an error alone

    return difflib.SequenceMatcher(None, name.decode("utf-8", "replace"), wanted).ratio()


def _misspelt(table: bytes, wanted: str) -> list[bytes]:
    """Names of the same package, closest first; of any package those with the same beginning."""
    import difflib  # for an error alone

    package = package_of(wanted)
    beginning = re.escape(f"{package}.".encode()) if package else re.escape(wanted[:1].encode())
    names = [match[1].decode("utf-8", "replace") for match in re.finditer(rb"\0(" + beginning + rb"[^\0]*)", table)]
    own = {name[len(package) + 1 :] if package else name: name for name in names}
    close = difflib.get_close_matches(wanted[len(package) + 1 :] if package else wanted, own, _AT_MOST, _ALIKE)
    return [own[one].encode() for one in close]


def _packages(image: Image) -> list[str]:
    table = b"\0" + image.pclntab.name_table
    found = {match[1] for match in re.finditer(rb"\0((?:[^\0(\[/]*/)*[^\0(\[./]*)\.(?=[^\0])", table)}
    return [plain_name(one.decode("utf-8", "replace")) for one in found]


def _listed(names: list[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
