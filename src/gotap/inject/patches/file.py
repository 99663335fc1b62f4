"""The file of trampolines in a process: a memory file that the process itself makes, so that nothing lies on a disk.

    journal | code and data of window 1 | window 2 | …

The journal is in the file before a byte of it is mapped. gotap writes the file through a descriptor of its own, and its
memory is charged to gotap's cgroup. The process keeps no descriptor, only mappings:

    journal                     readable, shared
    windows of hooks            readable and executable, shared: gotap changes records in them
    windows of springboards     readable and executable, private: uprobes go to private mappings only
    private pages of windows    anonymous, writable

A child that the process forks has them too, and must have, since its text is patched as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from mmap import mmap as mmap_here

from gotap.inject.patches import journal as journals
from gotap.inject.patches.errors import NoRoom
from gotap.inject.patches.found import PREFIX
from gotap.inject.patches.journal import NO_SLOTS, Area, BusyBytes, Journal, Mechanism, Owner
from gotap.inject.patches.patch import Patch
from gotap.inject.tracee import (
    MAP_ANONYMOUS,
    MAP_FIXED_NOREPLACE,
    MAP_PRIVATE,
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    MFD_NOEXEC_SEAL,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    Caller,
    Syscall,
    calling,
    close,
    memfd_create,
    mmap,
    munmap,
)
from gotap.inject.tracee.errors import CallFailed, TraceeError
from gotap.inject.trampolines.windows import Window
from gotap.process import ptrace
from gotap.process.proc import Process, read_file
from gotap.process.stat import parse_stat

_F_ADD_SEALS, _F_SEAL_SHRINK, _F_SEAL_GROW = 1033, 2, 4  # include/uapi/linux/fcntl.h
_WORD = 8
_MADV_WIPEONFORK = 18  # include/uapi/asm-generic/mman-common.h, Linux ≥ 4.14


def madvise(address: int, size: int, advice: int) -> Syscall:
    return Syscall(28, (address, size, advice), "madvise")


def this_gotap() -> Owner:
    """What the journals of this process name as their owner. /proc may be of another pid namespace than gotap."""
    stat = parse_stat(read_file("/proc/self/stat"))
    return Owner(os.getpid(), stat.start_time, os.stat("/proc/self/ns/pid").st_ino)


class TrampolineFile:
    """Mapped in a process; made by `map_trampolines`. Bytes are addressed as in the process."""

    def __init__(self, descriptor: int, windows: Sequence[tuple[Window, int]]) -> None:
        """`windows`: with their offsets in the file."""
        self._descriptor = descriptor
        self.windows = tuple(windows)
        #: All that was mapped in the process.
        self.areas: tuple[Area, ...] = ()
        #: Other memory of gotap's in the process, without which what is in the windows crashes.
        self.needs: tuple[Area, ...] = ()
        self._memory: mmap_here | None = None

    def fileno(self) -> int:
        return self._descriptor

    @property
    def path(self) -> str:
        """Leads to the file, as long as this object lives: where uprobes are attached."""
        return f"/proc/self/fd/{self._descriptor}"

    @property
    def key(self) -> tuple[int, int]:
        """As `leftovers` and `remove` know it."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def is_mapped_in(self, pid: int) -> bool:
        """Whether its windows, and what they need, are where they were mapped: after execve they are not, though it may
        have come between the one and the other. Raises ProcessGone.
        """
        inode = os.fstat(self._descriptor).st_ino
        with Process(pid) as process:
            here = {one.start: one for one in process.mappings() if one.path.startswith(PREFIX)}
        windows = (here.get(window.address) for window, _ in self.windows)
        return all(one is not None and one.inode == inode for one in windows) and all(
            area.address in here for area in self.needs
        )

    def offset(self, address: int) -> int:
        """In the file, of an address in a window."""
        for window, offset in self.windows:
            if window.address <= address < window.private:
                return offset + address - window.address
        raise ValueError(f"{address:#x} is in no window")

    def write(self, address: int, content: bytes) -> None:
        """Whole words, each by one store in ascending order: threads that run meanwhile see the old one or the new one.

        (pwrite(2) copies bytes as it likes.)
        """
        if self._memory is None:
            self._memory = mmap_here(self._descriptor, os.fstat(self._descriptor).st_size)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory)) + self.offset(address)
        if address % _WORD or len(content) % _WORD:
            raise ValueError(f"{len(content)} bytes at {address:#x} are no whole words")
        for at in range(0, len(content), _WORD):
            word = int.from_bytes(content[at : at + _WORD], "little")
            ctypes.c_uint64.from_address(start + at).value = word
        ptrace.step()

    def close(self) -> None:
        """gotap's side only; the process keeps its mappings."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def map_trampolines(
    pid: int,
    mechanism: Mechanism,
    windows: Sequence[Window],
    contents: Mapping[int, bytes],
    patches: Sequence[Patch],
    *,
    private: bytes = b"",
    areas: Sequence[Area] = (),
    busy: BusyBytes = NO_SLOTS,
) -> TrampolineFile:
    """Makes the file, maps it in the process and fills it; then patches may be written. Nothing stays if it fails.

    `contents`: bytes by their addresses in windows; `private`: what the private pages of windows begin with. `areas`:
    memory of the process that goes when these trampolines go; `busy`: see BusyBytes. Raises TraceeError and its kin.
    """
    placed, end = [], journals.size_of(len(patches))
    for window in windows:
        placed.append((window, end))
        end += window.size
    own = [Area(window.address, window.end - window.address) for window in windows]
    journal = Journal(mechanism, this_gotap(), end, (*own, *areas), tuple(patches), busy)
    head = journals.write(journal)
    with calling(pid) as caller:
        number = _memory_file(caller, mechanism.file_name)
        try:
            file = TrampolineFile(os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_CLOEXEC), placed)
            file.needs = tuple(areas)
            try:
                _begin(file, head, end)
                _map(pid, caller, number, file, journal, private)
            except BaseException:
                file.close()
                raise
        finally:
            with contextlib.suppress(TraceeError):
                caller(close(number))
    try:
        _fill(file, contents)
    except BaseException:
        with contextlib.suppress(TraceeError), calling(pid) as caller:
            for area in file.areas:
                caller(munmap(area.address, area.size))
        file.close()
        raise
    return file


def _memory_file(caller: Caller, name: str) -> int:
    """Its descriptor in the process. Linux before 6.3 does not know MFD_NOEXEC_SEAL, which later ones may demand."""
    try:
        return caller(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL))
    except CallFailed as error:
        if error.number != errno.EINVAL:
            raise
    return caller(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING))


def _begin(file: TrampolineFile, head: bytes, size: int) -> None:
    with _no_memory():
        os.ftruncate(file.fileno(), size)
        with contextlib.suppress(OSError):  # unsealed it works as well; nobody else has it
            fcntl.fcntl(file.fileno(), _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_GROW)
        os.pwrite(file.fileno(), head, 0)
    ptrace.step()


def _fill(file: TrampolineFile, contents: Mapping[int, bytes]) -> None:
    """While the process runs. Pages get their memory by being written here, and charged to gotap: windows of pads are
    mostly holes, which nobody touches.
    """
    with _no_memory():
        for address, content in contents.items():
            os.pwrite(file.fileno(), content, file.offset(address))
    ptrace.step()


@contextlib.contextmanager
def _no_memory() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NoRoom(f"there is no memory for trampolines: {error.strerror}", "raise gotap's memory limit") from None


def _map(pid: int, caller: Caller, number: int, file: TrampolineFile, journal: Journal, private: bytes) -> None:
    """The journal comes first, so that whatever a gotap that dies leaves mapped can be told to be gotap's."""
    hook = journal.mechanism is Mechanism.HOOK
    made: list[Area] = []
    try:
        size = journals.size_of(len(journal.patches))
        made.append(Area(caller(mmap(0, size, PROT_READ, MAP_SHARED, number, 0)), size))
        sharing = MAP_SHARED if hook else MAP_PRIVATE
        for window, offset in file.windows:
            made.append(_at(caller, window.address, window.size, PROT_READ | PROT_EXEC, sharing, number, offset))
            if window.private_size:
                anonymous = MAP_PRIVATE | MAP_ANONYMOUS
                made.append(_at(caller, window.private, window.private_size, PROT_READ | PROT_WRITE, anonymous))
                caller(madvise(window.private, window.private_size, _MADV_WIPEONFORK))
                _write_private(pid, window.private, private)
    except BaseException:
        with contextlib.suppress(TraceeError):
            for area in made:
                caller(munmap(area.address, area.size))
        raise
    file.areas = tuple(made)


def _at(
    caller: Caller, address: int, size: int, protection: int, flags: int, number: int = -1, offset: int = 0
) -> Area:
    """Exactly there. Linux before 4.17 takes MAP_FIXED_NOREPLACE for a hint."""
    got = caller(mmap(address, size, protection, flags | MAP_FIXED_NOREPLACE, number, offset))
    if got != address:
        caller(munmap(got, size))
        raise NoRoom(f"there is no room at {address:#x} any more", "try again")
    return Area(address, size)


def _write_private(pid: int, address: int, content: bytes) -> None:
    """The page is writable, so this takes no more than what reading memory takes."""
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        memory.seek(address)
        memory.write(content)
    ptrace.step()
