"""A script's text: its words, its tree, how it is read, and errors that point into it."""
