"""The catalogue: one YAML file per library says what to capture, and every backend compiles that same file.

The file's shape is documented in docs/catalogue.md. Loading checks it completely: unknown keys, captures that no
attribute uses or that are used and never captured, conversions that do not exist; CatalogueError names file and place.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

import yaml
from msgspec import Struct, field

from gotap.errors import GotapError
from gotap.probe.expression import Expression, parse
from gotap.probe.record import Attribute
from gotap.probe.signature import Parameter, Signature, parse_results, parse_signature

#: Bytes kept of a text when the catalogue does not say.
TEXT_LIMIT = 128


class CatalogueError(GotapError):
    """A catalogue file that does not make sense."""


class Choice(Struct, frozen=True):
    """One way to get a value; it holds when `when` does and the expression can be evaluated."""

    value: Expression
    when: Expression | None


class CaptureSpec(Struct, frozen=True):
    column: str
    choices: tuple[Choice, ...]
    limit: int


class Place(Struct, frozen=True):
    """Where in which function: its entry, its calls of `callee`, or its returns (`results` then names them).

    `after`: behind the calls of `callee`, where its results are at hand.

    `quiet_defers`: the functions that it defers do not change its results, so that an end may be put before their
    calls.
    """

    function: Signature
    callee: Signature | None = None
    results: tuple[Parameter, ...] | None = None
    quiet_defers: bool = False
    after: bool = False


class BeginSpec(Struct, frozen=True):
    place: Place
    keep: Mapping[str, Expression]
    context: Expression | None
    parent_headers: Expression | None
    parent_context: Expression | None
    captures: tuple[CaptureSpec, ...]
    key: Expression | None  # names the operation at both ends; None: its goroutine does
    subject: Expression | None  # what it is about: a begin below that is about the same is the same operation


class AnnotateSpec(Struct, frozen=True):
    place: Place
    keep: Mapping[str, Expression]
    captures: tuple[CaptureSpec, ...]


class InjectSpec(Struct, frozen=True):
    """Where a request that the operation sends is at hand: `request`, a *net/http.Request. Backends that may change
    what a program does send a copy with the headers by which its receiver continues the trace."""

    place: Place
    request: Expression


class EndSpec(Struct, frozen=True):
    outcome: str
    place: Place
    captures: tuple[CaptureSpec, ...]
    key: Expression | None
    request: Expression | None = None  # the answer's: the program's own is put back where a copy was sent


class Operation(Struct, frozen=True):
    """One thing a library does that becomes a span; see docs/catalogue.md."""

    name: str
    kind: str
    span_name: str
    metric: str | None
    metric_attributes: tuple[str, ...]
    scope: bool
    begins: tuple[BeginSpec, ...]
    annotations: tuple[AnnotateSpec, ...]
    ends: tuple[EndSpec, ...]
    attributes: tuple[Attribute, ...]
    injects: tuple[InjectSpec, ...] = ()


class Declaration(Struct, frozen=True):
    """A Go struct definition for binaries in which neither DWARF nor runtime types describe it."""

    package: str
    since: str  # first Go version it holds for, "1.18"
    before: str  # first Go version it no longer holds for, or ""
    text: str


class Library(Struct, frozen=True):
    name: str
    operations: tuple[Operation, ...]
    unwrap: Mapping[str, str]
    imports: Mapping[str, str]


class Moment(Struct, frozen=True):
    """A place in the runtime that all goroutines pass: at their birth, at their end, … `words`: what is told there."""

    place: Place
    words: Mapping[str, tuple[Choice, ...]]


class WaitReasons(Struct, frozen=True):
    """Texts of runtime.waitReason, by number, from Go `since` up to `before` (empty: and later)."""

    since: str
    before: str
    texts: tuple[str, ...]


class Runtime(Struct, frozen=True):
    """What gotap needs to know of Go itself: struct definitions, moments of goroutines, standard context types."""

    declarations: tuple[Declaration, ...]
    moments: Mapping[str, Moment]
    contexts: Mapping[str, str] = field(default_factory=dict)  # type → field that holds the parent
    wait_reasons: tuple[WaitReasons, ...] = ()


#: The files; importlib.resources would find them in archives too, in which gotap's extension modules cannot be.
_FOLDER = os.path.join(os.path.dirname(__file__), "catalog")


@cache
def libraries() -> tuple[Library, ...]:
    """The libraries that ship with gotap."""
    names = sorted(name for name in os.listdir(_FOLDER) if name.endswith(".yaml") and name != "runtime.yaml")
    return tuple(load_library(_text(name), name) for name in names)


@cache
def runtime() -> Runtime:
    return load_runtime(_text("runtime.yaml"), "runtime.yaml")


def file_of(library: str) -> str:
    """The path of a library's file."""
    return os.path.join(_FOLDER, library.replace("/", "_").replace(".", "_") + ".yaml")


def _text(name: str) -> str:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as file:
        return file.read()


