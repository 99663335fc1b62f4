"""What translated programs do in place of a helper's call, or by a shorter way to it, since they know its arguments.

What is written here keeps to the rules of gotap.inject.x86.calls.Inline: arguments in RDI, RSI, RDX, RCX, R8, result in
RAX, those and R9 to R11 are lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gotap.bpf.enums import MapType
from gotap.bpf.isa import Helper
from gotap.inject.machine.helpers import LONGEST_KEY, HelperCode
from gotap.inject.machine.layout import STRIPES, Header, Range, Slot
from gotap.inject.machine.routines import slot
from gotap.inject.machine.timing import running_cpu
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.calls import Call, Inline, call_address
from gotap.inject.x86.operands import EAX, R8, R9, RAX, RCX, RDI, RDX, mem

_HASHES = (MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH)
#: Reads that take up to so many moves are done in place.
_IN_PLACE = 4


def inlines(helpers: HelperCode, region: int, key_sizes: Mapping[int, int], *, user: bool = True
            ) -> dict[Helper, Inline]:  # fmt: skip
    """For gotap.inject.x86.translator.translate. `region`: its address where the code will run; `key_sizes`: by the
    address of a map's descriptor there; `user`: as build_helpers has it.
    """
    found: dict[Helper, Inline] = {
        helper: _of_map(helpers, helper, key_sizes)
        for helper in (Helper.MAP_LOOKUP, Helper.MAP_UPDATE, Helper.MAP_DELETE)
    }
    found[Helper.GET_ATTACH_COOKIE] = _cookie
    found[Helper.GET_SMP_PROCESSOR_ID] = _cpu
    if user:
        found[Helper.PROBE_READ_USER] = _read(helpers, region)
    return found


def _of_map(helpers: HelperCode, helper: Helper, key_sizes: Mapping[int, int]) -> Inline:
    """The routine for keys of this length; a stripe's value of a per-CPU array whose index is known."""

    def write(a: Assembler, call: Call) -> bool:
        place = call.map
        if place is None:
            return False
        if place.kind in _HASHES:
            words = key_sizes.get(place.descriptor, 0) // 8
            if not 1 <= words <= LONGEST_KEY:
                return False
            call_address(a, helpers.hashes[helper, words])
            return True
        if helper is Helper.MAP_LOOKUP and place.kind is MapType.PERCPU_ARRAY and place.stride and call.key is not None:
            if call.key >= place.entries:
                a.mov(EAX, 0)
                return True
            a.mov(EAX, slot(Slot.STRIPE))
            a.imul(RAX, RAX, place.stride // STRIPES)
            a.mov(RCX, place.values + call.key * place.stride)
            a.add(RAX, RCX)
            return True
        return False

    return write


def _cookie(a: Assembler, call: Call) -> bool:
    a.mov(RAX, slot(Slot.COOKIE))
    return True


def _cpu(a: Assembler, call: Call) -> bool:
    running_cpu(a)
    return True


def _read(helpers: HelperCode, region: int) -> Inline:
    """A short read from the first range that is always readable, the Go heap; else the helper is called."""

    def write(a: Assembler, call: Call) -> bool:
        size, pieces = call.number(2), call.pieces()
        if size is None or pieces is None or len(pieces) > _IN_PLACE:
            return False
        other, done = a.new_label("elsewhere"), a.new_label("read")
        a.mov(R8, region + Header.RANGES)
        a.mov(R9, mem(R8, Range.HIGH))
        a.cmp(RDX, mem(R8, Range.LOW))
        a.jb(other)
        a.sub(R9, RDX)  # what there is from the address on; less than 0 is very much, unsigned
        a.jb(other)
        a.cmp(R9, size)
        a.jb(other)
        _copy(a, pieces)
        a.xor(EAX, EAX)
        a.jmp(done)
        a.label(other)
        call_address(a, helpers.addresses[Helper.PROBE_READ_USER])
        a.label(done)
        return True

    return write


def _copy(a: Assembler, pieces: Iterable[tuple[int, int]]) -> None:
    """So many bytes at each offset from RDX to RDI. Loses RAX."""
    for offset, size in pieces:
        register = RAX.sized(size)
        a.mov(register, mem(RDX, offset))
        a.mov(mem(RDI, offset), register)
