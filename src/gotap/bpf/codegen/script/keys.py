"""Keys of a script's maps in the program's scratch memory: u32 epoch of the map, u32 target, then its parts.

A word takes 8 bytes; a text 8 for its full length and its limit's bytes, padded with zeros; a stack 8 a frame, padded
with zeros. What cannot be had makes the whole statement fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Struct

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script.stacks import StackEmitter
from gotap.bpf.codegen.words import WordEmitter
from gotap.bpf.isa import R0, R1, R2, R3, R4, R5, R6, R7, R10, Helper, Reg
from gotap.errors import GotapError
from gotap.probe import ir
from gotap.probe.script.bound import MapSpec, Part, PartKind

#: Name of the array whose one value holds the epoch of every map, 8 bytes each.
EPOCHS = "epochs"
#: Bytes of a key before its parts.
PREFIX = 8
#: Bytes that TASK_COMM_LEN leaves for a thread's name and its zero.
_COMM = 16


class KeyTooLong(GotapError):
    """The parts of a map's key need more room than there is."""


class Scratch(Struct, frozen=True):
    """Memory of one program run: `size` bytes at `base + offset`; on the stack only if no key holds texts or stacks.

    It holds a key, and beside it a value, or another map's key while words of the first are had. A text may be copied
    8 bytes further than it is long, so `size` is 8 less than what may be written to.
    """

    base: Reg
    offset: int
    size: int


class TextSources(Struct, frozen=True):
    """Texts that lie in the kernel's memory. `own`, `stored`: emit R0 = address of u64 length and the bytes, at most as
    many as the slot or the map holds, or jump to the label. `frame`: bytes of the frame that R7 points to, behind which
    there is a text's limit more. `limit`: how many bytes a slot or map holds.
    """

    own: Callable[[int, str], None]
    stored: Callable[[ir.StoredText, str], None]
    frame: int
    limit: Callable[[ir.OwnText | ir.StoredText], int]


