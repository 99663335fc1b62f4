"""Binding: catalogue + one binary → probes with sites, locations and compiled actions.

A part of the catalogue that does not fit the binary is left out with its reason (`Missing`), which `inspect` shows;
an operation that cannot begin or cannot end is not bound at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field

from gotap.errors import GotapError
from gotap.image.function_code import FunctionCodes, SitesFor
from gotap.image.image import Image
from gotap.image.types.gotypes import Kind, Type
from gotap.probe import ir
from gotap.probe.catalogue import (
    AnnotateSpec,
    BeginSpec,
    CaptureSpec,
    Choice,
    EndSpec,
    Library,
    Operation,
    Place,
    Runtime,
)
from gotap.probe.columns import Columns
from gotap.probe.compiler import Compiler, Scope
from gotap.probe.expression import Expression, parse
from gotap.probe.maps import map_layout
from gotap.probe.places import BoundSite, Found, Places
from gotap.probe.record import TRACE_STATE, Attribute, ColumnKind, Layout, Output
from gotap.probe.typing import Types, pieces
from gotap.probe.value import Value, is_dynamic_type

#: Keys of the request headers that carry the parent (W3C Trace Context), in net/http's canonical form.
TRACE_PARENT_HEADER = b"Traceparent"
TRACE_STATE_HEADER = b"Tracestate"
_TRACE_STATE_LIMIT = 512

#: The outcome of ends in deferred functions, which also run when no operation is open.
UNWOUND = "unwound"
#: The outcome of ends where what began turns out to be no operation.
DISCARDED = "discarded"

#: KEPT columns of gotap's own: how deep the begin's frame stood, the operation's own context, what it is about.
DEPTH = "depth"
CONTEXT = "context"
SUBJECT = "subject"


class BoundProbe(Struct, frozen=True):
    """One action and all its sites. `name` says operation and part, for statistics and `inspect`."""

    name: str
    action: ir.Action
    sites: tuple[BoundSite, ...]


class Missing(Struct, frozen=True):
    """A part of the catalogue that this binary has no use for, and why."""

    part: str
    reason: str


class BoundOperation(Struct):
    operation: Operation
    library: str
    output: Output | None = None  # None: not bound
    probes: list[BoundProbe] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)


class Binding(Struct):
    """Everything a mechanism needs to watch one binary."""

    operations: list[BoundOperation]
    spawn: BoundProbe | None
    goid: ir.Word
    stack_high: ir.Word
    missing: list[Missing]
    inherit: bool = False  # goroutines inherit what is open on their creator, though no operation here asks for it

    @property
    def bound(self) -> list[BoundOperation]:
        return [one for one in self.operations if one.output is not None]


def bind(
    image: Image,
    types: Types,
    libraries: Sequence[Library],
    runtime: Runtime,
    sites_for: SitesFor = SitesFor.UPROBES,
    codes: FunctionCodes | None = None,
) -> Binding:
    """Binds every operation of the libraries to the binary. `codes`: what was analysed of it, to be shared."""
    binder = _Binder(image, types, runtime, Places(image, types, sites_for, codes))
    operations: list[BoundOperation] = []
    for library in libraries:
        for operation in library.operations:
            operations.append(binder.operation(library, operation, len(operations) + 1))
    missing: list[Missing] = []
    spawn = binder.spawn(missing)
    scope = Scope({}, "runtime", {})
    compiler = binder.compiler({})
    goid = compiler.alternative(Choice(parse("g.goid"), None), scope)[0].value
    high = compiler.alternative(Choice(parse("g.stack.hi"), None), scope)[0].value
    assert not isinstance(goid, ir.AnyText)
    assert not isinstance(high, ir.AnyText)
    return Binding(operations, spawn, goid, high, missing)


class _Binder:
    def __init__(self, image: Image, types: Types, runtime: Runtime, places: Places) -> None:
        self.image = image
        self.types = types
        self.runtime = runtime
        self.places = places

    def compiler(self, unwrap: Mapping[str, str]) -> Compiler:
        return Compiler(self.types, lambda type: map_layout(type, self.image.go_version), unwrap)

    def operation(self, library: Library, operation: Operation, number: int) -> BoundOperation:
        bound = BoundOperation(operation, library.name)
        one = _OperationBinder(self, library, bound)
        try:
            one.bind(number)
        except GotapError as error:  # what the operation cannot do without does not fit this binary
            bound.output = None
            bound.probes.clear()
            bound.missing.insert(0, Missing(operation.name, str(error)))
        return bound

    def spawn(self, missing: list[Missing]) -> BoundProbe | None:
        created = self.runtime.moments["create"]
        try:
            found = self.places.find(created.place)
            scope = Scope(found.names(), "runtime", {})
            compiler = self.compiler({})
            child = compiler.alternative(created.words["goid"][0], scope)[0].value
            creator = tuple(_compile_choices(compiler, created.words["parent"], scope, "creator", missing))
        except GotapError as error:
            missing.append(Missing("goroutine creation", str(error)))
            return None
        assert not isinstance(child, ir.AnyText)
        action = ir.Spawn(child, tuple(one for one, _ in creator))
        return BoundProbe("goroutine.create", action, found.sites)


def _compile_choices(
    compiler: Compiler, choices: Iterable[Choice], scope: Scope, part: str, missing: list[Missing]
) -> list[tuple[ir.Alternative, Type]]:
    """The alternatives that make sense in this binary; the others are noted."""
    compiled = []
    for choice in choices:
        try:
            compiled.append(compiler.alternative(choice, scope))
        except GotapError as error:
            missing.append(Missing(part, str(error)))
    return compiled


class _OperationBinder:
    """Binds one operation: finds places, compiles captures, lays out the record, builds the actions."""

    def __init__(self, binder: _Binder, library: Library, bound: BoundOperation) -> None:
        self.binder = binder
        self.library = library
        self.bound = bound
        self.operation = bound.operation
        self.columns = Columns()
        self.compiler = binder.compiler(library.unwrap)
        self.kept: dict[str, Value] = {}

    def bind(self, number: int) -> None:
        begins = [(spec, found) for spec in self.operation.begins if (found := self.find(spec.place, "begin"))]
        functions = {spec.place.function.symbol for spec, _ in begins}
        ends = [
            (spec, found)
            for spec in self.operation.ends
            if (spec.place.results is None or spec.place.function.symbol in functions)
            and (found := self.find(spec.place, "end"))
        ]
        if not begins or not ends:
            return
        annotations = [
            (spec, found) for spec in self.operation.annotations if (found := self.find(spec.place, "annotate"))
        ]
        by_depth = any(spec.place.results is not None for spec, _ in ends)
        self.columns.add(DEPTH, ColumnKind.KEPT)
        if any(spec.context is not None for spec, _ in begins):
            self.columns.add(CONTEXT, ColumnKind.KEPT)
        # With one begin alone nothing can be the same operation twice.
        if len(begins) > 1 and all(spec.subject is not None for spec, _ in begins):
            self.columns.add(SUBJECT, ColumnKind.KEPT)
        self.keep_columns(begins, annotations)
        parts: list[tuple[BeginSpec | AnnotateSpec | EndSpec, Found]] = [*begins, *annotations, *ends]
        compiled = {
            id(spec): self.captures(spec.captures, self.scope(spec.place, found), spec.place) for spec, found in parts
        }
        remotes = {id(spec): self.remote(spec, found) for spec, found in begins}
        layout = self.columns.layout(self.operation.name, number)
        outcomes = list(dict.fromkeys(spec.outcome for spec in self.operation.ends))
        own: ir.Word | None = None
        if any(spec.context is not None for spec, _ in begins):
            own = ir.Kept(self.columns.columns[CONTEXT])
        same = ir.Kept(self.columns.columns[SUBJECT]) if SUBJECT in self.columns.columns else None
        for begin, found in begins:
            self.add(
                "begin", found, self.begin(begin, found, layout, compiled[id(begin)], remotes[id(begin)], by_depth)
            )
        for note, found in annotations:
            captures = (*self.keeps(note.keep, found, note.place), *compiled[id(note)])
            self.add("annotate", found, ir.Annotate(layout, captures, any(spec.key is not None for spec, _ in begins)))
        for end, found in ends:
            action = ir.End(
                layout,
                outcomes.index(end.outcome),
                # A begin that was the same operation leaves its end alone.
                end.outcome not in (UNWOUND, DISCARDED) and same is None,
                compiled[id(end)],
                self.operation.scope,
                own,
                end.place.results is not None,
                self.key(end.key, self.scope(end.place, found)),
                same,
                end.outcome == DISCARDED,
            )
            self.add(end.outcome, found, action)
        self.bound.output = self.output(layout)

    def find(self, place: Place, part: str) -> Found | None:
        try:
            return self.binder.places.find(place)
        except GotapError as error:
            self.bound.missing.append(Missing(f"{part} at {place.function.symbol}", str(error)))
            return None

    def add(self, part: str, found: Found, action: ir.Action) -> None:
        name = f"{self.operation.name} {part} at {found.function}"
        self.bound.probes.append(BoundProbe(name, action, found.sites))

    def scope(self, place: Place, found: Found) -> Scope:
        names = {**Found("", (), self.kept).names(), **found.names()}
        return Scope(names, place.function.package, self.library.imports)

    def keep_columns(
        self, begins: list[tuple[BeginSpec, Found]], annotations: list[tuple[AnnotateSpec, Found]]
    ) -> None:
        """Reserves columns for what begins and annotations leave for later, and makes it known by name."""
        kept: dict[str, Value] = {}
        keepers: list[tuple[BeginSpec | AnnotateSpec, Found]] = [*begins, *annotations]
        for spec, found in keepers:
            for name, expression in spec.keep.items():
                value = self.compiler.value(expression, self.scope(spec.place, found))[1]
                words: dict[int, ir.Word] = {
                    offset: ir.Kept(self.columns.add(f"{name}.{offset}", ColumnKind.KEPT))
                    for offset, _, _ in pieces(value.type)
                }
                kept[name] = Value(value.type, words, promised=False)
        self.kept = kept

    def keeps(self, keep: Mapping[str, Expression], found: Found, place: Place) -> list[ir.Capture]:
        captures = []
        scope = Scope(found.names(), place.function.package, self.library.imports)
        for name, expression in keep.items():
            conditions, value = self.compiler.value(expression, scope)
            for offset, size, signed in pieces(value.type):
                column = self.columns.columns[f"{name}.{offset}"]
                captures.append(ir.Capture(column, (ir.Alternative(conditions, value.word(offset, size, signed)),)))
        return captures

    def captures(self, specs: Iterable[CaptureSpec], scope: Scope, place: Place) -> tuple[ir.Capture, ...]:
        captures = []
        for spec in specs:
            part = f"{spec.column} at {place.function.symbol}"
            compiled = _compile_choices(self.compiler, spec.choices, scope, part, self.bound.missing)
            if compiled:
                column = self.columns.add(spec.column, _column_kind(*compiled[0]), _limit(spec, compiled[0][0]))
                captures.append(ir.Capture(column, tuple(alternative for alternative, _ in compiled)))
        return tuple(captures)

    def remote(self, spec: BeginSpec, found: Found) -> tuple[ir.TraceParent, ir.Capture] | None:
        if spec.parent_headers is None:
            return None
        scope = self.scope(spec.place, found)
        conditions, header = self.compiler.value(spec.parent_headers, scope)
        layout = self.compiler.maps(header.type)
        texts = []
        # Two traceparents are as good as none (W3C Trace Context §3.2); of trace states the first one is taken.
        for key, operator, count in ((TRACE_PARENT_HEADER, "==", 1), (TRACE_STATE_HEADER, ">", 0)):
            element = ir.MapElement(header.word(0), layout, key)  # a []string; its first text
            some = ir.Compare(operator, ir.Load(element, 8, 8, True, True), ir.Const(count), True)
            first = ir.Load(element, 0, 8, False, True)
            text = ir.Text(ir.Load(first, 0, 8, False, True), ir.Load(first, 8, 8, False, True))
            texts.append(ir.Alternative((*conditions, some), text))
        state = self.columns.add(TRACE_STATE, ColumnKind.TEXT, _TRACE_STATE_LIMIT)
        return ir.TraceParent((texts[0],)), ir.Capture(state, (texts[1],))

    def begin(
        self,
        spec: BeginSpec,
        found: Found,
        layout: Layout,
        captures: tuple[ir.Capture, ...],
        remote: tuple[ir.TraceParent, ir.Capture] | None,
        by_depth: bool,
    ) -> ir.Begin:
        scope = self.scope(spec.place, found)
        walk = own = None
        if spec.parent_context is not None:
            context = self.compiler.value(spec.parent_context, scope)[1]
            interface = self.binder.types.address("context.Context")
            checked, behind = self.contexts()
            walk = ir.ContextWalk(context.word(0), context.word(8), checked, interface=interface, behind=behind)
        if spec.context is not None:
            own = self.compiler.value(spec.context, scope)[1].word(8)
        kept = self.keeps(spec.keep, found, spec.place)
        if own is not None:
            kept.append(ir.Capture(self.columns.columns[CONTEXT], (ir.Alternative((), own),)))
        subject = self.key(spec.subject, scope) if SUBJECT in self.columns.columns else None
        if subject is not None:
            kept.append(ir.Capture(self.columns.columns[SUBJECT], (ir.Alternative((), subject),)))
        state = (remote[1],) if remote else ()
        return ir.Begin(
            layout,
            (*kept, *captures, *state),
            remote[0] if remote else None,
            walk,
            own,
            self.operation.scope,
            by_depth,
            self.key(spec.key, scope),
            subject,
        )

    def key(self, expression: Expression | None, scope: Scope) -> ir.Word | None:
        return self.compiler.value(expression, scope)[1].word(0) if expression is not None else None

    def contexts(self) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
        """Standard context types of this binary: those that begin with the parent, as (type address, offset of the
        parent), and those that begin with a pointer to one of the former.
        """
        types = self.binder.types
        checked, behind = [], []
        for name, field_name in self.binder.runtime.contexts.items():
            address = types.address(name)
            if address is None:
                continue
            structure = types.find(name.removeprefix("*"))
            first = structure.fields[0] if structure is not None and structure.fields else None
            if first is not None and (first.name, first.offset) != (field_name, 0):
                continue
            if first is not None and first.type.get().kind is Kind.POINTER:
                behind.append(address)
            else:
                checked.append((address, 0))
        return tuple(checked), tuple(behind)

    def output(self, layout: Layout) -> Output:
        operation = self.operation
        names = {column.name for column in layout.columns}
        attributes = tuple(
            Attribute(one.key, one.conversion, one.inputs, one.params)
            for one in operation.attributes
            if names.intersection(one.inputs)
        )
        return Output(
            operation.name,
            operation.kind,
            operation.span_name,
            attributes,
            operation.metric,
            operation.metric_attributes,
            layout,
            self.library.name,
        )


def _column_kind(alternative: ir.Alternative, type: Type) -> ColumnKind:
    if isinstance(alternative.value, ir.Text):
        return ColumnKind.TEXT
    if is_dynamic_type(type):
        return ColumnKind.TYPE
    return {Kind.BOOL: ColumnKind.BOOL, Kind.INT: ColumnKind.INT}.get(type.kind, ColumnKind.UINT)


def _limit(spec: CaptureSpec, alternative: ir.Alternative) -> int:
    return spec.limit if isinstance(alternative.value, ir.Text) else 0
