"""`sig` lines: signatures that the user gives, with short names of packages made import paths."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from gotap.image.image import Image
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.pattern import plain_name
from gotap.probe.functions.suggestions import no_such_function
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


def read_signature(text: str, functions: Functions, imports: Mapping[str, str]) -> Signature:
    """`main.f(name string, n int) (string, error)`; names of types are looked for in the function's package first.

    Raises SignatureError, NoSuchFunction.
    """
    signature = parse_signature(text, imports)
    found = functions.named(signature.symbol)
    if found is None:
        raise no_such_function(functions.image, signature.symbol)
    named = found.bodies or found.copies or ()
    symbol = named[0].name if named else signature.symbol
    if symbol != signature.symbol and "%" in symbol:  # the package's path has dots: only the table tells where it ends
        signature = parse_signature(symbol + text.strip()[len(signature.symbol) :], imports)
    return signature


def read_signatures(texts: Iterable[str], functions: Functions) -> list[Signature]:
    """The same of several, for one binary."""
    imports = Imports(functions.image)
    return [read_signature(text, functions, imports) for text in texts]


def _names(path: str) -> Iterator[str]:
    yield path
    *front, last = path.split("/")
    yield last
    if front and _VERSION.fullmatch(last):
        yield front[-1]
    elif "." in last:
        yield last.partition(".")[0]
