"""Scripts → syntax trees, and what errors say and where they point."""

import re
import sys
from pathlib import Path
from random import Random
from types import FrameType

import pytest

from gotap.probe.expression import (
    MOST_LEVELS,
    MOST_LISTED,
    Binary,
    Call,
    Index,
    Literal,
    Local,
    MapValue,
    Name,
    Own,
    Select,
)  # fmt: skip
from gotap.probe.script.language import tree
from gotap.probe.script.language.format import MOST_WIDTH
from gotap.probe.script.language.parser import MOST_PROBES, MOST_TEXT, parse_script
from gotap.probe.script.language.source import ScriptError
from gotap.probe.script.language.specs import MOST_HERTZ
from gotap.probe.script.language.vocabulary import (
    AGGREGATION_USES,
    BUILTINS,
    FUNCTIONS,
    GOROUTINE_EVENTS,
    KINDS,
    POINTS,
    STATEMENTS,
)  # fmt: skip
from script_texts import ScriptWriter, places_removed, written


def spec(text: str) -> tree.Spec:
    (probe,) = parse_script(text).probes
    (one,) = probe.specs
    return one


def block(text: str) -> tuple[tree.Statement, ...]:
    found = parse_script(f"f.f {{ {text} }}").probes[0].block
    assert found is not None
    return found


def same(found: object, wanted: object) -> bool:
    return places_removed(found) == places_removed(wanted)


# -- the issue's own examples -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "specs", "has_predicate", "has_block"),
    [
        ("main.prepareAnswer", [tree.Function("main.prepareAnswer", "call", 0)], False, False),
        ("net/http.(*Transport).*", [tree.Function("net/http.(*Transport).*", "call", 0)], False, False),
        (
            r'main.prepareAnswer:entry { printf("%s %d\n", args.name, args.year) }',
            [tree.Function("main.prepareAnswer", "entry", 0)], False, True,
        ),
        (
            "main.prepareAnswer:return / args.status >= 500 / { @[args.name] = hist(latency) }",
            [tree.Function("main.prepareAnswer", "return", 0)], True, True,
        ),
        ("goroutine:create { @[func] = count() }", [tree.Goroutine("create", 0)], False, True),
        ("main.go:42 { print(x, len(items)) }", [tree.Line("main.go", 42, 0)], False, True),
        ("main.main:inline", [tree.Function("main.main", "inline", 0)], False, False),
    ],
)  # fmt: skip
def test_what_a_user_can_type(text: str, specs: list[tree.Spec], has_predicate: bool, has_block: bool) -> None:
    (probe,) = parse_script(text).probes
    assert list(probe.specs) == specs
    assert (probe.predicate is not None, probe.block is not None) == (has_predicate, has_block)


def test_a_script_of_many_lines() -> None:
    text = """#!/usr/bin/env -S gotap trace
# who is slow
sig 'main.f(name string, n int) (string, error)'

begin { @n = 0 }
main.handler:entry,     // both
main.other:entry
/ args.size / 2 > 10 &&
  args.name != "x/y" /
{
	self.start = nsecs   /* a comment { */
	$slow = 10ms; @seen[goid, args.name]++
	# another
}
interval:1s { print(@seen) ; clear(@seen) }; end
sig "main.g()"
"""
    script = parse_script(text, "slow.gt")
    assert script.name == "slow.gt"
    assert script.text == text
    assert [one.text for one in script.signatures] == ["main.f(name string, n int) (string, error)", "main.g()"]
    assert [text[one.at :][: len(one.text)] for one in script.signatures] == [one.text for one in script.signatures]
    begin, handler, interval, end = script.probes
    assert begin.text == "begin"
    assert handler.text == "main.handler:entry, main.other:entry"
    assert [text[one.at :].split(":")[0] for one in handler.specs] == ["main.handler", "main.other"]
    assert handler.predicate == Binary(
        "&&",
        Binary(">", Binary("/", Select(Name("args"), "size"), Literal(2)), Literal(10)),
        Binary("!=", Select(Name("args"), "name"), Literal(b"x/y")),
    )
    assert handler.block is not None
    assert same(
        handler.block,
        (
            tree.Assign(tree.OwnTarget("start", 0), "=", Name("nsecs"), 0),
            tree.Assign(tree.LocalTarget("slow", 0), "=", Literal(10_000_000, "duration"), 0),
            tree.Assign(
                tree.MapTarget("seen", (Name("goid"), Select(Name("args"), "name")), 0), "+=", Literal(1), 0
            ),
        ),
    )
    assert interval.specs == (tree.Interval(10**9, text.index("interval")),)
    assert end.block is None


