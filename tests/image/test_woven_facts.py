"""What a woven program tells of itself, however it was linked, and what only looks like it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import gobuild
import gotap
from gotap.image.containers.container import read_container
from gotap.image.facts.model import Facts, WovenFacts, WovenOperation
from gotap.image.facts.reading import read_facts
from gotap.image.facts.woven import woven_operations
from gotap.image.functions.names import Names
from gotap.image.image import Image
from gotap.probe.catalogue import libraries
from gotap.probe.edition import LENGTH, edition
from wovenbuilds import weave

#: A function as weaving leaves it, in a package with dots in its path.
MAIN = """package main

import (
	"fmt"

	"example.com/app/v1.2"
)

//gotap:span
func work() { fmt.Println("worked") }

func main() { work(); lib.Use() }
"""
LIBRARY = """package lib

//go:noinline
func gotap_http_client_begin_0() {}

//go:noinline
func gotap_http_client_end_0() {}

func Use() { gotap_http_client_begin_0(); gotap_http_client_end_0() }
"""
MODULE = "module example.com/app\n\ngo 1.21\n"
FOUND = WovenFacts(gotap.__version__, edition(), (WovenOperation("http.client", "example.com/app/v1.2"),))
OTHER = r"""package main

import "os"

func init() { os.Stderr.WriteString("\xffgotap woven\xff9.9.9\xffabc\xff") }
"""
HEAD = b"\xffgotap woven\xff"

WAYS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "plain": ((), {}),
    "stripped": (("-ldflags=-s -w",), {"CGO_ENABLED": "0"}),
    "pie": (("-buildmode=pie", "-ldflags=-s -w -buildid="), {}),
    "external": (("-ldflags=-linkmode=external -s",), {}),
    "arm64": (("-trimpath",), {"GOARCH": "arm64"}),
    "big-endian": ((), {"GOARCH": "s390x"}),
    "32 bits": ((), {"GOARCH": "386"}),
    "oldest": (("-ldflags=-s",), {"GOTOOLCHAIN": "go1.21.13"}),
    "newest": (("-ldflags=-s",), {"GOTOOLCHAIN": f"go{gobuild.NEWEST}"}),
}
_DEAR = ("external", "arm64", "big-endian", "32 bits", "oldest", "newest")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("woven") / "app"
    library = folder / "v1.2"
    library.mkdir(parents=True)
    (library / "lib.go").write_text(LIBRARY)
    yield folder
    shutil.rmtree(folder.parent / "cache", ignore_errors=True)


def built(module: Path, way: str) -> Path:
    flags, variables = WAYS[way]
    return weave(module, {"go.mod": MODULE, "main.go": MAIN}, *flags, **variables)


def told(content: bytes | Path) -> tuple[WovenFacts | None, str]:
    facts: Facts = read_facts(content if isinstance(content, Path) else read_container(content))
    assert facts.go is not None
    return facts.go.woven, facts.evidence["go.woven"]


@pytest.mark.parametrize("way", [pytest.param(one, marks=[pytest.mark.matrix] * (one in _DEAR)) for one in WAYS])
def test_a_woven_program_tells_by_what_it_is_woven_and_what_is_in_it(module: Path, way: str) -> None:
    found, evidence = told(built(module, way))
    assert found == FOUND
    assert f"its marker of gotap {gotap.__version__} at 0x" in evidence


@pytest.mark.parametrize("program", ["hello", "httpserver"])
def test_a_plain_program_is_not_woven(program: str) -> None:
    executable = gobuild.build(program, gobuild.NEWEST)
    assert told(executable) == (None, "no function of gotap's runtime")
    assert Image.open(executable).woven_operations == ()


def test_of_several_markers_the_program_s_own_counts(module: Path) -> None:
    """Texts of a program that holds other woven programs; and one whose own marker is gone."""
    (module / "other.go").write_text(OTHER)
    executable = built(module, "plain")
    (module / "other.go").unlink()
    content = executable.read_bytes()
    assert content.count(HEAD) == 2
    assert told(content)[0] == FOUND
    broken, evidence = told(content.replace(HEAD + gotap.__version__.encode(), HEAD + b"\0" * len(gotap.__version__)))
    assert broken == WovenFacts(None, None, FOUND.operations)
    assert evidence.endswith("; the marker is gone")


def test_a_package_of_the_user_s_that_has_the_runtime_s_name_is_not_gotap_s(tmp_path: Path) -> None:
    folder = tmp_path / "app"
    (folder / "gotaprt").mkdir(parents=True)
    (folder / "gotaprt" / "a.go").write_text("package gotaprt\n\n//go:noinline\nfunc F() { println() }\n")
    (folder / "go.mod").write_text("module gotaprt\n\ngo 1.21\n")
    (folder / "main.go").write_text('package main\n\nimport "gotaprt/gotaprt"\n\nfunc main() { gotaprt.F() }\n')
    found, _ = told(gobuild.build(folder))
    assert found is None


def test_operations_are_read_from_names_of_begins_alone() -> None:
    names = [
        "net/http.gotap_http_server_begin_0", "net/http.gotap_http_server_begin_1", "net/http.gotap_http_server_end_0",
        "net/http.gotap_http_server_begin_0.func1", "gopkg.in/x%2ev3.gotap_a_begin_12", "runtime.gotap_inherit",
        "main.gotap_begin_", "gotap_none_begin_0",
    ]  # fmt: skip
    table = b"\0" + b"\0".join(name.encode() for name in names) + b"\0"
    assert woven_operations(Names(table)) == (
        WovenOperation("a", "gopkg.in/x.v3"), WovenOperation("http.server", "net/http"),
    )  # fmt: skip


def test_operations_of_the_catalogue_are_known_by_such_names() -> None:
    """A dot becomes an underscore there, so that a name may have none."""
    assert [one.name for library in libraries() for one in library.operations if "_" in one.name] == []


def test_the_edition_is_that_of_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gotap.probe.edition as module

    assert len(edition()) == LENGTH
    seen = set()
    monkeypatch.setattr(module, "_FOLDER", tmp_path)
    for name, text in (("a.yaml", "x"), ("a.yaml", "y"), ("b.yaml", ""), ("notes.txt", "")):
        (tmp_path / name).write_text(text)
        seen.add(module.edition.__wrapped__())
    assert len(seen) == 3