def signatures_in_catalogue() -> Iterator[Signature]:
    """The functions whose parameters the descriptions of libraries name."""
    for operation in (one for library in libraries() for one in library.operations):
        specs: list[BeginSpec | AnnotateSpec | EndSpec] = [*operation.begins, *operation.annotations, *operation.ends]
        for spec in specs:
            for one in (spec.place.function, spec.place.callee):
                if one is not None and not one.symbol.endswith("*"):
                    yield one


def load_library(text: str, source: str) -> Library:
    document = _Mapping(_yaml(text, source), source)
    imports = document.texts("imports")
    reader = _Reader(imports)
    operations = document.mapping("operations")
    library = Library(
        document.text("library"),
        tuple(reader.operation(name, operations.mapping(name)) for name in operations),
        document.texts("unwrap"),
        imports,
    )
    document.forbid_others("library", "imports", "unwrap", "operations", "request")
    return library


def load_runtime(text: str, source: str) -> Runtime:
    document = _Mapping(_yaml(text, source), source)
    reader = _Reader({})
    goroutine = document.mapping("goroutine")
    declarations = tuple(
        Declaration(item.text("package"), item.text("since"), item.text("before", ""), item.text("type"))
        for item in document.items("declarations")
    )
    reasons = tuple(
        WaitReasons(item.text("since"), item.text("before", ""), tuple(map(str, item.get("texts"))))
        for item in document.items("wait_reasons")
    )
    moments = {name: reader.moment(goroutine.mapping(name)) for name in goroutine}
    return Runtime(declarations, moments, document.texts("contexts"), reasons)


