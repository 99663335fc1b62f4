"""What is to be built otherwise, and how: rules, packages, matches, changed files. Nothing outside of gotap's cache is
written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from gotap.weave import needs
from gotap.weave.arguments import CommandLine, split_goflags
from gotap.weave.asking import Asked, Rewritten, ask
from gotap.weave.cache import cache_folder, digest, made
from gotap.weave.catalogue import FILE
from gotap.weave.edits import Edit, apply
from gotap.weave.errors import FilesChange, ListError, NotComposable, RuleError
from gotap.weave.goroot import go_command, shadow_goroot
from gotap.weave.helper.protocol import Answer, Match, Unmatched
from gotap.weave.listing import Package, list_closure
from gotap.weave.modcache import is_cached
from gotap.weave.modules import Alternate, replaced
from gotap.weave.overlay import own_overlay
from gotap.weave.requirements import Requirements
from gotap.weave.rules.discovery import Rules, discover, own_rules
from gotap.weave.rules.model import Aspect
from gotap.weave.rules.spans import PATTERN
from gotap.weave.runtime import NAME as RUNTIME
from gotap.weave.runtime import additions
from gotap.weave.toolchain import Toolchain, find_toolchain

#: gotap's own rules that serve others: woven only where something else is.
_BASE = ("goroutine.yaml", "exit.yaml", "orchestrion.yaml", "logs.yaml", "points.yaml")
#: How often files are read anew that are written meanwhile.
_ATTEMPTS = 5


class File(Struct, frozen=True):
    """A file that changes. `package`: import path; `standard`: of the standard library; `before` empty: it is new."""

    path: str
    package: str
    standard: bool
    before: bytes
    after: bytes
    edits: tuple[Edit, ...] = ()


class Plan(Struct, frozen=True):
    """`goroot`: to build with; None: nothing is woven, so that the user's own go does. `overlay`: what the user
    replaces besides."""

    toolchain: Toolchain
    files: tuple[File, ...]
    matches: tuple[Match, ...]
    unmatched: tuple[Unmatched, ...]
    rules: Rules
    goroot: Path | None
    overlay: Mapping[str, str]
    alternate: Alternate = Alternate()

    def mistaken(self) -> Iterator[tuple[Aspect, str]]:
        """Patterns for spans that name a package of the build and no function of it, each with the reason: unlike
        rules, which may be about what other programs have, they are a mistake."""
        near = {one.aspect: one.reason for one in self.unmatched if one.stage > 0}
        return ((one, near[one.id]) for one in self.rules.aspects if one.id.startswith(PATTERN) and one.id in near)


def plan(line: CommandLine, directory: str) -> Plan:
    """How a command is carried out in a directory. Raises what gotap.weave.errors has, and InvalidRule."""
    for _ in range(_ATTEMPTS):
        with contextlib.suppress(Rewritten):
            return _plan(line, directory)
    raise FilesChange(
        "files of the program are written again and again while gotap reads them", "build when they are left alone"
    )


def _plan(line: CommandLine, directory: str) -> Plan:
    toolchain = find_toolchain(directory)
    overlay = _overlay_of(line, toolchain, directory)
    requirements = Requirements(toolchain, line, directory, overlay)
    requirements.load()
    rules = _rules(requirements)
    runtime = {f"src/{path}": content for path, content in additions().items()}
    base = shadow_goroot(toolchain, runtime)
    inner = _runtime_closure(toolchain, base, line, directory)
    own = rules
    asked, packages = needs.settle(
        requirements,
        inner,
        lambda some: ask(toolchain, some, own, inner),
        lambda found: found.answer if _serves(found.answer, own) else None,
    )
    answer = asked.answer
    rules = replace(rules, aspects=(*rules.aspects, *asked.aspects))
    if not _serves(answer, rules):
        return Plan(toolchain, (), (), answer.unmatched, rules, None, overlay)
    files = _read(asked, packages)
    _refuse(files, overlay)
    goroot = Path(toolchain.goroot)
    changed = {str(Path(one.path).relative_to(goroot)): one.after for one in files if one.standard}
    alternate = requirements.alternate
    if any(not one.standard and is_cached(one.path, toolchain) for one in files):
        alternate = replaced(toolchain, packages, line, directory, overlay, alternate)
    root = shadow_goroot(toolchain, {**runtime, **changed, **alternate.goroot})
    return Plan(toolchain, files, answer.matches, answer.unmatched, rules, root, overlay, alternate)


def _overlay_of(line: CommandLine, toolchain: Toolchain, directory: str) -> Mapping[str, str]:
    named = line.value("overlay")
    if named is None:
        flags = [flag.value for flag in split_goflags(toolchain.variables["GOFLAGS"]) if flag.name == "overlay"]
        named = flags[-1] if flags else None
    return own_overlay(directory, named) if named else {}


def _rules(requirements: Requirements) -> Rules:
    """gotap's own, then those of the main modules, by the order of their folders."""
    found = [own_rules(), *(discover(folder, requirements.locate) for folder in requirements.folders())]
    return Rules(
        tuple(_told_apart(aspect for one in found for aspect in one.aspects)),
        tuple(file for one in found for file in one.files),
        tuple(item for one in found for item in one.imports),
    )


