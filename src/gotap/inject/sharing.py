"""Memory that gotap and a process share for hooks: a region of data, and code that the process can only execute.

The process makes both files (memfd_create) and keeps no descriptor; gotap opens them by /proc/PID/fd and writes code
through its own. /proc/PID/maps shows both as /memfd:gotap-hook, by which a later gotap finds them.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from gotap.bpf.machine import ProgramStats
from gotap.errors import GotapError
from gotap.inject.lasting import lasting
from gotap.inject.machine import slots
from gotap.inject.machine.clock import HookClock, tsc_is_clock, vdso_clock
from gotap.inject.machine.errors import MachineError, NoMemoryError
from gotap.inject.machine.host import Executable, Host
from gotap.inject.machine.layout import Slot
from gotap.inject.machine.region import REGION_SIZE, Region
from gotap.inject.patches.file import this_gotap
from gotap.inject.patches.journal import Area, Mechanism
from gotap.inject.patches.taking import unmap
from gotap.inject.tracee import (
    MAP_SHARED,
    MFD_ALLOW_SEALING,
    MFD_CLOEXEC,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    Caller,
    calling,
    close,
    memfd_create,
    mmap,
    munmap,
    stopped,
)
from gotap.inject.tracee.errors import TraceeError
from gotap.process.errors import ProcessGone
from gotap.process.proc import Process
from gotap.process.processor import has_fsgsbase

#: Address space for programs; what is not used takes no memory.
CODE_SIZE = 64 << 20
_ALIGNMENT = 64
_PAGE = 4096
#: MAP_NORESERVE: what is not used is not to count against the host's commit limit.
_NO_RESERVE = 0x4000


class Shared:
    """What a process shares with gotap. Raises TraceeError, MachineError, NoMemoryError, ProcessGone."""

    def __init__(self, pid: int, *, heap_stays: bool = True) -> None:
        """`heap_stays`: what is mapped of the program's Go heap stays so."""
        _check_processor()
        self.pid = pid
        self.areas: tuple[Area, ...] = ()
        #: Address of the vDSO's clock_gettime in the process, where the TSC is no clock; 0: it is one.
        self.clock = 0 if tsc_is_clock() else vdso_clock(_vdso(pid))
        self._tsc: HookClock | None = None
        self._heap_stays = heap_stays
        self._starts: dict[int, int] = {}  # of mappings → inode
        self._undo = contextlib.ExitStack()
        self._end = 0
        with contextlib.ExitStack() as undo:
            data, self._code = self._mapped(undo)
            undo.callback(self._unmap_again)  # what takes long is done while no thread of the process stands still
            self.region = Region.create(data, self._address(0), slots=slots.wanted(len(_threads(pid))))
            undo.callback(self.region.close)
            self.code_address = self._address(1)
            self._ids = slots.Ids(self.region)
            self._describe()
            self.host = Host(self.region, vdso_clock(_vdso(os.getpid())) if self.clock else 0)
            undo.callback(self.host.close)
            self._tsc = None if self.clock else HookClock(self.region, self.host.ticks)
            undo.pop_all()
        os.close(data)
        for end in (lambda: os.close(self._code), self.region.close, self.host.close):
            self._undo.callback(end)

    def _mapped(self, undo: contextlib.ExitStack) -> tuple[int, int]:
        """Lets the process map two new files, for data and for code; gotap's descriptors of them."""
        descriptors = []
        with calling(self.pid) as caller, contextlib.ExitStack() as failed:
            for size, protection in ((REGION_SIZE, PROT_READ | PROT_WRITE), (CODE_SIZE, PROT_READ | PROT_EXEC)):
                with _new_file(self.pid, caller, Mechanism.HOOK.file_name) as (file, number):
                    descriptors.append(os.dup(file))
                    undo.callback(os.close, descriptors[-1])
                    os.ftruncate(file, size)
                    self._map(caller, number, file, size, protection, failed)
            failed.pop_all()
        return descriptors[0], descriptors[1]

    def _address(self, number: int) -> int:
        return self.areas[number].address

    def _unmap_again(self) -> None:
        with contextlib.suppress(GotapError):
            unmap(self.pid, self._starts, self.areas, lambda: False)

    def _map(
        self, caller: Caller, number: int, file: int, size: int, protection: int, failed: contextlib.ExitStack
    ) -> None:
        """`file`: gotap's descriptor of what is `number` in the process."""
        address = caller(mmap(0, size, protection, MAP_SHARED | _NO_RESERVE, number))
        failed.callback(_unmap_if_possible, caller, address, size)
        self.areas = (*self.areas, Area(address, size))
        self._starts[address] = os.fstat(file).st_ino

    def _describe(self) -> None:
        owner = this_gotap()
        with Process(self.pid) as process:
            self.region.describe(tgid=self.pid, comm=process.name.encode(), owner=(owner.pid, owner.start_time))
        self.refresh()

    def refresh(self) -> None:
        """Tells the process what time it is, and which memory stays readable by now; deals with threads that ended."""
        if self._tsc is not None:
            self._tsc.tune()
        threads = _threads(self.pid)
        self._ids.look(threads)
        if slots.are_short(self.region, len(threads)):
            with contextlib.suppress(TraceeError), stopped(self.pid) as target:
                slots.free(self.region, [registers.fs_base for registers in target.threads.values()])
        with Process(self.pid) as process:
            unlimited = "Max stack size unlimited" in " ".join(process.read("limits").decode().split())
            found = lasting(process.mappings(), process.exe_path, unlimited_stack=unlimited, heap=self._heap_stays)
            self.region.set_readable(found)

    # -- code -------------------------------------------------------------------------------------------------------

    @property
    def next_code(self) -> int:
        """Address in the process at which `add_code` will put what it is given."""
        return self.code_address + self._end

    def add_code(self, code: bytes) -> None:
        """Nothing of it is given back before all is. NoMemoryError."""
        end = self._end + len(code)
        if end > CODE_SIZE:
            raise NoMemoryError(f"the programs take more than {CODE_SIZE >> 20} MB", "probe less at once")
        try:
            os.posix_fallocate(self._code, self._end, len(code))
        except OSError as error:
            raise NoMemoryError(f"cannot get memory for programs: {error.strerror}",
                                "raise gotap's memory limit, or probe less at once") from error  # fmt: skip
        os.pwrite(self._code, code, self._end)
        self._end = -(-end // _ALIGNMENT) * _ALIGNMENT

    def is_busy(self) -> bool:
        """Whether some thread is in a hook."""
        return bool(self.region.slots()[1:, Slot.BUSY].any())

    def close(self) -> bool:
        """Takes the memory out of the process, to which no jump may lead any more; whether it could.

        Raises TraceeError, ProcessGone; gotap's own half is given back anyway.
        """
        try:
            return unmap(self.pid, self._starts, self.areas, self.is_busy)
        finally:
            self.leave()

    def leave(self) -> None:
        """Gives back gotap's half only."""
        self._undo.close()


@contextlib.contextmanager
def _new_file(pid: int, caller: Caller, name: str) -> Iterator[tuple[int, int]]:
    """gotap's descriptor of a new memory file, and the process's, which both end with the context."""
    number = caller(memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING))
    try:
        descriptor = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR | os.O_CLOEXEC)
        try:
            yield descriptor, number
        finally:
            os.close(descriptor)
    finally:
        with contextlib.suppress(TraceeError):
            caller(close(number))


