// Command goformats says what Go's fmt makes of values: an oracle for gotap's own printf.
//
// Each line of input is an object: a format of one verb, and one of int, uint, text, bool, float, duration. Each line
// of output is the text.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

type question struct {
	Format   string
	Int      *int64
	Uint     *uint64
	Text     *string
	Bool     *bool
	Float    *float64
	Duration *time.Duration
}

func (q question) value() any {
	switch {
	case q.Int != nil:
		return *q.Int
	case q.Uint != nil:
		return *q.Uint
	case q.Text != nil:
		return *q.Text
	case q.Bool != nil:
		return *q.Bool
	case q.Float != nil:
		return *q.Float
	default:
		return *q.Duration
	}
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var q question
		if err := json.Unmarshal(in.Bytes(), &q); err != nil {
			panic(err)
		}
		answer, _ := json.Marshal(fmt.Sprintf(q.Format, q.value()))
		fmt.Fprintf(out, "%s\n", answer)
	}
}
