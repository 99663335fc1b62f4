"""x86-64 machine code: an assembler, and the translator from BPF."""
