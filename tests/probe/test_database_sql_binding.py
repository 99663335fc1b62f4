"""database/sql in real binaries: all of it is found in every Go version, at sites that are cheap, stripped or not."""

from __future__ import annotations

import pytest

import gobuild
from gotap.image.image import Image
from gotap.probe import ir
from gotap.probe.binding import BoundOperation, bind
from gotap.probe.catalogue import CatalogueError, libraries, load_library, runtime
from gotap.probe.record import ColumnKind
from gotap.probe.sources import types_of

FUNCTIONS = {
    f"database/sql.(*{type}).{method}"
    for type in ("DB", "Conn", "Tx", "Stmt")
    for method in ("QueryContext", "ExecContext")
}


def bound(go: str, mode: str) -> BoundOperation:
    image = Image.open(gobuild.build("sqlcalls", go, mode=mode))
    binding = bind(image, types_of(image, runtime()), libraries(), runtime())
    [found] = [one for one in binding.operations if one.operation.name == "db.client"]
    return found


@pytest.mark.parametrize("mode", ["plain", "stripped"])
@pytest.mark.parametrize("go", gobuild.every_version())
def test_every_function_begins_and_ends_it(go: str, mode: str) -> None:
    found = bound(go, mode)
    for kind in (ir.Begin, ir.End):
        probes = [one for one in found.probes if isinstance(one.action, kind)]
        assert {site.function for one in probes for site in one.sites} == FUNCTIONS
    begins = [site.site for one in found.probes if isinstance(one.action, ir.Begin) for site in one.sites]
    assert all(one.cost.cheap for one in begins)
    assert {one.part for one in found.missing} <= {f"status.{kind} at {name}" for name in FUNCTIONS for kind in
                                                   ("code", "number")}  # fmt: skip


@pytest.mark.parametrize("go", gobuild.every_version())
def test_what_is_captured_depends_on_neither_version_nor_stripping(go: str) -> None:
    for mode in ("plain", "stripped"):
        found = bound(go, mode)
        assert found.output is not None
        kinds = {one.name: one.kind for one in found.output.layout.columns if one.kind is not ColumnKind.KEPT}
        assert kinds == {
            "query": ColumnKind.TEXT,
            "driver": ColumnKind.TYPE,
            "error.type": ColumnKind.TYPE,
            "error.text": ColumnKind.TEXT,
            "error.number": ColumnKind.UINT,
            "status.code": ColumnKind.TEXT,
        }, "lib/pq is linked in, and no driver that numbers its errors"
        assert {one.key for one in found.output.attributes} == {
            "db.system.name",
            "db.query.text",
            "db.query.summary",
            "db.response.status_code",
            "error.type",
        }


def test_returns_as_they_are_written_at_the_begins_need_results_there() -> None:
    text = """
library: a
operations:
  b:
    span: {kind: client, name: "b"}
    begin:
      - function: a.f(x int)RESULTS
        capture: {x: x}
    end: [{outcome: returned, return: true}]
    attributes: {x: {int: [x]}}
"""
    [operation] = load_library(text.replace("RESULTS", " (err error)"), "a.yaml").operations
    assert [one.name for one in operation.ends[0].place.results or ()] == ["err"]
    with pytest.raises(CatalogueError, match=r"a\.f is written without results"):
        load_library(text.replace("RESULTS", ""), "a.yaml")
