"""Maps and programs of the kernel, by raw bpf(2): what libbpf does, as far as gotap needs it.

Descriptors are close-on-exec (the kernel opens them so) and nothing is pinned: when gotap dies, however it dies, the
kernel drops maps, programs and probes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gotap.bpf.enums import AttachType, MapType, ProgramType, Update
from gotap.bpf.machine import ProgramStats
from gotap.kernel import btf, syscalls
from gotap.kernel.errors import (
    ENOTSUPP,
    BpfDeniedError,
    BpfMissingError,
    KernelError,
    MapError,
    VerifierError,
    errno_text,
)

if TYPE_CHECKING:  # what only asks the kernel what it can do comes without numpy: a third of its start
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AttachType", "Map", "MapType", "Program", "ProgramStats", "ProgramType", "Update", "enable_stats"]

_PER_CPU = {MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH}
_HASHES = {MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH}
_BATCH = 4096
_LOG_SIZES = (1 << 18, 1 << 24)  # the kernel's limit is 1 GiB from 5.2, 16 MiB before
_DENIED = "run gotap as root, or give it CAP_BPF, CAP_PERFMON and CAP_SYS_PTRACE; `gotap doctor` tells what is missing"


@cache
def possible_cpus() -> int:
    """CPUs that per-CPU maps have a value for: those that could ever be online, not those that are."""
    with open("/sys/devices/system/cpu/possible") as file:
        return int(file.read().strip().replace("-", ",").split(",")[-1]) + 1


@cache
def _raise_memlock() -> None:
    """Kernels before 5.11 charge maps to RLIMIT_MEMLOCK; 64 KiB is a common default."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


