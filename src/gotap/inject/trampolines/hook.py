"""In-process hooks: a stub runs programs on the thread's slot, between the instructions that the jump displaced.

    before | take the slot and its stack | registers into the context; programs; registers back | leave | after

Nothing of the site changes: registers, flags and the goroutine's stack are as if the stub were not there. Programs are
machine code with `context` in RDI and the slot in R12; they may change every other register but RSP, and use no
vectors.

**Stack.** At a *scratch* site (R12, R13 and flags mean nothing there: function entries, returns) not a byte of the
goroutine's stack is touched. Elsewhere two registers are pushed, 16 bytes: any function that checks its stack has 800
left at every instruction (StackNosplit, cmd/internal/objabi/stack.go, Go 1.18–1.27). Functions that do not check theirs
may be at the end of it; they are hooked at scratch sites only (`hook_refusal`).

**Flags** cannot be spared by choosing instructions, so at other sites they are the first thing that is saved: LAHF and
SETO, a fifth of what PUSHF and POPF cost; with RAX kept in R13, the flags and the FS base share RAX.

**Signals** may come at any instruction. The handler runs on the thread's alternate stack, and the runtime preempts
nobody whose PC is not Go's (isAsyncSafePoint). When it calls a hooked function while the slot is taken, that event is
lost and counted; before or after, it uses the slot and gives it back.

**fork.** A child shares the slots with its parent, and its thread has the same FS base. So each window has a page that
children find zeroed (MADV_WIPEONFORK): without `mask` every search begins at slot 0, which is nobody's, and the stub
sees that it is in a child and does nothing. A vfork child borrows its parent's memory and thread: that one is not
wiped, and waits.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from gotap.image.code.jumps.model import JumpSite, hook_refusal
from gotap.inject.trampolines.hook_code import HEAD, Template, careful, common, scratch
from gotap.inject.trampolines.slots import Slots
from gotap.inject.trampolines.stub import after_code, largest, original
from gotap.inject.trampolines.windows import PAGE, Jump, Place, Shared, Window

__all__ = ["PROGRAMS", "Code", "HookCode", "element", "first_pointer", "hook_refusal", "list_end", "packed"]

#: A site's record: its address, and where its first program is in the list behind.
_RECORD = struct.Struct("<QQ")

#: An element of the list: a program's address and its cookie; a zero address ends the list.
_PROGRAM = struct.Struct("<QQ")

#: A list fills from its end, so that a program is put before the others by one store, that of the record's pointer.
PROGRAMS = 6
_LIST = PROGRAMS * _PROGRAM.size
_DATA = _RECORD.size + _LIST + 8

#: The head of a window's data: what `hook_code.HEAD` names.
_HEAD = struct.Struct("<5Q")
_HEAD_SIZE = 64  # a cache line of its own: it never changes

#: In the page that children find zeroed.
_MASK = struct.Struct("<I")


class Code(NamedTuple):
    """A stub's code, and its data: record and list. For the addresses they were made for."""

    code: bytes
    data: bytes


def list_end(record: int) -> int:
    """Address of what ends the list, for the record at that address."""
    return record + _RECORD.size + _LIST


def element(record: int, number: int) -> int:
    """Address of the `number`-th program's element; they are numbered in the order in which they came."""
    return list_end(record) - (number + 1) * _PROGRAM.size


def first_pointer(record: int) -> int:
    """Address of the word that leads to the element of the program that runs first."""
    return record + 8


def packed(program: int, cookie: int) -> bytes:
    """An element. To take a program out, its address is replaced by that of code that returns (`HookCode.nothing`)."""
    return _PROGRAM.pack(program, cookie)


class HookCode:
    """Makes what is in the windows of one process' hooks."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self.common, self._saved = common()
        self._scratch, self._careful = Template(scratch), Template(careful)

    @property
    def shared(self) -> Shared:
        """What `plan` is to leave free in each window."""
        return Shared(len(self.common), _HEAD_SIZE, PAGE)

    @property
    def head(self) -> bytes:
        """What a window's data begins with; its code begins with `common`."""
        return _HEAD.pack(self._slots.address, self._slots.end, *self._slots.counters)

    @property
    def private(self) -> bytes:
        """What a window's private page begins with."""
        return _MASK.pack(self._slots.mask)

    def jump(self, site: JumpSite, bias: int = 0) -> Jump:
        """What the stub wants of `plan`."""
        core = self._scratch if site.scratch else self._careful
        return Jump(site.start + bias, largest(site) + len(core), _DATA, site.pun, original(site))

    def nothing(self, window: Window) -> int:
        """Address of a program that does nothing."""
        return window.address + len(self.common) - 1

    def stub(
        self, site: JumpSite, window: Window, place: Place, programs: Sequence[tuple[int, int]], bias: int = 0
    ) -> Code:
        """`programs`: addresses and cookies, PROGRAMS at most; the last one runs first. Raises JumpTooFar."""
        before = site.before.encode(place.code - bias, bias)
        at = place.code + len(before)
        core = (self._scratch if site.scratch else self._careful).at(at, self._places(window, place))
        code = before + core + after_code(site, at + len(core), bias)
        elements = b"".join(packed(*one) for one in reversed(programs)).rjust(_LIST, b"\0") + bytes(8)
        first = list_end(place.data) - len(programs) * _PROGRAM.size
        return Code(code, _RECORD.pack(site.address + bias, first) + elements)

    def _places(self, window: Window, place: Place) -> dict[str, int]:
        return {
            "common": window.address,
            "common_saved": window.address + self._saved,
            "record": place.data,
            "mask": window.private,
            **{name: window.data + 8 * number for number, name in enumerate(HEAD)},
        }
