"""Conversions: the shared vectors, and Go itself as the oracle of what Go's URL functions do."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from gotap.probe.convert import CONVERSIONS, SENSITIVE_QUERY_KEYS, ConversionError, Cut, Result, conversion
from gotap.probe.record import Attribute

VECTORS: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "conversion_vectors.yaml").read_text(encoding="utf-8")
)


def value_of(given: object) -> object:
    return Cut(given["cut"]) if isinstance(given, dict) else given


@pytest.mark.parametrize(
    ("name", "vector"),
    [(name, vector) for name, vectors in VECTORS.items() for vector in vectors],
    ids=lambda one: one if isinstance(one, str) else str(one["in"])[:60],
)
def test_vector(name: str, vector: dict[str, Any]) -> None:
    constants = tuple((key, tuple(value)) for key, value in vector.get("with", {}).items())
    inputs = [value_of(one) for one in vector["in"]]
    attribute = Attribute("some.key", name, ("column",) * len(inputs), constants)
    result = conversion(name).bind(attribute)(*inputs)
    assert result == vector["out"]
    assert type(result) is type(vector["out"])


def test_every_conversion_has_vectors_and_an_absent_case() -> None:
    assert set(VECTORS) == set(CONVERSIONS)
    for name, vectors in VECTORS.items():
        assert any(all(one is None for one in vector["in"]) for vector in vectors), f"{name}: nothing absent"


def test_results_are_of_the_declared_type() -> None:
    types = {Result.TEXT: str, Result.INT: int, Result.BOOL: bool}
    for name, vectors in VECTORS.items():
        for vector in vectors:
            assert vector["out"] is None or type(vector["out"]) is types[CONVERSIONS[name].result]


@pytest.mark.parametrize("name", [name for name, one in CONVERSIONS.items() if one.verbatim])
def test_verbatim_conversions_keep_their_word(name: str) -> None:
    """Decoders pass texts by them; those that are whole and not empty."""
    for text in ("/", "a b", "é", "\x00", "%73ig=1&sig=2", "…"):
        assert CONVERSIONS[name].function(text) == text


class TestBind:
    def test_unknown_conversion_names_the_known_ones(self) -> None:
        with pytest.raises(ConversionError, match="no conversion shout") as caught:
            conversion("shout")
        assert "http_method" in caught.value.remedy

    def test_wrong_number_of_columns(self) -> None:
        with pytest.raises(ConversionError, match=r"url\.path: conversion url_path takes 1 columns, not 2"):
            conversion("url_path").bind(Attribute("url.path", "url_path", ("a", "b")))
        with pytest.raises(ConversionError, match="takes 1 to 2 columns, not 3"):
            conversion("host_port").bind(Attribute("server.port", "host_port", ("a", "b", "c")))

    def test_unknown_parameter(self) -> None:
        with pytest.raises(ConversionError, match="has no parameter tiemout") as caught:
            conversion("go_error").bind(Attribute("error.type", "go_error", ("t",), (("tiemout", ("x",)),)))
        assert "timeout" in caught.value.remedy

    def test_option_overrides_the_catalogue(self) -> None:
        attribute = Attribute("url.query", "url_query", ("q",), (("sensitive", ("a",)),))
        convert = conversion("url_query").bind(attribute, {"sensitive": (*SENSITIVE_QUERY_KEYS, "token")})
        assert convert("a=1&token=2&sig=3") == "a=1&token=REDACTED&sig=REDACTED"

    def test_option_reaches_only_conversions_that_have_it(self) -> None:
        assert conversion("text").bind(Attribute("k", "text", ("c",)), {"sensitive": ("a",)})("x") == "x"


ORACLE = """
package main

import ("encoding/json"; "net/url"; "os")

type item struct { Query, Redacted, Host, Path string }
type answer struct { Query, Redacted map[string][]string; Hostname, Port, Escaped string }

func main() {
	var items []item
	if err := json.NewDecoder(os.Stdin).Decode(&items); err != nil { panic(err) }
	var answers []answer
	for _, one := range items {
		query, _ := url.ParseQuery(one.Query)
		redacted, _ := url.ParseQuery(one.Redacted)
		u := url.URL{Host: one.Host, Path: one.Path}
		answers = append(answers, answer{query, redacted, u.Hostname(), u.Port(), u.EscapedPath()})
	}
	json.NewEncoder(os.Stdout).Encode(answers)
}
"""
KEYS = ["sig", "%73ig", "s%69g", "Signature", "X-Amz-Signature", "a", "sig+", "b%", "%2", "sig%26", "a;sig", "é", ""]
VALUES = ["=v", "=v%3D", "=v=w", "=v;w", "=v;sig=w", "=", "", "=%zz", "=+"]
HOSTS = ["a.example", "a.example:80", "a:", "[::1]:8080", "[::1]", "1.2.3.4:1", "a:b", "a:80x", "[fe80::1%25e]:1", ""]
PATH_MARKS = "/ab%?#[]@!$&'()*+,;=:~ \"<>\\^`{|}é"


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Random queries, hosts and paths, each with what Go makes of it."""
    if shutil.which("go") is None:
        pytest.skip("no Go toolchain")
    choose = random.Random(7)
    items = []
    for _ in range(2000):
        pairs = [choose.choice(KEYS) + choose.choice(VALUES) for _ in range(choose.randint(0, 4))]
        query = "&".join(pairs)
        path = "/" + "".join(choose.choices(PATH_MARKS, k=choose.randint(0, 8)))
        redacted = CONVERSIONS["url_query"].function(query) or ""
        items.append({"Query": query, "Redacted": redacted, "Host": choose.choice(HOSTS), "Path": path})
    program = tmp_path_factory.mktemp("oracle") / "main.go"
    program.write_text(ORACLE)
    done = subprocess.run(
        ["go", "run", str(program)],
        input=json.dumps(items),
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"GOFLAGS": "-buildvcs=false", "GO111MODULE": "off"},
    )
    return list(zip(items, json.loads(done.stdout), strict=True))


class TestAgainstGo:
    def test_redaction_touches_the_values_of_sensitive_keys_and_nothing_else(self, cases: list[Any]) -> None:
        hidden = 0
        for _, answer in cases:
            assert answer["Redacted"].keys() >= answer["Query"].keys()
            for key, values in answer["Query"].items():
                if key in SENSITIVE_QUERY_KEYS:
                    assert set(answer["Redacted"][key]) <= {"REDACTED", ""}
                    hidden += any(values)
                else:
                    assert answer["Redacted"][key] == values
        assert hidden > 200

    def test_host_and_port(self, cases: list[Any]) -> None:
        for item, answer in cases:
            assert CONVERSIONS["host_name"].function(item["Host"]) == (answer["Hostname"] or None)
            assert CONVERSIONS["host_port"].function(item["Host"]) == (int(answer["Port"]) if answer["Port"] else None)

    def test_path_is_escaped_as_go_does(self, cases: list[Any]) -> None:
        for item, answer in cases:
            assert CONVERSIONS["url_full"].function("http", "h", item["Path"], "") == "http://h" + answer["Escaped"]