# -- where probes sit -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "main.*", "*", "main.(*T).M", "main.(*T).*", "main.T.M-fm", "main.f.func1", "main.f.func1.2.gowrap3",
        "main.init.0", "net/http.(*Transport).roundTrip", "gopkg.in/yaml%2ev3.Unmarshal", "main.Map[...]",
        "main.Map[int,string]", "main.(*Set[go.shape.int]).Add", "main.Map[struct{X:int}]", "main.größe", "main.世界",
        "memeqbody", "_rt0_amd64_linux", "_cgo_0123", "github.com/a-b/c~d/*", "type:.eq.main.T", "go:main.inittasks",
        "type..eq.[3]main.T", "glob..func1", "main.Map[interface { M(int) }]", "main.F[map[string]struct { A, B int }]",
        "main.beginner", "end.f", "sig.f", "main.sig", "signal.Notify", "*.print", "**",
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["", ":entry", ":panic", " { }", ":return / 1 / { }", ":inline/ 1 /", ";", "{}"])
def test_names_of_functions_are_taken_as_they_are(name: str, suffix: str) -> None:
    found = spec(name + suffix)
    assert isinstance(found, tree.Function)
    assert found.pattern == name.replace("A, B", "A,B")
    assert found.point == (suffix.strip(" /1{};")[1:] or "call")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("begin", tree.Begin(0)),
        ("BEGIN", tree.Begin(0)),
        ("END{}", tree.End(0)),
        ("interval:1s", tree.Interval(10**9, 0)),
        ("interval:250ms{}", tree.Interval(250 * 10**6, 0)),
        ("interval:1m30s", tree.Interval(90 * 10**9, 0)),
        ("interval:s:5", tree.Interval(5 * 10**9, 0)),
        ("profile:99hz", tree.Profile(99, 0)),
        ("profile:99", tree.Profile(99, 0)),
        ("profile:hz:997", tree.Profile(997, 0)),
        ("main.go:1", tree.Line("main.go", 1, 0)),
        ("/src/a b/main.go:1".replace(" ", "_"), tree.Line("/src/a_b/main.go", 1, 0)),
        ('"/src/a b/main.go":7', tree.Line("/src/a b/main.go", 7, 0)),
        ("net/http/server.go:3000", tree.Line("net/http/server.go", 3000, 0)),
        ("asm_amd64.s:10", tree.Line("asm_amd64.s", 10, 0)),
        ("goroutine:ready", tree.Goroutine("ready", 0)),
        ("syscall:openat", tree.Syscall("openat", 0)),
        ("tracepoint:sched:sched_switch", tree.Tracepoint("sched", "sched_switch", 0)),
        ("tracepoint:raw_syscalls:sys_enter/ 1 /", tree.Tracepoint("raw_syscalls", "sys_enter", 0)),
        ("uprobe:/bin/bash:readline", tree.Uprobe("/bin/bash", "readline", 0, False, 0)),
        ("uprobe:/bin/bash:readline:return", tree.Uprobe("/bin/bash", "readline", 0, True, 0)),
        ("uprobe:./a.so:f+0x10:entry", tree.Uprobe("./a.so", "f", 16, False, 0)),
        ('uprobe:"/a b:c/d":"ns::f(int)"', tree.Uprobe("/a b:c/d", "ns::f(int)", 0, False, 0)),
        ("uprobe:libc.so.6:*alloc", tree.Uprobe("libc.so.6", "*alloc", 0, False, 0)),
        ('"begin"', tree.Function("begin", "call", 0)),
        ("main.Map[int, map[string, int]]:entry", tree.Function("main.Map[int,map[string,int]]", "entry", 0)),
    ],
)
def test_kinds_of_probes(text: str, wanted: tree.Spec) -> None:
    assert spec(text) == wanted


