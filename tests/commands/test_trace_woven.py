"""gotap trace on woven programs: arguments, results and lines of functions that have woven text in them are right."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from cli import gotap, started
from goservers import serving
from httpload import load
from kernel_access import needs_bpf
from wovenbuilds import weave

#: Functions of many shapes; lines are named in the test of lines.
MAIN = """package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

type point struct {
	X, Y int
	Name string
}

type shop struct{ total int }

//gotap:span
func work(ctx context.Context, n int, name string) (int, error) {
	if n == 3 {
		return 0, errors.New("three")
	}
	doubled := double(n)
	return doubled, nil
}

func double(n int) int { return n * 2 }

//gotap:span
func many(a int, s string, _ float64, xs []int, p point, q *point, ok bool) (string, int, point) {
	text := fmt.Sprint(a, s, len(xs), p.Name, q.X, ok)
	p.X += a
	return text, len(text), p
}

//gotap:span
func named(n int) (found string, err error) {
	defer func() {
		if recover() != nil {
			found, err = "recovered", errors.New("panicked")
		}
	}()
	if n > 1 {
		panic("more")
	}
	found = strings.Repeat("x", n+1)
	return
}

//gotap:span
func (s *shop) add(n int) int { s.total += n; return s.total }

//gotap:span
func (p point) sum(m map[string]int) int {
	total := p.X + p.Y
	for _, v := range m {
		total += v
	}
	return total
}

//gotap:span
func first[T any](list []T, otherwise T) T {
	if len(list) == 0 {
		return otherwise
	}
	return list[0]
}

//gotap:span
func ignored(_ *http.Request, n int) {}

