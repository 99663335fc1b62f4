"""Go types: from the runtime's metadata, from DWARF, from declarations."""
