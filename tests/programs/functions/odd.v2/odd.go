// Package odd has a dot in its import path, which the linker escapes in names.
package odd

// Shape is a value with methods of both kinds of receivers.
type Shape struct{ Sides int }

//go:noinline
func (s Shape) Area(factor int) int { return s.Sides * factor }

//go:noinline
func (s *Shape) Grow(by int) { s.Sides += by }

//go:noinline
func Count(values ...int) (n int) { return len(values) }
