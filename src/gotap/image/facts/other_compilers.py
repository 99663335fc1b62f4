"""Go programs of other compilers than gc: gccgo and TinyGo. They have no function table of Go's.

gccgo: seen in gccgo 12 with libgo shared, static and stripped. Its build info is of no use: `go version` does not know
such files. TinyGo: compiler/compiler.go, src/runtime and src/internal/task of 0.33; its programs are made by LLVM.
"""

from __future__ import annotations

import re

from msgspec import Struct

from gotap.image.containers.container import Container
from gotap.image.errors import ImageError
from gotap.image.facts.told import Told

_GCCGO_PRODUCER = re.compile(rb"GNU Go (\d[\w.]*)")
#: runtime.Version() of libgo.
_GCCGO_VERSION = re.compile(rb"go1\.\d+(?:\.\d+)? gccgo \([ -~]{1,80}?\) [\d.]+")
#: What TinyGo's runtime defines in assembly or exports; names of symbols when they were not stripped.
_TINYGO_SYMBOLS = (b"tinygo_scanCurrentStack", b"tinygo_startTask", b"tinygo_swapTask", b"tinygo_longjmp",
                   b"tinygo_register_fatal_signals")  # fmt: skip
#: What its runtime prints for a panic; gc's prints "panic: " and the error apart.
_TINYGO_PANIC = b"panic: runtime error at "
_LARGEST = 64 << 20


class OtherGo(Struct, frozen=True):
    """`compiler` is "gccgo" or "tinygo"; `version` its own text, with `source` as in GoFacts."""

    compiler: Told[str]
    version: Told[str | None]
    source: str | None = None


def other_compiler(container: Container) -> OtherGo | None:
    """gccgo's or TinyGo's work; None for neither."""
    for recognise in (_gccgo, _tinygo):
        if (evidence := recognise(container)) is not None:
            name = "gccgo" if recognise is _gccgo else "tinygo"
            return _versioned(container, Told(name, evidence))
    return None


def _gccgo(container: Container) -> str | None:
    if library := next((name for name in container.needed if name.startswith("libgo.so")), None):
        return f"needs {library}"
    if ".go_export" in container.sections:
        return "section .go_export, which gccgo writes and strip leaves"
    # What libgo's C part says when it fails.
    if not container.sections and _anywhere(container, b"libgo assertion failure"):
        return 'the text "libgo assertion failure" of libgo'
    return None


def _tinygo(container: Container) -> str | None:
    if any(b"TinyGo\0" in content for content in _debug_strings(container)):
        return 'the producer of its DWARF is "TinyGo"'
    names = _section(container, ".strtab")
    if (name := next((name for name in _TINYGO_SYMBOLS if b"\0" + name + b"\0" in names), None)) is not None:
        return f"symbol {name.decode()}"
    if container.needed and container.os == "linux":
        return None  # TinyGo links its own copy of musl
    if _anywhere(container, _TINYGO_PANIC):
        return f'the text "{_TINYGO_PANIC.decode()}" of its runtime'
    return None


def _versioned(container: Container, compiler: Told[str]) -> OtherGo:
    if compiler.value == "gccgo":
        for segment in container.loads:
            end = segment.offset + min(segment.filesz, _LARGEST)
            if found := _GCCGO_VERSION.search(container.data, segment.offset, end):
                return OtherGo(compiler, Told(found[0].decode(), "a text in the data"), "data")
        if (found := _producer(container)) is not None:
            return OtherGo(compiler, Told(found[0].decode(), "the producer of its DWARF"), "dwarf")
    return OtherGo(compiler, Told(None, f"{compiler.value} leaves no version in such a file"))


def _anywhere(container: Container, text: bytes) -> bool:
    return any(True for _ in container.search(text))


def _producer(container: Container) -> re.Match[bytes] | None:
    return next((found for content in _debug_strings(container) if (found := _GCCGO_PRODUCER.search(content))), None)


def _debug_strings(container: Container) -> list[bytes]:
    """Where DW_AT_producer may stand: its own form in .debug_info, else the strings' sections."""
    return [_section(container, name) for name in (".debug_str", ".debug_line_str", ".debug_info")]


def _section(container: Container, name: str) -> bytes:
    """A section's bytes, decompressed; empty when there is no such section, or one too large or broken."""
    section = container.sections.get(name)
    read = getattr(container, "section_data", None)
    if section is None or section.size > _LARGEST or read is None:
        return b""
    try:
        return read(name) or b""
    except ImageError:
        return b""
