// A program whose operations are those of its standard input, a line each: an operation's name, a method and a status.
// `wait MILLISECONDS` ends the last one later, `flush` sends what there is.
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"gotaprt"
)

var classes = map[string]*gotaprt.Class{
	"server": {
		Library: "net/http", Name: "http.server", Kind: gotaprt.Server, Scope: true, Metric: "http.server.request.duration",
		SpanName:   []gotaprt.Part{{Key: 0}},
		Attributes: []string{"http.request.method", "url.path", "http.response.status_code", "error.type"},
		Dimensions: []int{0, 2, 3},
	},
	"client": {
		Library: "net/http", Name: "http.client", Kind: gotaprt.Client, Metric: "http.client.request.duration",
		SpanName:   []gotaprt.Part{{Key: 0}},
		Attributes: []string{"http.request.method", "url.full", "http.response.status_code", "error.type"},
		Dimensions: []int{0, 2, 3},
	},
	"query": {
		Library: "database/sql", Name: "db.query", Kind: gotaprt.Client, Metric: "db.client.operation.duration",
		SpanName:   []gotaprt.Part{{Key: 0}},
		Attributes: []string{"db.operation.name", "db.query.text", "db.response.returned_rows", "error.type"},
		Dimensions: []int{0},
	},
	"open": {
		Library: "os", Name: "file.open", Kind: gotaprt.Internal, SpanName: []gotaprt.Part{{Text: "open"}},
	},
}

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "flush":
			fmt.Println(gotaprt.Flush(1 << 34))
		case "many":
			count, _ := strconv.Atoi(words[2])
			for i := 0; i < count; i++ {
				operate(classes[words[1]], fmt.Sprint("m", i), 200, 0)
			}
		default:
			status, _ := strconv.ParseInt(words[2], 10, 64)
			wait, _ := strconv.Atoi(words[3])
			operate(classes[words[0]], words[1], status, time.Duration(wait)*time.Millisecond)
		}
	}
	os.Exit(0)
}

func operate(c *gotaprt.Class, method string, status int64, wait time.Duration) {
	var op gotaprt.Operation
	if _, ok := c.Begin(&op, nil, nil, nil); !ok {
		return
	}
	time.Sleep(wait)
	if len(c.Attributes) == 0 {
		op.Finish(nil)
		return
	}
	values := [4]gotaprt.Value{
		gotaprt.FromText(gotaprt.TextOf(method, 64)), gotaprt.FromText(gotaprt.TextOf("/secret", 64)),
		gotaprt.FromInt(gotaprt.IntOf(status)),
	}
	if status >= 500 {
		values[3] = gotaprt.FromText(gotaprt.TextOf(strconv.FormatInt(status, 10), 64))
	}
	op.Finish(values[:])
}
