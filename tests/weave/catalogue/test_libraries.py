"""Which libraries of the catalogue are woven is the user's choice, in the environment of the build."""

from __future__ import annotations

from pathlib import Path

import pytest

from otlp_server import collector
from weavecases import go, module, run, spans, weave

PROGRAM = """package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
)

func main() {
	server := httptest.NewServer(http.NotFoundHandler())
	response, err := http.Get(server.URL)
	fmt.Println(response.StatusCode, err)
	work()
	server.Close()
}

//gotap:span
func work() {}
"""


@pytest.mark.parametrize(("libraries", "names"), [
    (None, ["GET", "GET", "main.work"]), ("net/http, database/sql", ["GET", "GET", "main.work"]),
    ("database/sql", ["main.work"]), ("", ["main.work"]),
])  # fmt: skip
def test_what_is_named_is_woven(libraries: str | None, names: list[str], tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": PROGRAM})
    settings = {} if libraries is None else {"GOTAP_LIBRARIES": libraries}
    done = go(app, "build", "-o", "program", ".", **settings)
    assert done.code == 0, done.err
    with collector() as received:
        assert run(app / "program", to=received).code == 0
        assert sorted(one.name for one in spans(received)) == names


def test_a_library_that_the_catalogue_does_not_have(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": PROGRAM})
    done = weave(app, "--list", ".", GOTAP_LIBRARIES="net/http,net/smtp")
    assert done.code == 1
    assert "GOTAP_LIBRARIES names net/smtp, which the catalogue does not have" in done.err
    assert "database/sql, net/http" in done.err