@pytest.mark.parametrize(
    ("text", "column", "what", "remedy"),
    [
        ("main.f:entyr", 8, "no point of a function `entyr`", "did you mean entry?"),
        ("gorutine:create", 1, "no kind of probe `gorutine`", "did you mean goroutine?"),
        ("goroutine:creat", 11, "no goroutine event `creat`", "did you mean create?"),
        ("goroutine", 1, "goroutine needs more", "goroutine:create"),
        ("intervl:1s", 1, "no kind of probe", "did you mean interval?"),
        ("beginn { }", 1, "no kind of probe", "did you mean begin?"),
        ("kprobe:vfs_read", 1, "no kind of probe `kprobe`", "tracepoint"),
        ("uretprobe:/bin/sh:f", 1, "no kind of probe `uretprobe`", ":return"),
        ("profil:99", 1, "no kind of probe", "did you mean profile?"),
        ("interval:5", 10, "`5` is not a duration", "interval:1s"),
        ("interval:1ns", 10, "at least 1ms", "interval:1s"),
        ("interval:0.1ns", 10, "whole number", "round"),
        ("interval:xs", 10, "not a duration", "interval:1s"),
        ("interval:s:٣", 12, "a part too many", "interval:1s"),
        ("interval", 1, "interval needs more", "interval:1s"),
        ("profile:0", 9, "is not a rate", "profile:99hz"),
        ("profile:10001hz", 9, "is not a rate", "profile:99hz"),
        ("begin:1 {}", 7, "begin has no parts", "begin {"),
        ("syscall:a:b", 11, "a part too many", "syscall:openat"),
        ("syscall:open*", 9, "not a system call's name", "functions only"),
        ("syscall:sys.enter", 9, "not a system call's name", ""),
        ("tracepoint:a%:b", 12, "not a tracepoint's category", ""),
        ("tracepoint:sched", 1, "tracepoint needs more", "sched_switch"),
        ("uprobe:/bin/bash", 1, "uprobe needs more", "readline"),
        ("uprobe:/bin/bash:f:retrun", 20, "no point of a uprobe", "return"),
        ("uprobe:/bin/bash:f+4:return", 18, "a return has no offset", "f:return"),
        ("uprobe:/bin/bash:f+010", 18, "no number", "0x10"),
        ("main.f(name string)", 7, "without its parameters", "write main.f;"),
        ("main.Map[int", 9, "`[` is not closed", ""),
        ("main.(*T\n).M", 6, "`(` is not closed", "one line"),
        ("main.(*T.M", 6, "`(` is not closed", ""),
        ("main.f:", 8, "something is missing behind the colon", ""),
        ("main.f:entry:return", 14, "a part too many", ""),
        ("main.go:0", 9, "not a line", "from 1"),
        ("main.go:99999999999", 9, "not a line", "from 1"),
        ('"main.go:1', 1, "not closed", ""),
        ("main.f,", 8, "something is missing where a probe should begin", ""),
        (",main.f", 1, "unexpected `,`", ""),
        ("{ print(1) }", 1, "unexpected `{` where a probe", "PROBE"),
        ("main.f print(1)", 8, "unexpected `p`", "between { and }"),
        ("main.f } ", 8, "unexpected `}`", ""),
        ("sig main.f()", 5, "expected a quoted signature", "sig '"),
        ("sig 'main.f()", 5, "not closed", "'"),
        ("sig '' ; main.f", 5, "empty", "sig '"),
        ("sig 'main.f()' main.f", 16, "unexpected `m`", "line of its own"),
        ("/ a /", 1, "unexpected `/` where a probe", "PROBE"),
        ("main.f / / {}", 10, "predicate is empty", ""),
        ("main.f / a == 1 {}", 8, "predicate is not closed", "close it by /"),
        ("main.f / a / b", 8, "predicate is not closed", ""),
        ("main.f / a = 1 / {}", 12, "unexpected `=`", "compare by =="),
        ("main.f:call", 8, "no point of a function", "return"),
        ("main.f / a b / {}", 12, "unexpected `b`", ""),
        ("main.f /*args.p == 1/ {}", 8, "comment is not closed", "blank"),
    ],
)
def test_errors_about_probes(text: str, column: int, what: str, remedy: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(text)
    assert what in str(caught.value)
    assert (caught.value.line, caught.value.column) == (1, column)
    assert remedy in caught.value.remedy


# -- predicates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("f.f / a / b / {}", Binary("/", Name("a"), Name("b"))),
        ("f.f / a /b/{}", Binary("/", Name("a"), Name("b"))),
        ("f.f / a / b /", Binary("/", Name("a"), Name("b"))),
        ("f.f / a / b / // why\n{}", Binary("/", Name("a"), Name("b"))),
        ("f.f / a / b / /* why */ {}", Binary("/", Name("a"), Name("b"))),
        ("f.f / a / b /; g.g", Binary("/", Name("a"), Name("b"))),
        ("f.f\n/ a / b /\n{}", Binary("/", Name("a"), Name("b"))),
        ("f.f / a ==\n b\n/ {}", Binary("==", Name("a"), Name("b"))),
        ("f.f / (a /\n b) / {}", Binary("/", Name("a"), Name("b"))),
        ("f.f / @m[a /\n{b}] / {}".replace("{b}", "b"), MapValue("m", (Binary("/", Name("a"), Name("b")),))),
        ("f.f /a/ {}", Name("a")),
        ('f.f / a == "/ {" / {}', Binary("==", Name("a"), Literal(b"/ {"))),
    ],
)
def test_a_slash_divides_unless_it_ends_the_predicate(text: str, wanted: object) -> None:
    assert parse_script(text).probes[0].predicate == wanted


