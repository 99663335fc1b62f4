"""The standard library's own packages are woven like any other: what a rule says happens in net/http and os."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from gotap.weave.goroot import go_command, shadow_goroot
from gotap.weave.helper.protocol import Answer
from helpercases import Module, apply, by_file, module

PROGRAM = """package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
)

func main() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Woven"))
	}))
	defer server.Close()
	response, err := http.Get(server.URL)
	if err != nil {
		panic(err)
	}
	body, _ := io.ReadAll(response.Body)
	fmt.Println(string(body))
	_, err = os.Open("/nowhere")
	fmt.Println(err)
}
"""

RULES = """
aspects:
  - id: transport
    join-point:
      all-of:
        - import-path: net/http
        - function-body:
            function:
              - receiver: "*net/http.Transport"
              - name: RoundTrip
              - signature: {args: ["*net/http.Request"], returns: ["*net/http.Response", error]}
    advice:
      - prepend-statements:
          imports: {http: net/http}
          template: |-
            {{ $req := .Function.ArgumentOfType "*net/http.Request" -}}
            gotapHeader := http.Header{"X-Woven": []string{ {{- printf "%q" .Function.QualifiedName -}} }}
            {{ $req }} = {{ $req }}.Clone({{ $req }}.Context())
            for name, values := range gotapHeader {
              {{ $req }}.Header[name] = values
            }
  - id: open
    join-point: {all-of: [{import-path: os}, {function-body: {function: [{name: OpenFile}, {receiver: false}]}}]}
    advice:
      - prepend-statements:
          imports: {errors: errors}
          template: |-
            if {{ .Function.Argument 0 }} == "/nowhere" {
              return nil, errors.New("refused")
            }
  - id: request
    join-point: {struct-definition: net/http.Request}
    advice: [{add-struct-field: {name: gotap, type: any}}]
"""


@pytest.mark.usefixtures("release")
def test_net_http_and_os_do_what_rules_say(tmp_path: Path) -> None:
    app = module(tmp_path / "app", {"main.go": PROGRAM})
    answer = app.ask(RULES, targets=["net/http", "os"])
    assert answer.errors == ()
    assert {(match.aspect, match.package) for match in answer.matches} == {
        ("transport", "net/http"), ("open", "os"), ("request", "net/http"),
    }  # fmt: skip
    assert build_and_run(app, tmp_path, changed(app, answer)) == "http.(*Transport).RoundTrip\nrefused\n"


SMALL = """package main

import "os"

func main() { println(len(os.Args)) }
"""

EVERYTHING = """
aspects:
  - id: everything
    join-point: {function-body: {not: {function: [{name: init}]}}}
    advice:
      - prepend-statements:
          template: |-
            {{ with .Function.ResultThatImplements "any" }}_ = {{ . }}{{ end }}
            {{ with .Function.ArgumentThatImplements "any" }}_ = {{ . }}{{ end }}
            _ = 0
"""


@pytest.mark.usefixtures("release")
def test_every_function_below_a_program_can_be_woven(tmp_path: Path) -> None:
    """All bodies get statements, all parameters and results names: in the runtime, too, and beside assembly."""
    app = module(tmp_path / "app", {"main.go": SMALL})
    packages = app.go("list", "-deps", ".").stdout.split()
    answer = app.ask(EVERYTHING, targets=[name for name in packages if name != "example.com/app"])
    assert answer.errors == ()
    assert len(answer.matches) > 3000
    assert build_and_run(app, tmp_path, changed(app, answer)) == "1\n"


def changed(app: Module, answer: Answer) -> dict[str, bytes]:
    """Woven files of the standard library by path from GOROOT."""
    goroot = Path(app.toolchain.goroot)
    files = {}
    for path, edits in by_file(answer).items():
        if Path(path).is_relative_to(goroot):
            files[str(Path(path).relative_to(goroot))] = apply(Path(path).read_bytes(), edits)
    return files


def build_and_run(app: Module, folder: Path, files: dict[str, bytes]) -> str:
    go = go_command(shadow_goroot(app.toolchain, files))
    program = folder / "program"
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    words = [go, "build", "-o", program, "."]
    done = subprocess.run(words, cwd=app.folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    ended = subprocess.run([program], capture_output=True, text=True)
    return ended.stdout + ended.stderr
