"""Expressions → syntax trees."""

import json
import subprocess
from random import Random

import pytest

import gobuild
from expression_texts import Writer, told
from gotap.probe.expression import (
    MOST_LEVELS,
    MOST_LISTED,
    Assert,
    Binary,
    Call,
    Expression,
    ExpressionError,
    Index,
    Literal,
    Local,
    MapValue,
    Name,
    Own,
    Select,
    Slice,
    Unary,
    parse,
)


def answers(questions: list[dict[str, str]]) -> list[str]:
    """What Go makes of expressions and durations."""
    program = gobuild.build("goexpressions")
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def read(text: str) -> str:
    try:
        return told(parse(text))
    except ExpressionError as error:
        return f"error: {error}"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("req.URL.Path", Select(Select(Name("req"), "URL"), "Path")),
        ("rw.(*response).status", Select(Assert(Name("rw"), "*response"), "status")),
        (
            'h["Traceparent"][0]',
            Index(Index(Name("h"), Literal(b"Traceparent")), Literal(0)),
        ),
        ("len(b) > 0x10", Binary(">", Call("len", (Name("b"),)), Literal(16))),
        ("a.(map[string][]string)", Assert(Name("a"), "map[string][]string")),
        ("x.(func(int) (a, b))", Assert(Name("x"), "func(int) (a, b)")),
        (
            "a == nil || !b && c != true",
            Binary(
                "||",
                Binary("==", Name("a"), Literal(None)),
                Binary("&&", Unary("!", Name("b")), Binary("!=", Name("c"), Literal(True))),
            ),
        ),
        ("(*p).x", Select(Unary("*", Name("p")), "x")),
        (r's == "a\"b\n"', Binary("==", Name("s"), Literal(b'a"b\n'))),
    ],
)
def test_go_operands_are_read_with_go_precedence(text: str, tree: object) -> None:
    assert parse(text) == tree


def test_random_expressions_are_read_as_go_reads_them() -> None:
    texts = [Writer(Random(seed)).expression(2) for seed in range(500)]
    assert sum(any(operator in text for operator in ("<<", "^", "%")) for text in texts) > 100
    assert [read(text) for text in texts] == answers([{"expression": text} for text in texts])


@pytest.mark.parametrize(
    "text",
    [
        "a +", "a b", "(a", "a)", "a[", "a[]", "a[1,2]", "a..b", "a.", "1__0", "0x", "0b2", "0o8", "1_", "1a", "1.2.3",
        "1_.5", "1._5", "1e_5", "1e", "1.x", '"', "'", "''", "'ab'", r"'\q'", r"""'\"'""", "\"\\'\"",
        r'"\400"', r'"\x4"', r'"\u12"', r'"\ud800"', r'"\U00110000"', '"\n"', "`", "a => b", "a ? b : c", "len(a",
        "len(,)", "a.(T",
    ],
)  # fmt: skip
def test_what_go_refuses_is_refused(text: str) -> None:
    assert answers([{"expression": text}])[0].startswith("error"), "this is Go"
    assert read(text).startswith("error")


def test_durations_are_those_of_go() -> None:
    texts = [
        "100ms", "1.5s", "2us", "2µs", "2μs", "1m30s", "250ns", "1h", "0s", "1h2m3.000000004s", "9223372036854775807ns",
        "2562047h47m16.854775807s", "0.000001s", "1s1s",
    ]  # fmt: skip
    assert [read(text) for text in texts] == answers([{"duration": text} for text in texts])
    assert parse("1_000ms") == Literal(10**9, "duration")
    for text, what in (("0.5ns", "whole number"), ("9223372036854775808ns", "time.Duration"), ("1d", "no number")):
        assert what in read(text)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("$x + 1", Binary("+", Local("x"), Literal(1))),
        ("@", MapValue("")),
        ("@[k]", MapValue("", (Name("k"),))),
        ("@m[a, b.c,]", MapValue("m", (Name("a"), Select(Name("b"), "c")))),
        ("@m[a][0]", Index(MapValue("m", (Name("a"),)), Literal(0))),
        ("self.t - 1s", Binary("-", Own("t"), Literal(10**9, "duration"))),
        ("self", Name("self")),
        ("ret.~r0", Select(Name("ret"), "~r0")),
        ("args.~recv", Select(Name("args"), "~recv")),
        ("a[:n]", Slice(Name("a"), None, Name("n"))),
        ("-0x10", Literal(-16)),
        ("-(1.5)", Literal(-1.5)),
        ("-x", Unary("-", Name("x"))),
        ("- -9223372036854775808", Literal(1 << 63)),
        ("(a\n+ b)", Binary("+", Name("a"), Name("b"))),
        ("a +\n b", Binary("+", Name("a"), Name("b"))),
        ("(a == b) == c", Binary("==", Binary("==", Name("a"), Name("b")), Name("c"))),
        ("a /* b */ + // c", None),
        ("a /* b */ // c", Name("a")),
        ('"net/http".DefaultClient', Select(Literal(b"net/http"), "DefaultClient")),
        ('"\udcff"', Literal(b"\xff")),
    ],
)
def test_what_go_does_not_have(text: str, tree: Expression | None) -> None:
    if tree is None:
        with pytest.raises(ExpressionError, match="missing"):
            parse(text)
    else:
        assert parse(text) == tree


