// Package odd has an import path whose dots the linker escapes.
package odd

type Shape struct {
	Name  string
	sides int
}

func New(name string) *Shape { return &Shape{Name: name, sides: len(name)} }
