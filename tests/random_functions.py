"""A Go program of functions with random parameters and results, which says itself what it calls them with."""

from __future__ import annotations

import random
from pathlib import Path

#: Go type → an expression of it, made of a number.
_VALUES = {
    "int": "{}", "int8": "int8({} % 100)", "uint16": "uint16({})", "int32": "int32(-{})", "uint8": "uint8({} % 200)",
    "bool": "{} % 2 == 0", "string": 'fmt.Sprint("s", {})', "[]int": "[]int{{{}}}",
    "[2]int16": "[2]int16{{int16({}), 7}}", "[1]string": '[1]string{{fmt.Sprint("one", {})}}',
    "[3]uint32": "[3]uint32{{uint32({}), 2, 3}}", "[0]int": "[0]int{{}}",
    "struct{}": "struct{{}}{{}}", "struct{A int8; B string}": 'struct{{A int8; B string}}{{int8({} % 100), "b"}}',
    "struct{X [2]int8; Y int}": "struct{{X [2]int8; Y int}}{{[2]int8{{1, 2}}, {}}}", "interface{}": "interface{{}}({})",
    "*int": "pointer({})", "map[string]int": 'map[string]int{{"m": {}}}', "float64": "float64({})",
}  # fmt: skip

_HEAD = """package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

var truth = map[string][2][]interface{}{}
var nowhere, _ = os.OpenFile("/dev/null", os.O_WRONLY, 0)

func pointer(number int) *int { return &number }

func note(name string, arguments, results []interface{}) { truth[name] = [2][]interface{}{arguments, results} }
"""

_MAIN = """
func main() {
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\\n')
	for round := 0; round < %d; round++ {
		done := make(chan bool)
		go func() { // on a stack that has to grow
			all()
			close(done)
		}()
		<-done
		time.Sleep(time.Millisecond)
	}
	json.NewEncoder(os.Stdout).Encode(truth)
}
"""


def write_program(folder: Path, seed: int, functions: int, rounds: int) -> None:
    """Into an empty folder. The program prints `ready`, waits for a line, calls everything, prints the truth as JSON:
    function → [arguments, results].
    """
    chosen = random.Random(seed)
    lines, calls = [_HEAD], []
    for number in range(functions):
        taken = [chosen.choice(list(_VALUES)) for _ in range(chosen.randint(0, 9))]
        given = [chosen.choice(list(_VALUES)) for _ in range(chosen.randint(1, 6))]
        parameters = ", ".join(f"a{i} {type}" for i, type in enumerate(taken))
        results = ", ".join(f"r{i} {type}" for i, type in enumerate(given))
        body = ["	if len(os.Args) > 50 {\n		return\n	}"]
        if number % 3 == 0:
            body.append('	defer func() { fmt.Fprint(nowhere, "deferred") }()')
        if number % 5 == 0:
            body.append('	fmt.Fprint(nowhere, "x")')
        returned = [_VALUES[type].format(number * 11 + i + 3) for i, type in enumerate(given)]
        body.append(f"	return {', '.join(returned)}")
        lines.append(f"//go:noinline\nfunc f{number}({parameters}) ({results}) {{\n" + "\n".join(body) + "\n}\n")
        passed = ", ".join(_VALUES[type].format(number * 7 + i) for i, type in enumerate(taken))
        calls.append(f"	f{number}({passed})")
        calls.append(f'	note("f{number}", []interface{{}}{{{passed}}}, []interface{{}}{{{", ".join(returned)}}})')
    lines.append("func all() {\n" + "\n".join(calls) + "\n}\n")
    (folder / "main.go").write_text("\n".join(lines) + _MAIN % rounds)
    (folder / "go.mod").write_text("module randomfunctions\n\ngo 1.18\n")
