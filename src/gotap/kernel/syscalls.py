"""bpf(2) and perf_event_open(2) through ctypes: every attribute structure is packed here and nowhere else.

Layouts are those of `union bpf_attr` in include/uapi/linux/bpf.h and `struct perf_event_attr` in
include/uapi/linux/perf_event.h (Linux 6.18). A kernel that knows fewer fields accepts the longer structure as long
as the rest is zero. All functions raise OSError with the kernel's errno; callers turn it into a named error.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import platform
import struct
from collections.abc import Sequence
from enum import IntEnum

from gotap.bpf.enums import AttachType, MapType, ProgramType

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long

#: System call numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_NUMBERS = {"x86_64": (321, 298), "aarch64": (280, 241)}

#: As often as libbpf asks (PROG_LOAD_ATTEMPTS, tools/lib/bpf/bpf.h).
_LOAD_ATTEMPTS = 5

PERF_FLAG_FD_CLOEXEC = 8
PERF_TYPE_SOFTWARE, PERF_TYPE_TRACEPOINT = 1, 2
PERF_COUNT_SW_CPU_CLOCK = 0
#: Bits of perf_event_attr's flags.
_EXCLUDE_KERNEL, _FREQUENCY = 1 << 5, 1 << 10
PERF_EVENT_IOC_SET_BPF = 0x40042408  # _IOW('$', 8, __u32)


class Command(IntEnum):
    """enum bpf_cmd."""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    PROG_TEST_RUN = 10
    OBJ_GET_INFO_BY_FD = 15
    BTF_LOAD = 18
    MAP_LOOKUP_BATCH = 24
    LINK_CREATE = 28
    ENABLE_STATS = 32


_MULTI_RETURN = 1  # BPF_F_UPROBE_MULTI_RETURN


def _number(index: int) -> int:
    try:
        return _NUMBERS[platform.machine()][index]
    except KeyError:
        raise OSError(38, f"no system call numbers known for {platform.machine()}") from None  # ENOSYS


def bpf(command: Command, attr: bytes | bytearray) -> int:
    """The bare system call; `attr` is passed in a buffer of its own, which a bytearray receives back."""
    buffer = (ctypes.c_char * len(attr)).from_buffer(attr if isinstance(attr, bytearray) else bytearray(attr))
    result: int = _syscall(_number(0), ctypes.c_int(command), buffer, ctypes.c_uint(len(attr)))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _address(buffer: ctypes.Array[ctypes.c_char] | ctypes.Array[ctypes.c_uint64] | None) -> int:
    return 0 if buffer is None else ctypes.addressof(buffer)


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, max(1, len(data)))


def _name(name: str) -> bytes:
    """A kernel object's name: 15 bytes of letters, digits, `_` and `.`, or EINVAL (bpf_obj_name_cpy)."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)[:15].encode()


def map_create(kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int, name: str) -> int:
    attr = struct.pack("<IIIIIII16s", kind, key_size, value_size, max_entries, flags, 0, 0, _name(name))
    return bpf(Command.MAP_CREATE, attr)


def _map_element(command: Command, fd: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None, flags: int
                 ) -> None:
    key_buffer = None if key is None else _buffer(key)
    bpf(command, struct.pack("<I4xQQQ", fd, _address(key_buffer), _address(value), flags))


def map_lookup(fd: int, key: bytes, value_size: int) -> bytes:
    """`value_size` is what the kernel writes: for per-CPU maps the rounded value times the possible CPUs."""
    value = ctypes.create_string_buffer(value_size)
    _map_element(Command.MAP_LOOKUP_ELEM, fd, key, value, 0)
    return value.raw


def map_update(fd: int, key: bytes, value: bytes, flags: int) -> None:
    _map_element(Command.MAP_UPDATE_ELEM, fd, key, _buffer(value), flags)


def map_delete(fd: int, key: bytes) -> None:
    _map_element(Command.MAP_DELETE_ELEM, fd, key, None, 0)


