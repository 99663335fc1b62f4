"""Files of rules in Orchestrion's vocabulary become the model, with the lines they stand on."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import msgspec
import pytest

from gotap.weave.rules import model
from gotap.weave.rules.reading import read_rules


def rules(folder: Path, text: str) -> tuple[model.Aspect, ...]:
    file = folder / "gotap.yaml"
    file.write_text(dedent(text))
    return read_rules(str(file)).aspects


def join_point(folder: Path, text: str) -> model.JoinPoint:
    """The join point that a text in flow style describes."""
    (aspect,) = rules(folder, f"aspects: [{{id: a, join-point: {text}, advice: {{add-blank-import: unsafe}}}}]")
    return aspect.join_point


def advice(folder: Path, text: str) -> model.Advice:
    (aspect,) = rules(folder, f"aspects: [{{id: a, join-point: {{test-main: true}}, advice: [{text}]}}]")
    return aspect.advice[0]


JOIN_POINTS: dict[str, model.JoinPoint] = {
    "{all-of: [{test-main: false}, {package-name: main}]}": model.AllOf(
        of=(model.TestMain(value=False), model.PackageName(name="main"))
    ),
    "{all-of: [{package-name: main}]}": model.PackageName(name="main"),
    "{one-of: [{directive: 'dd:span'}, {not: {import-path: net/http}}]}": model.OneOf(
        of=(model.Directive(name="dd:span"), model.Not(of=model.ImportPath(path="net/http")))
    ),
    "{configuration: {httpmode: wrap, empty: ''}}": model.Configuration(values={"httpmode": "wrap", "empty": ""}),
    "{package-filter: '**/internal/*'}": model.PackageFilter(pattern="**/internal/*"),
    "{package-filter: {root: true}}": model.PackageFilter(root=True),
    "{package-filter: {root: true, pattern: 'cmd/[a-c]*'}}": model.PackageFilter(root=True, pattern="cmd/[a-c]*"),
    "{function-call: google.golang.org/grpc.Dial}": model.FunctionCall(function="google.golang.org/grpc.Dial"),
    "{function-call: append}": model.FunctionCall(function="append"),
    "{method-call: {receiver: net/http.Client, name: Do}}": model.MethodCall(
        receiver="net/http.Client", name="Do", match="any"
    ),
    "{method-call: {receiver: net/http.Client, name: Do, match: pointer-only}}": model.MethodCall(
        receiver="net/http.Client", name="Do", match="pointer-only"
    ),
    "{struct-definition: gopkg.in/yaml.v3.Node}": model.StructDefinition(type="gopkg.in/yaml.v3.Node"),
    "{struct-literal: {type: net/http.Server, field: Handler}}": model.StructLiteral(
        type="net/http.Server", match="any", field="Handler"
    ),
    "{struct-literal: {type: net/http.Server, match: value-only}}": model.StructLiteral(
        type="net/http.Server", match="value-only"
    ),
    "{value-declaration: '*regexp.Regexp'}": model.ValueDeclaration(type="*regexp.Regexp"),
    "{value-declaration: 'interface {}'}": model.ValueDeclaration(type="any"),
    "{value-declaration: '[]string'}": model.ValueDeclaration(type="[]string"),
    "{value-declaration: 'map[string] [] *net/http.Request'}": model.ValueDeclaration(
        type="map[string][]*net/http.Request"
    ),
    "{value-declaration: 'chan  []error'}": model.ValueDeclaration(type="chan []error"),
    "{declaration-of: example.com/a-b/c.Größe}": model.DeclarationOf(name="example.com/a-b/c.Größe"),
    "{function-body: {function: [{name: ''}]}}": model.FunctionBody(of=model.Function(options=(model.Name(name=""),))),
}

OPTIONS: dict[str, model.FunctionOption] = {
    "{name: ServeHTTP}": model.Name(name="ServeHTTP"),
    "{name: On}": model.Name(name="On"),  # YAML 1.1 would read a truth value
    "{receiver: '*net/http.Server'}": model.Receiver(type="*net/http.Server"),
    "{receiver: true}": model.Receiver(value=True),
    "{receiver: false}": model.Receiver(value=False),
    "{signature: {}}": model.Signature(),
    "{signature: {args: [context.Context, int], returns: [error]}}": model.Signature(
        args=("context.Context", "int"), returns=("error",)
    ),
    "{signature-contains: {args: [...string]}}": model.SignatureContains(args=("...string",)),
    "{signature-contains: {returns: [error]}}": model.SignatureContains(returns=("error",)),
    "{result-implements: io.Reader}": model.ResultImplements(type="io.Reader"),
    "{final-result-implements: error}": model.FinalResultImplements(type="error"),
    "{argument-implements: context.Context}": model.ArgumentImplements(type="context.Context"),
}


@pytest.mark.parametrize("text", JOIN_POINTS)
def test_join_points(tmp_path: Path, text: str) -> None:
    assert join_point(tmp_path, text) == JOIN_POINTS[text]


@pytest.mark.parametrize("text", OPTIONS)
def test_function_options(tmp_path: Path, text: str) -> None:
    assert join_point(tmp_path, f"{{function: [{text}]}}") == model.Function(options=(OPTIONS[text],))


def test_every_kind_is_covered() -> None:
    kinds = {type(point) for point in JOIN_POINTS.values()} | {model.AllOf, model.Function, model.Not, model.TestMain}
    only_gotaps = {model.Within}
    assert kinds | {model.Directive, model.ImportPath} | only_gotaps == set(model.JoinPoint.__args__)
    of_patterns = {model.SymbolPattern}
    assert {type(option) for option in OPTIONS.values()} | of_patterns == set(model.FunctionOption.__args__)


ADVICE: dict[str, model.Advice] = {
    "{assign-value: {template: true}}": model.AssignValue(template=model.Template(text="true", line=1), line=1),
    "{prepend-statements: {template: x(), order: -3, namespace: a}}": model.PrependStatements(
        template=model.Template(text="x()", line=1), namespace="a", order=-3, line=1
    ),
    "{prepend-statements: {template: x(), namespace: ''}}": model.PrependStatements(
        template=model.Template(text="x()", line=1), namespace=model.DEFAULT_NAMESPACE, line=1
    ),
    "{append-args: {type: a.Option, values: [{template: a.X(), imports: {a: example.com/a}}]}}": model.AppendArgs(
        type="a.Option",
        values=(model.Template(text="a.X()", line=1, imports={"a": "example.com/a"}),),
        line=1,
    ),
    "{replace-function: example.com/own.Open}": model.ReplaceFunction(function="example.com/own.Open", line=1),
    "{add-blank-import: unsafe}": model.AddBlankImport(path="unsafe", line=1),
    "{inject-declarations: {template: var x int, links: [a/b, a/b, c]}}": model.InjectDeclarations(
        template=model.Template(text="var x int", line=1), links=("a/b", "c"), line=1
    ),
    "{add-struct-field: {name: own, type: any}}": model.AddStructField(name="own", type="any", line=1),
    "{wrap-expression: {template: 'f({{ . }})', lang: go1.18}}": model.WrapExpression(
        template=model.Template(text="f({{ . }})", line=1, lang="go1.18"), line=1
    ),
}


@pytest.mark.parametrize("text", ADVICE)
def test_advice(tmp_path: Path, text: str) -> None:
    assert advice(tmp_path, text) == ADVICE[text]


def test_every_advice_is_covered() -> None:
    only_gotaps = {model.InsertBefore, model.InsertAfter}
    assert {type(one) for one in ADVICE.values()} | only_gotaps == set(model.Advice.__args__)


FILE = """\
    %YAML 1.1
    ---
    # a comment
    meta:
      name: example
      description: |-
        What it is for.
      icon: cog
    extends:
      - ./other.yml
    aspects:
      - id: first
        tracer-internal: true
        join-point:
          function-body:
            directive: 'dd:span'
        advice:
          - prepend-statements:
              imports: &imports
                tracer: example.com/tracer
              template: |-

                {{- $ctx := .Function.ArgumentOfType "context.Context" -}}
                tracer.Start({{ $ctx }})
      - join-point:
          import-path: main
        advice:
          wrap-expression:
            imports: *imports
            template: tracer.Wrap({{ . }})
    """


def test_places(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "orchestrion.yml"
    path.write_text(dedent(FILE))
    file = read_rules(str(path))
    assert (file.name, file.description) == ("example", "What it is for.")
    assert [(item.path, item.line) for item in file.extends] == [(str(tmp_path / "a" / "other.yml"), 10)]
    first, second = file.aspects
    assert (first.id, first.file, first.line, first.tracer_internal) == ("first", str(path), 12, True)
    prepend, wrap = first.advice[0], second.advice[0]
    assert isinstance(prepend, model.PrependStatements)
    assert (prepend.line, prepend.template.line) == (18, 22)
    assert prepend.template.text.splitlines()[1].startswith("{{- $ctx")  # line 23, and the text's second
    assert isinstance(wrap, model.WrapExpression)
    assert (second.id, second.line, wrap.line, wrap.template.line) == ("#2", 25, 28, 30)
    assert wrap.template.imports == prepend.template.imports == {"tracer": "example.com/tracer"}


def test_merged_keys_stand_behind_own_ones(tmp_path: Path) -> None:
    aspects = rules(
        tmp_path,
        """\
        aspects:
          - &first
            id: a
            join-point: {test-main: true}
            advice: [{add-blank-import: unsafe}]
          - <<: *first
            id: b
        """,
    )
    assert [aspect.id for aspect in aspects] == ["a", "b"]
    assert aspects[0].advice == aspects[1].advice


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "aspects: []\n", "meta: {name: a, description: b}\n"])
def test_files_without_aspects(tmp_path: Path, text: str) -> None:
    assert rules(tmp_path, text) == ()


def test_protocol(tmp_path: Path) -> None:
    """What the Go side reads: kinds by name, types as text, defaults left out; and it comes back unchanged."""
    aspects = rules(
        tmp_path,
        """\
        aspects:
          - id: a
            join-point:
              all-of:
                - not: {test-main: true}
                - function-body: {function: [{receiver: false}, {signature: {args: [int]}}]}
            advice:
              - prepend-statements: {template: "x()", order: 2}
        """,
    )
    assert model.decode(model.encode(aspects)) == aspects
    (told,) = msgspec.json.decode(model.encode(aspects))
    assert told["join_point"] == {
        "kind": "all-of",
        "of": [
            {"kind": "not", "of": {"kind": "test-main", "value": True}},
            {
                "kind": "function-body",
                "of": {"kind": "function", "options": [{"kind": "receiver"}, {"kind": "signature", "args": ["int"]}]},
            },
        ],
    }
    assert told["advice"] == [
        {"kind": "prepend-statements", "template": {"text": "x()", "line": 8}, "line": 8,
         "namespace": "\U0010ffff", "order": 2}
    ]  # fmt: skip
