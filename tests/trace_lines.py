"""What `gotap trace --json` writes, read and checked against docs/trace.schema.json."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema

from cli import Gotap, whole_lines
from processes import eventually

SCHEMA = Path(__file__).resolve().parent.parent / "docs" / "trace.schema.json"


@functools.cache
def validator() -> Any:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def lines_of(out: bytes) -> list[dict[str, Any]]:
    """All whole lines, each of which the schema allows."""
    found = [json.loads(line) for line in whole_lines(out)]
    for one in found:
        validator().validate(one)
    return found


def calls_of(out: bytes) -> list[dict[str, Any]]:
    return [one for one in lines_of(out) if "probe" in one]


def maps_of(out: bytes) -> dict[str, dict[str, Any]]:
    """The last state of each map by its name: key (JSON) → value."""
    return {
        one["map"]: {json.dumps(entry["key"]): entry["value"] for entry in one["entries"]}
        for one in lines_of(out)
        if "map" in one
    }


def wait_for_lines(tracing: Gotap, count: int) -> None:
    eventually(lambda: len(whole_lines(tracing.out)) >= count, f"{count} lines on stdout, of {tracing.err}")
