"""Expressions and statements of scripts → words and statements of routines."""
