from __future__ import annotations

import sys

import pytest

from gotap.sinks.sanitize import LineFeed, field_value, printable


def test_ordinary_text_stays() -> None:
    for text in ("", "/users/7?a=b", "naïve 日本語 😀", "back\\slash"):
        assert printable(text) == text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),  # CSI as one C1 character
        ("a\r\nb\tc\0", "a\\r\\nb\\tc\\x00"),
        ("\x7f", "\\x7f"),
        ("user\u202egnp.exe", "user\\u202egnp.exe"),  # right-to-left override
        ("a\u2028b", "a\\u2028b"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),  # invisible tag
    ],
)
def test_what_steers_a_terminal_is_escaped(hostile: str, shown: str) -> None:
    assert printable(hostile) == shown


def test_no_character_at_all_gets_through_that_a_terminal_obeys() -> None:
    for code in (*range(0x20), *range(0x7F, 0xA0)):
        assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in printable(chr(code)))
    for code in range(sys.maxunicode + 1):
        assert printable(chr(code)).isprintable()


def test_field_cannot_forge_other_fields() -> None:
    assert field_value("/a") == "/a"
    assert field_value("/a error.type=panic") == '"/a error.type=panic"'
    assert field_value('/a" x="') == '"/a\\" x=\\""'
    assert field_value("") == '""'
    assert field_value("a\nb") == '"a\\nb"'
    assert field_value("a\\nb") == '"a\\\\nb"'


def test_lines_of_a_program_without_its_colours() -> None:
    feed = LineFeed()
    assert feed.feed(b"\x1b[1;31mERROR\x1b[0m bad\n\x1b]8;;http://x\x1b\\link\x1b]8;;\x07\nmore") == [
        "ERROR bad",
        "link",
    ]
    assert feed.open_line == "more"
    assert feed.feed(b" to come\n") == ["more to come"]
    assert feed.open_line == ""


def test_carriage_return_begins_the_line_anew() -> None:
    assert LineFeed().feed(b" 10 %\r 20 %\r100 %\r\nnext\r\n") == ["100 %", "next"]


def test_sequences_and_characters_may_be_torn() -> None:
    whole = "é\x1b[31mrot\x1b[0m 日\tx\n".encode()
    for cut in range(len(whole)):
        feed = LineFeed()
        assert feed.feed(whole[:cut]) + feed.feed(whole[cut:]) == ["érot 日  x"]


def test_what_is_left_of_broken_sequences_is_harmless() -> None:
    feed = LineFeed()
    (line,) = feed.feed(b"\x1b[999\x01\xff\xfe \x9b2J \x1b\n")
    assert line.isprintable()


def test_line_that_never_ends_is_bounded() -> None:
    feed = LineFeed()
    for _ in range(100):
        assert feed.feed(b"x" * 1000) == []
    assert len(feed.open_line) <= 4096
