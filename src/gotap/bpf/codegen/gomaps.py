"""Looking up constant string keys in Go maps: a scan over groups or buckets of eight slots.

The hash is seeded per map and computed with AES, so a lookup scans; a map of up to eight entries is one read of about
330 bytes. Larger ones are walked by `bpf_loop`, whatever their size up to LARGEST groups.
"""

from __future__ import annotations

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.memory import ROW, Memory
from gotap.bpf.codegen.planner import Block, Lookup
from gotap.bpf.codegen.words import compare_bytes
from gotap.bpf.isa import R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Helper
from gotap.probe import ir

#: Groups or buckets looked at in one map before giving up: 2 million entries' worth.
LARGEST = 1 << 18

#: Oldest slot mark of a bucket that holds an entry (runtime/map.go minTopHash, Go 1.18–1.23).
_MIN_TOP_HASH = 5
_PAGE = 4096

# State of a walk, on the stack of the program, offsets from `state`.
_ROW, _CURRENT, _INDEX, _COUNT, _BASE, _TABLE, _LEFT = range(0, 56, 8)  # _LEFT: groups left in the current table


class MapEmitter:
    """Emits lookups for one program; the subprograms they call are placed by `subprograms` behind the program."""

    def __init__(self, asm: Assembler, has_loop: bool, memory: Memory = ROW) -> None:
        self.asm = asm
        self.buffer = memory.buffer
        self.base = memory.base
        self.header = memory.map_header
        self.state = frame.LOOP  # of a walk: offset from R10
        self.has_loop = has_loop
        self._lookups: list[tuple[Lookup, str]] = []

    def lookup(self, lookup: Lookup, done: str) -> None:
        """R0 = address of the map: fills the places of the keys. Jumps to `done` when there is nothing to scan."""
        asm = self.asm
        name = f"scan{len(self._lookups)}"
        self._lookups.append((lookup, name))
        asm.jeq(R0, 0, done)
        asm.mov(R3, R0)
        asm.mov(R1, self.base)
        asm.add(R1, self.header)
        asm.mov(R2, frame.MAP_HEADER_SIZE)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, done)
        if isinstance(lookup.layout, ir.SwissLayout):
            self.swiss(lookup.layout, name, done)
        else:
            self.buckets(lookup.layout, name, done)

    def swiss(self, layout: ir.SwissLayout, name: str, done: str) -> None:
        asm = self.asm
        asm.load(R9, self.base, self.header + layout.directory)
        asm.jeq(R9, 0, done)
        asm.load(R8, self.base, self.header + layout.directory_length)
        large = asm.new_label("large")
        asm.jne(R8, 0, large)
        asm.mov(R1, R7)
        asm.mov(R2, R9)
        asm.call_subprogram(name)
        asm.jump(done)
        asm.label(large)
        self.start_walk(name)
        asm.jump(done)

    def buckets(self, layout: ir.BucketLayout, name: str, done: str) -> None:
        asm = self.asm
        asm.load(R9, self.base, self.header + layout.buckets)
        asm.jeq(R9, 0, done)
        asm.load(R1, self.base, self.header + layout.b, 1)
        asm.jgt(R1, 32, done)
        asm.mov(R8, 1)
        asm.lsh(R8, R1)
        large = asm.new_label("large")
        asm.load(R2, self.base, self.header + layout.old_buckets)
        asm.jne(R2, 0, large)
        asm.jne(R8, 1, large)
        asm.mov(R1, R7)
        asm.mov(R2, R9)
        asm.call_subprogram(name)  # R0: the overflow bucket
        asm.jeq(R0, 0, done)
        asm.mov(R9, R0)
        asm.label(large)
        self.start_walk(name)
        asm.load(R1, self.base, self.header + layout.old_buckets)
        asm.jeq(R1, 0, done)
        asm.mov(R9, R1)  # a map that is growing: half as many old buckets
        asm.rsh(R8, 1)
        asm.jne(R8, 0, larger := asm.new_label("old"))
        asm.mov(R8, 1)
        asm.label(larger)
        self.start_walk(name)
        asm.jump(done)

    def start_walk(self, name: str) -> None:
        """Walks R8 groups, buckets or tables from R9."""
        asm = self.asm
        if not self.has_loop:
            return
        for offset, register in ((_ROW, R7), (_BASE, R9), (_COUNT, R8)):
            asm.store(R10, self.state + offset, register)
        for offset in (_CURRENT, _INDEX, _TABLE, _LEFT):
            asm.store(R10, self.state + offset, 0)
        asm.mov(R1, LARGEST)
        asm.ld_func(R2, f"{name}.step")
        asm.mov(R3, R10)
        asm.add(R3, self.state)
        asm.mov(R4, 0)
        asm.call(Helper.LOOP)

    def subprograms(self) -> None:
        """Places the subprograms; called once, behind the program's own exit."""
        for lookup, name in self._lookups:
            self.scan(lookup, name)
            if self.has_loop:
                if isinstance(lookup.layout, ir.SwissLayout):
                    self.swiss_step(lookup.layout, name)
                else:
                    self.bucket_step(lookup.layout, name)

    def scan(self, lookup: Lookup, name: str) -> None:
        """Subprogram (R1 row, R2 address of a group) → R0: the overflow bucket or 0."""
        asm, layout = self.asm, lookup.layout
        swiss = isinstance(layout, ir.SwissLayout)
        size = layout.group_size if isinstance(layout, ir.SwissLayout) else layout.overflow + 8
        assert size <= frame.BUFFER_SIZE, "the map's slots are larger than the buffer"
        key_stride = layout.key_stride if isinstance(layout, ir.SwissLayout) else layout.key_size
        elem_stride = layout.elem_stride if isinstance(layout, ir.SwissLayout) else layout.elem_size
        nothing, loop, following = (asm.new_label(f"{name}.{part}") for part in ("nothing", "slot", "next"))
        asm.label(name)
        asm.mov(R6, R1)
        asm.mov(R7, R2)
        asm.add(R1, self.buffer)
        asm.mov(R2, size)
        asm.mov(R3, R7)
        asm.call(Helper.PROBE_READ_USER)
        if self.has_loop and swiss:  # elsewhere these jumps would be too many for the verifier
            asm.jeq(R0, 0, f"{name}.read")
            self.read_to_the_page(size, nothing)
            asm.label(f"{name}.read")
        else:
            asm.jne(R0, 0, nothing)
        asm.mov(R8, 0)
        asm.label(loop)
        asm.mov(R3, R6)
        asm.add(R3, R8)
        asm.load(R1, R3, self.buffer, 1)  # the slot's control byte or top hash
        if swiss:
            asm.jset(R1, 0x80, following)  # empty or deleted
        else:
            asm.jlt(R1, _MIN_TOP_HASH, following)
        asm.mov(R9, R8)
        asm.mul(R9, key_stride)
        asm.add(R9, R6)
        asm.load(R1, R9, self.buffer + layout.keys + 8)  # the key's length
        lengths = sorted({len(key) for key, _, _ in lookup.places})
        for length in lengths:
            asm.jeq(R1, length, f"{name}.length{length}")
        asm.label(following)
        asm.add(R8, 1)
        asm.jlt(R8, 8, loop)
        asm.mov(R0, 0)
        if not swiss:
            asm.load(R0, R6, self.buffer + layout.overflow)  # type: ignore[union-attr]
        asm.exit_()
        asm.label(nothing)
        asm.mov(R0, 0)
        asm.exit_()
        for length in lengths:
            self.candidate(lookup, name, length, elem_stride, following)

    def read_to_the_page(self, size: int, nothing: str) -> None:
        """Reads what of the group at R7 is on its first page; jumps to `nothing` when all of it is.

        Go takes fresh memory as it comes from the kernel, so the page of slots that were never used may not be there
        yet. What tells the used ones stands first in a group, so that it is known that those are not.
        """
        asm = self.asm
        asm.mov(R1, R7)
        asm.and_(R1, _PAGE - 1)
        asm.mov(R2, _PAGE)
        asm.sub(R2, R1)
        asm.jge(R2, size, nothing)
        asm.mov(R1, R6)
        asm.add(R1, self.buffer)
        asm.mov(R3, R7)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, nothing)

    def candidate(self, lookup: Lookup, name: str, length: int, elem_stride: int, following: str) -> None:
        """A slot whose key has that length: R9 row + slot, R6 row, R7 group, R8 slot number."""
        asm, layout = self.asm, lookup.layout
        asm.label(f"{name}.length{length}")
        asm.load(R3, R9, self.buffer + layout.keys)
        asm.mov(R1, R10)
        asm.add(R1, -frame.KEY_SIZE)
        asm.mov(R2, length)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, following)
        for key, place, element in lookup.places:
            if len(key) != length:
                continue
            other = asm.new_label(f"{name}.other")
            compare_bytes(asm, R10, -frame.KEY_SIZE, key, other)
            asm.mov(R9, R8)
            asm.mul(R9, elem_stride)
            asm.mov(R1, R7)
            asm.add(R1, R9)
            asm.add(R1, layout.elems)
            asm.store(R6, place, R1)
            if element is not None:
                self.take(element, layout.elems)
            asm.jump(following)
            asm.label(other)
        asm.jump(following)

    def take(self, element: Block, elems: int) -> None:
        """Copies the words of the element at R9 + `elems` in the buffer to their block: no need to read them again."""
        asm = self.asm
        asm.add(R9, R6)
        for offset in range(0, element.size, 8):
            asm.load(R1, R9, self.buffer + elems + element.start + offset)
            asm.store(R6, element.place + offset, R1)
        asm.store(R6, element.valid, 1)

    def bucket_step(self, layout: ir.BucketLayout, name: str) -> None:
        """Callback (R1 index, R2 state): one bucket, its overflow next, then the next bucket of the array."""
        asm = self.asm
        scan, end = asm.new_label(f"{name}.bucket"), asm.new_label(f"{name}.end")
        asm.label(f"{name}.step")
        asm.mov(R6, R2)
        asm.load(R2, R6, _CURRENT)
        asm.jne(R2, 0, scan)
        asm.load(R8, R6, _INDEX)
        asm.load(R1, R6, _COUNT)
        asm.jge(R8, R1, end)
        asm.mov(R2, R8)
        asm.mul(R2, layout.overflow + 8)
        asm.load(R1, R6, _BASE)
        asm.add(R2, R1)
        asm.add(R8, 1)
        asm.store(R6, _INDEX, R8)
        asm.label(scan)
        asm.load(R1, R6, _ROW)
        asm.call_subprogram(name)
        asm.store(R6, _CURRENT, R0)
        asm.mov(R0, 0)
        asm.exit_()
        asm.label(end)
        asm.mov(R0, 1)
        asm.exit_()

    def swiss_step(self, layout: ir.SwissLayout, name: str) -> None:
        """Callback (R1 index, R2 state): one group; when a table is done, the next other one of the directory."""
        asm = self.asm
        scan, end, skip = (asm.new_label(f"{name}.{part}") for part in ("group", "end", "skip"))
        asm.label(f"{name}.step")
        asm.mov(R6, R2)
        asm.load(R1, R6, _LEFT)
        asm.jne(R1, 0, scan)
        asm.load(R8, R6, _INDEX)
        asm.load(R1, R6, _COUNT)
        asm.jge(R8, R1, end)
        asm.load(R3, R6, _BASE)
        asm.mov(R1, R8)
        asm.lsh(R1, 3)
        asm.add(R3, R1)
        asm.add(R8, 1)
        asm.store(R6, _INDEX, R8)
        self.read_words(8, end)
        asm.load(R9, R10, -16)
        asm.load(R1, R6, _TABLE)
        asm.jeq(R1, R9, skip)  # the directory names a table several times in a row
        asm.store(R6, _TABLE, R9)
        asm.mov(R3, R9)
        asm.add(R3, layout.groups)
        self.read_words(16, end)  # groups.data, groups.lengthMask
        asm.load(R1, R10, -16)
        asm.store(R6, _CURRENT, R1)
        asm.load(R1, R10, -8)
        asm.add(R1, 1)
        asm.store(R6, _LEFT, R1)
        asm.label(scan)
        asm.load(R1, R6, _LEFT)
        asm.sub(R1, 1)
        asm.store(R6, _LEFT, R1)
        asm.load(R2, R6, _CURRENT)
        asm.mov(R1, R2)
        asm.add(R1, layout.group_size)
        asm.store(R6, _CURRENT, R1)
        asm.load(R1, R6, _ROW)
        asm.call_subprogram(name)
        asm.label(skip)
        asm.mov(R0, 0)
        asm.exit_()
        asm.label(end)
        asm.mov(R0, 1)
        asm.exit_()

    def read_words(self, size: int, fail: str) -> None:
        """Reads `size` (8 or 16) bytes of the process at R3 to the callback's own stack at -16."""
        asm = self.asm
        asm.mov(R1, R10)
        asm.add(R1, -16)
        asm.mov(R2, size)
        asm.call(Helper.PROBE_READ_USER)
        asm.jne(R0, 0, fail)
