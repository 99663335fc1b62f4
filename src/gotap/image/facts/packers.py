"""Executable packers: programs whose code is compressed in the file.

UPX writes `UPX!` into its loader's header behind the program headers (src/stub/src/include/linux.h, `l_info`), into
each block, and into a trailer; PE files have sections UPX0 and UPX1. Seen in files packed by UPX 3.94.
"""

from __future__ import annotations

from gotap.image.containers.container import Container
from gotap.image.facts.told import Told

_UPX = b"UPX!"
_HEAD, _TAIL = 4096, 64
#: Bytes of a packed file that are looked through; the texts stand near its start.
_MOST_PACKED = 1 << 26
#: What a compressor leaves as it is in a Go program, where it comes first in the data: the magic of the build info, the
#: build ID, the function names of the runtime's assembly.
_GO_TEXTS = (b" Go buildinf:", b'Go build ID: "', b"runtime.memequal_varlen", b"internal/cpu.", b"internal/bytealg.",
             b"runtime.cmpstring")  # fmt: skip


def packer(container: Container) -> Told[str | None]:
    """The packer's name, None for an ordinary file."""
    names = {segment.name for segment in container.loads}
    if {"UPX0", "UPX1"} <= names:
        return Told("upx", "sections UPX0 and UPX1")
    at = container.data[:_HEAD].find(_UPX)
    if at >= 0 and not container.sections:
        return Told("upx", f'the mark "UPX!" at offset {at:#x}, and no section table')
    if at < 0 and not container.sections and _UPX in container.data[-_TAIL:]:
        return Told("upx", 'the mark "UPX!" at the end, and no section table')
    return Told(None, "no mark of a packer (UPX)")


def go_text(container: Container) -> str | None:
    """A text of Go's that shows through the compression of a packed file."""
    content = container.data[:_MOST_PACKED]
    return next((text.decode() for text in _GO_TEXTS if text in content), None)