def map_next_key(fd: int, key: bytes | None, key_size: int) -> bytes:
    """The key after `key`, the first for None; OSError ENOENT at the end."""
    following = ctypes.create_string_buffer(key_size)
    _map_element(Command.MAP_GET_NEXT_KEY, fd, key, following, 0)
    return following.raw


def map_lookup_batch(fd: int, cursor: bytes | None, count: int, key_size: int, value_size: int
                     ) -> tuple[bytes, bytes, int, bytes, bool]:
    """(keys, values, n, next cursor, end) from Linux 5.6; OSError ENOSPC asks for a larger `count`.

    The cursor is a bucket number for hash maps (4 bytes) and a key for arrays (4 bytes too).
    """
    keys = ctypes.create_string_buffer(max(1, key_size * count))
    values = ctypes.create_string_buffer(max(1, value_size * count))
    came = None if cursor is None else _buffer(cursor)
    goes = ctypes.create_string_buffer(max(8, key_size))
    attr = bytearray(struct.pack("<QQQQIIQQ", _address(came), _address(goes), _address(keys), _address(values),
                                 count, fd, 0, 0))
    end = False
    try:
        bpf(Command.MAP_LOOKUP_BATCH, attr)
    except OSError as error:
        if error.errno != 2:  # ENOENT: these are the last
            raise
        end = True
    (found,) = struct.unpack_from("<I", attr, 32)
    return keys.raw[: key_size * found], values.raw[: value_size * found], found, goes.raw, end


def program_load(kind: ProgramType, instructions: bytes, *, name: str = "", attach_type: AttachType = AttachType.NONE,
                 flags: int = 0, btf_fd: int = 0, func_info: bytes = b"", log_level: int = 0,
                 log: ctypes.Array[ctypes.c_char] | None = None) -> int:
    """`func_info` is pairs of u32: instruction index, BTF type id; the verifier's text goes into `log`.

    The verifier gives up with EAGAIN when a signal is pending (kernel/bpf/verifier.c, do_check), so it is asked again.
    """
    code, license_, info = _buffer(instructions), _buffer(b"GPL\0"), _buffer(func_info)
    attr = struct.pack(
        "<IIQQIIQII16sIIIIQIIQI4x",
        kind, len(instructions) // 8, _address(code), _address(license_),
        log_level if log is not None else 0, 0 if log is None else len(log), _address(log),
        0, flags, _name(name), 0, attach_type,
        btf_fd, 8 if func_info else 0, _address(info) if func_info else 0, len(func_info) // 8,
        0, 0, 0,
    )
    for _ in range(_LOAD_ATTEMPTS - 1):
        with contextlib.suppress(BlockingIOError):  # EAGAIN
            return bpf(Command.PROG_LOAD, attr)
    return bpf(Command.PROG_LOAD, attr)


def program_test_run(fd: int, data: bytes = b"", context: bytes = b"", repeat: int = 0) -> int:
    """Runs a program once (or `repeat` times) without attaching it; returns its 32-bit return value."""
    data_in, context_in = _buffer(data), _buffer(context)
    attr = bytearray(struct.pack("<IIIIQQIIIIQQIII4x", fd, 0, len(data), 0, _address(data_in) if data else 0, 0, repeat,
                                 0, len(context), 0, _address(context_in) if context else 0, 0, 0, 0, 0))
    bpf(Command.PROG_TEST_RUN, attr)
    value: int = struct.unpack_from("<I", attr, 4)[0]
    return value


