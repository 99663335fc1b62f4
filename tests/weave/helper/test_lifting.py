"""Literals of rules' text are declared at the end of the file: how, which ones, and that they do what they did."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpercases import module

pytestmark = pytest.mark.usefixtures("release")


def prepended(text: str, imports: str = "{}") -> str:
    """A rule for functions with the directive app:woven."""
    lines = "\n".join(f"            {line}" for line in text.splitlines())
    return (
        "aspects:\n  - join-point: {function-body: {directive: app:woven}}\n    advice:\n"
        f"      - prepend-statements:\n          imports: {imports}\n          template: |-\n{lines}\n"
    )


def wrapped(text: str, what: str = "example.com/app/lib.F") -> str:
    lines = "\n".join(f"            {line}" for line in text.splitlines())
    return (
        f"aspects:\n  - join-point: {{function-call: {what}}}\n    advice:\n"
        f"      - wrap-expression:\n          template: |-\n{lines}\n"
    )


def test_what_is_captured_is_handed_over(tmp_path: Path) -> None:
    """By value what never changes, as the compiler does it; anything else by its address."""
    app = module(tmp_path / "app", {"main.go": """package main

import "errors"

//app:woven
func work(name string, n int) (err error) {
	n++
	return errors.New("failed")
}

func main() { _ = work("w", 1) }
"""})  # fmt: skip
    rule = "started := 5\ndefer func(end string) {\n  println(name, n, started, err.Error(), end)\n}(`end`)"
    app.weave(prepended(rule))
    assert app.run() == "w 2 5 failed end\n"
    text = app.read()
    assert "defer gotap_rule_main_1.call(gotap_rule_main_1{name, &n, started, &err}, `end`)};\n\tn++\n" in text
    assert text.endswith("""
type gotap_rule_main_1 struct{ name_ string; n_ *int; started_ int; err_ *error }
//go:noinline
/*line :6:44*/func (gotap_rule gotap_rule_main_1) call(end string) { println(gotap_rule.name_, (*gotap_rule.n_), \
gotap_rule.started_, (*gotap_rule.err_).Error(), end); }
""")


def test_the_users_text_within_keeps_its_lines_columns_and_literals(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"lib/lib.go": """package lib

func F(n int, f func() int) int { return n + f() }
""", "main.go": """package main

import "example.com/app/lib"

func main() {
	base, n := 1, 2
	n++
	println(lib.F(base +
		n, func() int {
		n *= 2 // twice
		return n
	}), n)
}
"""})  # fmt: skip
    app.weave(wrapped("func() (sum int) { sum = 100; return sum + {{ . }} }()"))
    assert app.run() == "110 6\n"
    text = app.read()
    assert """	println(gotap_rule_main_1.call(gotap_rule_main_1{base, &n, func() int {
		n *= 2 // twice
		return n
	}}), n)
""" in text
    assert """{ sum = 100; return sum + /*line :8:10*/lib.F(gotap_rule.base_/*line :8:20*/ +
		(*gotap_rule.n_)/*line :9:4*/, gotap_rule.gotap_literal_1/*line :12:3*/) }
""" in text


_SAVED = "if r := recover(); r != nil { err = e.New(r.(string) + ` and is saved`) }"


@pytest.mark.parametrize(("text", "written"), [
    (f"defer func() {{ {_SAVED} }}()", "defer (func())((gotap_rule_main_1{&err}).call)()}"),
    (f"save := func() {{ {_SAVED} }}\ndefer save()", "save := (gotap_rule_main_1{&err}).call; defer save()}"),
    (f"defer func(what string) bool {{ {_SAVED}; return true }}(``)",
     "defer gotap_rule_main_1.call(gotap_rule_main_1{&err}, ``)}"),
    (f"it := func() (any, string) {{ return recover(), `` }}\ndefer func() {{ {_SAVED} }}()\n_ = it",
     "it := gotap_rule_main_1; defer (func())((gotap_rule_main_2{&err}).call)(); _ = it"),
    (f"two := func() (int, string) {{ return 1, `a` }}\ndefer func() {{ {_SAVED} }}()\n"
     "func(n int, s string) { println(n, s, err == nil) }(two())",
     "(gotap_rule_main_3{&err}).call(two())}"),
])  # fmt: skip
def test_panics_are_recovered(tmp_path: Path, text: str, written: str) -> None:
    """Called later, called at once, and kept in variables."""
    app = module(tmp_path / "app", {"main.go": """package main

var table = map[string]func() int{"a": one, "b": two}

func one() int { return 1 }

func two() int { return 2 }

