"""`sig` lines: signatures that the user gives, with short names of packages made import paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from gotap.image.image import Image
from gotap.probe.functions.pattern import plain_name
from gotap.probe.signature import Signature, parse_signature

_PACKAGE = re.compile(rb"\0((?:[^\0(\[/:]+/)*([^\0(\[./:]+))\.(?=[^\0])")
_VERSION = re.compile(r"v\d+")


class Imports(Mapping[str, str]):
    """Name of a package → import path, of the packages that have code in a binary.

    Of several with one name the shortest path is meant, which is the standard library's; of `…/v2` and `yaml.v3` the
    name is what stands before the version.
    """

    def __init__(self, image: Image) -> None:
        self._paths: dict[str, str] = {}
        found = {match[1] for match in _PACKAGE.finditer(b"\0" + image.pclntab.name_table)}
        paths = (plain_name(one.decode("utf-8", "replace")) for one in found)
        for path in sorted(paths, key=lambda path: (len(path), path)):
            for name in _names(path):
                self._paths.setdefault(name, path)

    def __getitem__(self, name: str) -> str:
        return self._paths[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)


def read_signature(text: str, imports: Mapping[str, str]) -> Signature:
    """`main.f(name string, n int) (string, error)`; names of types are looked for in the function's package first.

    Raises SignatureError.
    """
    return parse_signature(text, imports)


def read_signatures(texts: Iterable[str], image: Image) -> list[Signature]:
    """The same of several, for one binary."""
    imports = Imports(image)
    return [read_signature(text, imports) for text in texts]


def _names(path: str) -> Iterator[str]:
    yield path
    *front, last = path.split("/")
    yield last
    if front and _VERSION.fullmatch(last):
        yield front[-1]
    elif "." in last:
        yield last.partition(".")[0]
