"""Where the functions of `source` are called: aspects, as rules have them, made of the catalogue's places."""

from __future__ import annotations

from collections.abc import Iterator

from gotap.probe.catalogue import BeginSpec, Operation, Place
from gotap.probe.expression import Expression, Name, Select
from gotap.weave.catalogue.questions import return_of
from gotap.weave.catalogue.source import passing_name
from gotap.weave.catalogue.symbols import symbol
from gotap.weave.rules import model

#: Before everything that rules put at the same place: what they begin is part of the operation.
_NAMESPACE = model.DEFAULT_NAMESPACE
_ORDER = 1 << 30


class Advisor:
    """Makes the aspects of one operation. `file` and `line`: where the catalogue describes it; `functions`: names that
    `source` has written."""

    def __init__(self, operation: Operation, file: str, line: int, functions: frozenset[str]) -> None:
        self.operation = operation
        self.file = file
        self.line = line
        self.functions = functions
        self.prefix = "gotap_" + operation.name.replace(".", "_")

    def aspects(self) -> Iterator[model.Aspect]:
        for number, begin in enumerate(self.operation.begins):
            if self.has(f"begin_{number}"):
                yield self.begin(number, begin)
        for number, annotation in enumerate(self.operation.annotations):
            if self.has(f"annotate_{number}"):
                yield self.at(annotation.place, f"annotate_{number}")
        for number, end in enumerate(self.operation.ends):
            if self.has(f"end_{number}"):
                yield self.at(end.place, f"end_{number}")
        for number, inject in enumerate(self.operation.injects):
            if not self.has(f"inject_{number}"):
                continue
            if inject.place.callee is None:
                arguments = _arguments(inject.place)
                yield self.entry(inject.place, f"inject_{number}", f"{self.prefix}_inject_{number}_entry({arguments})")
            else:
                yield self.argument(inject.place, inject.request, f"inject_{number}")

    def has(self, role: str) -> bool:
        return f"{self.prefix}_{role}" in self.functions

    def begin(self, number: int, begin: BeginSpec) -> model.Aspect:
        call = f"{self.prefix}_begin_{number}({_arguments(begin.place)})"
        if (end := return_of(self.operation, number)) is not None:
            results = "".join(
                f", &{{{{ .Function.Result {index} }}}}" for index, _ in enumerate(end.place.results or ())
            )
            call = f"{self.prefix} := {call}\ndefer {self.prefix}_return_{number}({self.prefix}{results})"
        return self.entry(begin.place, f"begin_{number}", call)

    def entry(self, place: Place, role: str, text: str) -> model.Aspect:
        advice = model.PrependStatements(
            template=model.Template(text=text, line=self.line), line=self.line, namespace=_NAMESPACE, order=_ORDER
        )
        return self.aspect(place, role, symbol(place.function).body(), advice)

    def at(self, place: Place, role: str) -> model.Aspect:
        """A place at a function's entry, or at its calls of another one."""
        name = f"{self.prefix}_{role}"
        if place.callee is None:
            return self.entry(place, role, f"{name}()")
        called = symbol(place.callee)
        join_point = symbol(place.function).calls(called)
        if called.name == "gorecover" or passing_name(name) in self.functions:
            wrap = model.WrapExpression(
                template=model.Template(text=f"{name}({{{{ . }}}})", line=self.line), line=self.line
            )
            return self.aspect(place, role, join_point, wrap)
        statement = model.Template(text=f"{name}()", line=self.line)
        advice = model.InsertAfter if place.after else model.InsertBefore
        return self.aspect(place, role, join_point, advice(template=statement, line=self.line))

    def argument(self, place: Place, request: Expression, role: str) -> model.Aspect:
        """The called function's argument becomes what a function makes of it."""
        assert place.callee is not None
        names = [one.name for one in place.callee.parameters]
        root = request
        while isinstance(root, Select):
            root = root.operand
        first = 1 if symbol(place.callee).receiver else 0
        wanted = names.index(root.name) - first if isinstance(root, Name) else 0
        count = len(names) - first
        arguments = ", ".join(
            f"{self.prefix}_{role}({{{{ index .AST.Args {index} }}}})" if index == wanted
            else f"{{{{ index .AST.Args {index} }}}}" for index in range(count)
        )  # fmt: skip
        template = model.Template(text=f"{{{{ .AST.Fun }}}}({arguments})", line=self.line)
        join_point = symbol(place.function).calls(symbol(place.callee))
        return self.aspect(place, role, join_point, model.WrapExpression(template=template, line=self.line))

    def aspect(self, place: Place, role: str, join_point: model.JoinPoint, advice: model.Advice) -> model.Aspect:
        where = place.function.symbol
        return model.Aspect(
            id=f"{self.operation.name} ({role.replace('_', ' ')}, {where})", file=self.file, line=self.line,
            tracer_internal=False, join_point=join_point, advice=(advice,), own=True,
        )  # fmt: skip


def _arguments(place: Place) -> str:
    """The function's receiver and parameters, as its own text names them."""
    count = len(place.function.parameters)
    first = 1 if symbol(place.function).receiver else 0
    receiver = ["{{ .Function.Receiver }}"] * first
    return ", ".join([*receiver, *(f"{{{{ .Function.Argument {index} }}}}" for index in range(count - first))])
