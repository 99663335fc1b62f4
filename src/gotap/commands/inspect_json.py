"""The JSON object of one target. Its shape is held by docs/inspect.schema.json, which is generated from these types.

New keys may come; none is renamed or removed, and none changes its type.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gotap.commands.judging import Judged
from gotap.errors import GotapError
from gotap.image.facts.model import GoFacts
from gotap.process.surroundings import Surroundings
from gotap.verdict.judge import unreadable
from gotap.verdict.model import Answer, Coverage, Finding, OperationCoverage


class Mechanisms(Struct, frozen=True):
    """Whether each mechanism works; `because` holds ids of conditions, `planned` or `unreadable`."""

    uprobe: Answer
    springboard: Answer
    hook: Answer
    weave: Answer
    network: Answer


class JumpsDocument(Struct, frozen=True):
    """At how many sites springboards and hooks watch an operation, and how many can be one. Springboards leave the
    others to uprobes; hooks can watch the operation only if all sites can be hooks, else `unhooked` says why not."""

    sites: int
    springboard: int
    hook: int
    unhooked: str | None


class OperationDocument(Struct, frozen=True):
    """An operation of the catalogue. `sites`: cost class → number of sites for uprobes; `inlined`: function → where it
    has copies that no probe sees; `reason`: why it does not bind; `woven`: packages that it is woven into, so that the
    program tells of it itself and it is not to be bound."""

    name: str
    binds: bool
    sites: dict[str, int]
    inlined: dict[str, str]
    reason: str | None
    jumps: JumpsDocument
    woven: tuple[str, ...]


class SiteDocument(Struct, frozen=True):
    """A site of the catalogue's probes. `uprobe`: what a uprobe there costs, null where uprobes take another site;
    `edge`: it counts in one direction of a jump only. `springboard`, `hook`: false also where these take another site;
    `reason`: why they cannot be here, though they take no other. `address` is the file's, without the load bias."""

    operation: str
    probe: str
    address: int
    uprobe: str | None
    edge: bool
    springboard: bool
    hook: bool
    reason: str | None


class LibraryDocument(Struct, frozen=True):
    """A library of the catalogue that the binary holds."""

    name: str
    version: str | None
    operations: list[OperationDocument]


class ErrorDocument(Struct, frozen=True):
    """Why the target, or a list that was asked for, could not be read, and what to do."""

    message: str
    remedy: str


class FunctionDocument(Struct, frozen=True):
    """A function with code of its own. `address` is the file's, without the load bias; `size` in bytes."""

    name: str
    address: int
    size: int
    file: str | None
    line: int | None


class InlinedDocument(Struct, frozen=True):
    """A call that was inlined. `ranges`: [start, end) of its code, as offsets from the caller's first instruction."""

    function: str
    caller: str
    address: int
    ranges: list[tuple[int, int]]


class ReplacementDocument(Struct, frozen=True):
    """What a module was replaced by: another module, or a directory, which has no version."""

    path: str
    version: str


class ModuleDocument(Struct, frozen=True):
    """A module of the build: `kind` "mod" for the main one, "dep" for others. `sum` is empty for a vendored one."""

    kind: str
    path: str
    version: str
    sum: str
    replace: ReplacementDocument | None


class Parts(Struct, frozen=True):
    """Lists that are there when they were asked for."""

    functions: list[FunctionDocument] | UnsetType = UNSET
    inlined: list[InlinedDocument] | UnsetType = UNSET
    modules: list[ModuleDocument] | UnsetType = UNSET
    sites: list[SiteDocument] | UnsetType = UNSET


class Document(Struct, frozen=True, kw_only=True):
    """What `gotap inspect --json` and `gotap ps --json` tell of one target. What is not known is null, and `evidence`
    says why; `process.evidence` does so for the process."""

    target: str
    format: str | None
    os: str | None
    arch: str | None
    language: str | None
    go: GoFacts | None
    process: Surroundings | None
    mechanisms: Mechanisms
    conditions: tuple[Finding, ...]
    libraries: list[LibraryDocument]
    errors: list[ErrorDocument]
    file: str | None
    bits: int | None
    big_endian: bool | None
    packed: str | None
    interpreter: str | None
    needed: tuple[str, ...]
    evidence: dict[str, str]
    functions: list[FunctionDocument] | UnsetType = UNSET
    inlined: list[InlinedDocument] | UnsetType = UNSET
    modules: list[ModuleDocument] | UnsetType = UNSET
    sites: list[SiteDocument] | UnsetType = UNSET


