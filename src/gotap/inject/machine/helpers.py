"""The helpers that programs call, as machine code for one address space."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gotap.bpf.isa import Helper
from gotap.inject.machine.arrays import MapCode
from gotap.inject.machine.hashes import HashCode
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


class HelperCode(Struct, frozen=True):
    """`code`: for the address it was made for. `host_call`: a C function (five arguments, a routine's address) → its
    result, which runs on gotap's own slot. `ticks`: a routine that tells the TSC."""

    code: bytes
    addresses: Mapping[Helper, int]
    host_call: int
    ticks: int


def build_helpers(at: int, region: int, *, slots: int, user: bool = True, clock: int = 0) -> HelperCode:
    """Machine code to lie at `at`, for an address space that has the region at `region`.

    `slots`: their offset in it (Header.SLOTS). `user`: it will run in the target, else in gotap, where reads of the
    target fail. `clock`: address of __vdso_clock_gettime, to be asked where the TSC is no clock (see
    gotap.inject.machine.clock).
    """
    a = Assembler(at)
    for part in (
        HashCode(a),
        MapCode(a),
        RingCode(a, region),
        ReadCode(a, region, user=user),
        TimeCode(a, region, clock),
    ):
        part.assemble()
    host_call(a, region + slots)
    code = a.finish()
    addresses = {helper: a.address(label) for helper, label in _LABELS.items()}
    return HelperCode(code, addresses, a.address("host.call"), a.address("time.ticks"))
