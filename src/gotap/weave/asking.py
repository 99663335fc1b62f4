"""The helper's answers, kept: what was asked of the same files, rules and Go is not asked again.

The standard library is asked about by itself: it is the same for all programs, while the user's packages change with
every edit. So are modules of the cache, which change with go.mod. Files are told apart by path, size and time, as the
go command does it for its index; those of the module cache by the version that their folders are named after.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gotap import __version__
from gotap.weave.cache import cache_folder, digest, made
from gotap.weave.catalogue.compiled import Compiled, compiled
from gotap.weave.errors import RuleError
from gotap.weave.helper.errors import HelperFailed
from gotap.weave.helper.helper import Helper
from gotap.weave.helper.protocol import Answer, PackageFacts, Question, Reply, Request
from gotap.weave.listing import Package
from gotap.weave.modcache import is_cached
from gotap.weave.rules.discovery import Rules
from gotap.weave.rules.model import Aspect
from gotap.weave.standard import state
from gotap.weave.toolchain import Toolchain

_ANSWER = "answer.json"


class Rewritten(Exception):
    """Somebody has written the user's files while they were looked at: what was read may be half of two texts."""


class Asked(Struct, frozen=True):
    """`aspects`: the catalogue's that match; `sources`: import path, as `go list` has it → text of the file that the
    catalogue adds to that package; `seen`: the user's files as they were before they were looked at."""

    answer: Answer
    aspects: tuple[Aspect, ...]
    sources: Mapping[str, str]
    seen: Mapping[str, str]

    def is_what_is_there(self) -> bool:
        return _seen(self.seen) == self.seen


def ask(
    toolchain: Toolchain,
    packages: Sequence[Package],
    rules: Rules,
    inner: Collection[str],
) -> Asked:
    """What rules and the catalogue change in packages. `inner`: import paths that only rules for them may
    touch. Raises RuleError, HelperFailed, HelperNotBuilt, CacheError, Rewritten."""
    known = [one for one in packages if not one.is_test_main]
    seen = _seen(_own_files(known, toolchain))
    try:
        return _ask(toolchain, known, rules, inner, seen)
    except (RuleError, HelperFailed):
        if _seen(seen) != seen:
            raise Rewritten from None
        raise


def _ask(
    toolchain: Toolchain, known: Sequence[Package], rules: Rules, inner: Collection[str], seen: Mapping[str, str]
) -> Asked:
    variants = {one.for_test for one in known if one.for_test}
    weavable = [one for one in known if _is_weavable(one) and one.import_path not in variants]
    helper = Helper.built(toolchain.go, toolchain.version, cache_folder() / "helper")
    parts = []
    sources: dict[str, str] = {}
    aspects: list[Aspect] = []
    settled = _settled(known, toolchain)
    parts_of = {one.import_path: 0 if one.standard else 1 if one.import_path in settled else 2 for one in known}
    for number in range(3):
        targets = [one for one in weavable if parts_of[one.import_path] == number]
        needed = [one for one in known if parts_of[one.import_path] <= number]
        request = _request(toolchain, needed, targets, rules, inner)
        decisive = [state(toolchain), *(text for pair in seen.items() for text in pair if number == 2)]
        woven = _catalogue(helper, request, targets, decisive)
        request = replace(request, aspects=(*rules.aspects, *woven.aspects))
        parts.append(_answer(helper, request, decisive))
        sources |= woven.sources
        aspects += woven.aspects
    answer = _placed(_together(parts), {one.id: f"{one.file}:{one.line}: {one.id}" for one in rules.aspects})
    if answer.errors:
        raise _wrong(answer)
    matched = {match.aspect for match in answer.matches}
    written = {one.id for one in rules.aspects}
    return Asked(
        replace(answer, unmatched=tuple(one for one in answer.unmatched if one.aspect in written)),
        tuple(one for one in aspects if one.id in matched),
        sources,
        seen,
    )


def _catalogue(
    helper: Helper, request: Request, targets: Sequence[Package], decisive: Collection[str]
) -> Compiled:
    """The catalogue in these packages."""
    allowed = {one.path: one.import_path for one in targets if one.import_path not in request.internal}
    names = {one.import_path: one.name for one in targets}

    def replies(asked: Sequence[Question]) -> Sequence[Reply]:
        return _answer(helper, replace(plain, questions=asked), decisive).replies

    def known() -> Sequence[str | bytes]:
        return [str(helper.program), msgspec.json.encode(plain), *decisive]

    plain = replace(request, targets=(), internal=(), aspects=())
    return compiled(names, allowed, known, replies)


