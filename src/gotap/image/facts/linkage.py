"""How a Go program was put together: linker, build mode, linkage, C library, cgo.

Sources: cmd/link/internal/ld (elf.go, lib.go), cmd/go/internal/load (LinkerDeps), runtime/rt0_*.s; Go 1.18 and 1.26
read, 1.18–1.27 tested. What does not tell: `CGO_ENABLED=1` in the build info (programs without any C have it),
`runtime.cgocall` (always there), `x_cgo_*` (only after internal linking), file(1)'s "dynamically linked".
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator

from gotap.image.containers.container import Container
from gotap.image.facts.gofile import GoFile
from gotap.image.facts.told import Told

_NUL = b"\0"
_NT_GNU_ABI_TAG = 1
#: What a c-shared library or a c-archive is entered by: `_rt0_amd64_linux_lib`.
_LIBRARY_ENTRY = rb"\0(_rt0_\w+_lib)\0"
_JUMPS = (0xE9, 0xEB)
#: `xor %ebp,%ebp`, after `endbr64` where that is: what every C library's _start on amd64 begins with.
_C_START = (b"\x31\xed", b"\xf3\x0f\x1e\xfa\x31\xed")
#: What C libraries carry when linked in: glibc's version line, musl's strerror(0). runtime/cgo calls strerror.
_LIBC_TEXTS = ((b"GNU C Library", "glibc"), (b"No error information\0", "musl"), (b"uClibc", "uclibc"))
_LOADERS = (("ld-musl-", "musl"), ("ld-uClibc", "uclibc"), ("linker64", "bionic"), ("linker", "bionic"))


def linker(file: GoFile) -> Told[str | None]:
    """Go's own linker enters at the runtime's assembly; crt1's `_start` is no Go function. Holds when stripped."""
    entry = file.container.entry
    if not file.names:
        return _linker_by_code(file)
    if _begins_in_go(file):
        return Told("internal", f"entry {entry:#x} is {file.entry_name}")
    if not entry:
        return Told("external", "no entry point: a library, which Go's linker leaves to the C compiler")
    what = file.entry_name or "no function of Go, but a C library's start code"
    return Told("external", f"entry {entry:#x} is {what}")


def _linker_by_code(file: GoFile) -> Told[str | None]:
    """By the first instruction on amd64: `_rt0_amd64_*` is one jump."""
    container = file.container
    at = container.offset_of(container.entry)
    if container.arch == "amd64" and at is not None:
        code = container.data[at : at + 8]
        if code[0] in _JUMPS:
            return Told("internal", f"the code at the entry {container.entry:#x} is one jump, as in _rt0_amd64_*")
        if code.startswith(_C_START):
            return Told("external", f"the code at the entry {container.entry:#x} is a C library's _start")
    return Told(None, f"the entry's function is unknown: {file.why_no_names}")


def build_mode(file: GoFile) -> Told[str | None]:
    """By the form of the file; the build info, whose `-buildmode` exists from Go 1.20 on, tells c-archive apart."""
    container, setting = file.container, file.settings.get("-buildmode", "")
    if container.is_library and f"_rt0_{container.arch}_{container.os}" in file.names:
        return Told("shared", "a library with the entry of programs, _rt0_*: nothing was left out of its Go packages")
    found = file.names.matching(_LIBRARY_ENTRY)
    called = found[1].decode() if found is not None else None
    if container.is_library:
        if setting == "plugin" or (setting != "c-shared" and called is None and file.names):
            return Told("plugin", _because(setting, "a shared library without an entry for C callers (_rt0_*_lib)"))
        return Told("c-shared", _because(setting, f"a shared library with {called or 'an entry for C callers'}"))
    if setting == "c-archive" or (called is not None and not _begins_in_go(file)):
        return Told("c-archive", _because(setting, f"a program that does not begin in Go, with {called}"))
    if container.format != "elf" and setting in ("exe", "pie"):
        # The flag for moving a PE or Mach-O file is set by default in most Go releases, whatever the mode.
        return Told(setting, f"build info: -buildmode={setting}")
    if container.is_pie:
        return Told("pie", _because(setting, "position-independent, with an entry point"))
    return Told("exe", _because(setting, "loaded at fixed addresses"))


def _begins_in_go(file: GoFile) -> bool:
    return file.entry_name is not None and file.entry_name.startswith("_rt0_")


def _because(setting: str, seen: str) -> str:
    return f"{seen}; build info: -buildmode={setting}" if setting else seen


def linkage(file: GoFile, mode: str | None) -> Told[str | None]:
    """Dynamic is what the system's loader has to complete before it runs."""
    container = file.container
    seen = []
    if container.interpreter:
        seen.append(f"interpreter {container.interpreter}")
    if container.needed:
        seen.append(f"needs {', '.join(container.needed[:8])}")
    if not seen and mode in ("c-shared", "plugin", "shared"):
        seen.append(f"{mode}: another program loads it")
    if seen:
        return Told("dynamic", "; ".join(seen))
    return Told("static", "neither interpreter nor needed libraries")


