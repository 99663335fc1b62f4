"""Trace identity in the kernel: parents from a request header, a context or the goroutine; new ids; sampling.

The decision is made when the operation begins and stands in its row; nothing downstream invents or changes it.
"""

from __future__ import annotations

from msgspec import Struct

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.words import WordEmitter, pack_key
from gotap.bpf.isa import R0, R1, R2, R3, R4, R7, R8, R9, R10, Helper, Reg
from gotap.probe import ir
from gotap.probe.record import RecordFlags

#: Length of a version 00 traceparent: 2 + 1 + 32 + 1 + 16 + 1 + 2 (W3C Trace Context, section 3.2).
_LENGTH = 55
_BYTES = 0x0101010101010101
_HEX = "hex8"


class Sampling(Struct, frozen=True):
    """`threshold`: a trace is sampled when the upper 63 bits of its id's low half are below it; 0: never, 2^63: always.

    `parent_based`: an operation with a parent does as the parent did.
    """

    parent_based: bool = True
    threshold: int = 1 << 63


class TraceEmitter:
    """Emits trace identity for a begin. R7 is the new row; R8 and R9 are lost."""

    def __init__(self, asm: Assembler, words: WordEmitter, target: int, scoping: int | None) -> None:
        self.asm = asm
        self.words = words
        self.target = target
        self.scoping = scoping
        self._wants_hex = False

    def identity(self, begin: ir.Begin, sampling: Sampling) -> None:
        """Fills trace id, span id, parent id and flags of the row."""
        asm = self.asm
        local, root, done = asm.new_label("local"), asm.new_label("root"), asm.new_label("identified")
        if begin.remote is not None:
            self.remote(begin.remote, local)
            self.flag(RecordFlags.REMOTE_PARENT)
            asm.jump(done)
        asm.label(local)
        if begin.remote is None or begin.context is not None:  # what comes from elsewhere is no child of this process
            self.local(begin, done, root)
        asm.label(root)
        asm.store(R7, frame.field("parent_id"), 0)  # an invalid header may have left a part
        for offset in (0, 4, 8, 12):
            asm.call(Helper.GET_PRANDOM_U32)
            asm.store(R7, frame.field("trace_id") + offset, R0, 4)
        asm.label(done)
        for offset in (0, 4):
            asm.call(Helper.GET_PRANDOM_U32)
            asm.store(R7, frame.field("span_id") + offset, R0, 4)
        self.sample(sampling)

    def flag(self, flag: RecordFlags) -> None:
        self.asm.load(R1, R7, frame.field("flags"), 1)
        self.asm.or_(R1, int(flag))
        self.asm.store(R7, frame.field("flags"), R1, 1)

    def sample(self, sampling: Sampling) -> None:
        """With a parent whose decision counts, SAMPLED is as the parent's; else by the trace id."""
        asm = self.asm
        decided = asm.new_label("decided")
        if sampling.parent_based:
            asm.load(R1, R7, frame.field("flags"), 1)
            asm.jset(R1, int(RecordFlags.REMOTE_PARENT | RecordFlags.LOCAL_PARENT), decided)
        else:
            asm.load(R1, R7, frame.field("flags"), 1)
            asm.and_(R1, 0xFF ^ int(RecordFlags.SAMPLED))
            asm.store(R7, frame.field("flags"), R1, 1)
        asm.load(R1, R7, frame.field("trace_id") + 8)
        asm.to_be(R1, 64)
        asm.rsh(R1, 1)
        asm.constant(R2, sampling.threshold)
        asm.jge(R1, R2, decided)
        self.flag(RecordFlags.SAMPLED)
        asm.label(decided)

    def remote(self, parent: ir.TraceParent, invalid: str) -> None:
        """Reads and checks the traceparent header; an invalid one is as if it were not there."""
        asm = self.asm
        self._wants_hex = True
        read = asm.new_label("traceparent")
        for alternative in parent.trace_parent:
            other = asm.new_label("header")
            for condition in alternative.conditions:
                self.words.require(condition, other, other)
            assert isinstance(alternative.value, ir.Text)
            self.words.word(alternative.value.length, other)
            asm.mov(R8, R0)
            self.words.word(alternative.value.pointer, other)
            asm.mov(R3, R0)
            asm.jump(read)
            asm.label(other)
        asm.jump(invalid)
        asm.label(read)
        asm.jlt(R8, _LENGTH, invalid)
        longer, fixed = asm.new_label("longer"), asm.new_label("fixed")
        asm.mov(R1, R7)
        asm.add(R1, frame.BUFFER)
        asm.mov(R2, _LENGTH)
        asm.jne(R8, _LENGTH, longer)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, invalid)
        asm.jump(fixed)
        asm.label(longer)  # only later versions may be longer, and then go on with a dash
        asm.mov(R2, _LENGTH + 1)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, invalid)
        asm.load(R1, R7, frame.BUFFER, 2)
        asm.jeq(R1, int.from_bytes(b"00", "little"), invalid)
        asm.load(R1, R7, frame.BUFFER + _LENGTH, 1)
        asm.jne(R1, ord("-"), invalid)
        asm.label(fixed)
        self.parse(invalid)

    def parse(self, invalid: str) -> None:
        """version - trace id - parent id - flags, lower-case hexadecimal, at BUFFER."""
        asm = self.asm
        for dash in (2, 35, 52):
            asm.load(R1, R7, frame.BUFFER + dash, 1)
            asm.jne(R1, ord("-"), invalid)
        asm.load(R1, R7, frame.BUFFER, 2)
        asm.jeq(R1, int.from_bytes(b"ff", "little"), invalid)
        asm.load(R2, R7, frame.BUFFER + 53, 2)
        asm.lsh(R2, 16)
        asm.or_(R1, R2)
        asm.constant(R2, int.from_bytes(b"0000", "little") << 32)
        asm.or_(R1, R2)
        self.hex8(invalid)
        asm.mov(R9, R0)  # byte 0 version, byte 1 flags
        for start, field, count in ((3, "trace_id", 4), (36, "parent_id", 2)):
            for part in range(count):
                asm.load(R1, R7, frame.BUFFER + start + 8 * part)
                self.hex8(invalid)
                asm.store(R7, frame.field(field) + 4 * part, R0, 4)
        not_zero = asm.new_label("trace")
        asm.load(R1, R7, frame.field("trace_id"))
        asm.load(R2, R7, frame.field("trace_id") + 8)
        asm.or_(R1, R2)
        asm.jne(R1, 0, not_zero)
        self.forget(invalid)
        asm.label(not_zero)
        parent = asm.new_label("parent")
        asm.load(R1, R7, frame.field("parent_id"))
        asm.jne(R1, 0, parent)
        self.forget(invalid)
        asm.label(parent)
        asm.rsh(R9, 8)
        asm.and_(R9, 1)  # trace-flags: sampled, the value of RecordFlags.SAMPLED
        asm.load(R1, R7, frame.field("flags"), 1)
        asm.or_(R1, R9)
        asm.store(R7, frame.field("flags"), R1, 1)

    def forget(self, then: str) -> None:
        for field in ("trace_id", "parent_id"):
            self.asm.store(R7, frame.field(field), 0)
        self.asm.store(R7, frame.field("trace_id") + 8, 0)
        self.asm.jump(then)

    def hex8(self, invalid: str) -> None:
        """R0 = the four bytes that eight hexadecimal digits in R1 stand for."""
        self.asm.call_subprogram(_HEX)
        self.asm.mov(R1, R0)
        self.asm.rsh(R1, 32)
        self.asm.jne(R1, 0, invalid)

    def subprograms(self) -> None:
        """Places hex8: (R1 eight characters, first one lowest) → R0 four bytes, or a value above 32 bits.

        All eight characters at once: a byte below 0x80 plus (0x80 - x) has its top bit set exactly when it is >= x.
        """
        if not self._wants_hex:
            return
        asm = self.asm
        invalid = asm.new_label("nothex")
        asm.label(_HEX)
        asm.constant(R2, 0x80 * _BYTES)
        asm.mov(R3, R1)
        asm.and_(R3, R2)
        asm.jne(R3, 0, invalid)
        ranges: list[Reg] = []
        for first, after in ((0x30, 0x3A), (0x61, 0x67)):
            target = R3 if not ranges else R0
            asm.constant(R2, (0x80 - first) * _BYTES)
            asm.mov(target, R1)
            asm.add(target, R2)
            asm.constant(R2, (0x80 - after) * _BYTES)
            asm.add(R2, R1)
            asm.xor(R2, -1)
            asm.and_(target, R2)
            ranges.append(target)
        asm.or_(R3, R0)
        asm.constant(R2, 0x80 * _BYTES)
        asm.and_(R3, R2)
        asm.jne(R3, R2, invalid)
        asm.mov(R2, R1)  # value of a digit: its low four bits, plus nine for a letter
        asm.rsh(R2, 6)
        asm.constant(R3, _BYTES)
        asm.and_(R2, R3)
        asm.mul(R2, 9)
        asm.constant(R3, 0x0F * _BYTES)
        asm.and_(R1, R3)
        asm.add(R1, R2)
        asm.mov(R2, R1)  # pairs of digits to bytes, then the bytes together
        asm.lsh(R1, 4)
        asm.rsh(R2, 8)
        asm.or_(R1, R2)
        for shift, mask in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (0, 0xFFFFFFFF)):
            asm.constant(R2, mask)
            asm.and_(R1, R2)
            if shift:
                asm.mov(R2, R1)
                asm.rsh(R2, shift)
                asm.or_(R1, R2)
        asm.mov(R0, R1)
        asm.exit_()
        asm.label(invalid)
        asm.mov(R0, -1)
        asm.exit_()

    def local(self, begin: ir.Begin, done: str, root: str) -> None:
        """The operation's context first, then its goroutine, then the goroutine that created it."""
        asm = self.asm
        found, goroutine, creator = asm.new_label("scope"), asm.new_label("goroutine"), asm.new_label("creator")
        if begin.context is not None:
            self.walk(begin.context, found, goroutine)
        asm.label(goroutine)
        asm.load(R1, R10, frame.GOID)
        self.goroutines_scope()
        asm.jeq(R0, 0, creator)
        asm.load(R8, R0, frame.field("span_id"))
        asm.jump(found)
        asm.label(creator)
        self.linked(root)
        asm.label(found)
        self.inherit(root)
        asm.jump(done)

    def inherit(self, root: str) -> None:
        """Takes the trace of the scope at R0, whose span id was R8 when it was found; jumps to `root` if that changed.

        The operation may end meanwhile, and elements of a map without preallocation are used again at once, by
        whoever begins next (kernel/bpf/hashtab.c: free_htab_elem, bpf_mem_cache_free from Linux 6.1 on). So what was
        read counts only if the span id is still there afterwards; zeros are a row that has just been made.
        """
        asm = self.asm
        trace_id = frame.field("trace_id")
        asm.load(R1, R0, trace_id)
        asm.load(R2, R0, trace_id + 8)
        asm.load(R3, R0, frame.field("flags"), 1)
        asm.load(R4, R0, frame.field("span_id"))
        asm.jne(R4, R8, root)
        asm.mov(R4, R1)
        asm.or_(R4, R2)
        asm.jeq(R4, 0, root)
        asm.store(R7, trace_id, R1)
        asm.store(R7, trace_id + 8, R2)
        asm.store(R7, frame.field("parent_id"), R8)
        asm.mov(R1, R3)
        asm.and_(R1, int(RecordFlags.SAMPLED))
        asm.or_(R1, int(RecordFlags.LOCAL_PARENT))
        asm.load(R2, R7, frame.field("flags"), 1)
        asm.or_(R1, R2)
        asm.store(R7, frame.field("flags"), R1, 1)

    def key(self, map: str, kind: int) -> None:
        """R1 = the map, R2 = the key made of process, kind and R1."""
        asm = self.asm
        asm.store(R10, frame.SCOPE_KEY + 8, R1)
        asm.store(R10, frame.SCOPE_KEY + 16, 0)
        asm.constant(R1, pack_key(self.target, kind))
        asm.store(R10, frame.SCOPE_KEY, R1)
        asm.ld_map(R1, map)
        asm.mov(R2, R10)
        asm.add(R2, frame.SCOPE_KEY)

    def scope(self, kind: int) -> None:
        """R0 = the scope that R1 (a goid or a context's data word) opens, or 0."""
        self.key(frame.SCOPES, kind)
        self.asm.call(Helper.MAP_LOOKUP)

    def goroutines_scope(self) -> None:
        """R0 = the scope that is open on the goroutine of the goid in R1, or 0: a row, where rows stand for scopes."""
        asm = self.asm
        if self.scoping is None:
            self.scope(frame.SCOPE_GOROUTINE)
            return
        self.key(frame.ROWS, self.scoping)
        asm.call(Helper.MAP_LOOKUP)

    def link(self) -> None:
        """R0 = the link of the goroutine whose goid is in R1, or 0."""
        self.key(frame.LINKS, frame.SCOPE_GOROUTINE)
        self.asm.call(Helper.MAP_LOOKUP)

    def linked(self, none: str) -> None:
        """R0 = the scope that was open where this goroutine was created, R8 = its span id; else jumps to `none`."""
        asm = self.asm
        asm.load(R1, R10, frame.GOID)
        self.link()
        asm.jeq(R0, 0, none)
        asm.load(R8, R0, 8)
        asm.load(R1, R0, 0)
        self.goroutines_scope()
        asm.jeq(R0, 0, none)
        asm.load(R1, R0, frame.field("span_id"))
        asm.jne(R1, R8, none)

    def walk(self, walk: ir.ContextWalk, found: str, lost: str) -> None:
        """Follows contexts to one that opened a scope: R0, its span id R8. Unreadable memory ends the walk."""
        asm = self.asm
        loop, step = asm.new_label("context"), asm.new_label("step")
        if walk.behind:
            self.words.word(walk.type, lost)
            asm.store(R10, frame.PAIR, R0)
        self.words.word(walk.data, lost)
        asm.mov(R9, R0)
        asm.mov(R8, 0)
        asm.label(loop)
        asm.jeq(R9, 0, lost)
        asm.mov(R1, R9)
        self.scope(frame.SCOPE_CONTEXT)
        asm.jeq(R0, 0, step)
        asm.load(R8, R0, frame.field("span_id"))
        asm.load(R1, R0, frame.SCOPE_WORD)
        asm.jeq(R1, R9, found)  # else the element has been used again since it was looked up
        asm.jump(lost)
        asm.label(step)
        if walk.behind:
            self.step_behind(walk.behind, lost)
        asm.mov(R3, R9)
        asm.mov(R1, R10)
        asm.add(R1, frame.PAIR)
        asm.mov(R2, 16)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, lost)
        if walk.interface is not None:
            asm.load(R3, R10, frame.PAIR)  # an itab, if this is a context: it begins with the interface's type
            self.words.read(8, lost)
            asm.constant(R1, walk.interface + self.words.bias)
            asm.jne(R0, R1, lost)
        asm.load(R9, R10, frame.PAIR + 8)
        asm.add(R8, 1)
        asm.jlt(R8, walk.steps, loop)
        asm.jump(lost)

    def step_behind(self, types: tuple[int, ...], lost: str) -> None:
        """R9 = what the context at R9 points to first, if the itab at PAIR says that it is of one of these types."""
        asm = self.asm
        follow, stay = asm.new_label("behind"), asm.new_label("direct")
        asm.load(R3, R10, frame.PAIR)
        asm.jeq(R3, 0, stay)
        asm.add(R3, frame.ITAB_TYPE)
        self.words.read(8, lost)
        for address in types:
            asm.constant(R1, address + self.words.bias)
            asm.jeq(R0, R1, follow)
        asm.jump(stay)
        asm.label(follow)
        asm.mov(R3, R9)
        self.words.read(8, lost)
        asm.mov(R9, R0)
        asm.jeq(R9, 0, lost)
        asm.label(stay)

    def open_scope(self, own_context: ir.Word | None) -> None:
        """Makes the operation known to what runs under its goroutine and its context."""
        asm = self.asm
        asm.load(R1, R10, frame.ROW_KEY + 8)
        asm.store(R7, frame.SCOPE_ROW, R1)
        if self.scoping is None:
            asm.load(R1, R10, frame.GOID)
            self.update_scope(frame.SCOPE_GOROUTINE)
        if own_context is not None:
            no_context = asm.new_label("nocontext")
            self.words.word(own_context, no_context)
            asm.load(R8, R7, frame.SCOPE_WORD)
            asm.store(R7, frame.SCOPE_WORD, R0)
            asm.mov(R1, R0)
            self.update_scope(frame.SCOPE_CONTEXT)
            asm.store(R7, frame.SCOPE_WORD, R8)
            asm.label(no_context)

    def update_scope(self, kind: int) -> None:
        asm = self.asm
        self.key(frame.SCOPES, kind)
        asm.mov(R3, R7)
        asm.mov(R4, 0)
        asm.call(Helper.MAP_UPDATE)

    def close_scope(self, kind: int) -> None:
        """Removes the scope that R1 opened."""
        self.key(frame.SCOPES, kind)
        self.asm.call(Helper.MAP_DELETE)
