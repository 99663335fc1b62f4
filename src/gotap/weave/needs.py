"""What woven text needs beside itself: packages that it imports or links, assembly files, language versions."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from gotap.weave.errors import RuleError, Unresolved
from gotap.weave.helper.protocol import Answer
from gotap.weave.listing import Package
from gotap.weave.requirements import Requirements
from gotap.weave.toolchain import Toolchain, release_of

#: The one package that gotaprt imports and gotap's rules change, but for runtime, which all programs have.
_OS = "os"
_LINKS, _ASSEMBLY = "zz_gotap_links.go", "zz_gotap_empty.s"

Asked = TypeVar("Asked")


def settle(
    requirements: Requirements,
    inner: Collection[str],
    asked: Callable[[Sequence[Package]], Asked],
    answer: Callable[[Asked], Answer | None],
) -> tuple[Asked, Sequence[Package]]:
    """What is woven, and the packages of the build with those that woven text brings, which rules may touch as well:
    asked until there is nothing more. `inner`: import paths that every build has; `answer`: None if nothing is woven.
    Raises RuleError for what the build cannot have, naming the rule and what is missing; and what asking does."""
    wanted: dict[str, str] = {}
    packages = _joined(requirements.packages, _shared(requirements))
    while True:
        found = asked(packages)
        told = answer(found)
        if told is None:
            return found, packages
        _check_languages(told, requirements.toolchain)
        have = {one.path for one in packages}
        new = {one.path: one.aspect for one in (*told.imports, *told.links)
               if one.path not in have and one.path not in inner and one.path not in ("unsafe", "C")}  # fmt: skip
        if not new:
            return found, packages
        wanted |= new
        _provide(requirements, new)
        packages = _joined(requirements.packages, [*_shared(requirements), *requirements.load_also(wanted)])


def _shared(requirements: Requirements) -> Sequence[Package]:
    """What programs have by gotaprt if not by themselves, and is woven: in all of them, so that it is the same in a
    program and in its plugins."""
    return () if any(one.path == _OS for one in requirements.packages) else requirements.load_also((_OS,))


def _provide(requirements: Requirements, wanted: Mapping[str, str]) -> None:
    """`wanted`: import path → rule."""
    try:
        missing = sorted(requirements.provide(wanted))
    except Unresolved as error:
        raise RuleError(f"{', '.join(sorted(set(wanted.values())))}: {error.whole}", error.remedy) from None
    for path in missing:
        module = requirements.module_named(path)
        lacks = "vendor/ does not have" if requirements.is_vendored() else "no module of this build has"
        remedy = f"`go get {path}`{', then `go mod vendor`' if requirements.is_vendored() else ''}"
        named = f" (module {module})" if module else ""
        raise RuleError(
            f"{wanted[path]}: its text needs the package {path}{named}, which {lacks}",
            f"{remedy}, name it in the tool file with its version behind it, or take the rule out",
        )


def _joined(packages: Sequence[Package], more: Sequence[Package]) -> Sequence[Package]:
    """Dependencies first: no package of the build imports one that only woven text brings."""
    have = {one.import_path for one in packages}
    return [*packages, *{one.import_path: one for one in more if one.import_path not in have}.values()]


def _check_languages(answer: Answer, toolchain: Toolchain) -> None:
    for one in answer.languages:
        if release_of(one.lang) > toolchain.release:
            raise RuleError(
                f"{one.aspect}: its text is of {one.lang}, and {toolchain.version} builds {one.package}",
                "build with a newer Go, or take the rule out",
            )


def new_files(answer: Answer, packages: Mapping[str, Package]) -> Iterator[tuple[Package, str, bytes]]:
    """Packages with paths and contents of files that they get: imports of what is only linked go to every program, and
    functions without a body compile only beside an assembly file. Raises RuleError."""
    rules = {one.path: one.aspect for one in answer.links}
    for package in packages.values() if rules else ():
        if package.name == "main" and not package.for_test and not package.standard and package.go_files:
            lines = "".join(f'import _ "{path}"\n' for path in _linked(rules, package, packages))
            yield package, os.path.join(package.dir, _LINKS), f"package main\n\n{lines}".encode()
    for name in answer.bodiless:
        yield packages[name], os.path.join(packages[name].dir, _ASSEMBLY), b"// Nothing.\n"


def _linked(rules: Mapping[str, str], program: Package, packages: Mapping[str, Package]) -> list[str]:
    """What a program imports so that all is linked: internal packages come with those that may import them.
    `rules`: import path → rule."""
    allowed = sorted(path for path in rules if _may_import(program.path, path))
    if len(allowed) < len(rules):
        reached = _reached([program.import_path, *allowed], packages)
        for path in sorted(rules.keys() - reached):
            raise RuleError(
                f"{rules[path]}: {path} is to be linked, and {program.path} may not import it: it is internal",
                "let the rule link a package that imports it",
            )
    return allowed


def _may_import(importer: str, path: str) -> bool:
    """Whether internal packages are of a tree that the importer belongs to (`go help importpath`)."""
    head, found, _ = f"/{path}/".rpartition("/internal/")
    return not found or not head or f"/{importer}/".startswith(f"{head}/")


def _reached(paths: Iterable[str], packages: Mapping[str, Package]) -> set[str]:
    """Packages, and all that they import."""
    left, found = list(paths), set[str]()
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            one = packages.get(path)
            left += [one.import_map.get(name, name) for name in one.imports] if one is not None else []
    return found
