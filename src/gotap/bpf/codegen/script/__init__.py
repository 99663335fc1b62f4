"""Routines of scripts → BPF programs: words, statements, calls, maps, stacks, values."""