def _yaml(text: str, source: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise CatalogueError(f"{source} is not YAML: {error}", "mend the file") from None


class _Mapping:
    """A YAML mapping that knows where it stands, so that errors can say so."""

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise CatalogueError(f"{where}: expected a mapping, found {type(value).__name__}", "see docs/catalogue.md")
        self.value = value
        self.where = where

    def __iter__(self) -> Iterator[str]:
        return iter([str(key) for key in self.value])

    def fail(self, key: str, problem: str) -> CatalogueError:
        return CatalogueError(f"{self.where}.{key}: {problem}", "see docs/catalogue.md")

    def get(self, key: str, default: Any = None) -> Any:
        return self.value.get(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        value = self.value.get(key, default)
        if not isinstance(value, str):
            raise self.fail(key, "expected a text")
        return value

    def texts(self, key: str) -> dict[str, str]:
        return (
            {name: inner.text(name) for inner in [self.mapping(key)] for name in inner}
            if key in self.value
            else {}
        )

    def mapping(self, key: str) -> _Mapping:
        return _Mapping(self.value.get(key), f"{self.where}.{key}")

    def items(self, key: str) -> list[_Mapping]:
        value = self.value.get(key) or []
        if not isinstance(value, list):
            raise self.fail(key, "expected a list")
        return [_Mapping(item, f"{self.where}.{key}[{number}]") for number, item in enumerate(value)]

    def expression(self, key: str) -> Expression:
        return parse(self.text(key))

    def expressions(self, key: str) -> dict[str, Expression]:
        return {name: parse(text) for name, text in self.texts(key).items()}

    def forbid_others(self, *known: str) -> None:
        for key in self:
            if key not in known:
                raise self.fail(key, f"unknown key; known are {', '.join(known)}")


class _Reader:
    """Reads operations; `imports` maps package names in type texts to import paths."""

    def __init__(self, imports: Mapping[str, str]) -> None:
        self.imports = imports

    def operation(self, name: str, entry: _Mapping) -> Operation:
        entry.forbid_others("span", "metric", "scope", "begin", "annotate", "inject", "end", "attributes")
        span = entry.mapping("span")
        metric = entry.mapping("metric") if entry.get("metric") else None
        begins = tuple(self.begin(item) for item in entry.items("begin"))
        operation = Operation(
            name,
            span.text("kind"),
            span.text("name"),
            metric.text("name") if metric else None,
            tuple(metric.get("attributes", ())) if metric else (),
            bool(entry.get("scope", False)),
            begins,
            tuple(self.annotation(item) for item in entry.items("annotate")),
            tuple(end for item in entry.items("end") for end in self.ends(item, begins)),
            tuple(self.attributes(entry.mapping("attributes"))),
            tuple(self.inject(item) for item in entry.items("inject")),
        )
        self.check_columns(operation, entry)
        ways: list[BeginSpec | EndSpec] = [*operation.begins, *operation.ends]
        keyed = {part.key is not None for part in ways}
        if len(keyed) > 1:
            raise entry.fail("key", "an operation is named by a key at every begin and end, or at none")
        return operation

    def check_columns(self, operation: Operation, entry: _Mapping) -> None:
        parts: list[BeginSpec | AnnotateSpec | EndSpec] = [*operation.begins, *operation.annotations, *operation.ends]
        captured = {capture.column for part in parts for capture in part.captures}
        used = {column for attribute in operation.attributes for column in attribute.inputs}
        for column in sorted(used - captured):
            raise entry.fail("attributes", f"uses `{column}`, which nothing captures")
        for column in sorted(captured - used):
            raise entry.fail("attributes", f"`{column}` is captured and never used")

    def place(self, entry: _Mapping) -> Place:
        function = parse_signature(entry.text("function"), self.imports)
        after = entry.get("after") is not None
        key = "after" if after else "call"
        callee = parse_signature(entry.text(key), self.imports) if entry.get(key) else None
        return Place(function, callee, after=after)

    def moment(self, entry: _Mapping) -> Moment:
        words = [name for name in entry if name not in ("function", "call")]
        return Moment(self.place(entry), {name: tuple(self.choices(entry, name)) for name in words})

    def begin(self, entry: _Mapping) -> BeginSpec:
        entry.forbid_others("function", "key", "subject", "keep", "context", "parent", "capture")
        parent = entry.mapping("parent") if entry.get("parent") else None
        return BeginSpec(
            self.place(entry),
            entry.expressions("keep"),
            entry.expression("context") if entry.get("context") else None,
            parent.expression("headers") if parent and parent.get("headers") else None,
            parent.expression("context") if parent and parent.get("context") else None,
            self.captures(entry),
            entry.expression("key") if entry.get("key") else None,
            entry.expression("subject") if entry.get("subject") else None,
        )

    def annotation(self, entry: _Mapping) -> AnnotateSpec:
        entry.forbid_others("function", "call", "after", "keep", "capture")
        return AnnotateSpec(self.place(entry), entry.expressions("keep"), self.captures(entry))

    def inject(self, entry: _Mapping) -> InjectSpec:
        entry.forbid_others("function", "call", "request")
        return InjectSpec(self.place(entry), entry.expression("request"))

    def ends(self, entry: _Mapping, begins: tuple[BeginSpec, ...]) -> Iterable[EndSpec]:
        """An end at `return` stands for the returns of every begin's function; `true`: with the results it names."""
        known = ("outcome", "function", "call", "after", "key", "return", "quiet_defers", "request", "capture")
        entry.forbid_others(*known)
        outcome, captures = entry.text("outcome"), self.captures(entry)
        if entry.get("return") is None:
            key = entry.expression("key") if entry.get("key") else None
            yield EndSpec(outcome, self.place(entry), captures, key)
            return
        for begin in begins:
            function = begin.place.function
            results = function.results
            if entry.get("return") is not True:
                results = parse_results(entry.text("return"), function.package, self.imports)
            elif not results:
                raise entry.fail("return", f"{function.symbol} is written without results")
            quiet = bool(entry.get("quiet_defers"))
            request = entry.expression("request") if entry.get("request") else None
            yield EndSpec(outcome, Place(function, results=results, quiet_defers=quiet), captures, None, request)

    def captures(self, entry: _Mapping) -> tuple[CaptureSpec, ...]:
        if not entry.get("capture"):
            return ()
        captures = entry.mapping("capture")
        return tuple(
            CaptureSpec(column, tuple(self.choices(captures, column)), self.limit(captures, column))
            for column in captures
        )

    def limit(self, captures: _Mapping, column: str) -> int:
        value = captures.get(column)
        first = value[0] if isinstance(value, list) and value else value
        limit = first.get("limit", TEXT_LIMIT) if isinstance(first, dict) else TEXT_LIMIT
        if not isinstance(limit, int) or not 0 < limit <= 1024:
            raise captures.fail(column, "limit must be 1 to 1024 bytes")
        return limit

    def choices(self, captures: _Mapping, column: str) -> Iterable[Choice]:
        value = captures.get(column)
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str):
                yield Choice(parse(item), None)
            elif isinstance(item, dict):
                choice = _Mapping(item, f"{captures.where}.{column}")
                choice.forbid_others("value", "when", "limit")
                yield Choice(choice.expression("value"), choice.expression("when") if "when" in item else None)
            else:
                raise captures.fail(column, "expected an expression or a mapping with `value`")

    def attributes(self, entry: _Mapping) -> Iterable[Attribute]:
        for key in entry:
            value = entry.mapping(key)
            conversions = [name for name in value if name != "with"]
            if len(conversions) != 1:
                raise entry.fail(key, "expected exactly one conversion")
            inputs = value.get(conversions[0])
            if not isinstance(inputs, list):
                raise entry.fail(key, "expected the list of columns the conversion takes")
            yield attribute(key, conversions[0], tuple(inputs), value.get("with") or {})


def attribute(key: str, conversion: str, inputs: tuple[str, ...], parameters: Mapping[str, Any]) -> Attribute:
    frozen = tuple((name, tuple(value) if isinstance(value, list) else value) for name, value in parameters.items())
    return Attribute(key, conversion, inputs, frozen)
