"""What has to be known of a build's packages before an operation can be written in Go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from gotap.probe.catalogue import AnnotateSpec, CaptureSpec, EndSpec, InjectSpec, Operation
from gotap.probe.expression import Assert, Expression, Index, Name, Select
from gotap.probe.signature import Parameter, Signature
from gotap.weave.catalogue.expressions import node
from gotap.weave.catalogue.symbols import symbol
from gotap.weave.helper.protocol import Keeper, Named, Node, Question


def identifier(operation: Operation, role: str, number: int) -> str:
    """What a question about a place is called: `http.server/end/3`."""
    return f"{operation.name}/{role}/{number}"


def value(role: str, column: str, choice: int, part: str = "value") -> str:
    """What one choice of a capture, or its condition (`when`), is called in a question about a begin."""
    return f"{role}/{column}/{choice}/{part}"


def packages_of(operation: Operation) -> set[str]:
    """Import paths of the packages in which an operation has places."""
    specs: list[AnnotateSpec | EndSpec | InjectSpec] = [*operation.annotations, *operation.ends, *operation.injects]
    return {spec.place.function.package for spec in (*operation.begins, *specs)}


def questions(operation: Operation, imports: Mapping[str, str]) -> Iterator[Question]:
    """`imports`: the library's, package names in type texts → import paths."""
    for number, begin in enumerate(operation.begins):
        place = symbol(begin.place.function)
        reads = _Reader(begin.place.function, imports)
        entry = dict(reads.captures("begin", begin.captures))
        singles = (
            ("context", begin.context), ("headers", begin.parent_headers),
            ("parent", begin.parent_context), ("subject", begin.subject),
        )  # fmt: skip
        entry |= {name: reads.node(one) for name, one in singles if one is not None}
        returned = return_of(operation, number)
        yield Question(
            id=identifier(operation, "begin", number),
            package=place.package,
            function=place.function,
            parameters=_named(begin.place.function.parameters),
            results=_named(returned.place.results or ()) if returned else (),
            entry=entry,
            keep=reads.nodes(begin.keep),
            kept=[one for spec in operation.annotations for one in _keepers(spec, place.package, imports)],
            later={
                key: one
                for index, end in enumerate(operation.ends)
                for key, one in _Reader(end.place.function, imports).captures(f"end{index}", end.captures)
            }
            | ({"request": reads.node(returned.request)} if returned and returned.request else {}),
        )  # fmt: skip
    roles: tuple[tuple[str, Sequence[AnnotateSpec | EndSpec | InjectSpec]], ...] = (
        ("annotate", operation.annotations), ("end", operation.ends), ("inject", operation.injects),
    )  # fmt: skip
    for role, specs in roles:
        for number, spec in enumerate(specs):
            noted_there = tuple(noted(operation, spec)) if isinstance(spec, AnnotateSpec) else ()
            yield from _others(identifier(operation, role, number), spec, imports, noted_there)


def return_of(operation: Operation, begin: int) -> EndSpec | None:
    """The end at the returns of a begin's function."""
    function = operation.begins[begin].place.function
    found = [end for end in operation.ends if end.place.results is not None and end.place.function == function]
    return found[0] if found else None


def noted(operation: Operation, spec: AnnotateSpec) -> Iterator[CaptureSpec]:
    """Captures of ends that need nothing but what an annotation keeps: those that can be made where it keeps it."""
    kept = {name for name, one in spec.keep.items() if one == Name(name)}
    seen: set[str] = set()
    for end in operation.ends:
        for capture in end.captures:
            (choice, *others) = capture.choices
            if not others and choice.when is None and _root(choice.value) in kept and capture.column not in seen:
                seen.add(capture.column)
                yield capture


def _root(expression: Expression) -> str:
    while isinstance(expression, Select | Assert | Index):
        expression = expression.operand
    return expression.name if isinstance(expression, Name) else ""


def _others(
    name: str,
    spec: AnnotateSpec | EndSpec | InjectSpec,
    imports: Mapping[str, str],
    captures: Iterable[CaptureSpec],
) -> Iterator[Question]:
    """Whether the function of a place is there, and the one whose calls it is about."""
    place, callee = spec.place.function, spec.place.callee
    asked = {"request": _Reader(place, imports).node(spec.request)} if isinstance(spec, InjectSpec) else {}
    yield _about(name, place, {} if callee else asked)
    if callee is not None and callee.package == place.package:
        reads = _Reader(place, imports)
        later = {one.column: reads.node(one.choices[0].value) for one in captures}
        yield replace(_about(f"{name}/callee", callee, asked), results=_named(callee.results), later=later)


def _about(name: str, function: Signature, entry: Mapping[str, Node]) -> Question:
    place = symbol(function)
    return Question(
        id=name, package=place.package, function=place.function,
        parameters=_named(function.parameters) if entry else None, entry=entry,
    )  # fmt: skip


def _keepers(spec: AnnotateSpec, package: str, imports: Mapping[str, str]) -> Iterator[Keeper]:
    callee = spec.place.callee
    if callee is not None and callee.package == package:
        keep = _Reader(spec.place.function, imports).nodes(spec.keep)
        yield Keeper(symbol(callee).function, _named(callee.results), keep)


class _Reader:
    """Makes nodes of the expressions of one place."""

    def __init__(self, place: Signature, imports: Mapping[str, str]) -> None:
        self.place = place
        self.imports = imports

    def node(self, expression: Expression) -> Node:
        return node(expression, self.place, self.imports)

    def nodes(self, expressions: Mapping[str, Expression]) -> Mapping[str, Node]:
        return {name: self.node(one) for name, one in expressions.items()}

    def captures(self, role: str, captures: Iterable[CaptureSpec]) -> Iterator[tuple[str, Node]]:
        for capture in captures:
            for number, choice in enumerate(capture.choices):
                yield value(role, capture.column, number), self.node(choice.value)
                if choice.when is not None:
                    yield value(role, capture.column, number, "when"), self.node(choice.when)


def _named(parameters: Sequence[Parameter]) -> list[Named]:
    return [Named(one.name, one.type) for one in parameters]
