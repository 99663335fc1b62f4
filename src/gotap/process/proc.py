"""One process as /proc shows it. Everything may vanish between two reads, and then it is ProcessGone."""

from __future__ import annotations

import os
import pwd
import select
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import PurePosixPath
from types import TracebackType
from typing import NamedTuple

from msgspec import Struct

from gotap.process.errors import NotAProgram, ProcessGone, UnexpectedText, gone, unreadable
from gotap.process.stat import Stat, container_id, parse_stat, parse_status

#: PROC_PID_INIT_INO, include/linux/proc_ns.h: the initial pid namespace's inode number.
_INITIAL_PID_NAMESPACE = 0xEFFFFFFC

#: Auxiliary vector, include/uapi/linux/auxvec.h.
_AT_ENTRY = 9

_DELETED = " (deleted)"

_CHUNK = 1 << 16


class Mapping(Struct, frozen=True):
    """A line of /proc/PID/maps. `path` is empty for anonymous memory, `[stack]` and the like for the kernel's own.

    `device` is the file system's own number, which for btrfs and overlayfs differs from what stat(2) says.
    """

    start: int
    end: int
    permissions: str  # r-xp
    offset: int
    inode: int
    path: str
    device: int = 0

    @property
    def is_executable(self) -> bool:
        return "x" in self.permissions


class Execution(NamedTuple):
    """The executable's device and inode, and the auxiliary vector, which holds addresses chosen at random by exec."""

    device: int
    inode: int
    auxv: bytes


