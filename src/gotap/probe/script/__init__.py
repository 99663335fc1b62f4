"""Scripts: the probe language as the user types it, up to what a mechanism needs to run it."""
