"""What scripts do with maps: store, aggregate, remove, clear, and read again.

A map that aggregates is a per-CPU hash of {count, sum, complement of the least, greatest}, as many of them as its kind
needs; its programs may be preempted on their CPU, so every update is atomic. Signed values have their sign bit flipped
where they are compared, so that zero is less than all. A map of values is a hash of words or of texts (u64 length and
the limit's bytes).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen.aggregation import COUNT, LEAST, MAXIMUM, SUM, raise_to
from gotap.bpf.codegen.script.keys import EPOCHS, KeyEmitter, key_size
from gotap.bpf.codegen.words import WordEmitter
from gotap.bpf.enums import Update
from gotap.bpf.isa import R0, R1, R2, R3, R4, R5, R8, R9, Helper
from gotap.errors import GotapError
from gotap.probe import ir
from gotap.probe.script.bound import MapKind, MapSpec, PartKind
from gotap.probe.script.routine import ClearMap, Remove, Store, Tally

_ALL = (COUNT, SUM, LEAST, MAXIMUM)
#: What each kind keeps up to date; a value ends behind the last of them.
_KEPT: dict[MapKind, tuple[int, ...]] = {
    MapKind.COUNT: (COUNT,),
    MapKind.HIST: (COUNT,),
    MapKind.LHIST: (COUNT,),
    MapKind.TOP: (COUNT,),
    MapKind.SUM: (COUNT, SUM),
    MapKind.AVG: (COUNT, SUM),
    MapKind.MIN: (COUNT, LEAST),
    MapKind.MAX: (COUNT, MAXIMUM),
    MapKind.STATS: _ALL,
    MapKind.QUANTILE: (COUNT, MAXIMUM),
    MapKind.TSERIES: _ALL,
}
_SIGN = 1 << 63


def map_name(spec: MapSpec) -> str:
    """What programs call the map."""
    return f"map{spec.number}"


def kept(spec: MapSpec) -> tuple[int, ...]:
    """Offsets of the words that a map which aggregates keeps: COUNT, SUM, LEAST, MAXIMUM, as far as it has a use."""
    return _KEPT[spec.kind]


def value_size(spec: MapSpec) -> int:
    """Bytes of a value: of a map that aggregates, on each CPU."""
    return spec.value.size if spec.kind is MapKind.VALUE else max(kept(spec)) + 8


def is_signed(spec: MapSpec) -> bool:
    """Whether the map's values are signed: one truth for what writes and what reads."""
    return spec.value.kind in (PartKind.INT, PartKind.DURATION)


class NoOtherCpus(GotapError):
    """A script reads an aggregation where the kernel lets programs see one CPU's part only."""