def test_probes_are_separated() -> None:
    texts = ("f.f;g.g", "f.f\ng.g", "f.f;;\n;g.g;", "f.f {} g.g", "f.f{}g.g{}", "f.f / 1 /\n\ng.g", "f.f / 1 / ; g.g")
    for text in texts:
        assert [one.text for one in parse_script(text).probes] == ["f.f", "g.g"], text
    assert len(parse_script("f.f,g.g, \n h.h").probes[0].specs) == 3


# -- statements -------------------------------------------------------------------------------------------------

_M = tree.MapTarget("m", (), 0)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("@m = 1", tree.Assign(_M, "=", Literal(1), 0)),
        ("@m++", tree.Assign(_M, "+=", Literal(1), 0)),
        ("@m--", tree.Assign(_M, "-=", Literal(1), 0)),
        ("@ += $x", tree.Assign(tree.MapTarget("", (), 0), "+=", Local("x"), 0)),
        ("self.a -= self.b", tree.Assign(tree.OwnTarget("a", 0), "-=", Own("b"), 0)),
        ("$x =\n 1", tree.Assign(tree.LocalTarget("x", 0), "=", Literal(1), 0)),
        ("@m = count()", tree.Aggregate(_M, "count", (), 0)),
        ("@m = count ( )", tree.Aggregate(_M, "count", (), 0)),
        ("@m = count", tree.Assign(_M, "=", Name("count"), 0)),
        ("@m = min", tree.Assign(_M, "=", Name("min"), 0)),
        (
            "@m[a] = lhist(latency, 0, 1s, 10ms)",
            tree.Aggregate(
                tree.MapTarget("m", (Name("a"),), 0), "lhist",
                (Name("latency"), Literal(0), Literal(10**9, "duration"), Literal(10**7, "duration")), 0,
            ),
        ),
        ("@m = top(10, args.k)", tree.Aggregate(_M, "top", (Literal(10), Select(Name("args"), "k")), 0)),
        ("print(@m, x)", tree.Print((MapValue("m"), Name("x")), 0)),
        ("print(stack(5))", tree.Print((Call("stack", (Literal(5),)),), 0)),
        ("print(stack(), stack)", tree.Print((Call("stack", ()), Name("stack")), 0)),
        (r'printf("a%d\n", x)', tree.Printf("a%d\n", (Name("x"),), 0)),
        ("printf(`%%`)", tree.Printf("%%", (), 0)),
        (r'printf("\xff%%")', tree.Printf("\udcff%%", (), 0)),
        ("delete(@m[1, 2])", tree.Delete(tree.MapTarget("m", (Literal(1), Literal(2)), 0), 0)),
        ("clear(@m)", tree.Clear("m", 0)),
        ("clear(@)", tree.Clear("", 0)),
        ("stop", tree.Stop(0)),
        ("stop()", tree.Stop(0)),
        ("if a { stop }", tree.If(Name("a"), (tree.Stop(0),), (), 0)),
        ("if (a)\n{ stop\n}\nelse\n{ stop; stop }", tree.If(Name("a"), (tree.Stop(0),), (tree.Stop(0),) * 2, 0)),
        (
            "if a {} else if b { stop } else { }",
            tree.If(Name("a"), (), (tree.If(Name("b"), (tree.Stop(0),), (), 0),), 0),
        ),
        ("for $i in 0..10 { stop }", tree.For("i", Literal(0), Literal(10), (tree.Stop(0),), 0)),
        ("for ($i : a.b .. len(x)) {}", tree.For("i", Select(Name("a"), "b"), Call("len", (Name("x"),)), (), 0)),
        ("for $i in a..b+1 {}", tree.For("i", Name("a"), Binary("+", Name("b"), Literal(1)), (), 0)),
        ("@m = a[0] / 2", tree.Assign(_M, "=", Binary("/", Index(Name("a"), Literal(0)), Literal(2)), 0)),
    ],
)
def test_statements(text: str, wanted: tree.Statement) -> None:
    assert same(block(text), (wanted,))
    assert same(block(f";;\n{text}\n;"), (wanted,))
    assert same(block(f"if 1 {{ {text} }}"), (tree.If(Literal(1), (wanted,), (), 0),))


