"""The Go helper: built with the user's own toolchain, asked with JSON where rules match and what to write there."""
