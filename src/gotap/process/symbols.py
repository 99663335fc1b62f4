"""Functions of programs and libraries that are not Go's, by symbol: `uprobe:PATH:SYMBOL`.

A path means what it means to the process that is traced: a library of a container is the container's. Nothing but
ELF's own symbol tables is read: what was stripped from them has no name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from msgspec import Struct

from gotap.image.containers.elf import Elf
from gotap.image.containers.elf_functions import CFunction, c_functions
from gotap.image.containers.memory import PF_X
from gotap.image.facts.buildinfo import read_build_info
from gotap.image.functions.tables import read_tables
from gotap.process.errors import ProcessError
from gotap.process.libc_in_root import library_directories
from gotap.process.mapped_files import MappedFile, mapped_files
from gotap.process.proc import Process
from gotap.process.rootfs import names_in_root, open_regular

_MAX_LINKS = 40  # as the kernel's MAXSYMLINKS
_SHOWN = 3


class NoSuchFile(ProcessError):
    """Neither the path nor the name leads to a program or library."""


class NoSuchFunction(ProcessError):
    """The file defines no function of this name; `similar` are names that it has."""

    def __init__(self, message: str, remedy: str, *, similar: tuple[str, ...] = ()) -> None:
        super().__init__(message, remedy)
        self.similar = similar


class IndirectFunction(ProcessError):
    """The name stands for one of several implementations, chosen when the file is loaded (STT_GNU_IFUNC)."""


class NotInFunction(ProcessError):
    """The offset behind the symbol leads out of the function, or out of the file's code."""


class ReturnOfGo(ProcessError):
    """Returns of functions of a Go program cannot be probed by symbol: it would crash."""


class CSymbol(Struct, frozen=True):
    """`path` leads to the file for whoever attaches; `file_offset` is what uprobes want; `address` is unrelocated.

    `is_go`: its file is a Go program, whose functions find arguments elsewhere than C's do.
    """

    path: str
    name: str
    address: int
    file_offset: int
    is_go: bool = False


def find_symbol(
    path: str, symbol: str, *, offset: int = 0, returns: bool = False, process: Process | None = None
) -> CSymbol:
    """`path`: absolute (in the process' root directory), relative (to gotap's own directory), or a bare name: of a file
    that the process has mapped (`libc.so.6`, `libc`), of a program in PATH, of a library in the usual directories.

    `symbol` may name its version: `memcpy@GLIBC_2.2.5`; without, it is the default one. `offset`: bytes behind its
    first instruction. Raises this module's errors, and gotap.image.errors for a file that is no good ELF file.
    """
    found, descriptor = _find_file(path, process)
    try:
        elf = Elf.open(f"/proc/self/fd/{descriptor}", path)
    finally:
        os.close(descriptor)
    is_go = _is_go(elf)
    if returns and is_go:
        raise ReturnOfGo(
            f"the return of {symbol} cannot be probed: {path} is a Go program, and the kernel's way to see a return is "
            "to change the return address on the stack, which Go moves and walks: it ends with `unexpected return pc`",
            f"probe the Go function by its name ({symbol}:return): gotap places probes at the returns themselves",
        )
    function = _choose(elf, symbol, path)
    address = function.address + offset
    if offset and not 0 <= offset < max(function.size, 1):
        raise NotInFunction(f"{symbol}+{offset} is not in {symbol}, which has {function.size} bytes",
                            "lower the offset")  # fmt: skip
    segment = elf.segment_of(address)
    if segment is None or not segment.flags & PF_X:
        raise NotInFunction(f"{symbol} of {path} is not in the file's code", "name a function")
    return CSymbol(found, symbol, address, address - segment.vaddr + segment.offset, is_go)


def _is_go(elf: Elf) -> bool:
    return read_build_info(elf) is not None or read_tables(elf) is not None


def _choose(elf: Elf, symbol: str, path: str) -> CFunction:
    name, _, version = symbol.partition("@")
    version = version.lstrip("@")
    functions = c_functions(elf)
    named = [one for one in functions if one.name == name and (one.version == version if version else True)]
    defined = [one for one in named if one.defined]
    if not defined:
        raise _missing(functions, name, version, path, imported=bool(named))
    chosen = next((one for one in defined if one.default), defined[0])
    if chosen.indirect:
        others = sorted({one.name for one in functions
                         if one.defined and not one.indirect and one.name.startswith(f"__{name}_")})  # fmt: skip
        these = f": {', '.join(others[:_SHOWN])}" if others else ", which have no names in the file"
        raise IndirectFunction(
            f"{symbol} of {path} is no function but the choice between several, made when it is loaded (IFUNC)",
            f"probe one of them{these}",
        )
    return chosen