def test_nodes_know_where_errors_about_them_point() -> None:
    text = "a.bc + len(@m[d]) * x.(*T)[1:-$e] / -self.f"
    places: dict[str, str] = {}

    def walk(node: object) -> None:
        if isinstance(node, Expression):
            places[type(node).__name__ + str(len(places))] = text[node.at :][:2]
            for name in node.__struct_fields__:
                value = getattr(node, name)
                for one in value if isinstance(value, tuple) else (value,):
                    walk(one)

    walk(parse(text))
    assert list(places.values()) == [
        "+ ", "bc", "a.", "/ ", "* ", "le", "@m", "d]", "[1", "*T", "x.", "1:", "-$", "$e", "-s", "f",
    ]  # fmt: skip


def test_places_do_not_count_when_trees_are_compared() -> None:
    assert parse("a.b[1]") == parse("( a . b )[ 1 ]")
    assert hash(parse("a.b[1]")) == hash(parse("( a . b )[ 1 ]"))
    assert len({parse("1"), parse("1.0"), parse("true"), parse("1ns"), parse("'\\x01'")}) == 5
    assert parse("a") != "a"
    assert parse("a") != parse("1")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "a" + ")" * 5000,
        "!" * 5000 + "a",
        "- " * 5000 + "a",
        "a" + ".b" * 5000,
        "a" + "[1]" * 5000,
        "+a".join("a" for _ in range(5000)),
        "len(" * 5000 + "a",
        "@m[" * 5000,
        "a[" * 5000,
        "(a" + ".b" * 90 + ")" + "[1]" * 90,
        "a.(" * 50000,
        "*" * 100000,
    ],
    ids=range(12),
)
def test_deep_nesting_is_refused_before_it_hurts(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"levels|expected `\)`") as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_as_deep_as_is_allowed() -> None:
    parse("a" + ".b" * (MOST_LEVELS - 1))
    parse("(" * (MOST_LEVELS - 1) + "a" + ")" * (MOST_LEVELS - 1))
    assert parse(" || ".join(f"a == {n}" for n in range(MOST_LEVELS - 2)))


def test_lists_are_bounded() -> None:
    keys = ", ".join(["a"] * MOST_LISTED)
    parse(f"@m[{keys}]")
    with pytest.raises(ExpressionError, match="one list"):
        parse(f"@m[{keys}, a]")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "column 1"),
        ("req.", "column 5"),
        ("req.URL Path", "column 9"),
        ("a[1", "column 4"),
        ("exec(x)", "not a function"),
        ("a.(b", "expected `)`"),
        ("a @ b", "unexpected `@`"),
        ("a[010]", "no number"),
        ("a == b == c", "unexpected `==` at column 8"),
        ("18446744073709551616", "64 bits"),
        ("1" * 10000, "no number"),
        ("1e400", "float64"),
        ("req.Context()", "methods cannot be called"),
        ("~r0", "stands only behind a dot"),
        ("a /* b", "comment is not closed at column 3"),
        ("a == “b”", "typographic quote"),
        ("@m[]", "unexpected `]` at column 4"),
        ("@m[", "expected a key or `]` at column 4"),
        ("len(a,", "expected an argument or `)` at column 7"),
        ("1" * 41 + "ns", "too many digits"),
        ("self.", "expected a name"),
        (r'a == "\q"', "not an escape"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ExpressionError, match=place.replace("(", r"\(").replace(")", r"\)")) as caught:
        parse(text)
    assert caught.value.remedy
