"""The language of an executable that is not Go, by what is in the file: its own name may be anything.

A launcher or an interpreter counts as the language it runs. A program that only embeds an interpreter, as gdb does
Python's, counts as what it is written in. What runs inside a process (scripts, jars) is not told here.
Texts and symbols seen in: CPython 3.9–3.12, OpenJDK 17, node 18–24, Ruby 3.1, PHP 8.2, rustc 1.60–1.90, .NET 6–9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gotap.image.containers.container import Container
from gotap.image.containers.memory import PF_W, PF_X
from gotap.image.facts.told import Told

#: Stamp of a .NET single-file program (SHA-256 of ".net core bundle\\n"; the runtime's bundle_marker.cpp).
_BUNDLE = bytes.fromhex("8b1202b96a612038727b930214d7a03213f5b9e6efae3318ee3b2dce24b36aae")
#: (language, bytes in the data, what to call them): symbols that only the launcher uses or defines, then texts that
#: stay when it is linked statically and stripped. The first found decides; symbols stand at the start of a file.
_MARKS: tuple[tuple[str, bytes, str], ...] = (
    ("java", b"\0JLI_Launch\0", "symbol JLI_Launch of the Java launcher"),
    ("java", b"com.oracle.svm.core", 'text "com.oracle.svm.core" of a GraalVM native image'),
    ("nodejs", b"node::Start(", 'text "node::Start("'),
    ("nodejs", b"_ZN4node5StartEiPPc\0", "symbol node::Start"),
    ("nodejs", b"NODE_REPL_EXTERNAL_MODULE", 'text "NODE_REPL_EXTERNAL_MODULE"'),
    ("dotnet", _BUNDLE, "the stamp of a .NET bundle"),
    ("dotnet", b"hostfxr_main", 'text "hostfxr_main" of the .NET host'),
    ("dotnet", b"\0mono_main\0", "symbol mono_main of Mono"),
    ("dotnet", b"System.Private.CoreLib", 'text "System.Private.CoreLib"'),
    ("php", b"\0php_module_startup\0", "symbol php_module_startup"),
    ("php", b"PHP_INI_SCAN_DIR", 'text "PHP_INI_SCAN_DIR"'),
    ("ruby", b"\0ruby_run_node\0", "symbol ruby_run_node of the Ruby launcher"),
    ("ruby", b"RUBYOPT\0", 'text "RUBYOPT"'),
    ("python", b"\0Py_BytesMain\0", "symbol Py_BytesMain of the Python launcher"),
    ("python", b"\0Py_Main\0", "symbol Py_Main of the Python launcher"),
    ("python", b"_MEIPASS", 'text "_MEIPASS" of PyInstaller'),
    ("python", b"PYTHONSTARTUP\0", 'text "PYTHONSTARTUP"'),
)  # fmt: skip
#: Where panic messages say that the standard library's sources are.
_RUST_PATH = re.compile(rb"/rustc/(?:[0-9a-f]{40}|\d\.\d+\.\d+[^/\0]{0,20})/")
_C_COMPILERS = re.compile(rb"GCC: \([^\0]{1,80}|(?:Debian |Ubuntu |Apple )?clang version [\d.]+|LLD [\d.]+")
_C_SYMBOLS = ((b"\0__libc_start_main\0", "symbol __libc_start_main"), (b"\0__cxa_throw\0", "symbol __cxa_throw"))
_C_LIBRARIES = ("libstdc++.so", "libc++.so", "libc.so", "libc.musl-")
_NT_GNU_ABI_TAG = 1
_LARGEST_COMMENT = 2 << 20
_OVERLAP = 128


def language_of(container: Container) -> Told[str]:
    """One of the languages of `Facts.language` but Go, with what shows it. Reads the file's data once at most."""
    if getattr(container, "is_managed", False):
        return Told("dotnet", "a CLR header: .NET code")
    if ".managed" in container.sections or "__managedcode" in container.sections:
        return Told("dotnet", "a section of .NET native code")
    rust = start = None
    for piece in _data(container):
        for language, mark, what in _MARKS:
            if mark in piece:
                return Told(language, what)
        rust = rust or _rust_mark(piece)
        if start is None:
            start = next((what for mark, what in _C_SYMBOLS if mark in piece), None)
    if rust is not None:
        return Told("rust", rust)
    return _c_or_generic(container, start)


def _rust_mark(piece: bytes) -> str | None:
    at = piece.find(b"/rustc/")
    while at >= 0:
        if (found := _RUST_PATH.match(piece, at)) is not None:
            return f'text "{found[0].decode()}"'
        at = piece.find(b"/rustc/", at + 1)
    return "symbol rust_eh_personality" if b"\0rust_eh_personality\0" in piece else None


def _c_or_generic(container: Container, symbol: str | None) -> Told[str]:
    if (library := _first(container.needed, _C_LIBRARIES)) is not None:
        return Told("c/c++", f"needs {library}, and no mark of another language")
    if symbol is not None:
        return Told("c/c++", f"{symbol}, and no mark of another language")
    section = container.sections.get(".comment")
    if section is not None and section.size < _LARGEST_COMMENT:
        comment = _C_COMPILERS.search(container.data, section.offset, section.offset + section.size)
        if comment is not None:
            return Told("c/c++", f"compiler {comment[0].decode('utf-8', 'replace')}, and no mark of another language")
    if any((note.owner, note.type) == (b"GNU", _NT_GNU_ABI_TAG) for note in container.notes()):
        return Told("c/c++", "an ABI note of glibc, and no mark of another language")
    return Told("generic", "no mark of a known language or C library")


def _first(names: Iterable[str], prefixes: tuple[str, ...]) -> str | None:
    return next((name for name in names if name.startswith(prefixes)), None)


def _data(container: Container) -> Iterator[bytes]:
    """What is loaded, in pieces that overlap; without code where the constants have a segment of their own."""
    apart = any(not segment.flags & (PF_X | PF_W) for segment in container.loads) and container.format != "macho"
    segments = [segment for segment in container.loads if not (apart and segment.flags & PF_X)]
    return (piece for _, piece in container.pieces(segments, _OVERLAP))
