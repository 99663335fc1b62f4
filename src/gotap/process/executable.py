"""The executable of a process: where it is, whether it is still there, and whether it is what was started."""

from __future__ import annotations

import os
import re
import struct

from msgspec import Struct

from gotap.process.errors import gone, not_permitted
from gotap.process.proc import Mapping, Process

_MEMFD = "/memfd:"
_PT_INTERP = 3

#: Programs that run another in their stead: it is mapped, but /proc/PID/exe is the loader. The dynamic loaders of
#: glibc and musl, started by name; the loader of a commercial agent; emulators of other machines.
_LOADERS = re.compile(
    r"oneagentdynamizer|ld-linux[\w.-]*\.so\.\d+|ld-musl-\w+\.so\.1|ld-\d+\.\d+\.so|ld\.so|ld64\.so\.\d+"
    r"|qemu-[a-z0-9_]+(?:-static)?|box64|FEXInterpreter|rosetta"
)


class Executable(Struct, frozen=True):
    """`state` "file", "deleted" or "memfd"; `identity` device and inode; `replaced` one line, or None."""

    path: str
    state: str
    identity: tuple[int, int]
    replaced: str | None


def read_executable(process: Process, same_mount_namespace: bool | None) -> Executable:
    """Raises NotPermitted, ProcessGone."""
    try:
        link = os.readlink(process.exe)
        status = os.stat(process.exe)
    except PermissionError:
        raise not_permitted(process.pid, "exe") from None
    except OSError:
        raise gone(process.pid) from None
    identity = status.st_dev, status.st_ino
    if link.startswith(_MEMFD):
        return Executable(link.removesuffix(" (deleted)"), "memfd", identity, _loader(process, link))
    deleted = process.exe_is_deleted
    path = process.exe_path
    replaced = _taken(process, path, identity, same_mount_namespace) or _loader(process, path)
    return Executable(path, "deleted" if deleted else "file", identity, replaced)


def _taken(process: Process, path: str, identity: tuple[int, int], same_mount_namespace: bool | None) -> str | None:
    """Whether the path holds another file by now.

    The link is told as seen from our root directory when the file can be reached from there (d_path), which is so
    for a process that was only chroot'ed; else from the top of its own mount namespace.
    """
    root = "" if same_mount_namespace else process.path("root")
    try:
        there = os.stat(root + path)
    except OSError:
        return None
    if (there.st_dev, there.st_ino) == identity:
        return None
    return f"{path} now holds another file (inode {there.st_ino}) than the one that runs (inode {identity[1]})"


def _loader(process: Process, path: str) -> str | None:
    name = os.path.basename(path)
    if not _LOADERS.fullmatch(name):
        return None
    words = [word for word in process.command_line[1:] if not word.startswith("-")]
    return f"/proc/PID/exe is the loader {name}, which runs {words[0] if words else 'a program'} in its stead"


class Header(Struct, frozen=True):
    """Of an ELF file: its entry point, its bits, and whether a program header names an interpreter (PT_INTERP)."""

    entry: int
    bits: int
    interpreter: bool


def read_header(path: str) -> Header | None:
    """None for what is no ELF file or cannot be read. By hand, since lists of processes need no more of a file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        head = os.pread(descriptor, 64, 0)
        if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] not in (1, 2):
            return None
        wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
        entry, table = struct.unpack_from(order + ("QQ" if wide else "II"), head, 24)
        size, count = struct.unpack_from(order + "HH", head, 54 if wide else 42)
        headers = os.pread(descriptor, size * count, table) if size >= 4 and table < 1 << 62 else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    types = (struct.unpack_from(order + "I", headers, at)[0] for at in range(0, len(headers) - 3, size or 1))
    return Header(entry, 64 if wide else 32, _PT_INTERP in types)


def entry_elsewhere(mappings: list[Mapping], entry: int, exe: str) -> str | None:
    """One line when the code that the kernel started is not the executable's: prctl(PR_SET_MM_EXE_FILE) renamed it."""
    mapping = next((mapping for mapping in mappings if mapping.start <= entry < mapping.end), None)
    if mapping is None or not mapping.inode or mapping.path.removesuffix(" (deleted)") == exe:
        return None
    return f"the program that was started is {mapping.path}, which holds its entry point; /proc/PID/exe is {exe}"
