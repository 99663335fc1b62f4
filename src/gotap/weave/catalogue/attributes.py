"""What an operation's columns become at its end: the conversions' calls, in the order of its attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from gotap.probe.catalogue import Operation
from gotap.probe.record import Attribute
from gotap.weave.catalogue.expressions import go_text
from gotap.weave.runtime.conversions import GoType, go_conversion

_ABSENT = {GoType.TEXTS: "nil", GoType.STRING: '""', GoType.INT64: "0"}
_ERROR = "error.type"
_PART = re.compile(r"\{([^{}|]+)((?:\|[^{}|]+)*)\}")


def column_field(column: str) -> str:
    """Where an operation has a column."""
    return f"gotap_op.column_{column.replace('.', '_')}"


class Finish:
    """`columns`: column → its type in gotaprt: Text, Int or Bool."""

    def __init__(self, prefix: str, operation: Operation) -> None:
        self.prefix = prefix
        self.operation = operation
        self.keys = [one.key for one in operation.attributes]
        self.columns: dict[str, str] = {}
        for attribute in operation.attributes:
            for column, kind in zip(attribute.inputs, go_conversion(attribute.conversion).inputs, strict=False):
                self.columns.setdefault(column, kind.value)

    @property
    def measured(self) -> frozenset[str]:
        """The columns that are wanted of an operation of which no span is recorded."""
        wanted = self.operation.metric_attributes if self.operation.metric is not None else ()
        return frozenset(column for one in self.operation.attributes if one.key in wanted for column in one.inputs)

    def description(self) -> str:
        """Fields of gotaprt.Class."""
        operation = self.operation
        keys = ", ".join(map(go_text, self.keys))
        lines = [
            f"Kind: gotaprt.{operation.kind.capitalize()}",
            f"Scope: {str(operation.scope).lower()}",
            f"SpanName: []gotaprt.Part{{{', '.join(self.parts())}}}",
            f"Attributes: []string{{{keys}}}",
        ]
        if operation.metric is not None:
            numbers = ", ".join(str(self.keys.index(key)) for key in operation.metric_attributes)
            lines += [f"Metric: {go_text(operation.metric)}", f"Dimensions: []int{{{numbers}}}"]
        return "".join(f"\t{line},\n" for line in lines)

    def parts(self) -> Iterator[str]:
        """The template of the span's name (docs/catalogue.md)."""
        template, at = self.operation.span_name, 0
        for found in _PART.finditer(template):
            if found.start() > at:
                yield f"{{Text: {go_text(template[at : found.start()])}}}"
            pairs = [pair.partition("=") for pair in found[2].split("|") if pair]
            instead = ", ".join(f"{go_text(old)}: {go_text(new)}" for old, _, new in pairs)
            shown = f", Instead: map[string]string{{{instead}}}" if pairs else ""
            first, *others = [self.keys.index(key) for key in found[1].split(",")]
            shown += f", Else: []int{{{', '.join(map(str, others))}}}" if others else ""
            yield f"{{Key: {first}{shown}}}"
            at = found.end()
        if at < len(template):
            yield f"{{Text: {go_text(template[at:])}}}"

    def constants(self) -> Iterator[str]:
        """Variables for the conversions' lists, so that no call makes one."""
        for index, attribute in enumerate(self.operation.attributes):
            for name, value in attribute.params:
                if isinstance(value, tuple):
                    yield f"var {self.prefix}_with_{index}_{name} = gotaprt.Texts{{{', '.join(map(go_text, value))}}}"

    def struct(self) -> str:
        """Fields for the columns: those that decide about the metric's attributes in a struct of their own."""
        kinds = [(column_field(name).partition(".")[2], kind, name in self.measured)
                 for name, kind in sorted(self.columns.items())]  # fmt: skip
        rest = [f"\t{field} gotaprt.{kind}\n" for field, kind, measured in kinds if not measured]
        own = [f"\t{field} gotaprt.{kind}\n" for field, kind, measured in kinds if measured]
        if own:
            rest.insert(0, f"\t{self.prefix}_measured\n")
        return "".join(rest)

    def recent(self) -> Iterator[str]:
        """Declarations for operations of which only the duration counts."""
        if self.measured:
            fields = "".join(
                f"\t{column_field(name).partition('.')[2]} gotaprt.{self.columns[name]}\n"
                for name in sorted(self.measured)
            )
            yield f"type {self.prefix}_measured struct {{\n{fields}}}"
            yield f"var {self.prefix}_recent gotaprt.Recent[{self.prefix}_measured]"

    def like_a_recent_one(self, given_back: Sequence[str]) -> Iterator[str]:
        if self.measured:
            yield "gotap_place := uint(0)"
            yield from (f"gotap_place = 3*gotap_place + {column_field(name)}.Place()" for name in sorted(self.measured))
            known = f"{self.prefix}_recent.Finish(&gotap_op.Operation, &gotap_op.{self.prefix}_measured, gotap_place)"
            yield "\n".join([f"if {known} {{", *given_back, "return", "}"])

    def remembered(self) -> Iterator[str]:
        if self.measured:
            yield f"if {self.prefix}_recent.Wants(&gotap_op.Operation, gotap_point, gotap_place) {{"
            yield f"gotap_own := gotap_op.{self.prefix}_measured"
            for name in sorted(self.measured):
                if self.columns[name] == "Text":
                    field = column_field(name).partition(".")[2]
                    yield f"gotap_own.{field} = gotap_own.{field}.Own()"
            yield f"{self.prefix}_recent.Remember(gotap_own, gotap_point, gotap_place)\n}}"

    def function(self, first_of_all: Iterable[str], given_back: Sequence[str]) -> str:
        dimensions = set(self.operation.metric_attributes)
        first = [self.assignment(index) for index, key in enumerate(self.keys) if key in dimensions]
        rest = [self.assignment(index) for index, key in enumerate(self.keys) if key not in dimensions]
        return "\n".join([
            f"func {self.prefix}_finish(gotap_op *{self.prefix}_state) {{",
            *first_of_all,
            *self.like_a_recent_one(given_back),
            f"var gotap_values [{len(self.keys)}]gotaprt.Value",
            "gotap_recording := gotap_op.Recording()",
            "if gotap_recording || gotap_op.Measured() {", *first, "}",
            "if gotap_recording {", *rest, "}",
            f"{'gotap_point := ' if self.measured else ''}gotap_op.Finish(gotap_values[:])",
            *self.remembered(),
            *given_back,
            "}",
        ])  # fmt: skip

    def assignment(self, index: int) -> str:
        attribute = self.operation.attributes[index]
        go = go_conversion(attribute.conversion)
        made = f"gotaprt.{go.function}({', '.join(self.arguments(index, attribute))})"
        if attribute.key == _ERROR and any(end.place.results is not None for end in self.operation.ends):
            made = f"gotap_op.Panicked({made})"
        return f"gotap_values[{index}] = {made}"

    def arguments(self, index: int, attribute: Attribute) -> Iterator[str]:
        go = go_conversion(attribute.conversion)
        given = dict(attribute.params)
        for position, kind in enumerate(one.value for one in go.inputs):
            if position >= len(attribute.inputs):
                yield f"gotaprt.{kind}{{}}"
                continue
            column = attribute.inputs[position]
            own = self.columns[column]
            yield f"{column_field(column)}" + (f".{kind}()" if own != kind else "")
        for name, type_ in go.constants:
            value = given.get(name)
            if isinstance(value, tuple):
                yield f"{self.prefix}_with_{index}_{name}"
            elif value is None:
                yield _ABSENT[type_]
            else:
                yield go_text(value) if isinstance(value, str) else str(value)
