"""Conversions that leave values as they are."""

from __future__ import annotations

from gotap.probe.convert_registry import Result, register, shown


@register(Result.TEXT, free=True, verbatim=True)
def text(value: str | None) -> str | None:
    """The text; absent when empty."""
    return shown(value) if value else None


@register(Result.INT, name="int")
def integer(value: int | None) -> int | None:
    return None if value is None else int(value)


@register(Result.BOOL, name="bool")
def boolean(value: int | None) -> bool | None:
    return None if value is None else bool(value)
