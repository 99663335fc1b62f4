"""Writes docs/reference.md from the code: commands, exit codes, variables, operations, conversions, the record; and
docs/inspect.schema.json, the JSON Schema of what `gotap inspect --json` tells, and docs/conditions.md.

`python docs/generate.py` writes them; docs/check.py fails when they are not what this gives.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gotap.commands import inspect_json
from gotap.commands import main as command_line
from gotap.image.facts.model import Facts, GoFacts
from gotap.probe import convert, record
from gotap.probe.catalogue import Operation, libraries
from gotap.process.launch import NOT_EXECUTABLE, NOT_FOUND
from gotap.signals import metrics
from gotap.sinks import environment
from gotap.verdict.conditions import compiler, contents, coverage, host, linking, platform, process
from gotap.verdict.model import Condition, Situation

REFERENCE = Path(__file__).parent / "reference.md"
CONDITIONS = Path(__file__).parent / "conditions.md"
INSPECT_SCHEMA = Path(__file__).parent / "inspect.schema.json"

_HEAD = """# Reference

Generated from the code by `make docs`; what stands here is what the code does.
"""


def reference() -> str:
    """The whole page."""
    parts = [_HEAD.rstrip(), *commands(), *exit_codes(), *variables(), *operations(), *conversions(), *the_record()]
    return "\n\n".join(parts) + "\n"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: object) -> str:
    return f"`{text}`"


def first_paragraph(text: str | None) -> str:
    return " ".join((text or "").strip().partition("\n\n")[0].split())


# Commands


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of one command, with its arguments."""
    module = importlib.import_module(command_line.COMMANDS[name][0])
    parser = argparse.ArgumentParser(prog=f"gotap {name}", description=module.__doc__, add_help=False)
    module.add_arguments(parser)
    return parser


def options_of(name: str) -> set[str]:
    """All option strings of one command."""
    return {"-h", "--help"} | {text for action in parser_of(name)._actions for text in action.option_strings}


def commands() -> Iterator[str]:
    yield "## Commands"
    rows = [[f"[`gotap {name}`](#gotap-{name})", text] for name, (_, text) in command_line.COMMANDS.items()]
    yield table(["command", "what it is for"], rows)
    yield "Each has `--help`; `gotap --version` tells the version."
    for name in command_line.COMMANDS:
        parser = parser_of(name)
        yield f"### gotap {name}"
        yield f"```text\n{(parser.description or '').strip()}\n```"
        yield table(["argument", "meaning"], [[_argument(action), _meaning(action)] for action in parser._actions])


