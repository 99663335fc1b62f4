"""bpf(2) and perf system calls, assembler, code generation, maps, rings, links."""
