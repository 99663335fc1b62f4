"""Go operands → syntax trees."""

import pytest

from gotap.probe.expression import (
    Assert,
    Binary,
    Call,
    ExpressionError,
    Index,
    Literal,
    Name,
    Select,
    Unary,
    parse,
)


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
        (r'a == "\q"', "not an escape"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, place: str) -> None:
    with pytest.raises(ExpressionError, match=place.replace("(", r"\(").replace(")", r"\)")) as caught:
        parse(text)
    assert caught.value.remedy
