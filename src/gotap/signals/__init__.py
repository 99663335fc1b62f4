"""Records → spans and metrics."""
