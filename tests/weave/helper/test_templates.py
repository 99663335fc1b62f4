"""What templates get to know: the node, the function around it, directives, the version."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpercases import module

pytestmark = pytest.mark.usefixtures("release")


def test_views_have_the_fields_of_nodes(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import "fmt"

type pair struct{ left, right string }

func show(values ...any) { fmt.Println(values...) }

func main() {
	show("a", pair{left: "l", right: "r"})
	show([]any{1}...)
	fmt.Print()
}
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: show}
    advice:
      - wrap-expression:
          template: |-
            {{ $args := .AST.Args -}}
            {{ .AST.Fun }}(
              "{{ .AST.Fun.Name }}", {{ len $args }}, {{ .AST.Ellipsis }}, {{ if not .AST.Ellipsis }}
              {{- (index (index $args 1).Elts 1).Value }}, {{ (index (index $args 1).Elts 0).Value.Copy }},
              {{- with (index $args 1).Type }}"{{ .Name }}"{{ end }}, {{ (index $args 0).Value }},
              {{- end }}
            )
  - join-point: {function-call: fmt.Print}
    advice:
      - wrap-expression:
          imports: {f: fmt}
          template: f.Println("{{ .AST.Fun.Name }}", "{{ .AST.Fun.Path }}", {{ printf "%q" Version }})
""")
    assert app.run() == "show 2 false r l pair a\nshow 1 true\nPrint fmt v9.9.9\n"


def test_later_advice_sees_what_earlier_advice_has_made(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

func add(a, b int) int { return a + b }

func main() { println(add(1, add(20, 300))) }
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: add}
    advice:
      - wrap-expression: {template: "add({{ index .AST.Args 1 }}, {{ index .AST.Args 0 }} * 2)"}
      - wrap-expression: {template: "add({{ index .AST.Args 0 }}, -({{ index .AST.Args 1 }}))"}
      - replace-function: subtract
      - append-args: {type: int, values: [{template: "1000"}]}
  - join-point: {function-body: {function: [{name: main}]}}
    advice:
      - inject-declarations: {template: "func subtract(a, b, c int) int { return a - b + c }"}
""")
    # 300 - -40 + 1000 = 1340; 1340 - -2 + 1000.
    assert app.run() == "2342\n"


def test_arguments_that_were_appended_are_arguments(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import "fmt"

func main() { fmt.Println(fmt.Sprint(), fmt.Sprint("a")) }
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: fmt.Sprint}
    advice:
      - append-args: {type: any, values: [{template: "1"}, {template: "2"}]}
      - wrap-expression:
          imports: {fmt: fmt}
          template: 'fmt.Sprintln({{ range .AST.Args }}{{ . }}, {{ end }} {{ len .AST.Args }})'
""")
    assert app.run() == "1 2 2\n a 1 2 3\n\n"


FUNCTIONS = """package main

import (
	"context"
	"errors"
	"net/http"
)

//app:log first:1 "second:two words" third:'3 4'	name:main
func log(_ context.Context, r, _ *http.Request) (n, _ int, err error) {
	//app:log
	inner := func(string) {}
	inner("")
	return 0, 0, errors.New("failed")
}

func (client) method(http.ResponseWriter) (error, bool) { return nil, true }

type client struct{}

var outside = identity(7)

func identity(n int) int { return n }

func main() {
	log(nil, nil, nil)
	client{}.method(nil)
	println(outside)
}
"""


def test_functions_tell_names_and_types(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": FUNCTIONS})
    app.weave("""
aspects:
  - id: log
    join-point: {function-body: {one-of: [{directive: "app:log"}, {function: [{name: method}]}]}}
    advice:
      - prepend-statements:
          imports: {fmt: fmt}
          template: |-
            {{ $f := .Function -}}
            fmt.Println("{{ $f.QualifiedName }}",
              {{ printf "%q" ($f.ArgumentOfType "context.Context") }},
              {{ printf "%q" ($f.ArgumentOfType "*net/http.Request") }},
              {{ printf "%q" ($f.ArgumentThatImplements "io.Writer") }},
              {{ printf "%q" ($f.ResultOfType "int") }},
              {{ printf "%q" ($f.ResultThatImplements "error") }},
              {{ printf "%q" ($f.LastResultThatImplements "error") }},
              {{ $f.FinalResultImplements "error" }}, "{{ $f.Name }}",
              {{- range .DirectiveArgs "app:log" }}{{ printf "%q, %q, " .Key .Value }}{{ end }})
  - id: outside
    join-point: {function-call: identity}
    advice:
      - wrap-expression: {template: '{{ . }} + 0{{ .Function.ArgumentOfType "int" }}'}
""")
    assert app.run().splitlines() == [
        'main.log __argument__0 r  n err err true log first 1 "second two words" third 3 4 name main',
        "main.log.func1       false ",
        "main.client.method   __argument__0  __result__0 __result__0 false method",
        "7",
    ]


def test_generic_code_and_syntax_of_its_release(tmp_path: Path, release: str) -> None:
    newest = "func (l list[T]) map2[U any](f func(T) U) (r list[U]) { return list[U]{f(l[0])} }\n"
    newest += "var total = list[int]{4}.map2[string](func(int) string { return <-make1() })[0]\n"
    oldest = 'var total = <-make1()\n'
    late = tuple(map(int, release.split("."))) >= (1, 27)
    app = module(tmp_path / "app", {"main.go": f"""package main

type list[T any] []T

func (l *list[T]) push(T) error {{ return nil }}

func keep[K comparable, V any](map[K]V, ...V) (_ K, _ error) {{ return }}

func make1() chan string {{ c := make(chan string, 1); c <- "sent"; return c }}

{newest if late else oldest}

func main() {{
	new(list[int]).push(1)
	keep(map[string]int{{}}, 1)
	println(total)
}}
"""}, lang="1.27" if late else "1.21")  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-body: {function: [{result-implements: error}]}}
    advice:
      - prepend-statements:
          template: |-
            {{ $e := .Function.ResultThatImplements "error" -}}
            defer func() {
              println("{{ .Function.QualifiedName }}", {{ $e }} == nil, len("{{ .Function.Argument 0 }}"))
            }()
  - join-point: {function-call: make1}
    advice: [{wrap-expression: {template: "(func() chan string { println(`made`); return {{ . }} }())"}}]
""")
    assert app.run() == "made\nmain.(*list).push true 13\nmain.keep true 13\nsent\n"
