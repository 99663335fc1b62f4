"""What BPF programs call: helpers, loops with callbacks, tail calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from gotap.bpf.enums import MapType
from gotap.bpf.isa import Helper
from gotap.errors import GotapError
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.computing import NEAR, load_address
from gotap.inject.x86.knowledge import MapPlace, MapPointer, Value
from gotap.inject.x86.operands import (
    EAX,
    EBX,
    ECX,
    EDI,
    EDX,
    R10,
    R11,
    R11D,
    R12,
    R13,
    R13D,
    R14,
    R15,
    RAX,
    RBX,
    RCX,
    RDX,
    RSI,
    RSP,
    dword,
    mem,
)

MAX_LOOPS = 1 << 23  # BPF_MAX_LOOPS
MAX_TAIL_CALLS = 33  # MAX_TAIL_CALL_CNT
ENOENT, E2BIG, EINVAL = 2, 7, 22
#: Translated here; no machine has to bring them.
OWN_HELPERS = frozenset({Helper.LOOP, Helper.TAIL_CALL})
#: How far behind a program's start a tail call enters it: behind what sets the number of tail calls to 0.
TAIL_ENTRY = 3
#: Bytes that the loop takes of the stack: its return address, five words.
LOOP_STACK = 48
#: Label of the loop that LOOP calls.
LOOP = "bpf_loop"

_WHY = {
    Helper.GET_STACK: "stacks of the process are walked by the kernel",
    Helper.GET_STACKID: "stacks of the process are walked by the kernel",
    Helper.SEND_SIGNAL: "code in the target does not send signals to it",
    Helper.SEND_SIGNAL_THREAD: "code in the target does not send signals to it",
    Helper.PROBE_WRITE_USER: "the target's memory is never written",
    Helper.GET_CURRENT_TASK: "it reads the kernel's memory",
    Helper.PERF_EVENT_OUTPUT: "records go to a ring in shared memory",
}


class Untranslatable(GotapError):
    """The program uses what an in-process hook cannot express. `helper`: the function of the kernel that is missing."""

    def __init__(self, helper: Helper | None, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.helper = helper


def missing(helper: Helper) -> Untranslatable:
    why = _WHY.get(helper, "it has no counterpart outside the kernel")
    return Untranslatable(helper, f"an in-process hook has no bpf_{helper.name.lower()}: {why}",
                          "attach with --via uprobe or --via springboard")  # fmt: skip


class Call(Struct, frozen=True):
    """A call of a helper, and what is certain about its arguments R1–R5: numbers, places on the stack, maps."""

    helper: Helper
    arguments: tuple[Value, Value, Value, Value, Value]
    #: The key of a map operation, if its 4 bytes are certain.
    key: int | None = None
    #: Of a read to the stack: bit n says whether byte n may be looked at afterwards. None: any byte.
    wanted: int | None = None

    @property
    def map(self) -> MapPlace | None:
        """The map in R1."""
        first = self.arguments[0]
        return first.place if isinstance(first, MapPointer) else None

    def number(self, argument: int) -> int | None:
        """Argument 1 to 5, if it is a known number."""
        value = self.arguments[argument - 1]
        return value if isinstance(value, int) else None

    def pieces(self) -> list[tuple[int, int]] | None:
        """Offsets and sizes (8, 4, 2 or 1) of what a read of R2 bytes must bring; None: R2 is not known."""
        size = self.number(2)
        if size is None:
            return None
        pieces, offset = [], 0
        while offset < size:
            piece = min(8, 1 << (size - offset).bit_length() - 1)
            if self.wanted is None or self.wanted >> offset & (1 << piece) - 1:
                pieces.append((offset, piece))
            offset += piece
        return pieces


#: Writes a call's code in its place: arguments in RDI, RSI, RDX, RCX, R8, result in RAX. It may lose those and R9 to
#: R11, and keeps RBX, RBP, R12 to R15; it may push and call. False: nothing was written, the helper is to be called.
Inline = Callable[[Assembler, Call], bool]


def call_helper(asm: Assembler, call: Call, helpers: Mapping[Helper, int], inline: Mapping[Helper, Inline]) -> None:
    """Untranslatable: there is none."""
    if call.helper == Helper.MAP_LOOKUP and look_up_in_array(asm, call):
        return
    if call.helper in inline and inline[call.helper](asm, call):
        return
    special = call.map.helpers.get(call.helper) if call.map is not None else None
    if special is not None:
        call_address(asm, special)
    elif call.helper in helpers:
        call_address(asm, helpers[call.helper])
    else:
        raise missing(call.helper)


def call_address(asm: Assembler, address: int) -> None:
    """Through a register where it is too far away for a call."""
    if abs(address - asm.origin) < NEAR:
        asm.call(address)
    else:
        asm.mov(RAX, address)
        asm.call(RAX)


def is_array(place: MapPlace | None) -> bool:
    """Whether lookups need no call."""
    if place is None or place.kind != MapType.ARRAY or place.slots:
        return False
    return place.entries > 0 and place.stride > 0


def element(place: MapPlace, key: int) -> int:
    """Address of an array's value; 0: there is none."""
    return place.values + place.stride * key if key < place.entries else 0