def libc(file: GoFile, linked: str | None, by: str | None) -> tuple[Told[str | None], Told[bool | None]]:
    """The C library and whether it is inside the file; `linked` and `by` are the linkage and the linker."""
    container = file.container
    if linked == "dynamic":
        needed = _needed_libc(container)
        return needed, Told(False if needed.value or by == "internal" else None, needed.evidence)
    if by == "internal":
        none: Told[str | None] = Told(None, "static, by Go's linker: no C library")
        return none, Told(False, none.evidence)
    if by is None:
        unknown = f"static; whether C was linked in is unknown: {file.why_no_names}"
        return Told(None, unknown), Told(None, unknown)
    for text, name in _LIBC_TEXTS:
        if any(True for _ in container.search(text)):
            return _inside(name, f'the text "{text.rstrip(_NUL).decode()}"')
    if any((note.owner, note.type) == (b"GNU", _NT_GNU_ABI_TAG) for note in container.notes()):
        return _inside("glibc", "an ABI note of GNU")
    return _inside(None, "no text or note of a known C library")


def _inside(name: str | None, seen: str) -> tuple[Told[str | None], Told[bool | None]]:
    return Told(name, f"linked in, by {seen}" if name else seen), Told(True, f"static, by C's linker; {seen}")


def _needed_libc(container: Container) -> Told[str | None]:
    loader = os.path.basename(container.interpreter or "")
    if container.format == "elf" and container.needed:
        for prefix, name in _LOADERS:
            if loader.startswith(prefix):
                return Told(name, f"interpreter {container.interpreter}")
    for library in container.needed:
        if (called := _libc_called(library, container)) is not None:
            return Told(called, f"needs {library}")
    what = f"interpreter {container.interpreter}, " if container.interpreter else ""
    return Told(None, f"{what}no C library among what it needs ({', '.join(container.needed[:8]) or 'nothing'})")


def _libc_called(library: str, container: Container) -> str | None:
    """The C library that a needed library's name stands for."""
    name = os.path.basename(library)
    if container.format == "pe":
        lower = name.lower()
        return "ucrt" if lower.startswith(("ucrtbase", "api-ms-win-crt")) else "msvcrt" if "msvcr" in lower else None
    if container.format == "macho":
        return "libSystem" if name.startswith("libSystem.") else None
    if not name.startswith("libc.") or container.os == "android":
        return "bionic" if name == "libc.so" else None
    if container.os != "linux":
        return name
    # Debian's musl-gcc asks for libc.so, Alpine's for libc.musl-x86_64.so.1; glibc's name is libc.so.6 (.1 on alpha).
    return "musl" if name == "libc.so" or name.startswith("libc.musl-") else "glibc"


def cgo(file: GoFile, by: str | None) -> Told[bool | None]:
    """C code can be called, and C threads may run Go.

    External linking brings runtime/cgo (LinkerDeps), of whose functions none need be in the table before Go 1.21.
    crosscall2 alone may be purego, which calls C without cgo.
    """
    if not file.names:
        if by == "external":
            return Told(True, "linked by C's linker, which brings runtime/cgo")
        return Told(None, file.why_no_names)
    real = file.names.first_of(("_cgo_panic", "_cgo_topofstack"))
    if real is not None and "crosscall2" in file.names:
        packages = ", ".join(_calling_c(file))
        return Told(True, f"functions crosscall2 and {real}" + (f"; C is called by {packages}" if packages else ""))
    if by == "external":
        return Told(True, "linked by C's linker, which brings runtime/cgo")
    purego = file.names.with_part("github.com/ebitengine/purego.")
    if purego is not None:
        return Told(False, f"no runtime/cgo; C is called by purego ({purego})")
    return Told(False, "no functions of runtime/cgo (crosscall2 with _cgo_panic or _cgo_topofstack)")


def _calling_c(file: GoFile) -> Iterator[str]:
    """Packages with functions that cgo made (`net._Cfunc_getaddrinfo`); a few are enough."""
    for package in ("net", "os/user", "plugin", "runtime/cgo", "main"):
        if file.names.starting_with(f"{package}._Cfunc_") or file.names.starting_with(f"{package}._C2func_"):
            yield package


def linkshared(file: GoFile) -> Told[bool | None]:
    """Go's own packages in shared libraries of their own, as `go install -buildmode=shared std` makes them."""
    if (library := next((name for name in file.container.needed if name.startswith("libstd.so")), None)) is not None:
        return Told(True, f"needs {library}")
    if not file.names:
        return Told(None, file.why_no_names)
    # Other functions named runtime.… may be there all the same, compiled for the packages that use them.
    if file.names.first_of(("runtime.schedinit",)) is None and not file.container.is_library:
        return Told(True, "the function table has no runtime.schedinit, so the runtime is in another file")
    return Told(False, "the runtime is inside the file")
