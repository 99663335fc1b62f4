"""Build IDs: Go's own and GNU's.

Go's linker writes its ID into a note of ELF files, and in all formats in front of the first function, as the text
`\\xff Go build ID: "…"\\n \\xff` (cmd/internal/buildid/buildid.go, `readRaw`; Go 1.18 and 1.26 read).
"""

from __future__ import annotations

import re

from gotap.image.containers.container import Container
from gotap.image.containers.memory import PF_X

_NT_GNU_BUILD_ID, _NT_GO_BUILD_ID = 3, 4
_RAW = re.compile(rb'\xff Go build ID: "([ !#-~]{1,512})"\n \xff')
#: How far into the code `readRaw` looks.
_RAW_REACH = 32 << 10


def go_build_id(container: Container) -> str:
    """Go's build ID, empty when linked with `-buildid=`."""
    for note in container.notes():
        if (note.owner, note.type) == (b"Go", _NT_GO_BUILD_ID):
            return note.content.rstrip(b"\0").decode("utf-8", "replace")
    for segment in container.loads:
        if segment.flags & PF_X and (found := _RAW.search(container.data, segment.offset, segment.offset + _RAW_REACH)):
            return found[1].decode()
    return ""


def gnu_build_id(container: Container) -> str:
    """The GNU build ID in hex; default of Go's own linker since 1.24, else only of external linking."""
    for note in container.notes():
        if (note.owner, note.type) == (b"GNU", _NT_GNU_BUILD_ID):
            return note.content.hex()
    return ""
