"""What the catalogue came to for packages of a build, kept: it is compiled once for each edition of the catalogue and
for what the packages are. Reading the catalogue takes longer than all the rest of a build that has nothing to do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec
from msgspec import Struct

from gotap.probe.edition import edition
from gotap.weave.cache import cache_folder, digest, made
from gotap.weave.catalogue import VARIABLE
from gotap.weave.helper.protocol import Question, Reply
from gotap.weave.rules.model import Aspect

_FILE = "compiled.json"


class Compiled(Struct, frozen=True):
    """`sources`: import path, as `go list` has it → text of catalogue.FILE in that package."""

    aspects: tuple[Aspect, ...]
    sources: Mapping[str, str]


class _Touched(Struct, frozen=True):
    packages: frozenset[str]


def compiled(
    names: Mapping[str, str], packages: Mapping[str, str], known: Callable[[], Sequence[str | bytes]],
    ask: Callable[[Sequence[Question]], Sequence[Reply]],
) -> Compiled:  # fmt: skip
    """The catalogue for packages that may be changed: import path → as `go list` has it (`packages`), and that → the
    package's name (`names`). `known`: what decides the answers of `ask`, which is much to make. Raises RuleError,
    CacheError."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None and not (packages.keys() & _touched()):
        return Compiled((), {})

    def fill(fresh: Path) -> None:
        from gotap.weave.catalogue.compiling import chosen_libraries, compile_catalogue

        made_now = compile_catalogue(chosen_libraries(), names, packages, ask)
        (fresh / _FILE).write_bytes(msgspec.json.encode(made_now))

    key = digest(_version(), "all" if wanted is None else f"only {wanted}", *known(), *sorted(packages.values()))
    folder = made(cache_folder() / "catalogue" / key[:32], fill)
    return msgspec.json.decode((folder / _FILE).read_bytes(), type=Compiled)


def _touched() -> frozenset[str]:
    """Import paths of the packages in which any operation has a place. Raises CacheError."""

    def fill(fresh: Path) -> None:
        from gotap.probe.catalogue import libraries
        from gotap.weave.catalogue.questions import packages_of

        found = {path for library in libraries() for one in library.operations for path in packages_of(one)}
        (fresh / _FILE).write_bytes(msgspec.json.encode(_Touched(frozenset(found))))

    folder = made(cache_folder() / "catalogue" / f"packages-{_version()[:32]}", fill)
    return msgspec.json.decode((folder / _FILE).read_bytes(), type=_Touched).packages


@cache
def _version() -> str:
    """Of the catalogue, of what reads it, and of what compiles it."""
    here = Path(__file__).parent
    readers = (here.parents[1] / "probe").glob("*.py")
    files = (*here.glob("*.py"), *(here.parent / "runtime").glob("*.py"), *readers)
    return digest(edition(), *(path.read_bytes() for path in sorted(files)))
