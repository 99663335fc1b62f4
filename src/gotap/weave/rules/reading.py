"""A file of rules: what it extends and its aspects."""

from __future__ import annotations

import os

from msgspec import Struct

from gotap.weave.rules.advice import read_advice
from gotap.weave.rules.errors import DuplicateId, WrongShape
from gotap.weave.rules.joinpoints import read_join_point
from gotap.weave.rules.model import Aspect
from gotap.weave.rules.nodes import Node, compose

_META = ("name", "description", "icon", "caveats")


class Extension(Struct, frozen=True):
    """A file or folder that a file of rules includes; `path` is absolute."""

    path: str
    file: str
    line: int


class SpanPattern(Struct, frozen=True):
    """Functions that get spans: `*` stands for anything, but for that of `(*T)`."""

    pattern: str
    file: str
    line: int


class RuleFile(Struct, frozen=True):
    """`description` is for people; neither it nor `name` changes what is done."""

    name: str
    description: str
    extends: tuple[Extension, ...]
    aspects: tuple[Aspect, ...]
    spans: tuple[SpanPattern, ...] = ()


def read_rules(path: str) -> RuleFile:
    """One file, without what it extends. InvalidRule with file and line, one type per cause."""
    file = os.path.abspath(path)
    root = compose(file)
    if root is None:
        return RuleFile("", "", (), ())
    values = root.mapping("a file of rules", optional=("meta", "extends", "aspects", "spans"))
    name, description = _meta(values["meta"]) if "meta" in values else ("", "")
    extends = values["extends"].items("`extends`") if "extends" in values else []
    aspects = values["aspects"].items("`aspects`") if "aspects" in values else []
    spans = tuple(_span(item) for item in values["spans"].items("`spans`")) if "spans" in values else ()
    return RuleFile(name, description, tuple(_extension(item) for item in extends), read_aspects(aspects), spans)


def read_aspects(nodes: list[Node]) -> tuple[Aspect, ...]:
    """The aspects of one file, whose ids must differ. One without an id is named after its place, `#2`."""
    aspects: list[Aspect] = []
    lines: dict[str, int] = {}
    for number, node in enumerate(nodes, start=1):
        aspect = _aspect(node, number)
        if aspect.id in lines:
            node.fail(DuplicateId, f"the id {aspect.id!r} is that of the aspect at line {lines[aspect.id]} too",
                      "Name one of them differently: matches and errors are told by it")  # fmt: skip
        lines[aspect.id] = aspect.line
        aspects.append(aspect)
    return tuple(aspects)


def _aspect(node: Node, number: int) -> Aspect:
    values = node.mapping("an aspect", required=("join-point", "advice"), optional=("id", "tracer-internal"))
    return Aspect(
        id=values["id"].text("the id") if "id" in values else f"#{number}",
        file=node.file,
        line=node.line,
        tracer_internal="tracer-internal" in values and values["tracer-internal"].boolean("`tracer-internal`"),
        join_point=read_join_point(values["join-point"]),
        advice=read_advice(values["advice"]),
    )


def _meta(node: Node) -> tuple[str, str]:
    values = node.mapping("`meta`", optional=_META)
    texts = {key: value.text(f"`{key}`", empty=True) for key, value in values.items()}
    return texts.get("name", ""), texts.get("description", "")


def _span(node: Node) -> SpanPattern:
    pattern = node.text("a pattern in `spans`")
    if "." not in pattern.rpartition("/")[2]:
        node.fail(WrongShape, f"{pattern!r} in `spans` is no function's name",
                  "Write it with its package: `example.com/shop.(*Shop).*`")  # fmt: skip
    return SpanPattern(pattern, node.file, node.line)


def _extension(node: Node) -> Extension:
    path = node.text("a path in `extends`")
    if os.path.isabs(path):
        node.fail(WrongShape, f"{path!r} in `extends` is absolute", "Write it relative to the file's folder: `./…`")
    folder = os.path.dirname(node.file)
    return Extension(os.path.normpath(os.path.join(folder, path.replace("\\", "/"))), node.file, node.line)
