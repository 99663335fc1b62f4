"""Import paths as they stand inside the linker's symbol names, and so in DWARF and the function table."""

from __future__ import annotations

import re

#: A name inside a type's text: a run without the punctuation of composite types.
_QUALIFIED = re.compile(r'[^\s.()\[\]{}*,;<>"][^\s()\[\]{}*,;<>"]*')


def escape_import_path(path: str) -> str:
    """`gopkg.in/yaml.v3` → `gopkg.in/yaml%2ev3`: dots of the last element, `%`, `"`, blanks and non-ASCII as %xx.

    Source: cmd/internal/objabi/path.go, PathToPrefix; Go 1.18–1.27.
    """
    last_slash = path.rfind("/")
    if last_slash < 0 and path.isidentifier() and path.isascii():
        return path
    raw = path.encode()
    last_slash = raw.rfind(b"/")
    escaped = bytearray()
    for at, byte in enumerate(raw):
        if byte <= 0x20 or byte >= 0x7F or byte in b'%"' or (byte == 0x2E and at > last_slash):
            escaped += b"%%%02x" % byte
        else:
            escaped.append(byte)
    return escaped.decode()


def escape_type_name(name: str) -> str:
    """A type's text with its import paths escaped: `*gopkg.in/yaml.v3.Node` → `*gopkg.in/yaml%2ev3.Node`."""

    def escape(match: re.Match[str]) -> str:
        path, dot, bare = match[0].rpartition(".")
        if not path or "%" in path or path == "go.shape":  # the compiler's own package is written as it is
            return match[0]
        return escape_import_path(path) + dot + bare

    return _QUALIFIED.sub(escape, name)


def split_map(text: str) -> tuple[str, str]:
    """The key and the element of `[K]V`, the part of a map's name behind `map`."""
    depth = 0
    for at, character in enumerate(text):
        depth += (character == "[") - (character == "]")
        if depth == 0:
            return text[1:at], text[at + 1 :]
    return text, ""
