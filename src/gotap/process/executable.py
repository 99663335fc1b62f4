"""The executable of a process: where it is, whether it is still there, and whether it is what was started."""

from __future__ import annotations

import os
import re
import struct

from msgspec import Struct

from gotap.process.errors import gone, not_permitted
from gotap.process.proc import Mapping, Process

_MEMFD = "/memfd:"

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


def read_entry(exe: str) -> tuple[int, int] | None:
    """(entry point, bits) of an ELF file; None when it is none or cannot be read."""
    try:
        descriptor = os.open(exe, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        header = os.pread(descriptor, 32, 0)
    finally:
        os.close(descriptor)
    if len(header) < 32 or header[:4] != b"\x7fELF" or header[4] not in (1, 2):
        return None
    order = "<" if header[5] == 1 else ">"
    # e_entry stands at 24 in both classes.
    return (struct.unpack_from(order + "Q", header, 24)[0], 64) if header[4] == 2 else (
        struct.unpack_from(order + "I", header, 24)[0], 32)  # fmt: skip


def entry_elsewhere(mappings: list[Mapping], entry: int, exe: str) -> str | None:
    """One line when the code that the kernel started is not the executable's: prctl(PR_SET_MM_EXE_FILE) renamed it."""
    mapping = next((mapping for mapping in mappings if mapping.start <= entry < mapping.end), None)
    if mapping is None or not mapping.inode or mapping.path.removesuffix(" (deleted)") == exe:
        return None
    return f"the program that was started is {mapping.path}, which holds its entry point; /proc/PID/exe is {exe}"
