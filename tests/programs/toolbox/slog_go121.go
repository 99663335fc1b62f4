//go:build go1.21

package main

import "log/slog"

func init() {
	orders["slog"] = func(string) error {
		record(slog.New(slog.NewTextHandler(&lost{}, nil)))
		return nil
	}
}

//go:noinline
func record(logger *slog.Logger) {
	logger.Info("brewed", "tea", "green", "cups", 3)
}