def test_files_of_other_editors() -> None:
    script = parse_script("\ufeff#!/usr/bin/gotap\r\nmain.f,\r\nmain.g\r\n/ 1 /\r\n{\r\nstop\r\n}\r\nsig 'f.f()'\r\n")
    assert [one.text for one in script.probes] == ["main.f, main.g"]
    assert [one.text for one in script.signatures] == ["f.f()"]


def test_statements_are_separated() -> None:
    stops = (tree.Stop(0),) * 3
    texts = ("stop;stop;stop", "stop\nstop\nstop", "stop ;\n\n; stop // x\nstop", "stop /*\n*/; stop\n # y\n# z\nstop")
    for text in texts:
        assert same(block(text), stops), text
    assert same(block("if a { } stop"), (tree.If(Name("a"), (), (), 0), tree.Stop(0)))
    assert same(block("print(a,\n b\n)"), (tree.Print((Name("a"), Name("b")), 0),))


@pytest.mark.parametrize(
    ("text", "marked", "what", "remedy"),
    [
        ("prnt(x)", "prnt", "no function `prnt`", "did you mean print"),
        ("exit()", "exit", "no function `exit`", "write stop"),
        ("@m = cuont()", "cuont", "no function `cuont`", "did you mean count?"),
        ("@m = ustack()", "ustack", "no function", "stack(n)"),
        ("print(goid())", "goid", "goid is not a function", "write goid"),
        ("print(print(1))", "print(1)", "print is a statement", ""),
        ("@m = count() + 1", "count", "count() stands alone", "@name[key] = count()"),
        ("@m = 1 + count()", "count", "count() stands alone", ""),
        ("print(hist(x))", "hist", "hist() stands alone", "hist(x, bits)"),
        ("$x = count()", "count", "kept in a map", "@name = count()"),
        ("@m += count()", "count", "`+=` does not go with count()", "= count()"),
        ("@m = count(x)", "x)", "count takes no arguments, not 1", "count()"),
        ("@m = lhist(x)", "lhist", "lhist takes 4 arguments, not 1", "lhist(x, low"),
        ("@m = hist(x, 1, 2)", "2)", "hist takes 1 to 2 arguments, not 3", "bits"),
        ("@m = avg()", "avg", "avg takes 1 argument, not 0", "avg(x)"),
        ("args.x = 1", "x =", "cannot be assigned to", "never changed"),
        ("args.x++", "x++", "cannot be assigned to", ""),
        ("@m := 1", ":=", "there is no `:=`", "write ="),
        ("@m *= 2", "*=", "there is no `*=`", "x = x *"),
        ("++@m", "++", "stands behind", "@m++"),
        ("args.name", "args", "a value alone does nothing", "write print(args.name)"),
        ("print(len(a, b))", "b)", "len takes 1 argument, not 2", "len(x)"),
        ("print(len())", "len", "len takes 1 argument, not 0", "len(x)"),
        ("print(stack(1, 2))", "2)", "stack takes 0 to 1 argument, not 2", "stack(n)"),
        ("printf('%d', 1)", "'%d'", "expected a format", "double quotes"),
        ("print(args->x)", ">x", "unexpected `>`", "by a dot"),
        ("print(ret.0)", "0)", "expected a field name", "ret.~r0"),
        ("if a = 1 { stop }", "= 1", "expected `{`", "compare by =="),
        ("if a and b { stop }", "and", "expected `{`", "write &&"),
        ("print(a or b)", "or", "expected `)`", "write ||"),
        ("@a = @b = 1", "= 1", "unexpected `=`", "compare by =="),
        ("print x", "x }", "expected `(`", "print(…)"),
        ("print()", "print", "print needs something", ""),
        ("print(1) print(2)", "print(2)", "unexpected `print`", "separated"),
        ("print(1", "}", "expected `)`", ""),
        ("printf(x)", "x)", "expected a format", 'printf("'),
        ('printf("ä%d %y", 1)', "%y", "`%y` is not a directive", "%d"),
        (r'printf("\n\x41\u00e9%*d", 1)', "%*", "width", "number"),
        ("printf(`\\n%y`)", "%y", "`%y`", ""),
        ('printf("%d" x)', "x)", "expected `,`", ""),
        ("delete(x)", "x)", "delete takes a map", "delete(@m[key])"),
        ("delete(@m)", "@m", "under one key", "clear(@m)"),
        ("delete(@m, 1)", "@m", "delete takes a map", "delete(@m[key])"),
        ("clear(@m[1])", "@m", "whole map", "delete(@m[key])"),
        ("clear()", "clear", "clear takes a map", ""),
        ("if { stop }", "{ stop", "unexpected `{`", ""),
        ("if a stop", "stop", "expected `{`", ""),
        ("if\n a { stop }", "\n", "unexpected end of line", ""),
        ("else { }", "else", "no statement `else`", "of an if"),
        ("exit", "exit", "no statement `exit`", "write stop"),
        ("return }", "return", "no statement `return`", "else"),
        ("for i in 0..1 {}", "i in", "expected a variable", "$i in 0..10"),
        ("for $i = 0 {}", "= 0", "expected `in`", "for $i in"),
        ("for $i in 0 {}", "{}", "expected `..`", "for $i in"),
        ("for $i in 0..  {}", "{}", "unexpected `{`", ""),
        ("while (1) {}", "while", "no function `while`", "for $i"),
        ("{ stop }", "{ stop", "unexpected `{`", ""),
        ('$x = "a', '"a', "the text is not closed", 'by "'),
        ("$x = “a”", "“", "typographic quote", 'write "'),
        ("$x = a ? b : c", "?", "unexpected `?`", "if x {"),
        ("$x = 08", "08", "no number", "0o"),
        ("@m[1] = len(@x", "}", "expected `)`", ""),
        ("$x = $1", "$1", "unexpected `$`", "$name"),
        ("$x = #", "#", "unexpected `#`", ""),
    ],
)
def test_errors_about_statements(text: str, marked: str, what: str, remedy: str) -> None:
    script = f"main.f {{ {text} }}"
    with pytest.raises(ScriptError) as caught:
        parse_script(script)
    assert what in str(caught.value)
    assert script[caught.value.column - 1 :].startswith(marked)
    assert remedy in caught.value.remedy


