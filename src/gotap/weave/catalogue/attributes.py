"""What an operation's columns become at its end: the conversions' calls, in the order of its attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gotap.probe.catalogue import Operation
from gotap.probe.record import Attribute
from gotap.weave.catalogue.expressions import go_text
from gotap.weave.runtime.conversions import GoType, go_conversion

_ABSENT = {GoType.TEXTS: "nil", GoType.STRING: '""', GoType.INT64: "0"}
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

    def function(self, first_of_all: Iterable[str]) -> str:
        dimensions = set(self.operation.metric_attributes)
        first = [self.assignment(index) for index, key in enumerate(self.keys) if key in dimensions]
        rest = [self.assignment(index) for index, key in enumerate(self.keys) if key not in dimensions]
        return "\n".join([
            f"func {self.prefix}_finish(gotap_op *{self.prefix}_state) {{",
            *first_of_all,
            f"var gotap_values [{len(self.keys)}]gotaprt.Value",
            "gotap_recording := gotap_op.Recording()",
            "if gotap_recording || gotap_op.Measured() {", *first, "}",
            "if gotap_recording {", *rest, "}",
            "gotap_op.Finish(gotap_values[:])",
            "}",
        ])  # fmt: skip

    def assignment(self, index: int) -> str:
        attribute = self.operation.attributes[index]
        go = go_conversion(attribute.conversion)
        return f"gotap_values[{index}] = gotaprt.{go.function}({', '.join(self.arguments(index, attribute))})"

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
