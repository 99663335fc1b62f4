"""An aspect in its normal form. `encode` makes the JSON that the Go helper reads: these structures are the protocol.

Every join point, function option and piece of advice is one structure whose `kind` is its name in the YAML. A type is
text: `*net/http.Request`, `[]string`, `error`; so are qualified names, `net/http.Get`. What is at its default is left
out of the JSON; the zero values of Go stand for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import Struct, field

#: The namespace of advice that names none: the highest code point, so that it sorts behind every other.
DEFAULT_NAMESPACE = "\U0010ffff"

Match = Literal["any", "pointer-only", "value-only"]


class Record(Struct, frozen=True, omit_defaults=True, tag_field="kind", kw_only=True):
    """What all of them share: a `kind` and no defaults in the JSON."""


class AllOf(Record, tag="all-of", frozen=True):
    of: tuple[JoinPoint, ...]


class OneOf(Record, tag="one-of", frozen=True):
    of: tuple[JoinPoint, ...]


class Not(Record, tag="not", frozen=True):
    of: JoinPoint


class Configuration(Record, tag="configuration", frozen=True):
    values: Mapping[str, str]


class ImportPath(Record, tag="import-path", frozen=True):
    path: str


class PackageName(Record, tag="package-name", frozen=True):
    name: str


class PackageFilter(Record, tag="package-filter", frozen=True):
    """`root`: the pattern is relative to the main module's root, and only its packages match."""

    root: bool = False
    pattern: str = ""


class TestMain(Record, tag="test-main", frozen=True):
    __test__ = False  # a join point, and not a test that pytest should collect

    value: bool = False


class Name(Record, tag="name", frozen=True):
    """The function's name; empty: function literals only."""

    name: str = ""


class Receiver(Record, tag="receiver", frozen=True):
    """Methods of `type`; without a type: any method (`value` true), or functions that are none (false)."""

    type: str = ""
    value: bool = False


class Signature(Record, tag="signature", frozen=True):
    args: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()


class SignatureContains(Record, tag="signature-contains", frozen=True):
    args: tuple[str, ...] = ()
    returns: tuple[str, ...] = ()


class ResultImplements(Record, tag="result-implements", frozen=True):
    type: str


class FinalResultImplements(Record, tag="final-result-implements", frozen=True):
    type: str


class ArgumentImplements(Record, tag="argument-implements", frozen=True):
    type: str


class SymbolPattern(Record, tag="symbol-pattern", frozen=True):
    """The function's name with its package's import path (`main` for programs) matches; written as `spans:`."""

    pattern: str


FunctionOption = (
    Name | SymbolPattern | Receiver | Signature | SignatureContains
    | ResultImplements | FinalResultImplements | ArgumentImplements
)  # fmt: skip


class Function(Record, tag="function", frozen=True):
    options: tuple[FunctionOption, ...]


class FunctionBody(Record, tag="function-body", frozen=True):
    of: JoinPoint


class Within(Record, tag="within", frozen=True):
    """Any node in a function that `of` selects: in its literals if `value`, else outside of them. Only the catalogue
    has it; rules cannot write it."""

    of: JoinPoint
    value: bool = False


class FunctionCall(Record, tag="function-call", frozen=True):
    """`function` without an import path is a builtin, or a function of the package at hand."""

    function: str


class MethodCall(Record, tag="method-call", frozen=True):
    receiver: str
    name: str
    match: Match


class StructDefinition(Record, tag="struct-definition", frozen=True):
    type: str


class StructLiteral(Record, tag="struct-literal", frozen=True):
    """`field`: the value that the literal gives to that field, instead of the literal itself."""

    type: str
    match: Match
    field: str | None = None


class ValueDeclaration(Record, tag="value-declaration", frozen=True):
    type: str


class DeclarationOf(Record, tag="declaration-of", frozen=True):
    name: str


class Directive(Record, tag="directive", frozen=True):
    name: str


JoinPoint = (
    AllOf | OneOf | Not | Configuration
    | ImportPath | PackageName | PackageFilter | TestMain
    | Function | FunctionBody | Within | FunctionCall | MethodCall
    | StructDefinition | StructLiteral | ValueDeclaration | DeclarationOf
    | Directive
)  # fmt: skip


class Template(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Go source as a text/template. `line`: where its first line stands in the YAML file, counted from one.

    `imports`: identifier in the text → import path. `lang`: the language version that the text needs, `go1.18`, or "".
    """

    text: str
    line: int
    imports: Mapping[str, str] = field(default_factory=dict)
    lang: str = ""


class AssignValue(Record, tag="assign-value", frozen=True):
    template: Template
    line: int


class PrependStatements(Record, tag="prepend-statements", frozen=True):
    """Done in the order of namespace, order, definition: what is done last stands, and runs, first."""

    template: Template
    line: int
    namespace: str
    order: int = 0


class AppendArgs(Record, tag="append-args", frozen=True):
    """`type`: of the variadic parameter's elements, needed where the call passes a slice with `...`."""

    type: str
    values: tuple[Template, ...]
    line: int


class ReplaceFunction(Record, tag="replace-function", frozen=True):
    function: str
    line: int


class InsertBefore(Record, tag="insert-before", frozen=True):
    """Statements in front of a call that is a statement. Only the catalogue has it, like the next one."""

    template: Template
    line: int


class InsertAfter(Record, tag="insert-after", frozen=True):
    template: Template
    line: int


class AddBlankImport(Record, tag="add-blank-import", frozen=True):
    path: str
    line: int


class InjectDeclarations(Record, tag="inject-declarations", frozen=True):
    """`links`: packages that must be linked for the text's `//go:linkname` to find its other side."""

    template: Template
    line: int
    links: tuple[str, ...] = ()


class AddStructField(Record, tag="add-struct-field", frozen=True):
    name: str
    type: str
    line: int


class WrapExpression(Record, tag="wrap-expression", frozen=True):
    template: Template
    line: int


Advice = (
    AssignValue | PrependStatements | AppendArgs | ReplaceFunction
    | AddBlankImport | InjectDeclarations | AddStructField | WrapExpression | InsertBefore | InsertAfter
)  # fmt: skip


class Aspect(Struct, frozen=True, kw_only=True):
    """Where (`join_point`) and what (`advice`). `file` is absolute; `line` is the aspect's, counted from one.

    `id` is unique in its file. `own`: gotap's, whose text is known to compile. `tracer_internal`: it may change the
    injected runtime and what that imports.
    """

    id: str
    file: str
    line: int
    tracer_internal: bool
    join_point: JoinPoint
    advice: tuple[Advice, ...]
    own: bool = False


def encode(aspects: Sequence[Aspect]) -> bytes:
    """The JSON of the protocol."""
    return msgspec.json.encode(aspects)


def decode(data: bytes) -> tuple[Aspect, ...]:
    """What `encode` made; msgspec.ValidationError for anything else."""
    return msgspec.json.decode(data, type=tuple[Aspect, ...])
