"""Conversions of errors."""

from __future__ import annotations

from collections.abc import Collection

from gotap.probe.convert_registry import Cut, Result, register


@register(Result.TEXT)
def go_error(
    type_name: str | None,
    message: str | None = None,
    number: int | None = None,
    *,
    timeout: Collection[str] = (),
    canceled: Collection[str] = (),
) -> str | None:
    """`error.type` of a Go error: `timeout` and `canceled` where the lists say so, else its type's name.

    An entry of the lists is a type's name, a message, or `TYPE=NUMBER` (`syscall.Errno=110`).
    """
    if not type_name:
        return None
    seen = {type_name}
    if number is not None:
        seen.add(f"{type_name}={number}")
    if message is not None and not isinstance(message, Cut):
        seen.add(message)
    if not seen.isdisjoint(timeout):
        return "timeout"
    return "canceled" if not seen.isdisjoint(canceled) else type_name
