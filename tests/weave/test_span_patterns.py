"""Spans by patterns, and the points at which a guard can refuse."""

from __future__ import annotations

from pathlib import Path

from otlp_server import collector
from weavecases import go, module, run, spans, weave

SHOP = """package main

import (
	"context"
	"example.com/app/shop"
)

func main() {
	s := &shop.Shop{}
	s.Order(context.Background(), 1)
	s.Marked()
	shop.Stock{}.Count()
	shop.Help()
	other()
}

func other() {}
"""
PACKAGE = """package shop

import "context"

type Shop struct{}

func (s *Shop) Order(ctx context.Context, id int) error { s.audit(ctx); return nil }

func (s *Shop) audit(ctx context.Context) { func() {}() }

//gotap:span name:own
func (s *Shop) Marked() {}

type Stock struct{}

func (Stock) Count() int { return 0 }

func Help() {}
"""


def test_functions_get_spans_by_patterns(tmp_path: Path) -> None:
    rules = 'spans: ["example.com/app/shop.(*Shop).*", "*.Count", main.oth*]\n'
    app = module(tmp_path / "app", {"main.go": SHOP, "shop/shop.go": PACKAGE, "gotap.yaml": rules})
    assert go(app, "build", "-o", "program", ".").code == 0
    with collector() as received:
        assert run(app / "program", to=received).code == 0
        found = {one.name: one for one in spans(received)}
    assert set(found) == {"shop.(*Shop).Order", "shop.(*Shop).audit", "own", "shop.Stock.Count", "main.other"}
    assert found["shop.(*Shop).audit"].parent_span_id == found["shop.(*Shop).Order"].span_id
    listed = weave(app, "--list", ".").out
    assert "spans: *.Count  (gotap.yaml:1)" in listed, listed


def test_a_pattern_that_is_no_functions_name(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": SHOP, "shop/shop.go": PACKAGE, "gotap.yaml": "spans: [Order]\n"})
    done = go(app, "build", ".")
    assert done.code == 1
    assert "gotap.yaml:1" in done.err
    assert "'Order' in `spans`" in done.err


GUARDED = """package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	_, err := os.ReadFile("/etc/shadow")
	fmt.Println(err)
	_, err = os.Stat("/etc/passwd")
	fmt.Println(err)
	_, err = os.ReadFile("/dev/null")
	fmt.Println(err)
	fmt.Println(exec.Command("/bin/true", "--refused").Run())
	fmt.Println(exec.Command("/bin/true").Run())
}
"""
GUARD = """aspects:
  - id: guard
    join-point: {all-of: [package-name: main, function: [name: main]]}
    advice:
      - inject-declarations:
          imports: {gotaprt: gotaprt, errors: errors}
          template: |-
            func init() {
              gotaprt.Guard(
                func(name string, flag int) error {
                  if name == "/etc/shadow" { return errors.New("no shadow") }
                  return nil
                },
                func(name string, argv []string) error {
                  if len(argv) > 1 { return errors.New("no " + argv[1]) }
                  return nil
                })
            }
"""


def test_a_guard_is_asked(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": GUARDED, "gotap.yaml": GUARD})
    done = go(app, "build", "-o", "program", ".")
    assert done.code == 0, done.err
    assert run(app / "program").out.splitlines() == ["no shadow", "<nil>", "<nil>", "no --refused", "<nil>"]


def test_why_a_pattern_matches_nothing(tmp_path: Path) -> None:
    patterns = ["example.com/app/shop.(*Shop).Oder", "example.com/ap.Help", "example.com/app/shop.(Shop).*"]
    rules = "spans:\n" + "".join(f'  - "{one}"\n' for one in patterns)
    app = module(tmp_path / "app", {"main.go": SHOP, "shop/shop.go": PACKAGE, "gotap.yaml": rules})
    lines = weave(app, "--list", ".").out.splitlines()
    said = {line: lines[number + 1] for number, line in enumerate(lines) if line.startswith("spans: ")}
    assert list(said.values()) == [
        '  nowhere: no file holds "Oder"',
        "  nowhere: no package of the build that may be changed is called example.com/ap",
        "  nowhere: nothing in package example.com/app/shop matches, though its imports and names would allow it",
    ]


def test_a_misspelt_function_is_told_when_its_package_is_built(tmp_path: Path) -> None:
    rules = 'spans: [example.com/app/shop.Hepl, main.other, "example.com/app/shop.(*Store).*", example.com/else.F]\n'
    app = module(tmp_path / "app", {"main.go": SHOP, "shop/shop.go": PACKAGE, "gotap.yaml": rules})
    done = go(app, "build", ".")
    assert done.code == 0
    assert [line.partition(" matches nothing: ")[0] for line in done.err.splitlines()] == [
        "gotap: gotap.yaml:1: `spans: example.com/app/shop.Hepl`",
        "gotap: gotap.yaml:1: `spans: example.com/app/shop.(*Store).*`",
    ]
