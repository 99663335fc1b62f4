"""All join points: which nodes of a program they select, by real types."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from helpercases import Module, module

PROGRAM = """package main

import (
	"context"
	"fmt"
	. "io"
	h "net/http"
	"strings"
)

type (
	Ctx    = context.Context
	client struct {
		h.Client
		own *h.Client
	}
	list[T any] struct{ items []T }
	fails struct{}
)

func (fails) Error() string { return "" }

func (l *list[T]) add(item T) { l.items = append(l.items, item) }

func alias(c Ctx, names ...string) (n int, err error) { return 0, nil }

func grouped(a, b string) (*fails, fails) { return nil, fails{} }

func reads(r *strings.Reader) { ReadAll(r) }

var fallback = &h.Client{Timeout: 1}

func main() {
	strings := strings.NewReader("shadows")
	strings.Len()
	h.DefaultClient.Get("")
	c := client{own: fallback}
	c.Get("")
	c.own.Get("")
	(*c.own).CloseIdleConnections()
	clients := []h.Client{{Timeout: 2}, h.Client{}}
	_ = clients
	fmt.Println(func() string { return "literal" }())
	new(list[int]).add(1)
}
"""


def selected(app: Module, join_points: Iterable[str]) -> dict[str, list[str]]:
    """What each join point selects in the module, as `line what`."""
    rules = "aspects:\n" + "".join(
        f"  - id: {json.dumps(point)}\n    join-point: {point}\n    advice: [{{add-blank-import: unsafe}}]\n"
        for point in join_points
    )
    answer = app.ask(rules)
    assert answer.errors == ()
    found: dict[str, list[str]] = {point: [] for point in join_points}
    for match in answer.matches:
        found[match.aspect].append(f"{match.line} {match.what}")
    assert {one.aspect for one in answer.unmatched} == {point for point, where in found.items() if not where}
    return found


FUNCTIONS = {
    "{function: [{name: add}]}": ["23 function main.(*list).add"],
    '{function: [{name: ""}]}': ["43 function main.main.func1"],
    '{function: [{receiver: "*example.com/app.list"}]}': ["23 function main.(*list).add"],
    "{function: [{receiver: example.com/app.list}]}": [],
    "{function: [{receiver: example.com/app.fails}]}": ["21 function main.fails.Error"],
    "{function: [{receiver: true}]}": ["21 function main.fails.Error", "23 function main.(*list).add"],
    "{function: [{signature: {args: [context.Context, ...string], returns: [int, error]}}]}": [
        "25 function main.alias"
    ],
    "{function: [{signature: {args: [string, string], returns: ['*example.com/app.fails', fails]}}]}": [
        "27 function main.grouped"
    ],
    "{function: [{signature-contains: {args: [context.Context], returns: [string]}}]}": [
        "21 function main.fails.Error", "25 function main.alias", "43 function main.main.func1",
    ],
    "{function: [{result-implements: error}]}": ["25 function main.alias", "27 function main.grouped"],
    "{function: [{final-result-implements: error}, {receiver: false}]}": [
        "25 function main.alias", "27 function main.grouped",
    ],
    "{function: [{argument-implements: io.Reader}]}": ["29 function main.reads"],
    "{function: [{argument-implements: context.Context}]}": ["25 function main.alias"],
    "{function-body: {function: [{name: reads}]}}": ["29 body in main.reads"],
    "{function-body: {not: {function: [{receiver: false}]}}}": [
        "21 body in main.fails.Error", "23 body in main.(*list).add",
    ],
}  # fmt: skip

NODES = {
    "{function-call: io.ReadAll}": ["29 call of ReadAll in main.reads"],
    "{function-call: strings.NewReader}": ["34 call of strings.NewReader in main.main"],
    "{function-call: strings.Len}": [],
    "{function-call: net/http.Get}": [],
    "{function-call: append}": ["23 call of append in main.(*list).add"],
    "{method-call: {receiver: net/http.Client, name: Get}}": [
        "36 call of h.DefaultClient.Get in main.main", "39 call of c.own.Get in main.main",
    ],
    "{method-call: {receiver: net/http.Client, name: CloseIdleConnections, match: pointer-only}}": [],
    "{method-call: {receiver: net/http.Client, name: CloseIdleConnections, match: value-only}}": [
        "40 call of (*c.own).CloseIdleConnections in main.main"
    ],
    "{method-call: {receiver: example.com/app.client, name: Get}}": ["38 call of c.Get in main.main"],
    "{method-call: {receiver: example.com/app.list, name: add}}": ["44 call of new(list[int]).add in main.main"],
    "{struct-definition: example.com/app.client}": ["13 type client"],
    "{struct-definition: example.com/app.list}": ["17 type list"],
    "{struct-literal: {type: net/http.Client, match: pointer-only}}": ["31 expression &h.Client{…}"],
    "{struct-literal: {type: net/http.Client, match: value-only}}": ["41 literal of h.Client in main.main"],
    "{struct-literal: {type: net/http.Client, field: Timeout}}": [
        "31 field Timeout", "41 field Timeout in main.main",
    ],
    "{value-declaration: '*net/http.Client'}": ["31 declaration of fallback"],
    "{declaration-of: example.com/app.fallback}": ["31 declaration of fallback"],
    "{declaration-of: example.com/app.main}": ["33 function main.main"],
    "{declaration-of: example.com/app.add}": [],
}  # fmt: skip


@pytest.mark.usefixtures("release")
def test_join_points_select_by_real_types(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": PROGRAM})
    expected = {**FUNCTIONS, **NODES}
    found = selected(app, expected)
    assert {point: where for point, where in found.items() if where != expected[point]} == {}


def test_scopes_and_combinators(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": PROGRAM})
    yes = [
        "{import-path: example.com/app}", "{package-name: main}", "{package-filter: example.com/*}",
        "{package-filter: '**'}", "{package-filter: '**/app'}", "{package-filter: exam**/app}",
        "{package-filter: {root: true}}", "{package-filter: {root: true, pattern: .}}", "{test-main: false}",
        "{not: {import-path: net/http}}", "{one-of: [{import-path: none}, {package-name: main}]}",
        "{not: {function-call: fmt.Println}}", "{not: {directive: none}}", "{configuration: {key: value}}",
    ]  # fmt: skip
    no = [
        "{import-path: net/http}", "{package-name: other}", "{package-filter: example.com}",
        "{package-filter: {root: true, pattern: inner/**}}", "{test-main: true}", "{not: {package-name: main}}",
        "{one-of: [{import-path: none}]}", "{configuration: {key: other}}", "{configuration: {none: value}}",
    ]  # fmt: skip
    rules = "aspects:\n" + "".join(
        f"  - id: {json.dumps(one)}\n    join-point: {{all-of: [{one}, {{function: [{{name: main}}]}}]}}\n"
        "    advice: [{add-blank-import: unsafe}]\n"
        for one in yes + no
    )
    answer = app.ask(rules, configuration={"key": "value"})
    assert {match.aspect for match in answer.matches} == set(yes)
    assert {one.aspect for one in answer.unmatched} == set(no)


DIRECTIVES = """// A heading.
package main

