"""Errors that point into a script."""

import pytest

from gotap.probe.script.language.parser import parse_script
from gotap.probe.script.language.source import ScriptError, Source, error_at, suggestion


def marked(error: ScriptError) -> str:
    """What stands in the excerpt above the caret and right of it."""
    line, caret = error.excerpt
    assert caret.strip() == "^"
    return line[caret.index("^") :]


def test_one_line_shows_the_place_by_its_caret() -> None:
    error = Source("main.f { prnt(x) }").error(9, "no function", "did you mean print?")
    assert str(error) == "no function"
    assert error.remedy == "did you mean print?"
    assert error.excerpt == ("    main.f { prnt(x) }", "             ^")
    assert (error.line, error.column) == (1, 10)


@pytest.mark.parametrize(
    ("text", "name", "at", "where", "line"),
    [
        ("a\nbc\nd", "script", 3, "script:2:2: ", "bc"),
        ("a\nbc\r\nd", "x.gt", 2, "x.gt:2:1: ", "bc"),
        ("abc", "x.gt", 3, "x.gt:1:4: ", "abc"),
        ("abc\n", "script", 1, "", "abc"),
        ("abc\n", "x.gt", 4, "x.gt:2:1: ", ""),
        ("a\nb", "script", 1, "script:1:2: ", "a"),
    ],
)
def test_lines_and_files_are_named(text: str, name: str, at: int, where: str, line: str) -> None:
    error = Source(text, name).error(at, "wrong")
    assert str(error) == f"{where}wrong"
    assert error.excerpt[0].strip() == line


def test_an_error_without_a_place_has_no_excerpt() -> None:
    error = Source("abc").error(-1, "wrong")
    assert (error.excerpt, error.line) == ((), 0)


@pytest.mark.parametrize(
    ("text", "caret"),
    [
        ("\tx", 8),
        ("ab\tx", 8),
        ("世界x", 4),
        ("e\u0301x", 1),
        ("\x1b[31mx", 5),
        ("\u202ex", 1),
        ("\ud800x", 1),
    ],
)
def test_the_caret_stands_below_the_character(text: str, caret: int) -> None:
    shown, below = Source(text).error(text.index("x"), "wrong").excerpt
    assert below == " " * (4 + caret) + "^"
    assert all(character.isprintable() for character in shown)
    assert "x" in shown


@pytest.mark.parametrize("at", [0, 50, 99, 100, 101, 150, 500, 998, 999])
def test_long_lines_are_shown_around_the_place(at: int) -> None:
    text = "".join(chr(0x4E00 + n) if n % 2 else "a" for n in range(1000))
    error = Source(text).error(at, "wrong")
    shown, below = error.excerpt
    assert len(shown) < 110
    # A column of the terminal for each a, two for each other character.
    columns = "".join(one if one in " a…" else one * 2 for one in shown)
    assert columns[below.index("^")] == text[at]
    assert shown.strip("… ") in text


def test_the_end_of_a_long_line() -> None:
    shown, below = Source("a" * 1000).error(1000, "wrong").excerpt
    assert below.index("^") == len(shown)


def test_trees_sources_and_texts_can_be_pointed_into() -> None:
    script = parse_script("main.f { print(x) }", "x.gt")
    for source in (script, Source(script.text, "x.gt")):
        error = error_at(source, 15, "wrong", "right")
        assert str(error) == "x.gt:1:16: wrong"
        assert marked(error) == "x) }"
    assert str(error_at("main.f", 2, "wrong")) == "wrong"


def test_suggestions() -> None:
    assert suggestion("prnt", ["print", "clear"]) == "did you mean print?"
    assert suggestion("PRINT", ["print", "printf"]).startswith("did you mean print")
    assert suggestion("xyz", ["print"]) == ""
    assert suggestion("a" * 100_000, ["print"]) == ""