def object_info(fd: int, size: int) -> bytes:
    """The first `size` bytes of struct bpf_prog_info, bpf_map_info or bpf_link_info; zeros beyond the kernel's."""
    info = ctypes.create_string_buffer(size)
    bpf(Command.OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", fd, size, _address(info)))
    return info.raw


def btf_load(blob: bytes) -> int:
    data = _buffer(blob)
    return bpf(Command.BTF_LOAD, struct.pack("<QQIIII", _address(data), 0, len(blob), 0, 0, 0))


def enable_stats() -> int:
    """Switches run time statistics on for as long as the returned descriptor is open (Linux 5.8)."""
    return bpf(Command.ENABLE_STATS, struct.pack("<I", 0))


def link_create_perf(program_fd: int, perf_fd: int, cookie: int) -> int:
    """Linux 5.15."""
    return bpf(Command.LINK_CREATE, struct.pack("<IIIIQ", program_fd, perf_fd, AttachType.PERF_EVENT, 0, cookie))


def link_create_uprobe_multi(program_fd: int, path: str, sites: Sequence[tuple[int, int]], pid: int, *,
                             returns: bool = False) -> int:
    """One link over all (file offset, cookie) pairs (Linux 6.6); pid 0 is every process that maps the file.

    `returns`: where the functions at these offsets return (never in Go programs: their stacks move).
    """
    name = _buffer(os.fsencode(path) + b"\0")
    offsets = (ctypes.c_uint64 * len(sites))(*(offset for offset, _ in sites))
    cookies = (ctypes.c_uint64 * len(sites))(*(cookie for _, cookie in sites))
    attr = struct.pack("<IIIIQQQQIII4x", program_fd, 0, AttachType.UPROBE_MULTI, 0, _address(name), _address(offsets),
                       0, _address(cookies), len(sites), _MULTI_RETURN if returns else 0, pid)
    return bpf(Command.LINK_CREATE, attr)


def _perf_event_open(attr: bytes, pid: int, cpu: int) -> int:
    result: int = _syscall(_number(1), _buffer(attr), ctypes.c_int(pid), ctypes.c_int(cpu), ctypes.c_int(-1),
                           ctypes.c_ulong(PERF_FLAG_FD_CLOEXEC))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def perf_event_open_uprobe(pmu: int, path: str, offset: int, pid: int, config: int = 0) -> int:
    """An enabled event of the `uprobe` PMU (number from /sys/bus/event_source/devices/uprobe/type), Linux 4.17.

    pid -1 is every process; the event then needs one CPU, yet its BPF program runs on all of them. `config`: the bit
    that /sys/bus/event_source/devices/uprobe/format/retprobe names asks for the returns.
    """
    name = _buffer(os.fsencode(path) + b"\0")
    # type, size, config, sample_period, sample_type, read_format, flags, wakeup_events, bp_type, uprobe_path, offset
    attr = struct.pack("<IIQQQQQIIQQ", pmu, 112, config, 0, 0, 0, 0, 0, 0, _address(name), offset).ljust(112, b"\0")
    return _perf_event_open(attr, pid, 0 if pid == -1 else -1)


def perf_event_open_tracepoint(number: int) -> int:
    """An enabled event of the tracepoint with this number (`id` in tracefs).

    It is opened on one CPU, yet a BPF program that is attached to it runs on all of them.
    """
    attr = struct.pack("<IIQQQQQ", PERF_TYPE_TRACEPOINT, 112, number, 1, 0, 0, 0).ljust(112, b"\0")
    return _perf_event_open(attr, -1, 0)


def perf_event_open_clock(cpu: int, hertz: int, *, user_only: bool) -> int:
    """An enabled event that fires `hertz` times a second on this CPU, whatever runs; `user_only`: not in the kernel."""
    flags = _FREQUENCY | (_EXCLUDE_KERNEL if user_only else 0)
    attr = struct.pack("<IIQQQQQ", PERF_TYPE_SOFTWARE, 112, PERF_COUNT_SW_CPU_CLOCK, hertz, 0, 0, flags)
    return _perf_event_open(attr.ljust(112, b"\0"), -1, cpu)


def perf_set_bpf(perf_fd: int, program_fd: int) -> None:
    """Attaches without a link and without a cookie: all that kernels before 5.15 offer."""
    fcntl.ioctl(perf_fd, PERF_EVENT_IOC_SET_BPF, program_fd)