class ScriptMapEmitter:
    """Emits statements about maps for one program; jumps to `fail` when something cannot be had. R6 and R7 are kept,
    R8 and R9 lost where an aggregation is read or a key holds a stack.

    `full` emits what counts an entry that found no room. `cpus`: how many possible CPUs there are; 0: the kernel cannot
    look at the other CPUs' values, so that aggregations cannot be read.
    """

    def __init__(
        self,
        asm: Assembler,
        words: WordEmitter,
        keys: KeyEmitter,
        maps: Mapping[int, MapSpec],
        full: Callable[[], None],
        cpus: int,
    ) -> None:
        self.asm = asm
        self.words = words
        self.keys = keys
        self.maps = maps
        self.full = full
        self.cpus = cpus

    # -- statements ---------------------------------------------------------------------------------------------

    def store(self, statement: Store, fail: str) -> None:
        asm, spec = self.asm, self.maps[statement.map]
        done = asm.new_label("stored")
        with self.keys.room(value_size(spec)) as value, self.keys.room(key_size(spec)) as key:
            if isinstance(statement.value, ir.AnyText):
                self.keys.text(statement.value, value, spec.value.size - 8, fail)
            else:
                self.words.word(statement.value, fail)
                asm.store(self.keys.scratch.base, value, R0)
            self.keys.fill(spec, statement.keys, key, fail)
            if statement.add:
                self.add(spec, key, value, done)
            self.update(spec, key, value, Update.ANY)
            asm.jeq(R0, 0, done)
            self.full()
        asm.label(done)

    def add(self, spec: MapSpec, key: int, value: int, done: str) -> None:
        """Adds to what is there, if anything is, or becomes there meanwhile."""
        asm, base = self.asm, self.keys.scratch.base
        absent, again = asm.new_label("absent"), asm.new_label("again")
        for missing in (absent, again):
            self.lookup(spec, key)
            asm.jeq(R0, 0, missing)
            asm.load(R1, base, value)
            asm.atomic_add(R0, 0, R1)
            asm.jump(done)
            asm.label(missing)
            if missing is absent:
                self.update(spec, key, value, Update.NOEXIST)
                asm.jeq(R0, 0, done)

    def tally(self, statement: Tally, fail: str, weight: int | None = None) -> None:
        """`weight`: temporary with how many firings this one stands for; None: one."""
        asm, spec = self.asm, self.maps[statement.map]
        words = kept(spec)
        done = asm.new_label("tallied")
        with self.words.temporary() as slot:
            if words != (COUNT,):
                self.words.word(statement.value, fail)
                self.words.keep(slot, R0)
            with self.keys.room(key_size(spec)) as key:
                self.keys.fill(spec, statement.keys, key, fail)
                self.entry(spec, key, done)
            asm.mov(R3, R0)
            if words != (COUNT,):
                self.words.recall(R4, slot)
        asm.mov(R1, 1) if weight is None else self.words.recall(R1, weight)
        asm.atomic_add(R3, COUNT, R1)
        if SUM in words:
            asm.mov(R5, R4)
            if weight is not None:
                asm.mul(R5, R1)
            asm.atomic_add(R3, SUM, R5)
        self.extremes(spec)
        asm.label(done)

    def extremes(self, spec: MapSpec) -> None:
        """R4 may be the least or the greatest of the value at R3."""
        asm, words = self.asm, kept(spec)
        if is_signed(spec) and (MAXIMUM in words or LEAST in words):
            asm.ld_imm64(R1, _SIGN)
            asm.xor(R4, R1)
        if MAXIMUM in words:
            raise_to(asm, R3, MAXIMUM, R4)
        if LEAST in words:
            asm.xor(R4, -1)
            raise_to(asm, R3, LEAST, R4)

    def remove(self, statement: Remove, fail: str) -> None:
        spec = self.maps[statement.map]
        with self.keys.room(key_size(spec)) as key:
            self.keys.fill(spec, statement.keys, key, fail)
            self._pointers(spec, key)
            self.asm.call(Helper.MAP_DELETE)

    def clear(self, statement: ClearMap) -> None:
        asm = self.asm
        asm.ld_map_value(R2, EPOCHS, 8 * statement.map)
        asm.mov(R1, 1)
        asm.atomic_add(R2, 0, R1)

    # -- words --------------------------------------------------------------------------------------------------

    def epoch(self, map: int) -> None:
        """R0 = the map's epoch."""
        self.asm.ld_map_value(R1, EPOCHS, 8 * map)
        self.asm.load(R0, R1, 0, 4)

    def stored(self, word: ir.Stored, fail: str) -> None:
        """R0 = what is there, 0 if nothing is: of an aggregation of all CPUs together."""
        asm, spec = self.asm, self.maps[word.map]
        nothing = asm.new_label("nothing")
        with self.keys.room(key_size(spec)) as key:
            self.keys.fill(spec, word.keys, key, fail)
            if spec.kind is MapKind.VALUE:
                self.lookup(spec, key)
                asm.jeq(R0, 0, nothing)
                asm.load(R0, R0, 0)
            elif not self.cpus:
                raise NoOtherCpus(
                    f"{spec.name} cannot be read in a script on this kernel, only printed",
                    "use Linux 5.19 or newer, which has bpf_map_lookup_percpu_elem",
                )
            else:
                self.together(spec, key, SUM if word.sum else COUNT)
        asm.label(nothing)

    def stored_text(self, text: ir.StoredText, fail: str) -> None:
        """R0 = address of u64 length and bytes; fails when there is nothing."""
        spec = self.maps[text.map]
        with self.keys.room(key_size(spec)) as key:
            self.keys.fill(spec, text.keys, key, fail)
            self.lookup(spec, key)
        self.asm.jeq(R0, 0, fail)

    def together(self, spec: MapSpec, key: int, offset: int) -> None:
        """R0 = a word of the value, summed over the CPUs, or for maps of extremes the extreme; 0 if there is none.

        R8 and R9 are lost: the verifier must see the number of the CPU grow, which it does in a register.
        """
        asm = self.asm
        extreme = {MapKind.MIN: LEAST, MapKind.MAX: MAXIMUM}.get(spec.kind)
        loop, absent = asm.new_label("cpu"), asm.new_label("absent")
        asm.mov(R8, 0)
        asm.mov(R9, 0)
        asm.label(loop)
        self._pointers(spec, key)
        asm.mov(R3, R8)
        asm.call(Helper.MAP_LOOKUP_PERCPU)
        asm.jeq(R0, 0, absent)
        asm.load(R1, R0, offset if extreme is None else extreme)
        if extreme is None:
            asm.add(R9, R1)
        else:
            less = asm.new_label("less")
            asm.jle(R1, R9, less)
            asm.mov(R9, R1)
            asm.label(less)
        asm.add(R8, 1)
        asm.jlt(R8, self.cpus, loop)
        asm.mov(R0, R9)
        if extreme == LEAST:
            asm.xor(R0, -1)
        if extreme is not None and is_signed(spec):
            asm.ld_imm64(R1, _SIGN)
            asm.xor(R0, R1)
        asm.label(absent)

    # -- entries ------------------------------------------------------------------------------------------------

    def entry(self, spec: MapSpec, key: int, full: str) -> None:
        """R0 = the value at the key, made if there is none; without room it is counted, and jumps to `full`."""
        asm = self.asm
        there = asm.new_label("there")
        self.lookup(spec, key)
        asm.jne(R0, 0, there)
        with self.keys.room(value_size(spec)) as fresh:
            self.keys.clear(fresh, value_size(spec))
            self.update(spec, key, fresh, Update.NOEXIST)  # another task may have been quicker
        self.lookup(spec, key)
        asm.jne(R0, 0, there)
        self.full()
        asm.jump(full)
        asm.label(there)

    def lookup(self, spec: MapSpec, key: int) -> None:
        """R0 = address of the value, or 0."""
        self._pointers(spec, key)
        self.asm.call(Helper.MAP_LOOKUP)

    def update(self, spec: MapSpec, key: int, value: int, mode: Update) -> None:
        self._pointers(spec, key)
        self.keys.address(R3, value)
        self.asm.mov(R4, int(mode))
        self.asm.call(Helper.MAP_UPDATE)

    def _pointers(self, spec: MapSpec, key: int) -> None:
        self.asm.ld_map(R1, map_name(spec))
        self.keys.address(R2, key)
