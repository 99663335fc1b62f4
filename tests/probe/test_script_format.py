"""printf's formats."""

import pytest

from gotap.probe.literals import position_in_text, text
from gotap.probe.script.language.format import MOST_WIDTH, Directive, FormatError, Plain, directives, parse_format


@pytest.mark.parametrize(
    ("format", "pieces"),
    [
        ("", ()),
        ("plain\n", (Plain("plain\n"),)),
        ("%d", (Directive("d"),)),
        ("%s %d\n", (Directive("s"), Plain(" "), Directive("d"), Plain("\n"))),
        ("100%% of %s", (Plain("100% of "), Directive("s"))),
        ("%%%%", (Plain("%%"),)),
        ("%i%u%x%X", (Directive("d"), Directive("u"), Directive("x"), Directive("X"))),
        ("%lld%lu%hhx%zd%jx%td%ls", tuple(map(Directive, "duxdxds"))),
        ("%t%c%p%f%q%v", tuple(map(Directive, "tcpfqv"))),
        ("%+v", (Directive("v", plus=True),)),
        ("%-10s|", (Directive("s", left=True, width=10), Plain("|"))),
        ("%08x", (Directive("x", zero=True, width=8),)),
        ("%#x% d%+d", (Directive("x", sharp=True), Directive("d", space=True), Directive("d", plus=True))),
        ("%-+ 0#5.3q", (Directive("q", True, True, True, True, True, 5, 3),)),
        ("%.2f%.f", (Directive("f", precision=2), Directive("f", precision=0))),
        ("ä%d世", (Plain("ä"), Directive("d"), Plain("世"))),
        (f"%{MOST_WIDTH}d", (Directive("d", width=MOST_WIDTH),)),
    ],
)
def test_formats(format: str, pieces: tuple[Plain | Directive, ...]) -> None:
    found = parse_format(format)
    assert tuple(one if isinstance(one, Plain) else without_place(one) for one in found) == pieces
    assert all(format[one.at] == "%" for one in directives(found))


def without_place(one: Directive) -> Directive:
    return Directive(one.verb, one.plus, one.zero, one.left, one.space, one.sharp, one.width, one.precision)


@pytest.mark.parametrize(
    ("format", "at", "what"),
    [
        ("%", 0, "ends within"),
        ("a%d %-5", 4, "ends within"),
        ("%l", 0, "ends within"),
        ("%y", 0, "`%y` is not a directive"),
        ("a %n", 2, "is not a directive"),
        ("%5 d", 0, "is not a directive"),
        ("%*d", 0, "width"),
        ("%[1]d", 0, "order"),
        ("%99999d", 0, "wider than"),
        ("%.99999s", 0, "wider than"),
        ("%" + "9" * 10_000 + "d", 0, "wider than"),
        ("%٣d", 0, "is not a directive"),
    ],
)
def test_what_is_wrong_with_a_format(format: str, at: int, what: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_format(format)
    assert what in str(caught.value)
    assert caught.value.at == at
    assert caught.value.remedy
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize(
    "literal", [r'"a\n\x41\101\u00e9\U0001F600ü\\\"%d"', '"%d"', "`a\\n%d`", r'"\xff\xfe%d"', '"\udcff%d"']
)
def test_a_place_in_a_format_is_found_in_the_literal(literal: str) -> None:
    value = text(literal).decode("utf-8", "surrogateescape")
    (directive,) = directives(parse_format(value))
    assert literal[position_in_text(literal, directive.at) :][:2] == "%d"
