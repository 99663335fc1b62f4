"""Numbers of include/uapi/linux/bpf.h (Linux 6.18) that say what maps and programs are."""

from __future__ import annotations

from enum import IntEnum


class MapType(IntEnum):
    """enum bpf_map_type, as far as gotap uses it."""

    HASH = 1
    ARRAY = 2
    PROG_ARRAY = 3
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    RINGBUF = 27


class ProgramType(IntEnum):
    """enum bpf_prog_type; uprobe programs are KPROBE."""

    SOCKET_FILTER = 1
    KPROBE = 2
    TRACEPOINT = 5
    PERF_EVENT = 7
    RAW_TRACEPOINT = 17
    SYSCALL = 31


class AttachType(IntEnum):
    """enum bpf_attach_type; NONE is what programs of perf_event uprobes are loaded with."""

    NONE = 0
    PERF_EVENT = 41
    UPROBE_MULTI = 48


class MapFlags(IntEnum):
    """Flags of MAP_CREATE and of updates."""

    NO_PREALLOC = 1  # BPF_F_NO_PREALLOC
    MMAPABLE = 1 << 10  # BPF_F_MMAPABLE, Linux 5.5


class Update(IntEnum):
    """Flags of MAP_UPDATE_ELEM."""

    ANY = 0
    NOEXIST = 1
    EXIST = 2