def look_up_in_array(asm: Assembler, call: Call) -> bool:
    """MAP_LOOKUP in an array without a call; False: it is none."""
    place = call.map
    if place is not None and place.slots:
        _own_value(asm, place)
        return True
    if place is None or not is_array(place):
        return False
    if call.key is not None:
        load_address(asm, RAX, element(place, call.key))
        return True
    done = asm.new_label("found")
    if place.entries == 1:
        asm.xor(EAX, EAX)
        asm.cmp(dword(RSI), 0)
        asm.jne(done)
        load_address(asm, RAX, place.values)
    else:
        asm.mov(ECX, mem(RSI))
        asm.xor(EAX, EAX)
        asm.cmp(ECX, place.entries)
        asm.jae(done)
        if place.stride & place.stride - 1:
            asm.imul(RCX, RCX, place.stride)
        elif place.stride > 1:
            asm.shl(RCX, place.stride.bit_length() - 1)
        load_address(asm, RAX, place.values)
        asm.add(RAX, RCX)
    asm.label(done)
    return True


def _own_value(asm: Assembler, place: MapPlace) -> None:
    """RAX = the value of this thread's slot, which R12 points to."""
    asm.mov(RAX, R12)
    load_address(asm, RCX, place.slots)
    asm.sub(RAX, RCX)
    asm.shr(RAX, place.slot_size.bit_length() - 1)
    asm.imul(RAX, RAX, place.stride)
    load_address(asm, RCX, place.values)
    asm.add(RAX, RCX)


def loop(asm: Assembler) -> None:
    """The function LOOP: bpf_loop(count, callback, context, flags). Callbacks are this program's own code."""
    again, done, over, wrong = (asm.new_label(name) for name in ("again", "done", "over", "wrong"))
    asm.label(LOOP)
    asm.test(RCX, RCX)
    asm.jne(wrong)
    asm.cmp(EDI, MAX_LOOPS)
    asm.ja(over)
    for register in (RBX, R13, R14, R15):
        asm.push(register)
    asm.sub(RSP, 8)  # calls find the stack aligned to 16 bytes
    asm.mov(R13D, EDI)
    asm.mov(R14, RSI)
    asm.mov(R15, RDX)
    asm.xor(EBX, EBX)
    asm.test(EDI, EDI)
    asm.je(done)
    asm.label(again)
    asm.mov(EDI, EBX)
    asm.mov(RSI, R15)
    asm.call(R14)
    asm.inc(EBX)
    asm.test(RAX, RAX)
    asm.jne(done)
    asm.cmp(EBX, R13D)
    asm.jb(again)
    asm.label(done)
    asm.mov(EAX, EBX)
    asm.add(RSP, 8)
    for register in (R15, R14, R13, RBX):
        asm.pop(register)
    asm.ret()
    asm.label(over)
    asm.mov(RAX, -E2BIG)
    asm.ret()
    asm.label(wrong)
    asm.mov(RAX, -EINVAL)
    asm.ret()


def tail_call(asm: Assembler, call: Call, frame: int) -> None:
    """Leaves for another program; goes on here where there is none, or after MAX_TAIL_CALLS of them.

    The number of tail calls so far lies at [RSP], the bottom of this program's frame of `frame` bytes; the next program
    takes it in R11. Its frame takes this one's place.
    """
    second = call.arguments[1]
    if not isinstance(second, MapPointer) or second.place.kind != MapType.PROG_ARRAY:
        raise Untranslatable(Helper.TAIL_CALL, "a tail call whose programs are not known beforehand")
    place, stay = second.place, asm.new_label("stay")
    if place.entries == 0:
        return
    asm.mov(RAX, -ENOENT)
    asm.cmp(EDX, place.entries)
    asm.jae(stay)
    asm.mov(R11, mem(RSP))
    asm.cmp(R11D, MAX_TAIL_CALLS)
    asm.jae(stay)
    load_address(asm, R10, place.values)
    asm.mov(EDX, EDX)
    asm.mov(R10, mem(R10, 0, RDX, 8))
    asm.test(R10, R10)
    asm.je(stay)
    asm.inc(R11D)
    asm.add(RSP, frame)
    asm.jmp(R10)
    asm.label(stay)

