"""Where signals go: terminal, OTLP, files."""