def _is_weavable(package: Package) -> bool:
    return package.path != "unsafe" and bool(package.files())


def _settled(packages: Sequence[Package], toolchain: Toolchain) -> set[str]:
    """Packages that never change, and import only such: of the standard library and the module cache."""
    found: set[str] = set()
    for one in packages:  # dependencies come first
        if one.standard or (is_cached(one.dir, toolchain) and all(
                name in found or name == "C" for name in (one.import_map.get(name, name) for name in one.imports))):
            found.add(one.import_path)  # fmt: skip
    return found


def _request(
    toolchain: Toolchain, packages: Sequence[Package], targets: Sequence[Package], rules: Rules, inner: Collection[str]
) -> Request:
    return Request(
        goversion=toolchain.version,
        goroot=toolchain.goroot,
        goarch=toolchain.variables["GOARCH"],
        version=__version__,
        packages=[_facts(one) for one in packages],
        targets=[one.import_path for one in targets],
        internal=[one.import_path for one in targets if one.path in inner],
        main_modules=sorted({one.module.path for one in packages if one.module is not None and one.module.main}),
        aspects=rules.aspects,
    )


def _facts(one: Package) -> PackageFacts:
    module = one.module
    return PackageFacts(
        import_path=one.import_path,
        name=one.name,
        dir=one.dir,
        files=one.files(),
        import_map=one.import_map,
        imports=list(one.imports),
        module=module.path if module is not None else "",
        lang=f"go{module.go_version}" if module is not None and module.go_version else "",
        std=one.standard,
        main=module is not None and module.main,
        test_main=one.is_test_main,
        for_test=one.for_test,
    )


def _own_files(packages: Sequence[Package], toolchain: Toolchain) -> Iterator[str]:
    """Those of the user's, which requests only name."""
    for package in packages:
        if not package.standard and not is_cached(package.dir, toolchain):
            yield from package.files()


def _seen(paths: Iterable[str]) -> dict[str, str]:
    """Files with what changes when they do."""
    found = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:  # it has just gone
            found[path] = ""
        else:
            found[path] = f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"
    return found


def _answer(helper: Helper, request: Request, decisive: Collection[str]) -> Answer:
    if not request.targets and not request.questions:
        return Answer((), (), (), (), (), (), (), ())
    key = digest(str(helper.program), msgspec.json.encode(request), *decisive)

    def fill(fresh: Path) -> None:
        answer = helper.ask(request)
        if answer.errors:  # nothing that is kept
            raise _wrong(answer)
        (fresh / _ANSWER).write_bytes(msgspec.json.encode(answer))

    folder = made(cache_folder() / "answers" / key[:32], fill)
    return msgspec.json.decode((folder / _ANSWER).read_bytes(), type=Answer)


def _together(parts: Sequence[Answer]) -> Answer:
    """Of an aspect that matches nowhere in one part only nothing is said; of others what is nearest to a match."""
    matched = {match.aspect for part in parts for match in part.matches}
    unmatched = sorted((one for part in parts for one in part.unmatched), key=lambda one: one.stage)
    return Answer(
        edits=tuple(one for part in parts for one in part.edits),
        matches=tuple(one for part in parts for one in part.matches),
        unmatched=tuple({one.aspect: one for one in unmatched if one.aspect not in matched}.values()),
        links=tuple(one for part in parts for one in part.links),
        imports=tuple(one for part in parts for one in part.imports),
        languages=tuple(one for part in parts for one in part.languages),
        bodiless=tuple(one for part in parts for one in part.bodiless),
        errors=tuple(one for part in parts for one in part.errors),
    )  # fmt: skip


def _placed(answer: Answer, places: Mapping[str, str]) -> Answer:
    """What rules need, with their places in front of their names, for errors about it."""
    return replace(
        answer,
        links=tuple(replace(one, aspect=places.get(one.aspect, one.aspect)) for one in answer.links),
        imports=tuple(replace(one, aspect=places.get(one.aspect, one.aspect)) for one in answer.imports),
        languages=tuple(replace(one, aspect=places.get(one.aspect, one.aspect)) for one in answer.languages),
    )


def _wrong(answer: Answer) -> RuleError:
    """All that is wrong, each at the rule's line and the user's."""
    lines = []
    for one in answer.errors:
        at = f" at {one.file}:{one.line}:{one.column}" if one.file else ""
        lines.append(f"{one.rule_file}:{one.rule_line}: {one.aspect}: {one.message}{at}")
    return RuleError("\n".join(lines), "mend the rule, or take it out")