def line(judged: Judged, parts: Parts | None = None) -> str:
    """One line of JSON in ASCII: whatever stands in names, it does not steer a terminal, and bytes of a path that are
    no UTF-8 are lone surrogates (`\\udcff`), as Python has them."""
    plain = msgspec.to_builtins(document(judged, parts or Parts()))
    return json.dumps(plain, separators=(",", ":")).replace("\x7f", "\\u007f")


def document(judged: Judged, parts: Parts) -> Document:
    situation, verdict = judged.situation, judged.verdict
    facts = situation.facts if situation else None
    return Document(
        target=judged.target,
        format=facts.format if facts else None,
        os=facts.os if facts else None,
        arch=facts.arch if facts else None,
        language=facts.language if facts else None,
        go=facts.go if facts else None,
        process=situation.process if situation else None,
        mechanisms=Mechanisms(**(verdict.mechanisms if verdict else unreadable())),
        conditions=verdict.conditions if verdict else (),
        libraries=libraries(situation.coverage) if situation else [],
        errors=[_error(judged.error)] if judged.error else [],
        file=situation.file if situation else None,
        bits=facts.bits if facts else None,
        big_endian=facts.big_endian if facts else None,
        packed=facts.packed if facts else None,
        interpreter=facts.interpreter if facts else None,
        needed=facts.needed if facts else (),
        evidence=facts.evidence if facts else {},
        functions=parts.functions,
        inlined=parts.inlined,
        modules=parts.modules,
        sites=parts.sites,
    )


def libraries(coverage: Coverage | None) -> list[LibraryDocument]:
    """The libraries of the catalogue that the binary holds, each with its operations."""
    found: dict[str, list[OperationCoverage]] = {}
    for one in coverage.operations if coverage else ():
        found.setdefault(one.library, []).append(one)
    versions = coverage.versions if coverage else {}
    return [
        LibraryDocument(name, versions.get(name), _operations(all_of))
        for name, all_of in found.items()
        if any(one.present for one in all_of)
    ]


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of `Document`. Every key is always there, but for the lists that must be asked for."""
    built = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(Document)}
    for name, one in built["$defs"].items():
        optional = Parts.__struct_fields__ if name == "Document" else ()
        one["required"] = [key for key in one["properties"] if key not in optional]
        one["description"] = inspect.cleandoc(one.get("description", ""))
        for value in one["properties"].values():
            value.pop("default", None)
    return built


def _operations(operations: Iterable[OperationCoverage]) -> list[OperationDocument]:
    return [
        OperationDocument(
            one.name, bool(one.sites), one.by_cost, one.inlined, one.reason or None, _jumps(one), one.woven
        )
        for one in operations
    ]


def _jumps(one: OperationCoverage) -> JumpsDocument:
    springboards, hooks = sum(jump.springboard for jump in one.jumps), sum(jump.hook for jump in one.jumps)
    return JumpsDocument(len(one.jumps), springboards, hooks, one.unhooked or None)


def sites(operation: OperationCoverage) -> list[SiteDocument]:
    """Those for uprobes and those for jumps, of which many are the same, by probe and address."""
    order = {probe: at for at, probe in enumerate(dict.fromkeys(one.probe for one in operation.sites))}
    uprobes = {(one.probe, one.address): one for one in operation.sites}
    jumps = {(one.probe, one.address): one for one in operation.jumps}
    found = []
    for probe, address in sorted(uprobes | jumps, key=lambda key: (order.get(key[0], len(order)), key[1])):
        uprobe, jump = uprobes.get((probe, address)), jumps.get((probe, address))
        cost = uprobe.cost if uprobe is not None else jump.cost if jump is not None and not jump.springboard else None
        found.append(SiteDocument(
            operation.name, probe, address, cost, uprobe is not None and uprobe.edge,
            jump is not None and jump.springboard, jump is not None and jump.hook,
            jump.reason or None if jump is not None else None,
        ))  # fmt: skip
    return found


def _error(error: GotapError) -> ErrorDocument:
    return ErrorDocument(str(error), error.remedy)