def _missing(functions: list[CFunction], name: str, version: str, path: str, *, imported: bool) -> NoSuchFunction:
    import difflib  # for this message alone

    if imported and not version:
        return NoSuchFunction(f"{path} only calls {name}, which is in one of its libraries",
                              "name the library instead")  # fmt: skip
    versions = sorted({one.version for one in functions if one.name == name and one.defined and one.version})
    if versions:
        return NoSuchFunction(f"{path} has {name} not in version {version}", f"it has {', '.join(versions)}")
    names = sorted({one.name for one in functions if one.defined})
    if not names:
        return NoSuchFunction(f"{path} has no symbols: it was stripped", "use a build that has them")
    similar = tuple(difflib.get_close_matches(name, names, _SHOWN, 0.7))
    listed = f"`nm -D {path}` lists the functions that it exports"
    remedy = f"did you mean {' or '.join(similar)}?" if similar else listed
    return NoSuchFunction(f"{path} has no function {name}", remedy, similar=similar)


# -- files --------------------------------------------------------------------------------------------------------


def _find_file(path: str, process: Process | None) -> tuple[str, int]:
    """(a path for gotap itself, a descriptor of that very file)."""
    if "/" not in path and process is not None:
        for file in mapped_files(process.mappings()):
            if _is_called(file.name, path):
                return _mapped(process, file)
    root = "/" if process is None or (not path.startswith("/") and "/" in path) else process.path("root")
    for candidate in _candidates(path, root):
        try:
            found, descriptor = _in_root(root, candidate)
        except OSError:
            continue
        if "/" in path or os.pread(descriptor, 4, 0) == b"\x7fELF":  # no script, no linker script
            return found, descriptor
        os.close(descriptor)
    where = "" if root == "/" else f" in the root directory of process {process.pid if process else 0}"
    raise NoSuchFile(f"there is no file {path}{where}", "name the program or library by its path")


def _is_called(file: str, name: str) -> bool:
    """`libc` and `c` are libc.so.6; `bash` is bash."""
    return file == name or file.startswith((f"{name}.so", f"lib{name}.so"))


def _mapped(process: Process, file: MappedFile) -> tuple[str, int]:
    code = file.code[0]
    path = process.path(f"map_files/{code.start:x}-{code.end:x}")
    try:
        return path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN
        try:
            return _in_root(process.path("root"), file.path)
        except OSError as error:
            raise NoSuchFile(f"{file.path} of process {process.pid} cannot be opened ({error.strerror})",
                             "run gotap as root") from error  # fmt: skip


def _candidates(path: str, root: str) -> Iterator[str]:
    if "/" in path:
        yield os.path.abspath(path)
        return
    for directory in (os.environ.get("PATH") or os.defpath).split(os.pathsep):
        if directory.startswith("/"):
            yield f"{directory}/{path}"
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for directory in library_directories(descriptor):
            names = names_in_root(descriptor, directory)
            yield from (f"{directory}/{name}" for name in names if _is_called(name, path))
    finally:
        os.close(descriptor)


def _in_root(root: str, path: str) -> tuple[str, int]:
    """A path without symbolic links, so that those of a container do not lead to the host's files. Raises OSError."""
    root_descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_regular(root_descriptor, path)
    finally:
        os.close(root_descriptor)
    found = f"{root.rstrip('/')}/{_without_links(root.rstrip('/'), path)}"
    try:
        same = os.path.samestat(os.stat(found), os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    if not same:
        os.close(descriptor)
        raise FileNotFoundError(errno.ENOENT, "another file has taken its place", path)
    return found, descriptor


def _without_links(root: str, path: str) -> str:
    pending, done, links = path.split("/")[::-1], list[str](), 0
    while pending:
        name = pending.pop()
        if name in ("", "."):
            continue
        if name == "..":
            del done[-1:]
            continue
        try:
            target = os.readlink("/".join((root, *done, name)))
        except OSError as error:
            if error.errno != errno.EINVAL:  # EINVAL: no link
                raise
            done.append(name)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if target.startswith("/"):
            done.clear()
        pending += target.split("/")[::-1]
    return "/".join(done)
