package main

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

type key struct{}

// byValue and byPointer embed a context first, as most context types of one's own do (gin's and echo's among them).
type byValue struct {
	context.Context
	name string
}

type byPointer struct {
	context.Context
	name string
}

// elsewhere has its parent behind other fields: only the goroutine tells where a call comes from.
type elsewhere struct {
	name   string
	number int
	parent context.Context
}

func (c elsewhere) unwrap() context.Context { return c.parent }

type hidden struct {
	elsewhere
	context.Context
}

// borrowed has another request's context in its first field, behind an interface that is no context.
type borrowed struct {
	owner  any
	number int
	parent context.Context
}

func (c borrowed) Deadline() (deadline time.Time, ok bool) { return }
func (c borrowed) Done() <-chan struct{}                   { return nil }
func (c borrowed) Err() error                              { return nil }
func (c borrowed) Value(key interface{}) interface{}       { return nil }

// held is what a borrowed context has first: a pointer to a struct that begins with a context.
type held struct{ context.Context }

var first atomic.Value // the context of the request at /context/hold

func contexts(mux *http.ServeMux) {
	mux.HandleFunc("/context/hold", func(w http.ResponseWriter, r *http.Request) {
		first.Store(&held{r.Context()})
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	derive := map[string]func(context.Context, *http.Request) context.Context{
		"/context/value":   func(ctx context.Context, r *http.Request) context.Context { return byValue{ctx, "a"} },
		"/context/pointer": func(ctx context.Context, r *http.Request) context.Context { return &byPointer{ctx, "b"} },
		"/context/deep": func(ctx context.Context, r *http.Request) context.Context {
			for i := 0; i < number(r, "n", 10); i++ {
				ctx = context.WithValue(ctx, key{}, i)
			}
			return ctx
		},
		"/context/hidden": func(ctx context.Context, r *http.Request) context.Context {
			return hidden{elsewhere{"x", 1, ctx}, ctx}
		},
		"/context/borrowed": func(context.Context, *http.Request) context.Context {
			return &borrowed{owner: first.Load()}
		},
		"/context/todo":     func(context.Context, *http.Request) context.Context { return context.TODO() },
		"/context/detached": func(ctx context.Context, r *http.Request) context.Context { return detached(ctx) },
	}
	for path, function := range derive {
		function := function
		// From this handler's goroutine, or with pool=1 from one that is older than the request.
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			ctx, url := function(r.Context(), r), r.URL.Query().Get("url")
			if number(r, "pool", 0) == 0 {
				io.WriteString(w, fetch(ctx, http.DefaultClient, url))
				return
			}
			reply := make(chan string)
			work <- func() { reply <- fetch(ctx, http.DefaultClient, url) }
			io.WriteString(w, <-reply)
		})
	}
	go func() {
		for function := range work {
			function()
		}
	}()
}

var work = make(chan func())
