"""Makes sites fire without kernel traps: ptrace, springboards, in-process hooks."""
