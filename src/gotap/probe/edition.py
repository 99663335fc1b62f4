"""Which catalogue this is: a digest of its files, by which woven programs and gotap tell whether they have the same."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

#: Hexadecimal digits.
LENGTH = 12

_FOLDER = Path(__file__).parent / "catalog"


@cache
def edition() -> str:
    """The first digits of SHA-256 over names and contents of the catalogue's files, by name."""
    digest = hashlib.sha256()
    for path in sorted(_FOLDER.glob("*.yaml")):
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:LENGTH]
