"""Function patterns, as regular expressions over the name table.

The `*` of `(*` is literal, every other `*` matches any characters. Names in the table are escaped (`yaml%2ev3`), users
write them plain or escaped. The instances of a generic function carry type arguments, `[...]` up to Go 1.20, shapes
from 1.21 on; a pattern need not name them: `main.Map`, `main.(*List).Push`, `main.Map.func1`.
"""

from __future__ import annotations

import re

from msgspec import Struct

_ANY = rb"[^\0]*"
_TYPE_ARGUMENTS = rb"(?:\[[^\0]*\])?"
_ESCAPED = re.compile(r"%([0-9a-f]{2})")
#: cmd/internal/objabi/path.go, PathToPrefix: what import paths may not hold as it is.
_ESCAPABLE = frozenset(b".%\"")


class Pattern(Struct, frozen=True):
    """`expression` matches a NUL, then the offset of a name in the table is that of its group `name`.

    `arguments`: of `main.Map[int,string]` the type arguments, empty where none were written or `...`.
    """

    text: str
    expression: bytes
    arguments: str


def parse_pattern(text: str) -> Pattern:
    """The pattern as the user wrote it."""
    arguments = ""
    parts: list[bytes] = []
    at, named = 0, False
    last_slash = text.rfind("/", 0, _end_of_path(text))
    while at < len(text):
        character = text[at]
        if text.startswith("(*", at):
            parts.append(rb"\(\*")
            at += 2
            continue
        if character == "[" and (end := _closing(text, at)) > at:
            parts.append(rb"\[" + _ANY + rb"\]")
            inside = text[at + 1 : end - 1]
            arguments = inside if inside not in ("...", "*") else arguments
            at, named = end, False
            continue
        if character == "*":
            parts.append(_ANY)
            named = False
        else:
            if character in ".)" and named:
                parts.append(_TYPE_ARGUMENTS)
            parts.append(_literal(character))
            named = character not in ".()" and "." in text[last_slash + 1 : at]
        at += 1
    if named:
        parts.append(_TYPE_ARGUMENTS)
    return Pattern(text, rb"\0(?P<name>" + b"".join(parts) + rb")(?=\0)", arguments)


def plain_name(name: str) -> str:
    """A name of the table as users know it: import paths unescaped."""
    if "%" not in name:
        return name
    raw = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)
    return raw if raw.isascii() else raw.encode("latin-1", "replace").decode("utf-8", "replace")


def without_arguments(name: str) -> str:
    """`main.(*List[go.shape.int]).Push` → `main.(*List[...]).Push`: the source's function, not its instance."""
    start = name.find("[")
    if start < 0:
        return name
    end = _closing(name, start)
    return f"{name[:start]}[...]{without_arguments(name[end:])}" if end > start else name


def _literal(character: str) -> bytes:
    """A character, or what import paths have in its place."""
    raw = character.encode()
    if raw.isascii() and raw[0] not in _ESCAPABLE:
        return re.escape(raw)
    return b"(?:" + re.escape(raw) + b"|" + b"".join(b"%%%02x" % byte for byte in raw) + b")"


def _end_of_path(text: str) -> int:
    """Where no slash of an import path can stand any more: at type arguments and receivers."""
    return min((at for at in (text.find("["), text.find("(")) if at >= 0), default=len(text))


def _closing(text: str, opening: int) -> int:
    """The index behind the bracket that closes the one at `opening`; `opening` when none does."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "[") - (text[at] == "]")
        if depth == 0:
            return at + 1
    return opening