def test_a_block_that_is_not_closed_is_pointed_at() -> None:
    with pytest.raises(ScriptError, match="not closed") as caught:
        parse_script("f.f { if a { stop }\n")
    assert caught.value.column == 5
    with pytest.raises(ScriptError, match="not closed") as caught:
        parse_script("f.f { if a { stop\n")
    assert caught.value.column == 12


# -- limits -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "f.f {" + "if a {" * 100000,
        "f.f {" + "if a {} else " * 50000,
        "f.f {" + "for $i in 0..1 {" * 50000,
        "f.f { if " + "(" * 100000,
        "f.f / " + "(" * 100000,
        "f.f { $x = 1" + "+ 1" * 100000,
    ],
    ids=range(6),
)
def test_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(ScriptError, match=f"more than {MOST_LEVELS} levels"):
        parse_script(text)


def test_sizes_are_bounded() -> None:
    with pytest.raises(ScriptError, match="characters long"):
        parse_script(" " * (MOST_TEXT + 1))
    parse_script("f.f;" * MOST_PROBES)
    with pytest.raises(ScriptError, match="more than 1000 probes"):
        parse_script("f.f;" * (MOST_PROBES + 1))
    with pytest.raises(ScriptError, match="no probe"):
        parse_script("")
    with pytest.raises(ScriptError, match="no probe"):
        parse_script("// nothing\n")
    with pytest.raises(ScriptError, match="zero bytes"):
        parse_script("f.f\0")


