"""Rules that cannot be followed are told at their own line and at the program's."""

from __future__ import annotations

from pathlib import Path

import pytest

from gotap.weave.helper.protocol import Failure
from helpercases import Module, module

PROGRAM = """package main

import "fmt"

func main() {
	fmt.Println(1)
}

func unused(string) {}
"""


@pytest.fixture
def app(tmp_path: Path) -> Module:
    return module(tmp_path / "app", {
        "main.go": PROGRAM, "lib/lib.go": "package lib\n\nfunc F() {}\n",
        "user/user.go": 'package user\n\nimport "example.com/app/lib"\n\nfunc G() { lib.F() }\n',
    })  # fmt: skip


def failure(app: Module, advice: str, point: str = "{function-call: fmt.Println}") -> Failure:
    answer = app.ask(f"aspects:\n  - id: rule\n    join-point: {point}\n    advice:\n{advice}")
    (error,) = answer.errors
    assert error.aspect == "rule"
    assert error.rule_file.endswith("rules.yml")
    return error


def wrap(template: str) -> str:
    lines = "\n".join(f"            {line}" for line in template.splitlines())
    return f"      - wrap-expression:\n          template: |-\n{lines}\n"


def test_templates_that_are_none(app: Module) -> None:
    error = failure(app, wrap("f(\n{{ if 1 2 | 3 }}{{ end }})"))
    assert (error.rule_line, error.file) == (8, "")
    assert "non executable command in pipeline" in error.message


@pytest.mark.parametrize(("template", "message"), [
    ("{{ .AST.None }}", 'no entry for key "None"'),
    ("{{ .Function.Argument 3 }}", "there is no argument 3: the function has 0"),
    ("{{ .Function.Receiver }}", "the function is not a method"),
    ("{{ .Function.ArgumentOfType `a b` }}", '"a b" is not a type'),
    ("f(", "text that is not Go"),
    ("'", "text that is not Go"),
    ("x := 1", "must yield an expression, not a statement"),
    ("f(); g()", "one expression, not 2 statements"),
    ("", "one expression, not 0 statements"),
])  # fmt: skip
def test_templates_that_do_not_fit(app: Module, template: str, message: str) -> None:
    error = failure(app, wrap(template or "{{ print }}"))
    assert message in error.message
    assert (error.rule_line, Path(error.file).name, error.line, error.column) == (7, "main.go", 6, 2)


def test_text_that_is_not_go_is_shown_with_the_programs_text(app: Module) -> None:
    assert "f(fmt.Println(1)" in failure(app, wrap("f({{ . }}")).message


@pytest.mark.parametrize(("advice", "message"), [
    ("{prepend-statements: {template: f()}}", "applies to blocks, but the join point matches call of fmt.Println"),
    ("{add-struct-field: {name: a, type: int}}", "applies to struct types"),
    ("{assign-value: {template: f()}}", "applies to declarations"),
    ('{inject-declarations: {template: import "fmt"}}', "import declaration"),
    ("{inject-declarations: {template: f()}}", "not Go"),
])  # fmt: skip
def test_advice_that_does_not_fit_the_node(app: Module, advice: str, message: str) -> None:
    error = failure(app, f"      - {advice}\n")
    assert message in error.message
    assert (error.rule_line, error.line) == (5, 6)


def test_advice_for_calls_at_a_function(app: Module) -> None:
    for advice in ("{replace-function: fmt.Print}", "{append-args: {type: int, values: [{template: '1'}]}}"):
        error = failure(app, f"      - {advice}\n", "{function: [{name: unused}]}")
        assert "applies to calls, but the join point matches function main.unused" in error.message


def test_two_that_replace_the_same_are_both_named(app: Module) -> None:
    answer = app.ask("""
aspects:
  - id: one
    join-point: {function-call: fmt.Println}
    advice: [{replace-function: fmt.Print}]
  - id: two
    join-point: {function-call: fmt.Println}
    advice: [{replace-function: fmt.Sprint}]
""")
    (error,) = answer.errors
    assert '"one"' in error.message
    assert '"two"' in error.message
    assert "rules.yml:5 and " in error.message
    assert (error.aspect, error.line) == ("two", 6)


def test_imports_that_close_a_cycle(app: Module) -> None:
    advice = "      - prepend-statements: {imports: {u: example.com/app/user}, template: u.G()}\n"
    error = failure(app, advice, "{function-body: {function: [{name: F}]}}")
    assert "makes a cycle of imports: example.com/app/user → example.com/app/lib" in error.message