class _Descriptor:
    """A file descriptor with an owner; closing twice is harmless."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @property
    def fd(self) -> int:
        if self._fd < 0:
            raise ValueError(f"{type(self).__name__} is closed")
        return self._fd

    def fileno(self) -> int:
        return self.fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self.close()


class Map(_Descriptor):
    """A BPF map. Keys and values are bytes of exactly the map's sizes; a per-CPU value is one value per possible CPU,
    each rounded up to 8 bytes, one after the other."""

    def __init__(self, fd: int, kind: MapType, key_size: int, value_size: int, max_entries: int, name: str) -> None:
        super().__init__(fd)
        self.kind = kind
        self.key_size = key_size
        self.value_size = value_size
        self.max_entries = max_entries
        self.name = name

    @classmethod
    def create(cls, kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = ""
               ) -> Self:
        """MapError says why not; BpfDeniedError that bpf(2) is not for us."""
        arguments = (kind, key_size, value_size, max_entries, flags, name)
        try:
            fd = syscalls.map_create(*arguments)
        except OSError as first:
            if first.errno not in (errno.EPERM, errno.ENOMEM):
                raise _map_refused(kind, name, first) from first
            _raise_memlock()
            try:
                fd = syscalls.map_create(*arguments)
            except OSError as error:
                raise _map_refused(kind, name, error) from error
        return cls(fd, kind, key_size, value_size, max_entries, name)

    @property
    def per_cpu(self) -> bool:
        return self.kind in _PER_CPU

    @property
    def _stride(self) -> int:
        """Bytes of one value on its way between kernel and user space."""
        return (self.value_size + 7) // 8 * 8 * possible_cpus() if self.per_cpu else self.value_size

    def lookup(self, key: bytes) -> bytes | None:
        """The value, None when there is none."""
        self._check(key)
        try:
            return syscalls.map_lookup(self.fd, key, self._stride)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return None
            raise self._failed("look up a key in", error) from error

    def lookup_sum(self, key: bytes) -> NDArray[np.uint64] | None:
        """The value as 64-bit words, summed over the CPUs."""
        import numpy as np

        value = self.lookup(key)
        return None if value is None else self._words(np.frombuffer(value, np.uint8)[None])[0]

    def update(self, key: bytes, value: bytes, mode: Update = Update.ANY) -> bool:
        """False when `mode` forbids it: the key is there (NOEXIST) or is not (EXIST)."""
        self._check(key)
        if len(value) != self._stride:
            raise ValueError(f"map {self.name}: value of {len(value)} bytes, {self._stride} expected")
        try:
            syscalls.map_update(self.fd, key, value, mode)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOENT):
                return False
            raise self._failed("write to", error) from error
        return True

    def delete(self, key: bytes) -> bool:
        """False when the key was not there."""
        self._check(key)
        try:
            syscalls.map_delete(self.fd, key)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            raise self._failed("delete from", error) from error
        return True

    def keys(self) -> Iterator[bytes]:
        """All keys, each at least once; a key deleted meanwhile makes the kernel start over."""
        key = None
        while True:
            try:
                key = syscalls.map_next_key(self.fd, key, self.key_size)
            except OSError as error:
                if error.errno == errno.ENOENT:
                    return
                raise self._failed("walk", error) from error
            yield key

    def entries(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """All keys (n, key_size) and values (n, bytes): in few system calls from Linux 5.6, else one by one.

        With writers at work it is what was seen on the way, not a snapshot.
        """
        try:
            parts = list(self._batches())
        except OSError as error:
            if error.errno not in (errno.EINVAL, ENOTSUPP, errno.EOPNOTSUPP, errno.ENOSPC):
                raise self._failed("read", error) from error
            found = {key: value for key in self.keys() if (value := self.lookup(key)) is not None}
            parts = [(b"".join(found), b"".join(found.values()))]
        import numpy as np

        keys = np.frombuffer(b"".join(key for key, _ in parts), np.uint8)
        values = np.frombuffer(b"".join(value for _, value in parts), np.uint8)
        return keys.reshape(-1, self.key_size), values.reshape(-1, self._stride)

    def _batches(self) -> Iterator[tuple[bytes, bytes]]:
        cursor, end, count = None, False, min(self.max_entries, _BATCH)
        while not end:
            try:
                keys, values, _, following, end = syscalls.map_lookup_batch(
                    self.fd, cursor, count, self.key_size, self._stride)
            except OSError as error:  # a hash bucket holds more than `count`
                if error.errno != errno.ENOSPC or count >= self.max_entries:
                    raise
                count = min(count * 8, self.max_entries)
                continue
            cursor = following
            yield keys, values

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        keys, values = self.entries()
        for key, value in zip(keys, values, strict=True):
            yield key.tobytes(), value.tobytes()

    def sums(self) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """All keys (n, key_size) and values as 64-bit words, summed over the CPUs (n, words)."""
        keys, values = self.entries()
        return keys, self._words(values)

    def _words(self, values: NDArray[np.uint8]) -> NDArray[np.uint64]:
        if self.value_size % 8:
            raise ValueError(f"map {self.name}: values of {self.value_size} bytes are not 64-bit words")
        import numpy as np

        words: NDArray[np.uint64] = np.ascontiguousarray(values).view(np.uint64)
        sums: NDArray[np.uint64] = words.reshape(len(values), -1, self.value_size // 8).sum(axis=1, dtype=np.uint64)
        return sums

    def memory(self) -> int:
        """Bytes of kernel memory that the kernel says the map takes (`memlock` of fdinfo; per-CPU areas included)."""
        with open(f"/proc/self/fdinfo/{self.fd}") as file:
            for line in file:
                if line.startswith("memlock:"):
                    return int(line.split()[1])
        return 0

    def _check(self, key: bytes) -> None:
        if len(key) != self.key_size:
            raise ValueError(f"map {self.name}: key of {len(key)} bytes, {self.key_size} expected")

    def _failed(self, action: str, error: OSError) -> MapError:
        number = error.errno or 0
        full = number in (errno.E2BIG, errno.ENOMEM)
        return MapError(f"cannot {action} BPF map {self.name or self.kind.name}: "
                        + ("it is full" if number == errno.E2BIG else errno_text(number)),
                        "give the map more entries" if full else "", errno=number)


def _map_refused(kind: MapType, name: str, error: OSError) -> KernelError:
    number = error.errno or 0
    what = f"cannot make BPF map {name or kind.name}"
    if number in (errno.EPERM, errno.EACCES):
        return BpfDeniedError(f"{what}: the kernel does not let this process use bpf(2)", _DENIED, errno=number)
    if number == errno.ENOSYS:
        return BpfMissingError(f"{what}: this kernel is built without bpf(2)",
                               "use a kernel with CONFIG_BPF_SYSCALL=y", errno=number)
    if number == errno.EINVAL:
        return BpfMissingError(f"{what}: this kernel has no maps of type {kind.name.lower()}, or not of this size",
                               "`gotap doctor` tells what the kernel has", errno=number)
    if number == errno.ENOMEM:
        return MapError(f"{what}: out of memory", "raise the memory limit of the cgroup (maps are charged to it)",
                        errno=number)
    remedy = "raise `ulimit -n`" if number == errno.EMFILE else ""
    return MapError(f"{what}: {errno_text(number)}", remedy, errno=number)


class Program(_Descriptor):
    """A verified and loaded program. It lives while a descriptor or a link holds it."""

    def __init__(self, fd: int, name: str) -> None:
        super().__init__(fd)
        self.name = name

    @classmethod
    def load(cls, instructions: bytes, kind: ProgramType = ProgramType.KPROBE, name: str = "", *,
             attach_type: AttachType = AttachType.NONE, flags: int = 0, subprograms: Sequence[tuple[int, str]] = ()
             ) -> Self:
        """`subprograms`: (index of the first instruction, name) of each function called or used as a callback, in
        ascending order and without the program itself: `Code.subprograms`.

        VerifierError holds the verifier's log. Programs with callbacks need BTF, which is made here.
        """
        with contextlib.ExitStack() as stack:
            btf_fd, func_info = 0, b""
            if subprograms:
                blob, ids = btf.minimal([name or "program", *(label for _, label in subprograms)])
                starts = [0, *(start for start, _ in subprograms)]
                func_info = b"".join(struct.pack("<II", *pair) for pair in zip(starts, ids, strict=True))
                btf_fd = _load_btf(blob)
                stack.callback(os.close, btf_fd)

            def load(log: ctypes.Array[ctypes.c_char] | None) -> int:
                return syscalls.program_load(kind, instructions, name=name, attach_type=attach_type, flags=flags,
                                             btf_fd=btf_fd, func_info=func_info, log_level=1, log=log)

            try:
                return cls(load(None), name)
            except OSError as error:
                if error.errno == errno.EPERM:
                    _raise_memlock()
                    with contextlib.suppress(OSError):
                        return cls(load(None), name)
                raise _program_refused(name, error, _verifier_log(load)) from error

    def stats(self) -> ProgramStats:
        """struct bpf_prog_info: run_time_ns, run_cnt (5.1), recursion_misses (5.12)."""
        info = syscalls.object_info(self.fd, 216)
        return ProgramStats(*struct.unpack_from("<QQQ", info, 192))

    def instruction_counts(self) -> tuple[int, int]:
        """(translated instructions, instructions the verifier walked); the latter is 0 before 5.16."""
        info = syscalls.object_info(self.fd, 224)
        translated, verified = struct.unpack_from("<I", info, 20)[0], struct.unpack_from("<I", info, 216)[0]
        return translated // 8, verified

    def jited(self) -> bool:
        """Whether the kernel compiled it to machine code (0 bytes also for readers without CAP_BPF and CAP_PERFMON)."""
        length: int = struct.unpack_from("<I", syscalls.object_info(self.fd, 32), 16)[0]
        return length > 0

    def test_run(self, data: bytes = b"", context: bytes = b"", repeat: int = 0) -> int:
        """Its 32-bit return value; socket filters want at least 14 bytes of `data`, SYSCALL programs a `context`."""
        return syscalls.program_test_run(self.fd, data, context, repeat)


def _load_btf(blob: bytes) -> int:
    try:
        return syscalls.btf_load(blob)
    except OSError as error:
        number = error.errno or 0
        if number == errno.EPERM:
            raise BpfDeniedError("the kernel does not let this process load BTF", _DENIED, errno=number) from error
        if number == errno.EMFILE:
            raise KernelError(f"cannot load BTF: {errno_text(number)}", "raise `ulimit -n`", errno=number) from error
        raise BpfMissingError(f"the kernel does not take BTF, which callbacks need ({errno_text(number)})",
                              "use Linux 5.17 or newer", errno=number) from error


def _verifier_log(load: Callable[[ctypes.Array[ctypes.c_char] | None], int]) -> str:
    """Loads once more with a log buffer; from Linux 6.4 a log that does not fit loses its oldest lines."""
    text = ""
    for size in _LOG_SIZES:
        log = ctypes.create_string_buffer(size)
        try:
            os.close(load(log))
        except OSError as error:
            text = log.value.decode(errors="replace")
            if error.errno != errno.ENOSPC:
                break
    return text


def _program_refused(name: str, error: OSError, log: str) -> KernelError:
    number = error.errno or 0
    what = f"cannot load BPF program {name or '(unnamed)'}"
    if number == errno.EPERM and not log:
        return BpfDeniedError(f"{what}: the kernel does not let this process load programs", _DENIED, errno=number)
    if number == errno.ENOSYS:
        return BpfMissingError(f"{what}: this kernel is built without bpf(2)",
                               "use a kernel with CONFIG_BPF_SYSCALL=y", errno=number)
    if not log and number == errno.EINVAL:
        return BpfMissingError(f"{what}: this kernel does not know this type of program or attachment",
                               "`gotap doctor` tells what the kernel has", errno=number)
    if number == errno.EMFILE:
        return KernelError(f"{what}: {errno_text(number)}", "raise `ulimit -n`", errno=number)
    lines = [line for line in log.splitlines() if line and not line.startswith(("processed ", "verification time"))]
    reason = lines[-1] if lines else errno_text(number)
    return VerifierError(f"{what}: the verifier says: {reason}",
                         "this is a bug of gotap: please report it with the log", errno=number, log=log)


@contextlib.contextmanager
def enable_stats() -> Iterator[None]:
    """While open, the kernel measures the run time of all BPF programs (about 20 ns more per run; Linux 5.8)."""
    try:
        fd = syscalls.enable_stats()
    except OSError as error:
        number = error.errno or 0
        if number == errno.EPERM:
            raise BpfDeniedError("the kernel does not let this process measure BPF programs",
                                 "this needs CAP_SYS_ADMIN", errno=number) from error
        raise BpfMissingError(f"this kernel does not measure BPF programs ({errno_text(number)})",
                              "use Linux 5.8 or newer", errno=number) from error
    try:
        yield
    finally:
        os.close(fd)