//app:x on a function
func one() {}

// app:x is a comment, not a directive
func two() {}

//app:xyz
func three() {}

//app:x
var four, five = f(1), 2

var (
	//app:x
	six = 6
)

func f(n int) int { return n }

func main() {
	//app:x
	seven := f(f(7))
	//app:x
	seven = f(77)
	//app:x
	defer func() { f(8) }()
	c := make(chan int, 1)
	//app:x
	c <- f(9)
	f(seven) //app:x at a line's end belongs to nothing
	f(10)
	_ = func() {} //app:x
}
"""


def test_directives_cover_what_they_stand_before(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": DIRECTIVES})
    kinds = "{function-call: f}, {function: [{receiver: false}]}, {value-declaration: int}"
    point = f"{{all-of: [{{directive: 'app:x'}}, {{one-of: [{kinds}]}}]}}"
    assert selected(app, [point])[point] == [
        "5 function main.one",
        "14 declaration of four",
        "18 declaration of six",
        "25 call of f in main.main",
        "27 call of f in main.main",
        "29 function main.main.func1",
        "32 call of f in main.main",
    ]


@pytest.mark.parametrize("name", ["gotap:ignore", "orchestrion:ignore", "dd:ignore because"])
def test_what_is_ignored_is_left_alone(tmp_path: Path, name: str) -> None:
    app = module(tmp_path / "app", {
        "main.go": f"""package main

//{name}
func ignored() {{ println(1) }}

func main() {{
	println(2)
	//{name}
	println(3)
	if true {{
		println(4, func() int {{
			//{name}
			println(5)
			return 6
		}}())
	}}
}}
""",
        "whole.go": f"// Text.\n\n//{name}\n\npackage main\n\nfunc init() {{ println(7) }}\n",
    })  # fmt: skip
    point = "{function-call: println}"
    assert [line.split()[0] for line in selected(app, [point])[point]] == ["7", "11"]


def test_tests_and_generated_mains_are_packages_of_their_own(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {
        "a.go": "package a\n\nfunc F() {}\n",
        "a_test.go": 'package a\n\nimport "testing"\n\nfunc TestA(*testing.T) { F() }\n',
        "x_test.go": 'package a_test\n\nimport (\n\t"testing"\n\n\t"example.com/app"\n)\n\n'
                     "func TestX(*testing.T) { a.F() }\n",
    })  # fmt: skip
    rules = "aspects:\n  - join-point: {function-call: example.com/app.F}\n    advice: [{add-blank-import: unsafe}]\n"
    answer = app.ask(rules, tests=True)
    assert [(match.package, match.line) for match in answer.matches] == [
        ("example.com/app_test [example.com/app.test]", 9)
    ]