func main() {
	for n := 1; n <= 3; n++ {
		work(context.Background(), n, fmt.Sprint("name", n))
	}
	many(7, "text", 1.5, []int{1, 2}, point{1, 2, "p"}, &point{X: 9}, true)
	for n := 0; n < 3; n++ {
		named(n)
	}
	(&shop{40}).add(2)
	point{3, 4, "q"}.sum(map[string]int{"a": 5})
	first([]string{"a", "b"}, "")
	first(nil, 12)
	ignored(nil, 8)
}
"""
MODULE = "module example.com/traced\n\ngo 1.21\n"
P, Q = {"X": 1, "Y": 2, "Name": "p"}, {"X": 9, "Y": 0, "Name": ""}

#: Function, arguments as far as they are compared, results; in the order in which they are called.
CALLS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("main.work", {"n": 1, "name": "name1"}, {"~r0": 2, "~r1": None}),
    ("main.work", {"n": 2, "name": "name2"}, {"~r0": 4, "~r1": None}),
    ("main.work", {"n": 3, "name": "name3"}, {"~r0": 0, "~r1": "three"}),
    ("main.many", {"a": 7, "s": "text", "xs": [1, 2], "p": P, "q": Q, "ok": True},
     {"~r0": "7text2p9 true", "~r1": 13, "~r2": P | {"X": 8}}),
    ("main.named", {"n": 0}, {"found": "x", "err": None}),
    ("main.named", {"n": 1}, {"found": "xx", "err": None}),
    ("main.named", {"n": 2}, {"found": "recovered", "err": "panicked"}),
    ("main.(*shop).add", {"s": {"total": 40}, "n": 2}, {"~r0": 42}),
    ("main.point.sum", {"p": {"X": 3, "Y": 4, "Name": "q"}, "m": {"map": [["a", 5]], "len": 1}}, {"~r0": 12}),
    ("main.first[string]", {"list": ["a", "b"], "otherwise": ""}, {"~r0": "a"}),
    ("main.first[int]", {"list": None, "otherwise": 12}, {"~r0": 12}),
    ("main.ignored", {"~a0": None, "n": 8}, {}),
]  # fmt: skip
SCRIPT = """
main.go:20 { printf("20 %d\\n", n) }
main.go:24 { printf("24 %d %d\\n", n, doubled) }
main.go:51 { printf("51 %d %d\\n", n, s.total) }
main.go:59 { printf("59 %d\\n", total) }
main.double:inline { printf("double %d\\n", args.n) }
"""
SAID = ["20 1", "double 1", "24 1 2", "20 2", "double 2", "24 2 4", "20 3", "51 2 40", "59 12"]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("woven") / "traced"
    return weave(folder, {"go.mod": MODULE, "main.go": MAIN})


@pytest.fixture(scope="module")
def woven_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return weave(tmp_path_factory.mktemp("woven") / "server", {}, program="httpserver")


def _plain(value: Any) -> Any:
    """An error as its text; everything else as it is told."""
    if isinstance(value, dict) and "type" in value:
        inner = value.get("error", value.get("value"))
        return inner.get("s") if isinstance(inner, dict) else inner
    return value


@pytest.mark.root
@needs_bpf
@pytest.mark.parametrize("via", ["uprobe", "springboard", "hook"])
def test_arguments_and_results_of_woven_functions(traced: Path, via: str) -> None:
    done = gotap("trace", "--json", "--max-overhead", "off", "--via", via, "-c", str(traced), "main.*")
    assert done.code == 0, done.err
    events = [json.loads(line) for line in done.out.splitlines()]
    found = [one for one in events if ".func" not in one["func"] and one["func"] != "main.main"]
    seen = [(one["func"], {name: _plain(one["args"][name]) for name in want},
             {name: _plain(value) for name, value in one.get("results", {}).items()})
            for one, (_, want, _) in zip(found, CALLS, strict=True)]  # fmt: skip
    assert seen == CALLS
    assert not any("gotap" in json.dumps(one["args"]) for one in found)


@pytest.mark.root
@needs_bpf
@pytest.mark.parametrize("via", ["uprobe", "springboard"])
def test_lines_are_those_of_the_file_and_fire_once(traced: Path, via: str, tmp_path: Path) -> None:
    (tmp_path / "lines.gt").write_text(SCRIPT)
    script = str(tmp_path / "lines.gt")
    done = gotap("trace", "--max-overhead", "off", "--via", via, "-c", str(traced), script)
    assert done.code == 0, done.err
    assert done.out.decode().splitlines() == SAID


def test_what_is_woven_in_is_listed_when_it_is_asked_for(traced: Path) -> None:
    def listed(pattern: str) -> list[str]:
        done = gotap("trace", str(traced), "-l", pattern)
        assert done.code == 0, done.err
        return done.out.decode().splitlines()

    def woven(names: list[str]) -> list[str]:
        return [name for name in names if ".gotap_" in name]

    assert woven(listed("runtime.gotap_*")) != []
    assert woven(listed("runtime.*")) == []
    assert woven(listed("*")) == []
    exact = woven(listed("*gotap_*"))[0].split()[0]
    assert listed(exact)[0].startswith(exact)
    assert [line for line in listed("gotaprt.Begin*") if line.startswith("gotaprt.BeginKind")]


def test_signatures_are_those_that_the_user_wrote(traced: Path) -> None:
    done = gotap("trace", str(traced), "-l", "main.*", "-v")
    text = done.out.decode()
    assert "main.work(ctx context.Context, n int, name string) (int, error)\n" in text
    assert "main.ignored(~a0 *net/http.Request, n int)\n" in text
    assert "__" not in text


@pytest.mark.root
@needs_bpf
@pytest.mark.parametrize("via", ["uprobe", "springboard", "hook"])
def test_functions_that_the_catalogue_weaves(via: str, woven_server: Path) -> None:
    """A server that passes requests on to itself: the client's request is replaced by one with more headers."""
    script = """
        net/http.serverHandler.ServeHTTP:return { @served[args.req.URL.Path] = count() }
        net/http.(*Transport).roundTrip:return { @called[args.req.URL.Path, ret.~r0.StatusCode] = count() }
    """
    with serving(woven_server) as server:
        words = ("trace", "-p", str(server.pid), "--max-overhead", "off", "--via", via, script)
        with started(*words) as tracing:
            tracing.attached()
            assert load(server.http, f"/call?url={server.url('/hello')}", 20).answered == 20
            done = tracing.finish(signal.SIGINT)
    text = done.out.decode()
    assert "@served[/call]: 20" in text
    assert "@served[/hello]: 20" in text
    assert "@called[/hello, 200]: 20" in text
