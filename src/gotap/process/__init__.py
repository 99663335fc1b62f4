"""What runs: processes, their executables, mappings and names, from /proc."""
