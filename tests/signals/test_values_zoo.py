"""Values read from a live program against what the program says of them itself, by fmt and reflect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import gobuild
from gotap.signals.values import decode, to_json, to_text
from valuezoo import Zoo, running_zoo

DESIGNS = ("1.23.12", "1.24.13")  # the last one with buckets, the first one with Swiss tables


def _versions() -> list[object]:
    always = (gobuild.OLDEST, *DESIGNS, gobuild.NEWEST)
    return [go if go in always else pytest.param(go, marks=pytest.mark.matrix) for go in gobuild.ALL]


@pytest.fixture(scope="module", params=_versions())
def go(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def zoo(go: str) -> Iterator[Zoo]:
    with running_zoo(go) as zoo:
        yield zoo


def comparable(form: Any) -> Any:
    """A JSON form whose maps' entries stand in one order, and in which 1.0 and 1 differ."""
    if isinstance(form, dict):
        plain = {key: comparable(value) for key, value in form.items()}
        if isinstance(plain.get("map"), list):
            plain["map"].sort(key=lambda entry: json.dumps(entry))
        return plain
    return [comparable(one) for one in form] if isinstance(form, list) else form


def differences(zoo: Zoo) -> list[str]:
    context = zoo.context()
    found = []
    for one in zoo.specimens:
        value = decode(zoo.type(one), zoo.root(one), zoo.memory, context)
        form = json.loads(json.dumps(to_json(value), allow_nan=False))
        if comparable(form) != comparable(one.json):
            found.append(f"{one.name}: {form} is not {one.json}")
        if to_text(value) != one.text:
            found.append(f"{one.name}: {to_text(value)!r} is not {one.text!r}")
    return found


def test_values_are_what_the_program_says(zoo: Zoo) -> None:
    assert len(zoo.specimens) > 350
    assert differences(zoo) == []
