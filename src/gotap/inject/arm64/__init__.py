"""Trampolines for arm64: a small assembler, springboards, hook stubs, and where they may lie. Pure.

What is proven of them, and what is not, is in docs/arm64.md: no live arm64 process was patched.
"""
