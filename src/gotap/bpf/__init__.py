"""BPF as a language: instructions, assembler, and programs generated from probes. Whoever runs them: no kernel here."""
