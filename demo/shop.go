package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"
)

var errSoldOut = errors.New("sold out")

type shop struct {
	stock  string // base URL of the stock service: here the same process
	client *http.Client
}

func newShop(stock string) *shop {
	return &shop{stock: stock, client: &http.Client{Timeout: 250 * time.Millisecond}}
}

func (s *shop) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /products", s.products)
	mux.HandleFunc("GET /products/{id}", s.product)
	mux.HandleFunc("POST /orders", s.order)
	mux.HandleFunc("GET /stock/{id}", s.level)
	mux.HandleFunc("GET /report", s.report)
	return mux
}

func (s *shop) products(w http.ResponseWriter, r *http.Request) {
	pause(time.Millisecond)
	reply(w, http.StatusOK, map[string]any{"query": r.FormValue("q"), "products": []string{"tea", "coffee", "salt"}})
}

func (s *shop) product(w http.ResponseWriter, r *http.Request) {
	pause(300 * time.Microsecond)
	if r.PathValue("id") == "0" {
		reply(w, http.StatusNotFound, map[string]string{"error": "no such product"})
		return
	}
	reply(w, http.StatusOK, map[string]string{"id": r.PathValue("id"), "name": "tea"})
}

// order asks for the stock on a goroutine of its own, as real handlers do.
func (s *shop) order(w http.ResponseWriter, r *http.Request) {
	answer := make(chan error, 1)
	go func() { answer <- s.reserve(r.Context(), r.FormValue("id")) }()
	switch err := <-answer; {
	case errors.Is(err, errSoldOut):
		reply(w, http.StatusConflict, map[string]string{"error": err.Error()})
	case err != nil:
		reply(w, http.StatusServiceUnavailable, map[string]string{"error": err.Error()})
	default:
		reply(w, http.StatusCreated, map[string]string{"order": fmt.Sprint(rand.IntN(1e6))})
	}
}

func (s *shop) reserve(ctx context.Context, id string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.stock+"/stock/"+id, nil)
	if err != nil {
		return err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusGone:
		return errSoldOut
	default:
		return fmt.Errorf("stock answers %s", response.Status)
	}
}

// level fails, hangs and says no: one call in fifty each.
func (s *shop) level(w http.ResponseWriter, r *http.Request) {
	switch rand.IntN(50) {
	case 0:
		reply(w, http.StatusInternalServerError, map[string]string{"error": "disk on fire"})
	case 1:
		select { // longer than the client waits
		case <-r.Context().Done():
		case <-time.After(time.Second):
		}
	case 2:
		reply(w, http.StatusGone, map[string]string{"error": errSoldOut.Error()})
	default:
		pause(2 * time.Millisecond)
		reply(w, http.StatusOK, map[string]int{"level": 12})
	}
}

func (s *shop) report(w http.ResponseWriter, r *http.Request) {
	pause(30 * time.Millisecond)
	if rand.IntN(5) == 0 {
		var months map[string]int
		months["January"]++ // a bug: the map was never made
	}
	reply(w, http.StatusOK, map[string]int{"orders": 7})
}

// pause waits around d, now and then much longer, as storage does.
func pause(d time.Duration) {
	time.Sleep(time.Duration(float64(d) * (0.5 + rand.ExpFloat64())))
}

func reply(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
