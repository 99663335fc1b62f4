"""The C library that programs within a root directory would get: whether a container's image has one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from gotap.process.rootfs import names_in_root, open_regular

_DIRECTORIES = ("/lib64", "/lib", "/usr/lib64", "/usr/lib", "/usr/local/lib")

#: Debian's directories by architecture, `x86_64-linux-gnu`, and the like of musl's.
_MULTIARCH = re.compile(r"[a-z0-9_]+-linux-(?:gnu|musl)[a-z0-9_]*")

#: musl's loader is its libc. Debian's musl-tools and Void call it libc.so, which for glibc is a linker script (a text).
_GLIBC = re.compile(r"libc\.so\.6(?:\.\d+)?")
_MUSL = re.compile(r"ld-musl-[a-z0-9_]+\.so\.1|libc\.musl-[a-z0-9_]+\.so\.1|libc\.so")


def find_libc(root: int) -> tuple[str, str] | None:
    """(path as within the root, "glibc" or "musl") of a libc that is there and is an ELF file; None for none."""
    for path, kind in _candidates(root):
        try:
            descriptor = open_regular(root, path)
        except OSError:
            continue
        try:
            if os.pread(descriptor, 4, 0) == b"\x7fELF":
                return path, kind
        finally:
            os.close(descriptor)
    return None


def library_directories(root: int) -> list[str]:
    """The usual ones and those of the architectures within them, as within the root."""
    directories = list(_DIRECTORIES)
    for directory in _DIRECTORIES:
        names = names_in_root(root, directory)
        directories += [f"{directory}/{name}" for name in names if _MULTIARCH.fullmatch(name)]
    return directories


def _candidates(root: int) -> Iterator[tuple[str, str]]:
    """Glibc's first: an image that has both was made on glibc."""
    directories = library_directories(root)
    listed = {directory: names_in_root(root, directory) for directory in directories}
    for pattern, kind in ((_GLIBC, "glibc"), (_MUSL, "musl")):
        for directory in directories:
            yield from ((f"{directory}/{name}", kind) for name in listed[directory] if pattern.fullmatch(name))
