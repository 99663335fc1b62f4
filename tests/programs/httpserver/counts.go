package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
)

// Count tells how many requests of a route reached the handler, and how many left it (returned or panicked).
type Count struct {
	Begun    int `json:"begun"`
	Finished int `json:"finished"`
}

type counter struct {
	mutex  sync.Mutex
	routes map[string]*Count
}

var counts = counter{routes: map[string]*Count{}}

func (c *counter) add(route string, begun, finished int) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	count := c.routes[route]
	if count == nil {
		count = &Count{}
		c.routes[route] = count
	}
	count.Begun += begun
	count.Finished += finished
}

func (c *counter) snapshot() map[string]Count {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	all := make(map[string]Count, len(c.routes))
	for route, count := range c.routes {
		all[route] = *count
	}
	return all
}

// counted counts by the path's first element; /debug/counts answers with the counts and is not counted.
func counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/debug/counts" {
			json.NewEncoder(w).Encode(counts.snapshot())
			return
		}
		route := "/" + strings.SplitN(strings.TrimPrefix(r.URL.Path, "/"), "/", 2)[0]
		counts.add(route, 1, 0)
		defer counts.add(route, 0, 1)
		next.ServeHTTP(w, r)
	})
}