//app:woven
func falls() (err error) { panic("fell") }

func main() { println(falls().Error(), table["a"]() + table["b"]()) }
"""})  # fmt: skip
    app.weave(prepended(text, "{e: errors}"))
    assert app.run().splitlines()[-1] == "fell and is saved 3"
    assert written in app.read()


def test_variables_of_loops_are_captured_as_the_language_version_has_it(tmp_path: Path) -> None:
    text = """package main

func kept(f func()) func() { return f }

//app:woven
func main() {}
"""
    rule = prepended(
        "var all []func()\nfor _, v := range []int{1, 2} {\n  all = append(all, kept(func() { print(v) }))\n}\n"
        "for i := 3; i < 5; i++ {\n  all = append(all, kept(func() { print(i) }))\n}\nfor _, f := range all { f() }"
    )
    printed = {}
    for woven in (False, True):
        app = module(tmp_path / f"app{woven}", {"main.go": text})
        if woven:
            app.weave(rule)
            assert "gotap_rule_main_2{&i}" in app.read()
        else:
            lines = rule.split("template: |-\n")[1]
            (app.folder / "main.go").write_text(text.replace("main() {}", "main() {\n" + lines + "}"))
        printed[woven] = app.run()
    assert printed[True] == printed[False] != ""


def test_types_that_the_file_does_not_import(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import "example.com/app/lib"

//app:woven
func main() { println(lib.Z) }
""", "lib/lib.go": """package lib

import "time"

const Z = "z"

func Day() (time.Month, struct{ N []time.Duration }) {
	return time.May, struct{ N []time.Duration }{[]time.Duration{3}}
}
"""})  # fmt: skip
    app.weave(prepended("month, more := l.Day()\ndefer func() { println(month.String(), more.N[0]) }()",
                        "{l: example.com/app/lib}"))  # fmt: skip
    assert app.run() == "z\nMay 3\n"
    assert ';import __gotap_type_1 "time"' in app.read()


