"""All kinds of advice: woven modules compile, and do what the rule says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gobuild import MissingTool
from helpercases import module

pytestmark = pytest.mark.usefixtures("release")


def test_statements_run_first_and_see_unnamed_parameters_and_results(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import "errors"

type T struct{}

func (*T) divide(int, string, ...int) (int, error) {
	return 0, errors.New("by zero")
}

func bare() error { return errors.New("bare") }

func main() {
	new(T).divide(1, "two", 3)
	_ = bare()
}
"""})  # fmt: skip
    answer = app.weave("""
aspects:
  - id: results
    join-point:
      function-body: {function: [{final-result-implements: error}]}
    advice:
      - prepend-statements:
          imports: {out: fmt}
          template: |-
            {{- $e := .Function.LastResultThatImplements "error" }}
            // told when it ends
            defer func() {
              out.Println("{{ .Function.Name }}", {{ $e }})
            }()
  - id: arguments
    join-point:
      function-body: {function: [{name: divide}]}
    advice:
      - prepend-statements:
          imports: {fmt: fmt}
          template: |-
            fmt.Println({{ .Function.Argument 0 }}, {{ .Function.Argument 1 }}, {{ .Function.Argument 2 }},
              {{ .Function.Receiver }} != nil)
""")
    assert app.run() == "1 two [3] true\ndivide by zero\nbare bare\n"
    text = app.read()
    assert "(__receiver__0 *T) divide(__argument__0 int, __argument__1 string, __argument__2 ...int) (_ int," in text
    assert "func bare() (__result__0 error) {" in text
    assert {(match.aspect, match.line, match.what) for match in answer.matches} == {
        ("results", 7, "body in main.(*T).divide"),
        ("arguments", 7, "body in main.(*T).divide"),
        ("results", 11, "body in main.bare"),
    }


def test_what_is_prepended_later_runs_earlier(tmp_path: Path) -> None:
    """As in Orchestrion: namespaces by name, the default one last; each is put before what is there."""
    app = module(tmp_path / "app", {"main.go": "package main\n\nfunc main() { println(0) }\n"})
    app.weave("""
aspects:
  - join-point: {function-body: {function: [{name: main}]}}
    advice:
      - prepend-statements: {namespace: b, order: 20, template: println(3)}
      - prepend-statements: {template: println(2)}
      - prepend-statements: {namespace: c, template: "{{ if false }}println(9){{ end }}"}
      - prepend-statements: {namespace: b, order: 10, template: println(4)}
      - prepend-statements: {order: 15, template: println(1)}
""")
    assert app.run() == "1\n2\n3\n4\n0\n"


def test_wrapping_composes_and_keeps_the_programs_text_in_place(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import (
	"fmt"
	str "strings"
)

func main() {
	fmt.Println(str.Repeat(
		str.ToUpper("a"), // told
		2,
	))
}
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: strings.Repeat}
    advice:
      - wrap-expression: {template: "func(s string) string { return s + `|` }({{ . }})"}
      - wrap-expression: {template: '"<" + {{ . }} + ">"'}
  - join-point: {function-call: strings.ToUpper}
    advice:
      - wrap-expression:
          imports: {s: strings}
          template: |-
            s.ToLower(
              {{ range .AST.Args }}{{ . }},
            {{ end }}) + {{ index .AST.Args 0 }}
""")
    assert app.run() == "<aaaa|>\n"
    assert "// told" in app.read()


def test_what_changes_its_order_is_written_anew_on_one_line(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import "fmt"

func call(f func() string, n int) string { return fmt.Sprintln(f(), n) }

func main() {
	fmt.Print(call(func() string {
		if true { // a comment
			return `a
b`
		}
		return ""
	}, 1+1))
}
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: call}
    advice:
      - wrap-expression:
          template: |-
            func(n int, f func() string) string {
              return {{ .AST.Fun }}(f, -n)
            }({{ index .AST.Args 1 }}, {{ index .AST.Args 0 }})
""")
    assert app.run() == "a\nb -2\n"


def test_operands_are_parenthesised(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

type S struct{ n int }

func (s S) N() int { return s.n }
func get(n int) int { return n }

var lit = S{n: 1 + 1}

func main() {
	println(lit.n, -get(2)*3)
}
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: get}
    advice: [{wrap-expression: {template: "{{ . }} + 1"}}]
  - join-point: {struct-literal: {type: example.com/app.S, field: n}}
    advice: [{wrap-expression: {template: "{{ . }} * 10"}}]
""")
    assert app.run() == "20 -9\n"


def test_arguments_are_appended_without_touching_the_callers_slice(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import "fmt"

type option string

func with(options ...option) { fmt.Println(len(options), options) }

func main() {
	with()
	with(
		"a",
		"b",
	)
	all := make([]option, 1, 9)
	with(all...)
	fmt.Println(all[:2][1] == "")
}
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: with}
    advice:
      - append-args: {type: option, values: [{template: '"x"'}, {template: '"y" + "z"'}]}
      - append-args: {type: option, values: [{template: '"!"'}]}
""")
    assert app.run() == "3 [x yz !]\n5 [a b x yz !]\n4 [ x yz !]\ntrue\n"