def _argument(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return code(f"{value}…" if action.nargs == "+" else value)
    names = ", ".join(action.option_strings)
    return code(names if action.nargs == 0 else f"{names} {value}")


def _meaning(action: argparse.Action) -> str:
    return re.sub(r"\s+", " ", action.help or "")


def exit_codes() -> Iterator[str]:
    yield "## Exit codes"
    yield table(
        ["code", "meaning"],
        [
            [code(command_line.OK), "done"],
            [code(command_line.FAILED), "what was asked for could not be done; stderr says why and what to do"],
            [code(command_line.USAGE), "an option or argument that makes no sense; stderr says what is accepted"],
            [code(NOT_EXECUTABLE), "`gotap run`: the program was found and cannot be executed"],
            [code(NOT_FOUND), "`gotap run`: the program was not found"],
            ["`128+n`", "`gotap run`: signal n ended the program; any command: signal n ended gotap"],
            ["others", "`gotap run`: the program's own"],
        ],
    )


# Environment


class _Recorder(environment.Environment):
    """Notes which variables are asked for."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, name: str) -> str | None:
        self.names.add(name)
        return super().get(name)


def variable_names() -> list[str]:
    """Every environment variable that gotap obeys, found by letting each reader run."""
    recorder = _Recorder({"OTEL_TRACES_SAMPLER": "traceidratio"})
    environment.sampler(recorder)
    environment.service_identity(recorder, recorder)
    environment.known_methods(recorder)
    environment.metric_settings(recorder)
    environment.batch_settings(recorder)
    for signal in ("TRACES", "METRICS"):
        environment.otlp_settings(recorder, signal)
    return sorted(recorder.names)


def variables() -> Iterator[str]:
    yield "## Environment variables"
    yield "What each one takes and what it is without it: [OTLP and the environment](otlp.md#every-variable)."
    yield "\n".join(f"- `{name}`" for name in variable_names())


# What comes out


def operations() -> Iterator[str]:
    yield "## Operations"
    yield (
        "What each operation of the catalogue becomes. A conversion takes columns of the record; an attribute whose "
        "conversion gives nothing is absent. The span's status is ERROR exactly when `error.type` is present."
    )
    for library in libraries():
        for operation in library.operations:
            yield from _operation(library.name, operation)
        if library.unwrap:
            yield f"### Wrappers in {library.name}"
            yield "Error types that only wrap another one: `unwrap` goes on with this field."
            yield table(["type", "field"], [[code(name), code(field)] for name, field in library.unwrap.items()])


def _operation(library: str, operation: Operation) -> Iterator[str]:
    yield f"### {operation.name}"
    yield (
        f"From `{library}`, which is also the instrumentation scope. "
        f"A {operation.kind} span, named `{operation.span_name}`."
    )
    rows = [
        [code(one.key), code(one.conversion), ", ".join(map(code, one.inputs))] for one in operation.attributes
    ]
    yield table(["attribute", "conversion", "columns"], rows)
    for one in operation.attributes:
        for name, value in one.params:
            values = value if isinstance(value, tuple) else (value,)
            yield f"For `{one.key}`, `{name}` is: {', '.join(code(item) for item in values)}."
    if operation.metric:
        dimensions = ", ".join(map(code, operation.metric_attributes))
        yield f"Metric: `{operation.metric}`, a histogram in seconds, by {dimensions}."
        bounds = ", ".join(f"{bound:g}" for bound in metrics.metric_of(operation.metric).bounds)
        yield f"Bucket bounds, in seconds: {bounds}."
    places = [("begin", one.place) for one in operation.begins]
    places += [("annotate", one.place) for one in operation.annotations]
    places += [(f"end: {one.outcome}", one.place) for one in operation.ends]
    rows = []
    for part, place in places:
        where = "its returns" if place.results is not None else "its entry"
        if place.callee is not None:
            where = f"{'behind ' if place.after else ''}its calls of `{place.callee.symbol}`"
        rows.append([part, code(place.function.symbol), where])
    yield table(["part", "function", "at"], rows)


def conversions() -> Iterator[str]:
    yield "## Conversions"
    yield (
        "The closed list of what turns raw values into attributes. A column that is absent comes in as nothing; "
        "constants are given by the catalogue (`with`) or by the user's options."
    )
    rows = []
    for name, one in sorted(convert.CONVERSIONS.items()):
        parameters = inspect.signature(one.function).parameters.values()
        inputs = [
            text if parameter.default is inspect.Parameter.empty else f"{text}?"
            for parameter in parameters
            if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
            for text in [parameter.name]
        ]
        meaning = first_paragraph(one.function.__doc__) or f"The value as {one.result.value}."
        rows.append(
            [
                code(name),
                ", ".join(map(code, inputs)),
                ", ".join(map(code, sorted(one.params))),
                one.result.value,
                meaning,
            ]
        )
    yield table(["conversion", "columns", "constants", "gives", "meaning"], rows)


def the_record() -> Iterator[str]:
    yield "## The record"
    yield (
        f"What leaves the kernel when an operation has ended, version {record.VERSION}: a header of "
        f"{record.HEADER.itemsize} bytes, then 8-byte columns in the order of the operation's layout, then a heap that "
        f"holds the texts; padded to {', '.join(map(str, record.SIZE_CLASSES))} bytes. All integers are little-endian."
    )
    comments = _comments(inspect.getsource(record))
    rows = []
    for name, field in (record.HEADER.fields or {}).items():
        kind, offset = field[:2]
        rows.append([code(name), str(offset), str(kind.itemsize), comments.get(f'("{name}"', "")])
    yield table(["header field", "offset", "bytes", "meaning"], rows)
    flags = [[code(one.name), str(int(one)), comments.get(f"{one.name} =", "")] for one in record.RecordFlags]
    yield table(["flag", "value", "meaning"], flags)
    kinds = [[code(one.value), comments.get(f"{one.name} =", "")] for one in record.ColumnKind]
    yield table(["column", "meaning"], kinds)


def _comments(source: str) -> dict[str, str]:
    """What stands behind `#`, by the beginning of its line: `("version"` of a dtype's field, `SAMPLED =` of a name."""
    found = {}
    for line in source.splitlines():
        match = re.match(r'\s*(\("\w+"|\w+ =).*?  # (.*)', line)
        if match:
            found[match[1]] = match[2].strip()
    return found


_CONDITIONS_HEAD = """# Conditions

Generated from the code by `make docs`. What can be the case with a program, a process or the host, by the ids that
[`gotap inspect`](inspect.md) tells. Words in capitals stand for the target's own names.

An effect holds for gotap: what *rules out* a mechanism makes its answer `no`, what *limits* it `~~`; the mechanisms
that are not named are left alone. `network` is planned, so effects on it tell what will be.

What OneAgent's documentation lists was [seen in real programs](vendor-conditions.md).
"""


def conditions() -> str:
    """docs/conditions.md."""
    parts = [_CONDITIONS_HEAD.rstrip()]
    for module in (platform, compiler, contents, coverage, host, process, linking):
        parts.append(f"## {first_paragraph(module.__doc__).partition('.')[0]}")
        parts += [part for one in module.CONDITIONS for part in _condition(one)]
    return "\n\n".join(parts) + "\n"


def _condition(one: Condition) -> Iterator[str]:
    """One condition; remedies are those of a program of which nothing but the names is known."""
    yield f"### {one.id}"
    message = _in_capitals(one.message)
    yield f"{message[0].upper()}{message[1:]}."
    effects: dict[str, list[str]] = {}
    for mechanism, effect in one.effects.items():
        effects.setdefault(effect, []).append(code(mechanism))
    lines = [f"- {effect}: {', '.join(mechanisms)}" for effect, mechanisms in effects.items()] or ["- limits nothing"]
    remedy = _in_capitals(one.remedy) if isinstance(one.remedy, str) else one.remedy(_sample(one))
    lines += [f"- remedy: {code(remedy)}"] if remedy else []
    lines += [f"- OneAgent's documentation: {one.vendor}"] if one.vendor else []
    yield "\n".join(lines)


def _in_capitals(text: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda match: match[1].upper(), text)


def _sample(one: Condition) -> Situation:
    os, arch = {"foreign-os": ("windows", "amd64"), "foreign-arch": ("linux", "arm64")}.get(one.id, ("linux", "amd64"))
    facts = Facts(format="elf", os=os, arch=arch, bits=64, big_endian=False, language="go",
                  go=GoFacts(compiler="gc", package="PACKAGE"))  # fmt: skip
    return Situation(facts=facts, file="PROGRAM")


def inspect_schema() -> str:
    return json.dumps(inspect_json.schema(), indent=2) + "\n"


if __name__ == "__main__":
    REFERENCE.write_text(reference())
    CONDITIONS.write_text(conditions())
    INSPECT_SCHEMA.write_text(inspect_schema())