@pytest.mark.parametrize(
    "unit",
    ["stop;", "@m[args.x, 1]++\n", "\n# c\n", "/* c */", "stop // c\n", " \n", 'printf("%d%s", 1, "x");', "$x = 'a'\n"],
)
def test_reading_takes_steps_in_proportion(unit: str) -> None:
    """Eight times the text takes eight times the calls of functions, where a square would take 64 times."""

    def steps(size: int) -> int:
        text = f"f.f {{ {unit * (size // len(unit))} }}"
        count = 0

        def called(_frame: FrameType, _event: str, _argument: object) -> None:
            nonlocal count
            count += 1

        before = sys.getprofile()
        sys.setprofile(called)
        try:
            parse_script(text)
        finally:
            sys.setprofile(before)
        return count

    assert steps(32_000) < 10 * steps(4_000)


def test_a_script_of_the_greatest_size() -> None:
    """Each would take minutes if the time grew with the square of the size."""
    well_formed = (("f.f { ", "stop;", " }"), ("", "// x\n", "f.f"), ("f.f /*", "*", "*/"), ("f.f;", "\n# ", ""))
    for begin, unit, end in well_formed:
        parse_script(begin + unit * ((MOST_TEXT - 20) // len(unit)) + end)
    for begin, unit in (
        ('f.f { $x = "', "\\\\"), ("f.f { ", "`"), ("f.", "[("), ("f.f / (", "a /"), ("sig '", "x"),
        ("f.f { $x = ", "1m"),
    ):  # fmt: skip
        with pytest.raises(ScriptError):
            parse_script(begin + unit * ((MOST_TEXT - 20) // len(unit)))


@pytest.mark.parametrize(
    "text",
    [
        "f.f {{ {0}() }}", "f.f {{ {0} }}", "f.f {{ {0} {0} }}", "f.f {{ $x = ~r{1} }}", "f.f {{ for ${0} }}",
        "f.f {{ @{0}[1] = count(1) }}", "f.f {{ delete(@{0}) }}", 'f.f {{ printf("%{1}y", 1) }}', 'f.f {{ "\\q{0}" }}',
        "uprobe:/{0}:f+1:return", "interval:{0}", "profile:{0}", "f.f:entry:{0}", "{0}(int)", "f.f / {0}", "f.f:{1}",
        "f.f:{0}", "{0}:1",
    ],
)  # fmt: skip
def test_messages_stay_short(text: str) -> None:
    with pytest.raises(ScriptError) as caught:
        parse_script(text.format("x" * 10_000, "1" * 10_000))
    error = caught.value
    assert max(map(len, (str(error), error.remedy, *error.excerpt))) < 250


# -- properties -------------------------------------------------------------------------------------------------


def test_what_was_read_is_the_same_when_it_is_written_and_read_again() -> None:
    for seed in range(300):
        script = parse_script(ScriptWriter(Random(seed)).script())
        assert same(parse_script(written(script)), script), seed


def test_places_point_into_the_text() -> None:
    text = "main.f,\n main.g:entry / args.x > $y / {\n @m[goid] = hist(ret)\n self.z -= 1; for $i in 0..2 { stop } }"
    (probe,) = parse_script(text).probes
    assert probe.block is not None
    assert isinstance(probe.predicate, Binary)
    places = [one.at for one in (*probe.specs, probe.predicate, probe.predicate.right, *probe.block)]
    assert [text[at:].split()[0] for at in places] == ["main.f,", "main.g:entry", ">", "$y", "hist(ret)", "-=", "for"]


# -- the page about the language --------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "trace-language.md").read_text()


def test_scripts_on_the_page_are_scripts() -> None:
    scripts = re.findall(r"^```gt\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(scripts) >= 2
    for script in scripts:
        parse_script(script)


def test_the_page_explains_every_word() -> None:
    words = {*KINDS, *STATEMENTS, *BUILTINS, *FUNCTIONS, *AGGREGATION_USES, *GOROUTINE_EVENTS, *POINTS}
    code = " ".join(re.findall(r"`+([^`]+)`+", PAGE))
    assert sorted(word for word in words if not re.search(rf"\b{word}\b", code)) == []


def test_the_error_on_the_page_is_what_is_said() -> None:
    said = [line.removeprefix("gotap: ") for line in PAGE.splitlines() if line.startswith("gotap: ")]
    with pytest.raises(ScriptError) as caught:
        parse_script(said[1].strip())
    assert said == [str(caught.value), *caught.value.excerpt, caught.value.remedy]


@pytest.mark.parametrize("number", [MOST_TEXT, MOST_PROBES, MOST_LEVELS, MOST_LISTED, MOST_WIDTH, MOST_HERTZ])
def test_the_page_names_the_limits(number: int) -> None:
    assert f"{number:,}" in PAGE or str(number) in PAGE
