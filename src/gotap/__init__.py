"""gotap: see inside Go services without editing them."""

__version__ = "0.1.0"
