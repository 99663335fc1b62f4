"""What the go command wrote into the binary: Go version, modules, build settings (`go version -m` shows the same).

Source: debug/buildinfo/buildinfo.go and runtime/debug/mod.go, Go 1.18–1.27. The blob is found by its magic, not by
the section `.go.buildinfo`, which a removed section table or `--gc-sections` takes away.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from gotap.image.containers.container import Container
from gotap.image.containers.memory import PF_W, PF_X
from gotap.image.errors import BadAddress

_MAGIC = b"\xff Go buildinf:"
_ALIGNMENT = 16
_HEADER_SIZE = 32
_INLINE = 2
#: Places that look like the blob; tools that read it hold its magic as a constant.
_MAX_CANDIDATES = 64
#: The longest module list known is below 1 MiB (go.dev/issue/61644).
_MAX_TEXT = 1 << 21
_VERSION = re.compile(rb"go1\.\d{1,2}(?:\.\d{1,2}|rc\d|beta\d)?(?:[ -]X:[\w,]+| \([ -~]{1,64}?\))?(?![\w.])")
_WHOLE = re.compile(rb"(?:devel )?go1\.\d{1,2}[ -~]*")
_LONGEST_VERSION = 100
#: Bytes of a segment of variables that are looked through; known ones are far smaller.
_MAX_DATA = 1 << 25


class Module(Struct, frozen=True):
    """A module of the build. `sum` is empty for a vendored one; `version` may be `(devel)` for the main one."""

    path: str
    version: str = ""
    sum: str = ""
    replace: Module | None = None


class BuildInfo(Struct, frozen=True):
    """`path` is the main package's import path, `settings` the `build` lines in order (`-race`, `CGO_ENABLED`, …)."""

    version_text: str
    path: str = ""
    main: Module | None = None
    deps: tuple[Module, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


def read_build_info(elf: Container) -> BuildInfo | None:
    """The build info, None when there is no blob. What follows a damaged line is kept as far as it can be read."""
    for address in _candidates(elf):
        try:
            header = elf.read(address, _HEADER_SIZE)
            inline = header[15] & _INLINE
            version, modules = _inline(elf, address) if inline else _by_pointers(elf, address, header[14])
        except BadAddress:
            continue
        text = version.decode("utf-8", "replace")
        if text.startswith(("go", "devel")):
            return _parse(text, _unframed(modules))
    return None


def versions_in_data(elf: Container) -> list[str]:
    """Version texts outside code: what is left when the build info was removed, or was not yet written (Go ≤ 1.12).

    First those that a string variable holds, as runtime.buildVersion does, which is in every Go binary; then those that
    stand alone, the most frequent first: build tools carry those of other versions too.
    """
    held: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    places: dict[int, str] = {}
    for address, before, text in _mentions(elf):
        if (match := _VERSION.match(text)) is not None:
            alone[before + match[0].decode()] += 1
        places[address] = before + text.decode("latin-1")
    for address, size in string_variables(elf, np.array(sorted(places), np.uint64)):
        if (match := _WHOLE.fullmatch(places[address][:size].encode("latin-1"))) is not None:
            held[match[0].decode()] += 1
    return list(dict.fromkeys(text for text, _ in (*held.most_common(), *alone.most_common())))


def _mentions(elf: Container) -> Iterator[tuple[int, str, bytes]]:
    """(Address, "devel " or "", what follows) of all texts in data that may be versions."""
    # Mach-O, and old PE files of Go, have constants and code in one segment.
    data = [segment for segment in elf.code_last() if not segment.flags & PF_X or elf.format != "elf"]
    for at in elf.search(b"go1.", data):
        before = "devel " if elf.data[max(at - 6, 0) : at] == b"devel " else ""
        address = elf.address_of(at - len(before))
        if address is not None:
            yield address, before, elf.data[at : at + _LONGEST_VERSION]


def string_variables(elf: Container, addresses: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """(Address, length) of the string variables whose text stands at one of the addresses, which are sorted."""
    for segment in elf.loads:
        if not len(addresses) or not segment.flags & PF_W or segment.flags & PF_X or segment.filesz > _MAX_DATA:
            continue
        start = -(-segment.vaddr // elf.word_size) * elf.word_size
        words = elf.pointers(start, max(segment.vaddr + segment.filesz - start, 0) // elf.word_size)[:-1]
        places = np.minimum(np.searchsorted(addresses, words), len(addresses) - 1)
        for at in np.flatnonzero(addresses[places] == words).tolist():
            length = elf.word(start + (at + 1) * elf.word_size)
            if length <= _LONGEST_VERSION:
                yield int(words[at]), length


def _candidates(elf: Container) -> Iterator[int]:
    for at in islice(elf.search(_MAGIC), _MAX_CANDIDATES):
        address = elf.address_of(at)
        if address is not None and address % _ALIGNMENT == 0:
            yield address


def _inline(elf: Container, address: int) -> tuple[bytes, bytes]:
    """Go ≥ 1.18: two strings with varint lengths behind the header."""
    texts = []
    at = address + _HEADER_SIZE
    for _ in range(2):
        length = shift = 0
        while True:
            byte = elf.read(at, 1)[0]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80 or shift > 35:
                break
        texts.append(_text(elf, at, length))
        at += length
    return texts[0], texts[1]


def _by_pointers(elf: Container, address: int, pointer_size: int) -> tuple[bytes, bytes]:
    """Go < 1.18: pointers to two string headers."""
    if pointer_size != elf.word_size:
        raise BadAddress(f"{elf.name} has build info of a {pointer_size * 8}-bit program")
    texts = []
    for at in (address + 16, address + 16 + pointer_size):
        header = elf.pointer(at)
        texts.append(_text(elf, elf.pointer(header), elf.word(header + pointer_size)) if header else b"")
    return texts[0], texts[1]


def _text(elf: Container, address: int, length: int) -> bytes:
    if length > _MAX_TEXT:
        raise BadAddress(f"{elf.name} has no text of {length} bytes at {address:#x}")
    return elf.read(address, length) if length else b""  # an empty text may have no address


def _unframed(modules: bytes) -> str:
    """Without the 16-byte sentinels around the module text (cmd/go/internal/modload, infoStart and infoEnd)."""
    if len(modules) >= 33 and modules[-17:-16] == b"\n":
        return modules[16:-16].decode("utf-8", "replace")
    return ""


def _parse(version: str, text: str) -> BuildInfo:
    path, main = "", None
    deps: list[Module] = []
    settings: dict[str, str] = {}
    for line in text.splitlines():
        key, _, rest = line.partition("\t")
        columns = rest.split("\t")
        if key == "path":
            path = rest
        elif key == "mod":
            main = _module(columns)
        elif key == "dep":
            deps.append(_module(columns))
        elif key == "=>" and deps:
            last = deps[-1]
            deps[-1] = Module(last.path, last.version, last.sum, _module(columns))
        elif key == "=>" and main is not None:
            main = Module(main.path, main.version, main.sum, _module(columns))
        elif key == "build":
            name, value = _setting(rest)
            settings[name] = value
    return BuildInfo(version, path, main, tuple(deps), settings)


def _module(columns: list[str]) -> Module:
    path, version, checksum = (*columns, "", "", "")[:3]
    return Module(path, version, checksum)


def _setting(text: str) -> tuple[str, str]:
    """`key=value`, either of which may be quoted as a Go string (runtime/debug/mod.go, since Go 1.19)."""
    if text[:1] in ('"', "`"):
        end = text.find(text[0] + "=", 1)
        key, value = text[1:end], text[end + 2 :]
    else:
        key, _, value = text.partition("=")
    if len(value) >= 2 and value[0] == value[-1] == "`":
        value = value[1:-1]
    elif len(value) >= 2 and value[0] == value[-1] == '"':
        value = _unquoted(value[1:-1])
    return key, value


_ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))")
_LETTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def _unquoted(text: str) -> str:
    """strconv.Unquote for what strconv.Quote writes."""
    return _ESCAPE.sub(
        lambda m: _LETTERS.get(m[4], m[4]) if m[4] else _character(int(m[1] or m[2] or m[3], 16)), text
    )


def _character(code: int) -> str:
    """Half of a surrogate pair is no character, and could not be written anywhere."""
    return chr(code) if code < 0xD800 or 0xDFFF < code < 0x110000 else "\ufffd"
