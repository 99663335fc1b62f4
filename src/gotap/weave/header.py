"""What the go command reads of a Go source file when it looks for packages: all that stands before the end of the last
import declaration (go/build.readGoInfo, Go 1.21 to 1.27), the constraints and the package clause with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

_MARK = b"\xef\xbb\xbf"
_TOKEN = re.compile(
    rb"(?:[\s;]+|//[^\n]*|/\*.*?\*/)*"
    rb"(?P<token>[A-Za-z_\x80-\xff][\w\x80-\xff]*|\"(?:[^\"\\\n]|\\.)*\"|`[^`]*`|.)",
    re.DOTALL,
)


def header(source: bytes) -> bytes:
    """The file's text up to the end of its last import declaration; the whole of one that does not begin as Go does."""
    tokens = _tokens(source, len(_MARK) if source.startswith(_MARK) else 0)
    if next(tokens, (b"", 0))[0] != b"package":
        return source
    _, end = next(tokens, (b"", len(source)))
    for token, _ in tokens:
        if token != b"import":
            break
        end = _declaration(tokens, len(source))
    return source[:end]


def _declaration(tokens: Iterator[tuple[bytes, int]], default: int) -> int:
    """Where what follows the word `import` ends: one spec, or a group of them."""
    grouped = False
    for token, end in tokens:
        if token == b")" or (not grouped and len(token) > 1 and token[:1] in (b'"', b"`")):
            return end
        grouped = grouped or token == b"("
    return default


def _tokens(source: bytes, at: int) -> Iterator[tuple[bytes, int]]:
    """Tokens, and where they end."""
    while found := _TOKEN.match(source, at):
        at = found.end()
        yield found["token"], at
