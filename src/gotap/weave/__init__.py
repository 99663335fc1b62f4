"""Instrumentation compiled in: rules, the Go helper that matches them, shadow trees, the runtime of woven programs."""
