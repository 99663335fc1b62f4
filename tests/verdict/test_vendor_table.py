"""The table of the vendor's conditions: it has all of them, and is only written of a run that saw all of them."""

from __future__ import annotations

import re
from pathlib import Path

from gotap.verdict.conditions import ALL
from vendor_table import EXPECTED, Seen, complete, page

PAGE = Path(__file__).parents[2] / "docs" / "vendor-conditions.md"
ROW = re.compile(r"^\| \[([\w-]+)\]\(conditions\.md#\1\) \|", re.MULTILINE)
EVERYTHING = [Seen(id, go, "`made`", "a|b", "uprobe: all") for id, releases in EXPECTED.items() for go in releases]


def test_every_condition_of_the_vendor_is_in_it() -> None:
    assert EXPECTED.keys() == {one.id for one in ALL if one.vendor}


def test_a_run_that_saw_less_is_not_complete() -> None:
    assert complete(EVERYTHING)
    assert not complete(EVERYTHING[1:])
    assert not complete([])


def test_a_row_for_each_condition() -> None:
    text = page(EVERYTHING)
    assert ROW.findall(text) == list(EXPECTED)
    rows = [line for line in text.splitlines() if ROW.match(line)]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {8}


def test_the_page_of_the_docs_is_of_the_conditions_that_there_are() -> None:
    assert ROW.findall(PAGE.read_text()) == list(EXPECTED)