def _told_apart(aspects: Iterable[Aspect]) -> Iterator[Aspect]:
    """Ids are unique in a file only: those that another file has, too, get the file's name."""
    seen: set[str] = set()
    for one in aspects:
        name = one.id if one.id not in seen else f"{one.id} ({one.file})"
        seen.add(name)
        yield one if name == one.id else replace(one, id=name)


def _runtime_closure(toolchain: Toolchain, base: Path, line: CommandLine, directory: str) -> set[str]:
    """The injected runtime and all that it imports: what ordinary rules do not touch. It follows from the tree and from
    what decides about files of the standard library."""
    shadow = Toolchain(str(go_command(base)), toolchain.variables)
    tags = line.value("tags") or ""
    decisive = [toolchain.variables[name] for name in ("GOOS", "GOARCH", "CGO_ENABLED", "GOEXPERIMENT", "GOFLAGS")]

    def fill(fresh: Path) -> None:
        (fresh / "packages").write_text("\n".join(sorted(list_closure(shadow, [RUNTIME], tags, directory))))

    folder = made(cache_folder() / "closures" / f"{base.name}-{digest(*decisive, tags)[:12]}", fill)
    return set((folder / "packages").read_text().split())


def _serves(answer: Answer, rules: Rules) -> bool:
    """Whether anything is woven but what only serves other rules."""
    base = {one.id for one in rules.aspects if os.path.basename(one.file) in _BASE}
    return any(match.aspect not in base for match in answer.matches)


def _read(asked: Asked, packages: Sequence[Package]) -> tuple[File, ...]:
    """Files that change. Raises RuleError, ListError, Rewritten."""
    try:
        files = tuple(_changed(asked, {one.import_path: one for one in packages}))
    except OSError as error:
        if not asked.is_what_is_there():
            raise Rewritten from None
        raise ListError(f"{error.filename} cannot be read: {error.strerror}", "make it readable") from None
    if not asked.is_what_is_there():
        raise Rewritten
    return files


def _changed(asked: Asked, packages: Mapping[str, Package]) -> Iterator[File]:
    """Files with their edits. A file that two variants of a package share is changed in the same way in both."""
    answer = asked.answer
    edits: dict[str, dict[str, list[Edit]]] = {}
    for one in answer.edits:
        edits.setdefault(one.file, {}).setdefault(one.package, []).append(Edit(one.offset, one.delete, one.insert))
    for path, variants in sorted(edits.items()):
        (package, own), *others = variants.items()
        if any(other != own for _, other in others):
            names = " and ".join(variants)
            raise RuleError(f"rules change {path} in {names} each in another way", "make the rules more general")
        before = Path(path).read_bytes()
        found = packages[package]
        yield File(path, found.path, found.standard, before, apply(before, own), tuple(own))
    for found, path, content in needs.new_files(answer, packages):
        yield File(path, found.path, found.standard, b"", content)
    for name, text in asked.sources.items():
        found = packages[name]
        yield File(os.path.join(found.dir, FILE), found.path, found.standard, b"", text.encode())


def _refuse(files: Sequence[File], overlay: Mapping[str, str]) -> None:
    """What cannot be had together, before anything is built. Raises NotComposable."""
    for one in files:
        if one.path in overlay:
            raise NotComposable(f"the overlay replaces {one.path}, which rules change too", "take one of them out")
