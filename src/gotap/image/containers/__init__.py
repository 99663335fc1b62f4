"""Executable files as segments, sections, notes and symbols: ELF, PE, Mach-O."""
