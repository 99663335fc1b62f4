//go:build go1.20

package main

import (
	"errors"
	"fmt"
	"io"
)

func since120() {
	add("errors.Join", errors.Join(errors.New("one"), io.EOF))
	add("two wrapped", fmt.Errorf("both %w and %w", errors.New("one"), io.EOF))
}
