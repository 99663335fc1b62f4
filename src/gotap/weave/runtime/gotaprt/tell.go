package gotaprt

import (
	"os"
	"strings"
	"sync"
)

// The levels of OTEL_LOG_LEVEL. Nothing is told unless it asks: this is somebody else's program.
const (
	silent = iota
	failure
	warn
	info
	debug
)

var (
	levels = map[string]int{"error": failure, "warn": warn, "info": info, "debug": debug}
	told   sync.Map // each text is told once
)

// tell writes a line to standard error if OTEL_LOG_LEVEL wants to hear it.
func tell(level int, text string) {
	if level > levels[strings.ToLower(variable("OTEL_LOG_LEVEL"))] {
		return
	}
	if _, again := told.LoadOrStore(text, true); !again {
		os.Stderr.WriteString("gotap: " + text + "\n")
	}
}
