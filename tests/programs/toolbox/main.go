// What the ready tools of `gotap trace` are about, on request: says "ready", then each line of stdin is an order, which
// is answered when it has been carried out.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
)

var orders = map[string]func(argument string) error{
	"request": request,
	"resolve": resolve,
	"query":   query,
	"tls":     handshakes,
	"panic":   panicking,
	"crash":   crashing,
	"open":    open,
	"births":  births,
	"mutex":   mutexWait,
	"receive": receiveWait,
	"select":  selectWait,
	"collect": collect,
	"log":     logging,
	"format":  formatting,
	"fail":    failing,
	"weigh":   weighing,
	"walk":    walking,
}

func main() {
	answer("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		word, argument, _ := strings.Cut(lines.Text(), " ")
		order, known := orders[word]
		if !known {
			answer("there is no order " + word)
			continue
		}
		if err := order(argument); err != nil {
			answer("failed " + err.Error())
		} else {
			answer("done")
		}
	}
}

// answer avoids fmt, whose calls are among what is watched.
func answer(text string) {
	os.Stdout.WriteString(text + "\n")
}

type notFound struct{ name string }

func (e *notFound) Error() string { return e.name + " is not there" }

var errEmpty = errors.New("empty name")

//go:noinline
func find(name string) (int, error) {
	if name == "" {
		return 0, errEmpty
	}
	if name != "tea" {
		return 0, &notFound{name}
	}
	return 7, nil
}

//go:noinline
func price(name string) (int, error) {
	found, err := find(name)
	if err != nil {
		return 0, fmt.Errorf("price of %s: %w", name, err)
	}
	return found, nil
}

func failing(string) error {
	for _, name := range []string{"tea", "salt", "salt", ""} {
		price(name)
	}
	return nil
}
