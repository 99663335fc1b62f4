//go:build go1.23

package gotaprt

import "internal/runtime/exithook"

// The runtime calls its hooks in os.Exit and when main returns; a goroutine that exits meanwhile waits (Go 1.23 to 1.27,
// internal/runtime/exithook). Up to Go 1.22 it would crash the program, so there they are not used.
func init() {
	exithook.Add(exithook.Hook{F: Exit, RunOnFailure: true})
}
