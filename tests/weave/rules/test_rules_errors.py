"""What is wrong with a file of rules is told with its line, by a type of its own, and with what to write instead."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from gotap.weave.rules import errors
from gotap.weave.rules.reading import read_rules

HEAD = """\
aspects:
  - id: a
    join-point:
      {point}
    advice:
      - {advice}
"""

POINT = "test-main: true"
ADVICE = "add-blank-import: unsafe"


def refused(folder: Path, text: str | bytes) -> errors.InvalidRule:
    file = folder / "gotap.yaml"
    file.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    with pytest.raises(errors.InvalidRule) as caught:
        read_rules(str(file))
    error = caught.value
    assert str(error).startswith(f"{file}:{error.line}: " if error.line else f"{file}: ")
    assert error.remedy
    return error


JOIN_POINTS: dict[str, tuple[type[errors.InvalidRule], str]] = {
    "function-bodies: {}": (errors.UnknownKey, "Did you mean 'function-body'?"),
    "xyzzy: 1": (errors.UnknownKey, "Known are: all-of, "),
    "{test-main: true, package-name: main}": (errors.WrongShape, "combine join points by `all-of`"),
    "{}": (errors.WrongShape, "Give each its own list entry"),
    "[{test-main: true}]": (errors.WrongShape, "Write `key: value` lines"),
    "main": (errors.WrongShape, "Write `key: value` lines"),
    "all-of: []": (errors.WrongShape, "Add an entry"),
    "all-of: {test-main: true}": (errors.WrongShape, "Begin every entry with `- `"),
    "test-main: 1": (errors.WrongShape, "Write `true` or `false`"),
    "test-main: 'true'": (errors.WrongShape, "Write `true` or `false`"),
    "import-path: 12": (errors.WrongShape, "Put it into quotes"),
    "import-path:": (errors.WrongShape, "Write a text"),
    "import-path: net//http": (errors.InvalidGoName, "as in an import"),
    "import-path: 'net/http '": (errors.InvalidGoName, "as in an import"),
    "package-name: a.b": (errors.InvalidGoName, "Write a Go identifier"),
    "package-name: func": (errors.InvalidGoName, "Write a Go identifier"),
    "package-filter: 'a/[b'": (errors.InvalidGoName, "Close the character class"),
    "package-filter: 'a\\'": (errors.InvalidGoName, "escape by"),
    "package-filter: {root: false}": (errors.WrongShape, "Add `pattern:`"),
    "package-filter: {glob: x}": (errors.UnknownKey, "Known are: pattern, root"),
    "configuration: {}": (errors.WrongShape, "Name a key"),
    "function: []": (errors.WrongShape, "Add an entry"),
    "function: [{directive: a}]": (errors.UnknownKey, "Known are: argument-implements"),
    "function: [{name: a, receiver: true}]": (errors.WrongShape, "Give each its own list entry"),
    "function: [{name: 1st}]": (errors.InvalidGoName, "Write a Go identifier"),
    "function: [{receiver: '**a.B'}, {receiver: 'a.'}]": (errors.InvalidGoName, "Write a Go type"),
    "function: [{signature: {arguments: []}}]": (errors.UnknownKey, "Did you mean 'args'?"),
    "function: [{signature: {args: ['func()']}}]": (errors.InvalidGoName, "Write a Go type"),
    "function: [{signature-contains: {}}]": (errors.WrongShape, "Add `args:` or `returns:`"),
    "function: [{result-implements: '*io.Reader'}]": (errors.InvalidGoName, "Write a Go name"),
    "function-call: net/http.": (errors.InvalidGoName, "Write a Go name"),
    "method-call: {receiver: a.B}": (errors.WrongShape, "Add `name:` to it"),
    "method-call: {receiver: '*a.B', name: C}": (errors.InvalidGoName, "Write `receiver: a.B` and `match: po"),
    "method-call: {receiver: a.B, name: C, match: pointer}": (errors.UnknownKey, "Did you mean 'pointer-only'?"),
    "struct-definition: '*a.B'": (errors.InvalidGoName, "Write 'a.B'"),
    "struct-literal: {field: C}": (errors.WrongShape, "Add `type:` to it"),
    "struct-literal: {type: a.B, field: C, match: value-only}": (errors.WrongShape, "Remove one of them"),
    "value-declaration: 'map[string'": (errors.InvalidGoName, "Write a Go type"),
    "value-declaration: 'map[map[a]b]c'": (errors.InvalidGoName, "Write a Go type"),
    "value-declaration: '<-chan int'": (errors.InvalidGoName, "Write a Go type"),
    "value-declaration: '[4]int'": (errors.InvalidGoName, "Write a Go type"),
    "value-declaration: 'a b'": (errors.InvalidGoName, "Write a Go type"),
    "declaration-of: name": (errors.InvalidGoName, "Write a Go name"),
    "directive: //go:noinline": (errors.InvalidGoName, "directive: gotap:span"),
    "directive: 'a b'": (errors.InvalidGoName, "directive: gotap:span"),
    "{test-main: true, test-main: false}": (errors.WrongShape, "Remove one of them"),
    "{[a]: true}": (errors.WrongShape, "Write the key as plain text"),
    "&loop {not: *loop}": (errors.NotYaml, "never ends"),
}

ADVICES: dict[str, tuple[type[errors.InvalidRule], str]] = {
    "prepend-statement: {}": (errors.UnknownKey, "Did you mean 'prepend-statements'?"),
    "add-blank-import: 'a b'": (errors.InvalidGoName, "as in an import"),
    "assign-value: true": (errors.WrongShape, "Write `key: value` lines"),
    "assign-value: {}": (errors.WrongShape, "Add `template:` to it"),
    "assign-value: {template: ''}": (errors.WrongShape, "Write the Go source"),
    "assign-value: {template: [a]}": (errors.WrongShape, "Write the Go source"),
    "assign-value: {template: a, order: 1}": (errors.UnknownKey, "Known are: imports, lang, template"),
    "wrap-expression: {template: a, links: [b]}": (errors.UnknownKey, "Known are: imports, lang, template"),
    "wrap-expression: {template: a, lang: '1.18'}": (errors.InvalidGoName, "as `go1.21`"),
    "wrap-expression: {template: a, imports: {a-b: c}}": (errors.InvalidGoName, "identifier: import/path"),
    "wrap-expression: {template: a, imports: {_: c}}": (errors.InvalidGoName, "identifier: import/path"),
    "wrap-expression: {template: a, imports: [c]}": (errors.WrongShape, "Write `key: value` lines"),
    "prepend-statements: {template: a, order: first}": (errors.WrongShape, "Write a number"),
    "prepend-statements: {template: a, order: 1.5}": (errors.WrongShape, "Write a number"),
    "append-args: {type: a.B, values: []}": (errors.WrongShape, "Add an entry"),
    "append-args: {values: [{template: a}]}": (errors.WrongShape, "Add `type:` to it"),
    "add-struct-field: {name: a-b, type: any}": (errors.InvalidGoName, "Write a Go identifier"),
    "replace-function: a.b.": (errors.InvalidGoName, "Write a Go name"),
    "inject-declarations: {template: var x int, links: a}": (errors.WrongShape, "Begin every entry with `- `"),
}


@pytest.mark.parametrize("text", JOIN_POINTS)
def test_join_points(tmp_path: Path, text: str) -> None:
    kind, remedy = JOIN_POINTS[text]
    error = refused(tmp_path, HEAD.format(point=text, advice=ADVICE))
    assert type(error) is kind
    assert error.line == 4
    assert remedy in error.remedy


@pytest.mark.parametrize("text", ADVICES)
def test_advice(tmp_path: Path, text: str) -> None:
    kind, remedy = ADVICES[text]
    error = refused(tmp_path, HEAD.format(point=POINT, advice=text))
    assert type(error) is kind
    assert error.line == 6
    assert remedy in error.remedy


TEMPLATES: dict[str, tuple[int, str]] = {
    "a\n{{ if .Function }}\nb": (2, "Add `{{end}}`"),
    "a\n{{ end }}": (2, "Remove it"),
    "{{ else }}": (1, "Remove it"),
    "{{ if .AST }}{{ break }}{{ end }}": (1, "Remove it"),
    "a {{ . ": (1, "Add `}}`"),
    '\n\n{{ print "a }}': (3, "Close it"),
    "{{ .Funktion }}": (1, "Did you mean 'Function'?"),
    "\n{{ .Function.Arguments }}": (2, "Did you mean 'Argument'?"),
    "{{ with .AST }}{{ $.Functio.Name }}{{ end }}": (1, "Did you mean 'Function'?"),
    "{{ prinft 1 }}": (1, "Did you mean 'print'?"),
}


@pytest.mark.parametrize("text", TEMPLATES)
def test_templates(tmp_path: Path, text: str) -> None:
    line, remedy = TEMPLATES[text]
    block = "|-\n" + "".join(f"            {one}\n" for one in text.split("\n"))
    error = refused(tmp_path, HEAD.format(point=POINT, advice=f"wrap-expression:\n          template: {block}"))
    assert type(error) is errors.InvalidTemplate
    assert error.line == 7 + line
    assert remedy in error.remedy


@pytest.mark.parametrize(
    "text",
    [
        "{{/* {{ */}}a",
        "{{- /* end */ -}}a",
        '{{ "}}" }}{{ `{{` }}{{ print \'}\' }}',
        "{{ range $i, $a := .AST.Args }}{{ if $i }}, {{ else }}{{ continue }}{{ end }}{{ .Whatever }}{{ end }}",
        "{{ (index .AST.Args 0).Name }}{{ Version }}",
        "{{- range .DirectiveArgs `a:b` -}}{{ .Key }}{{ .Value | printf \"%q\" }}{{- end -}}",
        "{{- $x := 1 }}{{ $x = 2 }}{{ with $y := .Function.Name }}{{ $y.Z }}{{ else }}{{ .AST.Fun }}{{ end }}",
        "map[string][]int{{{ . }}: {1}}",
    ],
)
def test_templates_that_are_right(tmp_path: Path, text: str) -> None:
    file = tmp_path / "gotap.yaml"
    file.write_text(HEAD.format(point=POINT, advice=f"wrap-expression:\n          template: |-\n            {text}"))
    assert len(read_rules(str(file)).aspects) == 1


FILES: dict[str | bytes, tuple[type[errors.InvalidRule], int]] = {
    "aspects:\n  - id: [\n": (errors.NotYaml, 3),
    "aspects: x: y\n": (errors.NotYaml, 1),
    "a: *b\n": (errors.NotYaml, 1),
    "aspects: []\n---\naspects: []\n": (errors.NotYaml, 2),
    "a:\n\t- x": (errors.NotYaml, 2),
    b"aspects: []\n# \x00\n": (errors.NotYaml, 0),
    b"meta:\n  name: \xff\n": (errors.UnreadableRules, 2),
    "- a\n": (errors.WrongShape, 1),
    "aspect: []\n": (errors.UnknownKey, 1),
    "aspects: 1\n": (errors.WrongShape, 1),
    "aspects:\n  - id: a\n    advice: []\n": (errors.WrongShape, 2),
    "aspects:\n  - id: a\n    join-point: {test-main: true}\n    advice: []\n": (errors.WrongShape, 4),
    "aspects:\n  - id: ''\n    join-point: {}\n    advice: []\n": (errors.WrongShape, 2),
    "extends: ./a.yml\n": (errors.WrongShape, 1),
    "extends:\n  - /etc/a.yml\n": (errors.WrongShape, 2),
    "meta:\n  title: a\n": (errors.UnknownKey, 2),
    "[" * 1_000_000: (errors.NotYaml, 1),
    "- " * 1_000_000: (errors.NotYaml, 1),
    b"#" * (5 << 20): (errors.UnreadableRules, 0),
}


@pytest.mark.parametrize("text", FILES, ids=lambda text: repr(text[:40]))
def test_files(tmp_path: Path, text: str | bytes) -> None:
    kind, line = FILES[text]
    error = refused(tmp_path, text)
    assert type(error) is kind
    assert error.line == line


def test_the_line_is_shown_and_long_ones_are_cut(tmp_path: Path) -> None:
    error = refused(tmp_path, HEAD.format(point="function-bodies: {}", advice=ADVICE))
    assert error.excerpt == ("    function-bodies: {}",)
    error = refused(tmp_path, HEAD.format(point=f'import-path: "\\e[31m{"a" * 5000}"', advice=ADVICE))
    assert len(str(error)) < 1000
    assert len(error.excerpt[0]) < 200
    assert str(error).isprintable()
    assert refused(tmp_path, b"\xff").excerpt == ("    \ufffd",)
    with pytest.raises(errors.UnreadableRules) as caught:
        read_rules(str(tmp_path / "none.yaml"))
    assert caught.value.excerpt == ()


def test_ids_are_unique(tmp_path: Path) -> None:
    one = "  - {id: a, join-point: {test-main: true}, advice: [{add-blank-import: unsafe}]}\n"
    error = refused(tmp_path, "aspects:\n" + one + "\n" + one)
    assert type(error) is errors.DuplicateId
    assert error.line == 4
    assert "line 2" in str(error)


def test_many_aliases_of_one_value_end(tmp_path: Path) -> None:
    """Each level doubles: what the file describes is larger than any memory."""
    levels = "".join(f"      - &x{i} {{all-of: [*x{i - 1}, *x{i - 1}]}}\n" for i in range(1, 60))
    text = "aspects:\n  - id: a\n    join-point:\n      all-of:\n      - &x0 {test-main: true}\n"
    assert type(refused(tmp_path, f"{text}{levels}    advice: []\n")) is errors.NotYaml


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(errors.UnreadableRules):
        read_rules(str(tmp_path / "none.yaml"))
    with pytest.raises(errors.UnreadableRules):
        read_rules(str(tmp_path))
