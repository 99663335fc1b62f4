//go:build go1.21

// go.mod says 1.18, which would keep panic(nil) as it was.
//go:debug panicnil=0

package main

import "context"

func detached(ctx context.Context) context.Context { return context.WithoutCancel(ctx) }
