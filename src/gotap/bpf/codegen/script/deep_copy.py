"""The part of a round that measures what a pointer leads to, copies it behind the record's end and notes it."""

from __future__ import annotations

from gotap.bpf.codegen.script import deep_memory as memory
from gotap.bpf.codegen.script.deep_memory import field, row, set_flag
from gotap.bpf.codegen.script.deep_part import COPY, Part, at
from gotap.bpf.isa import R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, Helper
from gotap.probe.script.record import EventFlags
from gotap.probe.shapes_table import HEAD, POINTER, What

_PAGE = 4096
_HASH = 0x9E3779B97F4A7C15


class CopyPart(Part):
    """R9 is the address of what is copied."""

    def copy_values(self) -> None:
        """deep.values: LENGTH values of shape R1 at R9; deep.head: R0 is its row; deep.bytes: BYTES of FULL."""
        asm = self.asm
        asm.label("deep.values")
        self.put(memory.NEW_SHAPE, R1)
        row(asm, memory.SHAPES, "deep.next")
        self.steps()
        asm.label("deep.head")
        self.measure()
        asm.label("deep.bytes")
        scanned = asm.new_label("scanned")
        self.get(R1, memory.NEW_SHAPE)
        asm.jne(R1, 0, scanned)
        self.skip_read_only("deep.next")
        asm.label(scanned)
        asm.mov(R1, R7)
        asm.mov(R2, R9)
        self.get(R3, memory.BYTES)
        self.get(R4, memory.FULL)
        asm.call_subprogram(COPY)
        asm.jeq(R0, 0, "deep.next")
        self.get(R1, memory.NEW_SHAPE)
        asm.jeq(R1, 0, "deep.next")
        self.put(memory.NEW_POSITION, R0)
        self.get(R1, memory.BYTES)
        asm.add(R0, R1)
        self.put(memory.NEW_END, R0)
        asm.jump("deep.push")

    def steps(self) -> None:
        """Following a pointer is a step, but not to a slice's elements without pointers, which are like a text."""
        asm = self.asm
        counts, done = asm.new_label("counts"), asm.new_label("free")
        asm.load(R1, R8, at(POINTER, "what"), 1)
        asm.jne(R1, What.SLICE, counts)
        asm.load(R1, R0, at(HEAD, "count"), 2)
        asm.jeq(R1, 0, done)
        asm.label(counts)
        self.deeper("deep.cut")
        asm.label(done)

    def measure(self) -> None:
        """BYTES and FULL of LENGTH values of the shape in R0; NEW_COUNT, and NEW_SHAPE 0 if it has no pointers.

        Values are taken as a whole, but for one that is larger than a chunk.
        """
        asm, setting = self.asm, self.setting
        several, known = asm.new_label("several"), asm.new_label("known")
        bytes_, scanned, fits = asm.new_label("bytes"), asm.new_label("scanned"), asm.new_label("fits")
        asm.load(R1, R0, at(HEAD, "count"), 2)
        asm.jne(R1, 0, scanned)
        self.put(memory.NEW_SHAPE, 0)
        asm.label(scanned)
        asm.load(R4, R0, at(HEAD, "size"), 4)
        asm.jeq(R4, 0, "deep.next")
        self.get(R1, memory.LENGTH)
        asm.mov32(R3, -1)
        asm.jne(R1, 1, several)
        self.put(memory.FULL, R4)
        asm.load(R2, R0, at(HEAD, "kept"), 4)
        asm.jump(known)
        asm.label(several)
        asm.jgt(R1, R3, bytes_)
        asm.mov(R2, R1)
        asm.mul(R2, R4)
        asm.jgt(R2, R3, bytes_)
        asm.mov(R3, R2)
        asm.label(bytes_)
        self.put(memory.FULL, R3)
        self.limit_elements()
        asm.mov(R2, R1)
        asm.mul(R2, R4)
        asm.label(known)
        asm.jeq(R4, 1, fits)
        asm.jle(R2, setting.chunk_limit, fits)
        asm.mov(R1, setting.chunk_limit)
        asm.div(R1, R4)
        asm.mov(R2, R1)
        asm.mul(R2, R4)
        asm.jne(R1, 0, fits)
        asm.mov(R1, 1)
        asm.mov(R2, setting.chunk_limit)
        asm.label(fits)
        self.put(memory.NEW_COUNT, R1)
        self.put(memory.BYTES, R2)

    def limit_elements(self) -> None:
        """R1 elements of R4 bytes: bytes are limited as texts are."""
        asm = self.asm
        text, limited = asm.new_label("text"), asm.new_label("limited")
        asm.jeq(R4, 1, text)
        self.get(R3, memory.MOST)
        asm.jle(R1, R3, limited)
        asm.mov(R1, R3)
        asm.jump(limited)
        asm.label(text)
        asm.jle(R1, self.setting.text_limit, limited)
        asm.mov(R1, self.setting.text_limit)
        asm.label(limited)

    def push(self) -> None:
        """Notes the new piece in the queue."""
        asm, queue = self.asm, self.scratch + memory.QUEUE
        full = asm.new_label("full")
        asm.label("deep.push")
        self.get(R1, memory.TAIL)
        self.get(R2, memory.HEAD)
        asm.mov(R3, R1)
        asm.sub(R3, R2)
        asm.jge(R3, memory.QUEUE_LENGTH, full)
        asm.mov(R3, R1)
        asm.add(R1, 1)
        self.put(memory.TAIL, R1)
        asm.and_(R3, memory.QUEUE_LENGTH - 1)
        asm.lsh(R3, 4)
        asm.add(R3, R7)
        for place, offset, size in (
            (memory.NEW_POSITION, memory.ENTRY_POSITION, 2),
            (memory.NEW_END, memory.ENTRY_END, 2),
            (memory.NEW_COUNT, memory.ENTRY_COUNT, 4),
            (memory.NEW_SHAPE, memory.ENTRY_SHAPE, 4),
            (memory.NEW_DEPTH, memory.ENTRY_DEPTH, 4),
        ):
            self.get(R1, place)
            asm.store(R3, queue + offset, R1, size)
        asm.jump("deep.next")
        asm.label(full)
        set_flag(asm, EventFlags.HEAP_FULL)
        asm.jump("deep.next")

    def copy(self) -> None:
        """Subprogram (R1 frame, R2 address, R3 bytes, R4 bytes that there would be) → R0 where in the record they are.

        0: nothing was copied, or it is there already.
        """
        asm, scratch, size = self.asm, self.scratch, self.setting.record_size
        none, full = asm.new_label("none"), asm.new_label("full")
        asm.label(COPY)
        asm.mov(R7, R1)
        asm.mov(R6, R2)
        asm.mov(R8, R3)
        asm.jeq(R8, 0, none)
        self.remember(none, scratch)
        asm.load(R9, R7, field("used"), 2)
        asm.mov(R1, R9)
        asm.add(R1, R8)
        asm.jgt(R1, size - memory.CHUNK_HEADER, full)
        asm.jgt(R9, size - memory.CHUNK_HEADER, none)
        asm.mov(R1, R7)
        asm.add(R1, R9)
        asm.store(R1, memory.CHUNK_ADDRESS, R6)
        asm.store(R1, memory.CHUNK_FULL, R4, 4)
        self.put(memory.CHUNK_AT, R9)
        asm.add(R9, memory.CHUNK_HEADER)
        done = asm.new_label("copied")
        self.read(done)
        asm.label(done)
        self.get(R8, memory.CHUNK_AT)
        asm.jgt(R8, size - memory.CHUNK_HEADER, none)
        asm.mov(R1, R7)
        asm.add(R1, R8)
        asm.add(R8, memory.CHUNK_HEADER)
        asm.mov(R2, R9)
        asm.sub(R2, R8)
        asm.store(R1, memory.CHUNK_LENGTH, R2, 4)
        asm.add(R9, 7)
        asm.and_(R9, -8)
        asm.store(R7, field("used"), R9, 2)
        asm.jeq(R2, 0, none)
        asm.mov(R0, R8)
        asm.exit_()
        asm.label(full)
        set_flag(asm, EventFlags.HEAP_FULL)
        asm.label(none)
        asm.mov(R0, 0)
        asm.exit_()

    def read(self, done: str) -> None:
        """R8 bytes at R6 go to R9 in the record, which moves on, as far as they can be read.

        To the verifier a read may begin anywhere in the record, so it is no longer than what is behind the record.
        Where it fails, what lies on the first page may be in memory.
        """
        asm, setting = self.asm, self.setting
        failed = asm.new_label("failed")
        for _ in range(-(-max(setting.text_limit, setting.chunk_limit) // setting.tail)):
            small = asm.new_label("small")
            asm.jgt(R9, setting.record_size, done)  # it is not, but the verifier does not know
            asm.mov(R2, R8)
            asm.jle(R2, setting.tail, small)
            asm.mov(R2, setting.tail)
            asm.label(small)
            self.put(memory.PART, R2)
            asm.mov(R1, R7)
            asm.add(R1, R9)
            asm.mov(R3, R6)
            asm.call(Helper.PROBE_READ_USER)
            asm.jne(R0, 0, failed)
            self.get(R2, memory.PART)
            asm.add(R9, R2)
            asm.add(R6, R2)
            asm.sub(R8, R2)
            asm.jeq(R8, 0, done)
        asm.jump(done)
        asm.label(failed)
        asm.mov(R1, R6)
        asm.and_(R1, _PAGE - 1)
        asm.mov(R8, _PAGE)
        asm.sub(R8, R1)
        self.get(R1, memory.PART)
        asm.jge(R8, R1, done)
        asm.jgt(R8, setting.tail, done)
        asm.mov(R1, R7)
        asm.add(R1, R9)
        asm.mov(R2, R8)
        asm.mov(R3, R6)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, done)
        asm.add(R9, R8)

    def remember(self, known: str, scratch: int) -> None:
        """Goes on unless the same bytes were taken a short while ago, by a hash of their address. Keeps R4."""
        asm = self.asm
        asm.mov(R1, R4)
        asm.lsh(R1, 48)
        asm.xor(R1, R6)
        asm.ld_imm64(R2, _HASH)
        asm.mul(R1, R2)
        asm.mov(R2, R1)
        asm.rsh(R2, 64 - memory.SEEN_BITS)
        asm.lsh(R2, 3)
        asm.add(R2, R7)
        asm.rsh(R1, 16)
        asm.mov32(R1, R1)
        asm.load(R3, R2, scratch + memory.SEEN, 4)
        asm.jeq(R3, R1, known)
        asm.load(R5, R2, scratch + memory.SEEN + 4, 4)
        asm.jeq(R5, R1, known)
        asm.store(R2, scratch + memory.SEEN + 4, R3, 4)
        asm.store(R2, scratch + memory.SEEN, R1, 4)
