"""The contract of `inspect --json`: the schema, the keys that may never go, and what real targets give."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import gobuild
from cli import gotap
from goservers import Server
from gotap.commands.inspect_json import schema
from gotap.commands.main import main
from gotap.verdict.conditions import ALL
from inspect_keys import FROZEN
from processes import running

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "inspect.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def documents(*arguments: str, code: int = 0, **options: object) -> list[dict[str, Any]]:
    """One object a line, each valid."""
    done = gotap("inspect", "--json", *arguments, **options)  # type: ignore[arg-type]
    assert done.code == code, done.err
    assert done.err == ""
    found = [json.loads(line) for line in done.out.splitlines()]
    for one in found:
        VALIDATOR.validate(one)
    return found


def test_the_schema_is_a_schema_and_that_of_the_code() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert schema() == SCHEMA, "run `make docs`"


@pytest.mark.parametrize("name", sorted(FROZEN))
def test_no_key_was_renamed_or_removed_and_none_changed_its_type(name: str) -> None:
    told = SCHEMA["$defs"][name]["properties"]
    assert {key: _types(told.get(key, {})) for key in FROZEN[name]} == FROZEN[name]


def _types(value: dict[str, Any]) -> str:
    """`string|null`, `[string]`, `{integer}`, `GoFacts|null`."""
    if "anyOf" in value:
        return "|".join(sorted(map(_types, value["anyOf"])))
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "enum" in value:
        return "|".join(sorted(map(repr, value["enum"])))
    kind = value.get("type", "?")
    if kind == "array":
        return f"[{_types(value['items'])}]" if value.get("items") else "[]"
    if kind == "object":
        return f"{{{_types(value['additionalProperties'])}}}"
    return str(kind)


def test_a_go_program(httpserver: Path) -> None:
    [one] = documents(str(httpserver))
    assert (one["target"], one["format"], one["os"], one["arch"]) == (str(httpserver), "elf", "linux", "amd64")
    assert one["language"] == "go"
    assert one["go"]["version"] == gobuild.NEWEST
    assert one["go"]["woven"] is None
    assert one["process"] is None
    assert one["mechanisms"]["uprobe"] == {"works": True, "because": []}
    assert one["mechanisms"]["weave"] == {"works": True, "because": []}
    [library] = one["libraries"]
    assert (library["name"], library["version"]) == ("net/http", gobuild.NEWEST)
    assert {each["name"]: each["binds"] for each in library["operations"]} == {"http.server": True, "http.client": True}
    assert all(sum(each["sites"].values()) > 0 for each in library["operations"])
    assert one["errors"] == []


def test_unknown_values_have_their_reason_in_the_evidence(httpserver: Path, hello: Path) -> None:
    for one in documents(str(httpserver), str(hello)):
        unknown = [key for key, value in one["go"].items() if value is None]
        assert [key for key in unknown if not one["evidence"].get(f"go.{key}")] == []


def test_a_go_program_without_an_observable_library_is_a_proxy(hello: Path) -> None:
    [one] = documents(str(hello))
    assert one["language"] == "go proxy"
    assert one["mechanisms"]["uprobe"] == {"works": False, "because": ["no-observable-library"]}
    assert one["conditions"][0]["id"] == "no-observable-library"
    assert one["libraries"] == []


def test_conditions_name_their_effect_on_every_mechanism(hello: Path) -> None:
    for one in documents(str(hello), "/bin/sh"):
        for condition in one["conditions"]:
            assert condition["id"] in {each.id for each in ALL}
            assert list(condition["mechanisms"]) == list(one["mechanisms"])
            assert set(condition["mechanisms"].values()) <= {"rules out", "limits", "none"}
            assert condition["evidence"]


def test_a_program_that_is_not_go() -> None:
    [one] = documents("/bin/sh")
    assert one["go"] is None
    assert one["language"] != "go"
    assert one["mechanisms"]["network"] == {"works": False, "because": ["planned"]}


def test_a_process(server: Server) -> None:
    [one] = documents(str(server.pid))
    assert one["process"]["pid"] == server.pid
    assert one["process"]["name"] == "httpserver"
    assert one["process"]["parent"]["pid"] == os.getpid()
    assert one["process"]["load_bias"] is not None
    assert one["file"] == os.readlink(f"/proc/{server.pid}/exe")


def test_what_cannot_be_read_is_an_object_too_with_its_error(hello: Path, tmp_path: Path) -> None:
    first, second, third = documents("/etc/passwd", str(tmp_path / "none"), str(hello), code=1)
    for one in (first, second):
        assert one["format"] is one["go"] is one["process"] is one["language"] is None
        assert one["mechanisms"]["uprobe"] == {"works": False, "because": ["unreadable"]}
        [error] = one["errors"]
        assert error["message"]
        assert error["remedy"]
    assert third["errors"] == []


def test_lists_are_there_when_asked_for(httpserver: Path) -> None:
    [plain] = documents(str(httpserver))
    assert not {"functions", "inlined", "modules"} & plain.keys()
    lists = ("--functions", "serverHandler.ServeHTTP", "--inlined", "fmt.Println", "--modules")
    [one] = documents(*lists, str(httpserver))
    assert "net/http.serverHandler.ServeHTTP" in {each["name"] for each in one["functions"]}
    assert one["inlined"][0]["function"] == "fmt.Println"
    assert one["modules"][0]["kind"] == "mod"


def test_a_list_that_cannot_be_made_leaves_the_rest(hello: Path) -> None:
    [one] = documents("--functions", "x", "/bin/sh", code=1)
    assert one["format"] == "elf"
    assert "no Go function table" in one["errors"][0]["message"]


def test_hostile_names_are_escaped_by_json(hello: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("\x1b[2J\nname", "\x9b2J \x7f \u202e", os.fsdecode(b"\xff\xfe")):
        hostile = tmp_path / name
        hostile.symlink_to(hello)
        assert main(["inspect", "--json", str(hostile)]) == 0
        out = capsys.readouterr().out
        assert out.count("\n") == 1
        assert out[:-1].isascii()
        assert out[:-1].isprintable()
        assert json.loads(out)["target"] == str(hostile)


@pytest.mark.parametrize("command", [["ps", "--json"], ["ps"], ["inspect", "--json"], ["inspect", "-v"]])
def test_processes_with_hostile_names(tmp_path: Path, command: list[str]) -> None:
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / os.fsdecode(b"\xff\x1b[2J"))
    with running(program, "60") as child:
        target = [str(child.pid)] if command[0] == "inspect" else []
        done = gotap(*command, *target, environment={"XDG_CACHE_HOME": str(tmp_path)})
    assert done.code == 0, done.err
    assert b"\x1b" not in done.out
    assert str(child.pid).encode() in done.out


@pytest.mark.parametrize("mode", gobuild.every_mode())
def test_every_mode_is_valid(mode: str) -> None:
    documents(str(gobuild.build("httpserver", gobuild.NEWEST, mode=mode)))
