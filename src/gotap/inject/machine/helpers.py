"""The helpers that programs call, as machine code for one address space."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gotap.bpf.isa import Helper
from gotap.inject.machine.arrays import MapCode
from gotap.inject.machine.buckets import wait
from gotap.inject.machine.hashes import HashCode, errors
from gotap.inject.machine.pool import PoolCode
from gotap.inject.machine.reading import ReadCode
from gotap.inject.machine.records import RingCode
from gotap.inject.machine.routines import host_call
from gotap.inject.machine.timing import TimeCode
from gotap.inject.x86.assembler import Assembler

_LABELS = {
    Helper.MAP_LOOKUP: "map.lookup",
    Helper.MAP_UPDATE: "map.update",
    Helper.MAP_DELETE: "map.delete",
    Helper.MAP_LOOKUP_PERCPU: "map.lookup_percpu",
    Helper.PROBE_READ: "read.user",
    Helper.PROBE_READ_USER: "read.user",
    Helper.PROBE_READ_USER_STR: "read.user_str",
    Helper.PROBE_READ_KERNEL: "read.kernel",
    Helper.PROBE_READ_KERNEL_STR: "read.kernel_str",
    Helper.KTIME_GET_NS: "time.ktime",
    Helper.GET_PRANDOM_U32: "time.random",
    Helper.GET_SMP_PROCESSOR_ID: "time.cpu",
    Helper.GET_CURRENT_PID_TGID: "time.pid_tgid",
    Helper.GET_NS_CURRENT_PID_TGID: "time.ns_pid_tgid",
    Helper.GET_CURRENT_COMM: "time.comm",
    Helper.GET_ATTACH_COOKIE: "time.cookie",
    Helper.RINGBUF_OUTPUT: "ring.output",
    Helper.RINGBUF_RESERVE: "ring.reserve",
    Helper.RINGBUF_SUBMIT: "ring.submit",
    Helper.RINGBUF_DISCARD: "ring.discard",
    Helper.RINGBUF_QUERY: "ring.query",
}


_HASHES = {Helper.MAP_LOOKUP: "lookup", Helper.MAP_UPDATE: "update", Helper.MAP_DELETE: "delete"}

#: Words of the longest keys that hashes have routines of their own for.
LONGEST_KEY = 6


class HelperCode(Struct, frozen=True):
    """`code`: for the address it was made for. `host_call`: a C function (five arguments, a routine's address) → its
    result, which runs on gotap's own slot. `ticks`: a routine that tells the TSC."""

    code: bytes
    addresses: Mapping[Helper, int]
    #: Of MAP_LOOKUP, MAP_UPDATE and MAP_DELETE for hashes with keys of so many words, up to LONGEST_KEY.
    hashes: Mapping[tuple[Helper, int], int]
    host_call: int
    ticks: int


def build_helpers(at: int, region: int, *, slots: int, user: bool = True, clock: int = 0) -> HelperCode:
    """Machine code to lie at `at`, for an address space that has the region at `region`.

    `slots`: their offset in it (Header.SLOTS). `user`: it will run in the target, else in gotap, where reads of the
    target fail. `clock`: address of __vdso_clock_gettime, to be asked where the TSC is no clock (see
    gotap.inject.machine.clock).
    """
    a = Assembler(at)
    for words in range(1 + LONGEST_KEY):
        HashCode(a, words).assemble()
    for part in (PoolCode(a), MapCode(a), RingCode(a, region), ReadCode(a, region, user=user),
                 TimeCode(a, region, clock)):  # fmt: skip
        part.assemble()
    wait(a)
    errors(a)
    host_call(a, region + slots)
    code = a.finish()
    hashes = {(helper, words): a.address(f"hash{words}.{name}")
              for helper, name in _HASHES.items() for words in range(1, 1 + LONGEST_KEY)}  # fmt: skip
    addresses = {helper: a.address(label) for helper, label in _LABELS.items()}
    return HelperCode(code, addresses, hashes, a.address("host.call"), a.address("time.ticks"))
