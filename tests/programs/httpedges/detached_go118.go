//go:build !go1.21

package main

import "context"

// detached has no counterpart before Go 1.21's context.WithoutCancel.
func detached(ctx context.Context) context.Context { return ctx }
