//go:build go1.21

package main

import (
	"context"
	"time"
)

const background = "context.backgroundCtx"

func since121() {
	timed, stop := context.WithDeadline(context.TODO(), time.Date(2124, 1, 2, 3, 4, 5, 0, time.UTC))
	_ = stop
	add("withoutCancelCtx", context.WithoutCancel(timed),
		"context.TODO.WithDeadline(2124-01-02 03:04:05 +0000 UTC).WithoutCancel",
		`{"type":"context.withoutCancelCtx","value":{"context":[{"type":"context.withoutCancelCtx"},{"type":"*context.timerCtx","deadline":"2124-01-02T03:04:05Z","cancelled":false},{"type":"context.todoCtx"}]}}`)
}
