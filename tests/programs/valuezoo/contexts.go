package main

import (
	"context"
	"time"
)

type contextKey struct{ name string }

type customContext struct {
	extra int
	context.Context
}

func contexts() {
	deadline := time.Date(2124, 1, 2, 3, 4, 5, 0, time.UTC)
	root := context.Background()
	valued := context.WithValue(root, contextKey{"user"}, "ann")
	add("background", root, text120("context.Background"), `{"type":"`+background+`","value":{"context":[{"type":"`+background+`"}]}}`)
	add("valueCtx", valued, text120("context.Background")+".WithValue({name:user}, ann)",
		`{"type":"*context.valueCtx","value":{"context":[{"type":"*context.valueCtx","key":{"type":"main.contextKey","value":{"name":"user"}},"value":{"type":"string","value":"ann"}},{"type":"`+background+`"}]}}`)
	cancellable, cancel := context.WithCancel(valued)
	add("cancelCtx", cancellable, text120("context.Background")+".WithValue({name:user}, ann).WithCancel",
		`{"type":"*context.cancelCtx","value":{"context":[{"type":"*context.cancelCtx","cancelled":false},{"type":"*context.valueCtx","key":{"type":"main.contextKey","value":{"name":"user"}},"value":{"type":"string","value":"ann"}},{"type":"`+background+`"}]}}`)
	_ = cancel
	timed, stop := context.WithDeadline(root, deadline)
	_ = stop
	add("timerCtx", timed, text120("context.Background")+".WithDeadline(2124-01-02 03:04:05 +0000 UTC)",
		`{"type":"*context.timerCtx","value":{"context":[{"type":"*context.timerCtx","deadline":"2124-01-02T03:04:05Z","cancelled":false},{"type":"`+background+`"}],"deadline":"2124-01-02T03:04:05Z"}}`)
	inner, innerCancel := context.WithCancel(customContext{1, timed})
	innerCancel()
	add("cancelled context", inner,
		text120("context.Background")+".WithDeadline(2124-01-02 03:04:05 +0000 UTC).main.customContext.WithCancel[context canceled]",
		`{"type":"*context.cancelCtx","value":{"context":[{"type":"*context.cancelCtx","cancelled":true,"error":"context canceled"},{"type":"main.customContext"},{"type":"*context.timerCtx","deadline":"2124-01-02T03:04:05Z","cancelled":false},{"type":"`+background+`"}],"deadline":"2124-01-02T03:04:05Z"}}`)
	add("any of context", any(root), text120("context.Background"), `{"type":"`+background+`","value":{"context":[{"type":"`+background+`"}]}}`)
	add("nil context", context.Context(nil))
}

func text120(text string) string {
	if background == "*context.emptyCtx" {
		return background
	}
	return text
}