class Process:
    """A running process, held by a pidfd: no method ever answers for another process that got the same pid.

    Raises ProcessGone when there is no such process and NotAProgram for a thread's id or a kernel thread.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._pidfd = os.pidfd_open(pid)
        except (OSError, OverflowError) as error:
            raise self._unopened(error) from None
        try:
            stat = self.stat()
            if stat.is_kernel_thread:
                raise NotAProgram(
                    f"{pid} is the kernel thread {stat.comm}: it runs no program", "`ps` lists the programs that run"
                )
        except BaseException:
            self.close()
            raise
        self.start_time = stat.start_time

    def _unopened(self, error: OSError | OverflowError) -> Exception:
        """pidfd_open takes leaders only: EINVAL, from Linux 6.9 ENOENT, for other threads."""
        if isinstance(error, OverflowError):
            return gone(self.pid)
        try:
            with open(f"/proc/{self.pid}/status", "rb") as file:
                leader = int(parse_status(file.read())["Tgid"][0])
        except OSError as failure:
            return unreadable(self.pid, "its status", failure)
        except KeyError:
            return gone(self.pid)
        if leader == self.pid:
            return unreadable(self.pid, "anything", error)
        return NotAProgram(f"{self.pid} is a thread of process {leader}", f"name the process: {leader}")

    # -- life -----------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The pidfd: readable, for poll and epoll, once the process has ended."""
        return self._pidfd

    def is_alive(self) -> bool:
        """Whether the process has not ended (a zombie has)."""
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Process({self.pid})"

    # -- reading --------------------------------------------------------------------------------------------------

    def path(self, name: str) -> str:
        return f"/proc/{self.pid}/{name}"

    def read(self, name: str) -> bytes:
        """A file of /proc/PID. What was read is this process's, for it lived until after the read."""
        try:
            content = read_file(self.path(name))
        except OSError as error:
            raise unreadable(self.pid, name, error) from None
        if not self.is_alive():
            raise gone(self.pid)
        return content

    def stat(self) -> Stat:
        return parse_stat(self.read("stat"))

    @cached_property
    def _status(self) -> dict[str, list[str]]:
        return parse_status(self.read("status"))

    # -- executable -----------------------------------------------------------------------------------------------

    @property
    def exe(self) -> str:
        """A path that opens the very file the process runs: deleted, replaced or in another mount namespace alike."""
        return self.path("exe")

    @cached_property
    def exe_path(self) -> str:
        """Where the executable was when it was started, in the process's own mount namespace, as far as is known."""
        link = self._exe_link
        return link.removesuffix(_DELETED) if self.exe_is_deleted else link

    @cached_property
    def _exe_link(self) -> str:
        try:
            return os.readlink(self.exe)
        except OSError as error:
            raise unreadable(self.pid, "the executable", error) from None

    @cached_property
    def exe_is_deleted(self) -> bool:
        """Whether another file, or none, stands at the path by now. A file may be *named* `x (deleted)`."""
        link = self._exe_link
        if not link.endswith(_DELETED):
            return False
        try:
            return not os.path.samefile(self.exe, self.path("root") + link)
        except OSError:
            return True

    def execution(self) -> Execution:
        """What exec renews: another value means that another program runs, or the same one anew."""
        try:
            status = os.stat(self.exe)
        except OSError as error:
            raise unreadable(self.pid, "the executable", error) from None
        return Execution(status.st_dev, status.st_ino, self.read("auxv"))

    @property
    def name(self) -> str:
        return PurePosixPath(self.exe_path).name

    def mappings(self) -> list[Mapping]:
        return list(parse_maps(self.read("maps")))

    def load_bias(self, entry: int, bits: int = 64) -> int:
        """What the kernel added to the executable's addresses; `entry` is its ELF entry point (`Elf.entry`).

        The auxiliary vector's AT_ENTRY is the entry point as loaded (fs/binfmt_elf.c, create_elf_tables).
        """
        loaded = self._auxv(bits).get(_AT_ENTRY)
        if loaded is None:  # within execve the new memory has no vector yet
            raise ProcessGone(f"process {self.pid} is about to become another program", "try again")
        return loaded - entry

    def _auxv(self, bits: int) -> dict[int, int]:
        content = self.read("auxv")
        if not content:  # the memory is given up before the process counts as ended
            raise gone(self.pid)
        pair = struct.Struct("=QQ" if bits == 64 else "=II")
        return dict(pair.iter_unpack(content[: len(content) & -pair.size]))

    # -- what OpenTelemetry and people want to know ---------------------------------------------------------------

    @property
    def command_line(self) -> tuple[str, ...]:
        content = self.read("cmdline").removesuffix(b"\0")
        return tuple(word.decode("utf-8", "replace") for word in content.split(b"\0")) if content else ()

    @property
    def environment(self) -> dict[str, str]:
        """As it was when the program was started."""
        words = (word.decode("utf-8", "replace").partition("=") for word in self.read("environ").split(b"\0"))
        return {name: value for name, separator, value in words if separator}

    @property
    def comm(self) -> str:
        return self.stat().comm

    @property
    def parent(self) -> int:
        return self.stat().parent

    @property
    def uid(self) -> int:
        """Effective user id."""
        return int(self._status["Uid"][1])

    @property
    def owner(self) -> str:
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return str(self.uid)

    @property
    def creation_time(self) -> str:
        """ISO 8601, UTC, to the clock tick (10 ms)."""
        with open("/proc/stat", "rb") as file:
            boot = next(int(line.split()[1]) for line in file if line.startswith(b"btime "))
        seconds = boot + self.start_time / os.sysconf("SC_CLK_TCK")
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    @cached_property
    def container_id(self) -> str:
        """Empty when it runs in no container that its cgroup tells."""
        return container_id(self.read("cgroup").decode("utf-8", "replace"))

    @property
    def namespace_pids(self) -> tuple[int, ...]:
        """Its pid in our pid namespace, then in each namespace below, down to its own."""
        return tuple(int(pid) for pid in self._status.get("NSpid", [str(self.pid)]))

    @property
    def initial_tgid(self) -> int | None:
        """Its pid in the initial pid namespace, which BPF programs see; None when gotap itself runs in another one."""
        return self.namespace_pids[0] if in_initial_pid_namespace() else None


def read_file(path: str) -> bytes:
    """A file of /proc, without the buffers and calls of `open`, which take longer than the kernel. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        # A short read is no end: seq_file gives what it has in its buffer.
        while part := os.read(descriptor, _CHUNK):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def in_initial_pid_namespace() -> bool:
    return os.stat("/proc/self/ns/pid").st_ino == _INITIAL_PID_NAMESPACE


def parse_maps(text: bytes) -> Iterator[Mapping]:
    """The kernel writes a newline within a path as \\012 and nothing else in another way (fs/seq_file.c).

    Other characters at which Python would end a line stay in the path. Raises UnexpectedText.
    """
    for line in text.removesuffix(b"\n").split(b"\n") if text else ():
        fields = line.split(None, 5)
        try:
            start, _, end = fields[0].partition(b"-")
            major, _, minor = fields[3].partition(b":")
            path = fields[5].decode("utf-8", "surrogateescape") if len(fields) > 5 else ""
            mapping = Mapping(
                start=int(start, 16),
                end=int(end, 16),
                permissions=fields[1].decode(),
                offset=int(fields[2], 16),
                inode=int(fields[4]),
                path=path.replace("\\012", "\n"),
                device=os.makedev(int(major, 16), int(minor, 16)),
            )
        except (IndexError, ValueError, OverflowError):
            raise UnexpectedText("maps") from None
        yield mapping
