// Package greet is what the vendored program depends on.
package greet

//go:noinline
func Text() string { return "hello" }