def test_functions_are_replaced_and_imports_that_nothing_uses_go(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import (
	"fmt"
	"strings"
	str "strings"
)

func main() {
	fmt.Println(strings.ToUpper("Ab"), str.ToUpper("Ab"))
}
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: strings.ToUpper}
    advice: [{replace-function: strings.ToLower}]
""")
    assert app.run() == "ab ab\n"
    assert '\t_ "strings"\n\t_ "strings"\n' in app.read()


def test_text_that_is_only_taken_out(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import (
	"fmt"
	s "strings"
)

func main() {
	fmt.Println(s.TrimSpace(" a "), s.TrimSpace(
		func() string {
			return "b" // a comment
		}(), // another
	))
}
"""})  # fmt: skip
    answer = app.weave("""
aspects:
  - id: taken
    join-point: {function-call: strings.TrimSpace}
    advice: [{wrap-expression: {template: "{{ index .AST.Args 0 }}"}}]
  - id: names
    join-point: {function-body: {function: [{name: main}]}}
    advice: [{prepend-statements: {template: 'var n struct{ s struct{ s int } }; _, _ = n.s.s, "s.T"'}}]
""")
    assert app.run() == " a  b\n"
    assert {edit.aspect for edit in answer.edits} == {"taken", "names"}
    assert "// a comment" in app.read()
    assert '\t_ "strings"' in app.read()


def test_values_are_assigned_to_every_name(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

var enabled, other bool
var version string = "none"

//app:answer
const answer = 7 * 3

func main() { println(enabled, other, version, answer) }
"""})  # fmt: skip
    app.weave("""
aspects:
  - join-point: {all-of: [{value-declaration: bool}, {import-path: example.com/app}]}
    advice: [{assign-value: {template: "true"}}]
  - join-point: {declaration-of: example.com/app.version}
    advice: [{assign-value: {template: '{{ printf "%q" Version }}'}}]
  - join-point: {all-of: [{directive: app:answer}, {value-declaration: int}]}
    advice: [{assign-value: {template: "42"}}]
""")
    assert app.run() == "true true v9.9.9 42\n"


def test_fields_and_declarations_are_added(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

type (
	one   struct{ a, b int `x:"y"` } // one line
	empty struct{}
	long  struct {
		a int
		// a comment
	}
)

func main() {
	println(one{a: 1}.a)
}
// the last line has no newline"""})  # fmt: skip
    rules = "aspects:\n" + "".join(f"""
  - join-point: {{struct-definition: example.com/app.{name}}}
    advice:
      - add-struct-field: {{name: added, type: "*net/url.URL"}}
      - add-struct-field: {{name: more, type: context.Context}}
""" for name in ("one", "empty", "long")) + """
  - join-point: {function-body: {function: [{name: main}]}}
    advice:
      - prepend-statements: {template: "println(long{}.added == nil, now() > 0, empty{}.more == nil)"}
      - inject-declarations:
          imports: {unsafe: unsafe}
          links: [time]
          template: |-
            //go:linkname now runtime.nanotime
            func now() int64
"""  # fmt: skip
    answer = app.weave(rules)
    (app.folder / "empty.s").write_text("")
    assert app.run() == "true true true\n1\n"
    assert [(one.package, one.path) for one in answer.links] == [("example.com/app", "time")]
    assert answer.bodiless == ("example.com/app",)
    assert {one.path for one in answer.imports} == {"net/url", "context", "unsafe"}


def test_blank_imports_are_added_once(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {
        "main.go": 'package main // import "example.com/app"\n\nfunc main() { println(1); println(2) }\n',
        "side/side.go": 'package side\n\nfunc init() { println("side") }\n',
    })  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-call: println}
    advice: [{add-blank-import: example.com/app/side}]
""", "./...", targets=[])  # fmt: skip
    assert app.read().count("example.com/app/side") == 1
    assert app.run() == "side\n1\n2\n"


def test_files_with_cgo_and_windows_line_ends(tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        raise MissingTool("needs gcc (package gcc)")
    app = module(tmp_path / "app", {
        "main.go": """package main

// static int twice(int n) { return 2 * n; }
import "C"

func double(n int) int { return int(C.twice(C.int(n))) }

func main() {
	println(double(len(crlf())))
}
""",
        "crlf.go": "\ufeffpackage main\r\n\r\nfunc crlf() string {\r\n\treturn `a\r\nb`\r\n}\r\n",
    })  # fmt: skip
    app.weave("""
aspects:
  - join-point: {function-body: {one-of: [{function: [{name: double}]}, {function: [{name: crlf}]}]}}
    advice: [{prepend-statements: {imports: {os: os}, template: 'os.Stderr.WriteString("{{ .Function.Name }}\\n")'}}]
  - join-point: {function-call: crlf}
    advice: [{wrap-expression: {template: "func() string { return `` }() + {{ . }}"}}]
""")
    assert app.run() == "crlf\ndouble\n6\n"