class KeyEmitter:
    """Emits keys for one program. R6 and R7 are kept, R8 and R9 lost where keys hold stacks or read aggregations."""

    def __init__(
        self,
        asm: Assembler,
        words: WordEmitter,
        stacks: StackEmitter,
        scratch: Scratch,
        sources: TextSources,
        target: int,
    ) -> None:
        self.asm = asm
        self.words = words
        self.stacks = stacks
        self.scratch = scratch
        self.sources = sources
        self.target = target
        self._taken = 0

    @contextmanager
    def room(self, size: int) -> Iterator[int]:
        """`size` bytes of the scratch, as an offset from its base: a key within a key gets other bytes."""
        size = -(-size // 8) * 8
        at = self.scratch.offset + self._taken
        self._taken += size
        if self._taken > self.scratch.size:
            raise KeyTooLong(
                f"the keys of a map take {self._taken} bytes here, {self.scratch.size} at most",
                "use fewer or shorter keys, or fewer frames of a stack",
            )
        yield at
        self._taken -= size

    def fill(self, spec: MapSpec, keys: Sequence[ir.Key], at: int, fail: str) -> None:
        """Writes the key of a map at `at`; jumps to `fail` when a part cannot be had."""
        asm, base = self.asm, self.scratch.base
        asm.ld_map_value(R1, EPOCHS, 8 * spec.number)
        asm.load(R1, R1, 0, 4)
        asm.constant(R2, self.target << 32)
        asm.or_(R1, R2)
        asm.store(base, at, R1)  # one store: who reads eight bytes of two stores waits for both
        at += PREFIX
        left = iter(keys)
        for part in key_parts(spec):
            words = part.size // 8 if part.kind is PartKind.BYTES else 1
            for offset in range(0, 8 * words, 8):
                self.part(part, next(left), at + offset, fail)
            at += part.size
        assert next(left, None) is None, "a key has more parts than its map"

    def part(self, part: Part, key: ir.Key, at: int, fail: str) -> None:
        """One part of a key; of BYTES one word."""
        asm = self.asm
        if isinstance(key, ir.Stack):
            self.clear(at, part.size)
            self.stacks.capture(min(key.frames, part.size // 8), lambda reg: self.address(reg, at), fail)
        elif isinstance(key, ir.AnyText):
            self.text(key, at, part.size - 8, fail)
        else:
            self.words.word(key, fail)
            if part.kind is PartKind.TYPE:
                self.unrelocate()
            asm.store(self.scratch.base, at, R0)

    def unrelocate(self) -> None:
        """The address of a type descriptor as it is in the file; of nil 0."""
        asm, nil = self.asm, self.asm.new_label("nil")
        if self.words.bias:
            asm.jeq(R0, 0, nil)
            asm.constant(R1, self.words.bias)
            asm.sub(R0, R1)
            asm.label(nil)

    def address(self, register: Reg, at: int) -> None:
        self.asm.mov(register, self.scratch.base)
        self.asm.add(register, at)

    def clear(self, at: int, size: int) -> None:
        for offset in range(at, at + size, 8):
            self.asm.store(self.scratch.base, offset, 0)

    # -- texts --------------------------------------------------------------------------------------------------

    def text(self, text: ir.AnyText, at: int, limit: int, fail: str) -> None:
        """Length and at most `limit` bytes of a text, padded with zeros, at `at`."""
        assert limit % 8 == 0
        assert self.scratch.base is not R10, "texts do not go to the stack"
        match text:
            case ir.ConstText(value):
                self.constant(value, at, limit)
            case ir.Text():
                self.clear(at + 8, limit)
                self.user_text(text, at, limit, fail)
            case ir.CText(pointer, longest):
                self.clear(at + 8, limit)
                self.c_text(pointer, at, min(limit, longest), fail)
            case ir.AmbientText():
                self.clear(at + 8, limit)
                self.thread_name(at)
            case ir.KeptText():
                self.clear(at + 8, limit)
                self.kept_text(text, at, limit, fail)
            case ir.OwnText(slot):
                self.clear(at + 8, limit)
                self.sources.own(slot, fail)
                self.whole_text(at, min(limit, self.sources.limit(text)))
            case ir.StoredText():
                self.clear(at + 8, limit)
                self.sources.stored(text, fail)
                self.whole_text(at, min(limit, self.sources.limit(text)))
            case ir.RecordText():
                self.clear(at + 8, limit)
                self.record_text(text, at, limit, fail)
            case ir.Chosen(alternatives):
                self.chosen(alternatives, at, limit, fail)

    def chosen(self, alternatives: Sequence[ir.Alternative], at: int, limit: int, fail: str) -> None:
        asm = self.asm
        done = asm.new_label("chosen")
        for alternative in alternatives:
            other = asm.new_label("other")
            for condition in alternative.conditions:
                self.words.require(condition, other, other)
            assert isinstance(alternative.value, ir.AnyText)
            self.text(alternative.value, at, limit, other)
            if not asm.wanted(other):
                break
            asm.jump(done)
            asm.label(other)
        else:
            self.words.give_up(fail)
        asm.label(done)

    def record_text(self, text: ir.RecordText, at: int, limit: int, fail: str) -> None:
        """Of a tracepoint's record, which is the context in R6."""
        asm = self.asm
        asm.mov(R3, R6)
        if text.located:
            asm.load(R1, R6, text.offset, 4)
            asm.and_(R1, 0xFFFF)
            asm.add(R3, R1)
        else:
            limit = min(limit, text.size)
            asm.add(R3, text.offset)
        self.address(R1, at + 8)
        asm.mov(R2, limit)
        asm.call(Helper.PROBE_READ_KERNEL_STR)
        asm.jsle(R0, 0, fail)
        asm.sub(R0, 1)
        asm.store(self.scratch.base, at, R0)

    def constant(self, value: bytes, at: int, limit: int) -> None:
        asm = self.asm
        asm.constant(R1, len(value))
        asm.store(self.scratch.base, at, R1)
        padded = value[:limit].ljust(limit, b"\0")
        for offset in range(0, limit, 8):
            asm.constant(R1, int.from_bytes(padded[offset : offset + 8], "little"))
            asm.store(self.scratch.base, at + 8 + offset, R1)

    def user_text(self, text: ir.Text, at: int, limit: int, fail: str) -> None:
        asm, base = self.asm, self.scratch.base
        fits, done = asm.new_label("fits"), asm.new_label("text")
        self.words.word(text.length, fail)
        asm.store(base, at, R0)
        asm.jeq(R0, 0, done)
        self.words.word(text.pointer, fail)
        asm.mov(R3, R0)
        asm.load(R2, base, at)
        asm.jle(R2, limit, fits)
        asm.mov(R2, limit)
        asm.label(fits)
        self.address(R1, at + 8)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, fail)
        asm.label(done)

    def c_text(self, pointer: ir.Word, at: int, limit: int, fail: str) -> None:
        """One byte less than `limit`: the zero is written too."""
        asm = self.asm
        self.words.word(pointer, fail)
        asm.mov(R3, R0)
        self.address(R1, at + 8)
        asm.mov(R2, limit)
        asm.call(Helper.PROBE_READ_USER_STR)
        asm.jsle(R0, 0, fail)
        asm.sub(R0, 1)
        asm.store(self.scratch.base, at, R0)

    def thread_name(self, at: int) -> None:
        asm, base = self.asm, self.scratch.base
        done = asm.new_label("named")
        self.address(R1, at + 8)
        asm.mov(R2, _COMM)
        asm.call(Helper.GET_CURRENT_COMM)
        asm.store(base, at, 0)
        for index in range(_COMM):
            asm.load(R1, base, at + 8 + index, 1)
            asm.jeq(R1, 0, done)
            asm.store(base, at, index + 1)
        asm.label(done)

    def kept_text(self, text: ir.KeptText, at: int, limit: int, fail: str) -> None:
        """A text in the frame's heap: record.TEXT tells where, how much is kept, and its full length."""
        asm, column = self.asm, text.column
        asm.load(R0, R7, frame.field("present"))
        self.words.test_bit(column.index, fail)
        asm.load(R1, R7, column.offset + 4, 4)
        asm.store(self.scratch.base, at, R1)
        asm.load(R2, R7, column.offset + 2, 2)
        asm.load(R3, R7, column.offset, 2)
        asm.jgt(R3, self.sources.frame, fail)  # it is not, but the verifier does not know
        asm.add(R3, R7)
        self.copy(at + 8, limit)

    def whole_text(self, at: int, limit: int) -> None:
        """R0 points to u64 length and bytes."""
        asm = self.asm
        asm.load(R2, R0, 0)
        asm.store(self.scratch.base, at, R2)
        asm.mov(R3, R0)
        asm.add(R3, 8)
        self.copy(at + 8, limit)

    def copy(self, at: int, limit: int) -> None:
        """R2 bytes at R3 to `at`, which is zero: whole words, then what is too much of the last one is cleared."""
        asm, base = self.asm, self.scratch.base
        fits, copied, done = asm.new_label("fits"), asm.new_label("copied"), asm.new_label("text")
        asm.jle(R2, limit, fits)
        asm.mov(R2, limit)
        asm.label(fits)
        for offset in range(0, limit, 8):
            asm.jle(R2, offset, copied)
            asm.load(R1, R3, offset)
            asm.store(base, at + offset, R1)
        asm.label(copied)
        asm.mov(R4, R2)
        asm.and_(R4, 7)
        asm.jeq(R4, 0, done)
        asm.lsh(R4, 3)
        asm.mov(R5, 1)
        asm.lsh(R5, R4)
        asm.sub(R5, 1)
        asm.and_(R2, 0xFF8)
        asm.add(R2, base)
        asm.load(R1, R2, at)
        asm.and_(R1, R5)
        asm.store(R2, at, R1)
        asm.label(done)


def key_parts(spec: MapSpec) -> tuple[Part, ...]:
    """The parts in the map's own keys: the user's, then the bucket."""
    return spec.keys if spec.bucket is None else (*spec.keys, spec.bucket)


def key_size(spec: MapSpec) -> int:
    return PREFIX + sum(part.size for part in key_parts(spec))
