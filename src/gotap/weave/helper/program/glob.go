package main

import (
	"path"
	"strings"
)

// globMatches tells whether a pattern of package-filter covers a path. `*`, `?` and `[…]` stay inside a segment,
// `**` covers any number of segments, and inside a segment it covers the rest of it and whatever follows.
func globMatches(pattern, name string) bool {
	if pattern == "*" {
		return true
	}
	if !strings.Contains(pattern, "**") {
		matched, err := path.Match(pattern, name)
		return err == nil && matched
	}
	var segments []string
	for _, segment := range strings.Split(pattern, "/") {
		segments = append(segments, splitStars(segment)...)
	}
	return segmentsMatch(segments, strings.Split(name, "/"))
}

// splitStars makes `**` segments of their own: `a**b` becomes `a*`, `**`, `*b`.
func splitStars(segment string) []string {
	if segment == "**" || !strings.Contains(segment, "**") {
		return []string{segment}
	}
	parts := strings.Split(segment, "**")
	var result []string
	for i, part := range parts {
		if i > 0 {
			result = append(result, "**")
		}
		if part == "" {
			continue
		}
		if i > 0 {
			part = "*" + part
		}
		if i < len(parts)-1 {
			part += "*"
		}
		result = append(result, part)
	}
	return result
}

func segmentsMatch(pattern, name []string) bool {
	if len(pattern) == 0 {
		return len(name) == 0
	}
	if pattern[0] == "**" {
		for skipped := 0; skipped <= len(name); skipped++ {
			if segmentsMatch(pattern[1:], name[skipped:]) {
				return true
			}
		}
		return false
	}
	if len(name) == 0 {
		return false
	}
	matched, err := path.Match(pattern[0], name[0])
	return err == nil && matched && segmentsMatch(pattern[1:], name[1:])
}