def test_generic_functions(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import "fmt"

type pair[K fmt.Stringer, V ~int | ~string] struct {
	key K
	value V
}

//app:woven
func (p *pair[K, V]) get(more V) (value V) { value = p.value + more; return }

//app:woven
func first[S ~[]E, E any](list S) (value E) { return list[0] }

type name string

func (n name) String() string { return string(n) }

func main() {
	println((&pair[name, int]{"a", 1}).get(2), first([]string{"x"}))
}
"""})  # fmt: skip
    app.weave(prepended("defer func() { fmt.Println({{ .Function.Result 0 }}) }()", "{fmt: fmt}"))
    assert app.run() == "3\nx\n3 x\n"
    text = app.read()
    assert "(gotap_rule_main_1[K, V]{&value}).call()" in text
    assert "type gotap_rule_main_1[K fmt.Stringer, V ~int | ~string] struct{ value_ *V }\n" in text
    assert "type gotap_rule_main_2[S ~[]E, E any] struct{ value_ *E }\n" in text


@pytest.mark.parametrize("text", [
    "type local struct{ n int }\nit := local{1}\ndefer func() { println(it.n) }()",
    "type local struct{ n int }\ndefer func() { println(local{1}.n) }()",
    "const n = 1\ndefer func() { println(n) }()",
    "it := l.New()\ndefer func() { println(it.N) }()",
    "f := func(v T) { println(v == value) }\ndefer f(value)",
])  # fmt: skip
def test_what_cannot_be_written_at_package_level_stays(tmp_path: Path, text: str) -> None:
    app = module(tmp_path / "app", {"lib/lib.go": """package lib

type hidden struct{ N int }

func New() *hidden { return &hidden{1} }
""", "main.go": """package main

import _ "example.com/app/lib"

//app:woven
func work[T comparable](value T) {}

func main() { work(1) }
"""})  # fmt: skip
    app.weave(prepended(text, "{l: example.com/app/lib}" if "l.New" in text else "{}"))
    assert app.run() in ("1\n", "true\n")
    assert "gotap_rule" not in app.read()


def test_text_that_changes_its_order_is_the_users_still(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"lib/lib.go": """package lib

func F(f, g func() int) int { return f() - g() }
""", "main.go": """package main

import "example.com/app/lib"

func main() {
	println(lib.F(func() int { return 1 }, func() int { return 2 }))
}
"""})  # fmt: skip
    app.weave(wrapped(
        "func() int { return {{ .AST.Fun }}({{ index .AST.Args 1 }}, {{ index .AST.Args 0 }}) }()"
    ))  # fmt: skip
    assert app.run() == "1\n"
    assert "gotap_rule_main_1.call(gotap_rule_main_1{func() int { return 1 }, func() int { return 2 }})" in app.read()
    assert "lib.F(/*line" not in app.read()
    assert "lib.F(gotap_rule.gotap_literal_2, gotap_rule.gotap_literal_1)" in app.read().replace("/*line :6:10*/", "")


def test_users_literals_that_see_what_the_rule_declares(tmp_path: Path) -> None:
    """They cannot be taken out of the literal around them."""
    app = module(tmp_path / "app", {"lib/lib.go": """package lib

func F(f func() int) int { return f() }
""", "main.go": """package main

import "example.com/app/lib"

func main() {
	n := 1
	println(n, lib.F(func() int { return n }))
}
"""})  # fmt: skip
    app.weave(wrapped("func(n int) int { return {{ . }} }(7)"))
    assert app.run() == "1 7\n"
    assert "gotap_rule" not in app.read()


def test_declarations_of_rules(tmp_path: Path) -> None:
    """Literals in functions of a rule are its own; those outside of functions are counted in the package."""
    app = module(tmp_path / "app", {"a-file.go": """package main

func aid() {}
""", "main.go": """package main

import ("fmt"; "reflect"; "runtime")

var own = func() {}

func main() { aid(); fmt.Println(runtime.FuncForPC(reflect.ValueOf(own).Pointer()).Name()) }
"""})  # fmt: skip
    plain = app.run()
    app.weave("""aspects:
  - join-point: {declaration-of: example.com/app.aid}
    advice:
      - inject-declarations:
          template: |-
            var gotap_value = func() int { return 1 }()
            func gotap_own() func() { return func() {} }
""")
    assert app.run() == plain
    assert "func gotap_rule_a_2d_file_1() int { return 1 }" in app.read("a-file.go")
    assert "func gotap_own() func() { return func() {} }" in app.read("a-file.go")


def test_init_functions_of_rules(tmp_path: Path) -> None:
    """They are numbered in the package, like the program's: those that another one follows are called by that."""
    app = module(tmp_path / "app", {"a.go": """package main

func init() { func() { here() }() }

//app:first
func a() {}
""", "b.go": """package main

//app:second
func b() {}
""", "c.go": """package main

import "runtime"

func here() {
	pc, _, _, _ := runtime.Caller(1)
	println(runtime.FuncForPC(pc).Name())
}

func init() {
	here()
	func() { here() }()
}

func init() { here() }

//app:third
func main() { a(); b() }
"""})  # fmt: skip
    plain = app.run().splitlines()
    assert plain[1:] == ["main.init.1", "main.init.1.func1", "main.init.2"]
    rule = """  - join-point: {directive: "app:DIRECTIVE"}
    advice:
      - inject-declarations:
          template: |-
            var gotap_DIRECTIVE = "DIRECTIVE"
            func init() { func() { println(gotap_DIRECTIVE) }() }
"""
    app.weave("aspects:\n" + "".join(rule.replace("DIRECTIVE", name) for name in ("first", "second", "third")))
    woven = app.run().splitlines()
    assert woven == [plain[0], "first", "second", *plain[1:], "third"]
    assert "func init() {gotap_rule_a_init_1();gotap_rule_b_init_1();\n" in app.read("c.go")
    assert "gotap_rule_c_init_1" not in app.read("c.go")


def test_positions_in_a_rules_literal_are_the_users(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": """package main

import "runtime"

//app:woven
func work() int {
	return 1
}

func main() { work() }

func line() int {
	_, _, line, _ := runtime.Caller(1)
	return line
}
"""})  # fmt: skip
    app.weave(prepended("defer func() {\n  println(line())\n}()"))
    assert app.run() == "6\n"


def test_variants_of_a_package_get_the_same_text(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {
        "lib.go": "package app\n\n//app:woven\nfunc Work() {}\n",
        "lib_test.go": 'package app\n\nimport "testing"\n\n//app:woven\nfunc TestWork(t *testing.T) { Work() }\n',
    })  # fmt: skip
    answer = app.ask(prepended("n := 1\ndefer func() { _ = n }()"), tests=True)
    assert answer.errors == ()
    shared = [edit for edit in answer.edits if edit.file.endswith("lib.go")]
    variants = {edit.package for edit in shared}
    assert len(variants) == 2
    texts = {tuple((edit.offset, edit.insert) for edit in shared if edit.package == one) for one in variants}
    assert len(texts) == 1
    assert "gotap_rule_lib_1" in str(texts)