def _vdso(pid: int) -> int:
    """Where the process has the vDSO; 0: nowhere."""
    with Process(pid) as process:
        return next((one.start for one in process.mappings() if one.path == "[vdso]"), 0)


def _threads(pid: int) -> list[int]:
    """Ids of the threads, none when the process has ended."""
    with contextlib.suppress(OSError):
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    return []


def _unmap_if_possible(caller: Caller, address: int, size: int) -> None:
    with contextlib.suppress(TraceeError, ProcessGone):
        caller(munmap(address, size))


def _check_processor() -> None:
    """Threads find their slot by RDFSBASE."""
    if not has_fsgsbase():
        raise MachineError("hooks need the instruction RDFSBASE, which this processor or kernel does not allow",
                           "use Linux 5.9 or newer, or --via uprobe")  # fmt: skip


class HostProgram:
    """A program that gotap runs itself, on its own slot."""

    def __init__(self, host: Host, translated: Callable[[int], bytes]) -> None:
        """`translated`: the program's machine code for an address."""
        self._host = host
        self._memory = Executable(len(translated(0)) + _PAGE)
        self._memory.fill(translated(self._memory.address))

    def run(self) -> None:
        self._host.call(self._memory.address, self._host.context)

    def stats(self) -> ProgramStats:
        return ProgramStats(0, 0, 0)

    def close(self) -> None:
        self._memory.close()
