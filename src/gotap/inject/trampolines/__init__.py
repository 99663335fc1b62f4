"""What patched sites jump to: where it may lie, and the code of springboards and hooks. Pure: numbers in, bytes out."""