def test_imports_that_close_a_cycle_together(app: Module) -> None:
    """Each of the two rules is possible without the other."""
    (app.folder / "side").mkdir()
    (app.folder / "side" / "side.go").write_text("package side\n\nfunc S() {}\n")
    answer = app.ask("""
aspects:
  - id: first
    join-point: {function-body: {function: [{name: F}]}}
    advice: [{prepend-statements: {imports: {s: example.com/app/side}, template: s.S()}}]
  - id: second
    join-point: {function-body: {function: [{name: S}]}}
    advice: [{prepend-statements: {imports: {u: example.com/app/user}, template: u.G()}}]
""")
    (error,) = answer.errors
    assert error.message.endswith(
        "a cycle of imports: example.com/app/user → example.com/app/lib → example.com/app/side"
    )


def test_why_nothing_matches(app: Module) -> None:
    points = {
        "{function-call: net/http.Get}": "no package of the build that may be changed imports net/http",
        "{directive: 'app:none'}": 'no file holds "//app:none"',
        "{one-of: [{import-path: a/b}, {import-path: c/d}]}": "the package is not a/b",
        "{function-call: fmt.main}": "nothing in package example.com/app matches",
    }
    rules = "aspects:\n" + "".join(
        f"  - id: a{number}\n    join-point: {point}\n    advice: [{{add-blank-import: unsafe}}]\n"
        for number, point in enumerate(points)
    )
    answer = app.ask(rules)
    reasons = [one.reason for one in answer.unmatched]
    assert [reason[: len(expected)] for reason, expected in zip(reasons, points.values(), strict=True)] == [
        *points.values()
    ]


def test_only_internal_aspects_change_internal_packages(app: Module) -> None:
    rules = """
aspects:
  - id: ordinary
    join-point: {function: [{name: F}]}
    advice: [{add-blank-import: unsafe}]
  - id: internal
    tracer-internal: true
    join-point: {function: [{name: F}]}
    advice: [{add-blank-import: unsafe}]
"""
    answer = app.ask(rules, internal=["example.com/app/lib"])
    assert {match.aspect for match in answer.matches} == {"internal"}


def test_newer_language_is_told(app: Module) -> None:
    rules = """
aspects:
  - join-point: {function-call: fmt.Println}
    advice:
      - wrap-expression: {lang: go1.22, template: "{{ . }}"}
      - wrap-expression: {lang: go1.18, template: "{{ . }}"}
"""
    answer = app.ask(rules)
    assert [(one.package, one.lang) for one in answer.languages] == [("example.com/app", "go1.22")]
    assert answer.edits == ()


def _prepend(text: str) -> str:
    return f"      - prepend-statements:\n          template: |-\n            {text}\n"


_BODY = "{function-body: {function: [name: main]}}"


@pytest.mark.parametrize(("advice", "point", "message", "place"), [
    (_prepend("undefined()"), _BODY, "undefined: undefined", (5, 14)),
    (_prepend("var x int"), _BODY, "declared and not used: x", (5, 14)),
    (_prepend('return "text"'), _BODY, "too many return values", (5, 14)),
    (wrap("len({{ . }})"), "{function-call: fmt.Println}", "too many arguments", (6, 16)),
    ("      - replace-function: missing\n", "{function-call: fmt.Println}", "undefined: missing", (6, 2)),
    ("      - inject-declarations:\n          template: func unused() {}\n", "{function-call: fmt.Println}",
     "unused redeclared", (9, 33)),
])  # fmt: skip
def test_text_that_does_not_compile(
    app: Module, advice: str, point: str, message: str, place: tuple[int, int]
) -> None:
    """At the rule's line and at the program's, before anything is built. What was wrong before is not the rule's."""
    (app.folder / "main.go").write_text(PROGRAM.replace("func unused(string) {}", "func unused(string) { wrong() }"))
    answer = app.ask(f"aspects:\n  - id: rule\n    join-point: {point}\n    advice:\n{advice}")
    error = next(one for one in answer.errors if message in one.message)
    assert error.message.startswith("what it weaves does not compile: ")
    assert Path(error.file).name == "main.go"
    assert (error.line, error.column) == place, error
    assert 5 <= error.rule_line <= 8
    assert not any("wrong" in one.message for one in answer.errors)


def test_what_rules_add_to_other_packages_is_known(app: Module) -> None:
    """A package is looked at with others as they are on disk, without a field that a rule gives to one of theirs."""
    (app.folder / "lib/lib.go").write_text("package lib\n\ntype T struct{ a int }\n\nfunc F() *T { return &T{} }\n")
    rules = """aspects:
  - id: field
    join-point: {struct-definition: example.com/app/lib.T}
    advice: [{add-struct-field: {name: Added, type: int}}]
  - id: use
    join-point: {function-call: example.com/app/lib.F}
    advice:
      - wrap-expression: {template: "{{ . }}.Added++"}
"""
    rules = rules.replace('"{{ . }}.Added++"', '"func() { {{ . }}.Added++ }()"')
    assert not app.ask(rules).errors
