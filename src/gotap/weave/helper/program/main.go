// Weavehelper reads a build and aspects as JSON from standard input, matches join points with real types, and writes
// what to change in which file, as JSON, to standard output. It changes nothing itself. Exit status 0 means that the
// answer is JSON.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
)

func main() {
	debug.SetGCPercent(200) // a short life: a sixth less processor time for a tenth more memory
	var request Request
	if err := json.NewDecoder(bufio.NewReader(os.Stdin)).Decode(&request); err != nil {
		fmt.Fprintln(os.Stderr, "weavehelper: the request is not what is expected:", err)
		os.Exit(2)
	}
	out := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(weave(&request)); err != nil {
		fmt.Fprintln(os.Stderr, "weavehelper: cannot write the answer:", err)
		os.Exit(1)
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "weavehelper: cannot write the answer:", err)
		os.Exit(1)
	}
}
