"""Statements of a routine → BPF. One that fails is left out, and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gotap.bpf.asm import AssemblerError
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.events import EventEmitter
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.script_program import ScriptProgram
from gotap.bpf.codegen.script.script_words import SAME_TEXTS
from gotap.bpf.codegen.script.scriptmaps import ScriptMapEmitter
from gotap.bpf.enums import Update
from gotap.bpf.isa import R0, R1, R2, R3, R4, R6, R7, R10, Helper
from gotap.probe import ir
from gotap.probe.script.routine import (
    LOOP_LIMIT,
    OWN_TEXT_LIMIT,
    Branch,
    ClearMap,
    Emit,
    Loop,
    Remove,
    SetLocal,
    SetOwn,
    Statement,
    Store,
    Tally,
)

#: Rounds where the kernel has no bpf_loop, at most: the verifier walks through each of them, and remembers the other
#: way at each jump, of which there may be 8192 in all (BPF_COMPLEXITY_LIMIT_JMP_SEQ).
SHORT_LOOP_LIMIT = 64
_JUMPS_IN_ALL = 6500
_JUMPS = 2000  # of one loop
_JUMPS_INSIDE = 300  # of a loop within a loop
_JUMPS_OF_TEXTS = 2 * script_frame.TEXT_LIMIT // 8  # of two texts that are compared


class StatementEmitter:
    """Emits statements into a program. R7 is the frame; R8 and R9 are lost."""

    def __init__(self, program: ScriptProgram, events: EventEmitter, maps: ScriptMapEmitter) -> None:
        self.program = program
        self.asm = program.asm
        self.words = program.words
        self.events = events
        self.maps = maps
        self._bodies: list[Callable[[], None]] = []  # of loops: subprograms that are still to be placed
        self._repeated = 0  # jumps that the verifier walks in short loops besides those that were emitted

    def body(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            fail, done = self.asm.new_label("unreadable"), self.asm.new_label("next")
            self.statement(statement, fail)
            if not self.asm.wanted(fail):
                continue
            self.asm.jump(done)
            self.asm.label(fail)
            self.program.count(Counter.UNREADABLE)
            self.asm.label(done)

    def statement(self, statement: Statement, fail: str) -> None:
        match statement:
            case SetLocal(slot, value):
                self.words.word(value, fail)
                self.set_local(slot)
            case SetOwn():
                self.set_own(statement, fail)
            case Store():
                self.maps.store(statement, fail)
            case Tally():
                self.tally(statement, fail)
            case Remove():
                self.maps.remove(statement, fail)
            case ClearMap():
                self.maps.clear(statement)
            case Emit():
                self.events.emit(statement)
            case Branch():
                self.branch(statement, fail)
            case Loop():
                self.loop(statement, fail)

    def set_local(self, slot: int) -> None:
        """The local becomes R0."""
        self.asm.store(R7, script_frame.LOCALS + 8 * slot, R0)

    def tally(self, statement: Tally, fail: str) -> None:
        if not self.program.setting.thinning:
            self.maps.tally(statement, fail)
            return
        with self.words.temporary() as weight:
            self.asm.load(R0, R7, script_frame.field("weight"), 4)
            self.words.keep(weight, R0)
            self.maps.tally(statement, fail, weight)

    def branch(self, statement: Branch, fail: str) -> None:
        asm = self.asm
        otherwise, done = asm.new_label("else"), asm.new_label("endif")
        self.words.require(statement.when, otherwise, fail)
        self.body(statement.then)
        asm.jump(done)
        asm.label(otherwise)
        self.body(statement.otherwise)
        asm.label(done)

    # Variables of a goroutine

    def set_own(self, statement: SetOwn, fail: str) -> None:
        asm = self.asm
        found, done = asm.new_label("own"), asm.new_label("set")
        offset = self.words.own_offsets[statement.slot]
        text = isinstance(statement.value, ir.AnyText)
        with self.words.temporary() as value:
            if isinstance(statement.value, ir.AnyText):
                self.words.text(statement.value, script_frame.TEXT_A, OWN_TEXT_LIMIT, fail)
            else:
                self.words.word(statement.value, fail)
                self.words.keep(value, R0)
            self.words.own()
            asm.jne(R0, 0, found)
            asm.ld_map(R1, script_frame.OWN)
            asm.mov(R2, R7)
            asm.add(R2, script_frame.GOROUTINE_KEY)
            asm.ld_map_value(R3, script_frame.OWN_TEMPLATE)
            asm.mov(R4, int(Update.NOEXIST))
            asm.call(Helper.MAP_UPDATE)
            self.words.own()
            asm.jne(R0, 0, found)
            self.program.count(Counter.OWN_FULL)
            asm.jump(done)
            asm.label(found)
            if text:
                for at in range(0, 8 + OWN_TEXT_LIMIT, 8):
                    asm.load(R1, R7, script_frame.TEXT_A + at)
                    asm.store(R0, offset + at, R1)
            else:
                self.words.recall(R1, value)
                if statement.add:
                    asm.load(R2, R0, offset)
                    asm.add(R1, R2)
                asm.store(R0, offset, R1)
        asm.label(done)

    # Loops

    def loop(self, statement: Loop, fail: str) -> None:
        """R2 = how many rounds, R1 = the first value, then the loop proper."""
        asm, program = self.asm, self.program
        if program.depth == script_frame.LOOP_DEPTH:
            raise AssemblerError(f"loops stand in loops, {script_frame.LOOP_DEPTH} deep at most", "take them apart")
        first = script_frame.LOOPS + 8 * program.depth
        done = asm.new_label("looped")
        with self.words.temporary() as rounds:
            self.words.word(statement.first, fail)
            self.words.keep(rounds, R0)
            self.words.word(statement.limit, fail)
            self.words.recall(R1, rounds)
            asm.jsge(R1, R0, done)
            asm.store(R7, first, R1)
            asm.sub(R0, R1)
            self.words.keep(rounds, R0)
            if program.setting.has_loop:
                self.call_loop(statement, first, rounds)
            else:
                self.short_loop(statement, first, rounds, done)
        asm.label(done)

    def call_loop(self, statement: Loop, first: int, rounds: int) -> None:
        """As many rounds as the temporary says, R0 too, of a callback that is placed behind the program."""
        asm, program = self.asm, self.program
        within = asm.new_label("within")
        asm.jle(R0, LOOP_LIMIT, within)
        program.count(Counter.LOOP_CUT)
        asm.mov(R0, LOOP_LIMIT)
        self.words.keep(rounds, R0)
        asm.label(within)
        self.words.recall(R1, rounds)
        depth = program.depth + 1
        state = script_frame.LOOP_STATE_INSIDE if program.depth else script_frame.LOOP_STATE
        name = asm.new_label("round")
        asm.store(R10, state, R6)
        asm.store(R10, state + 8, R7)
        asm.ld_func(R2, name)
        asm.mov(R3, R10)
        asm.add(R3, state)
        asm.mov(R4, 0)
        asm.call(Helper.LOOP)

        def place() -> None:
            """Callback (R1 round, R2 state)."""
            asm.label(name)
            asm.load(R6, R2, 0)
            asm.load(R7, R2, 8)
            asm.load(R0, R7, first)
            asm.add(R0, R1)
            self.set_local(statement.slot)
            with program.inside(depth):
                self.body(statement.body)
            asm.mov(R0, 0)
            asm.exit_()

        self._bodies.append(place)

    def short_loop(self, statement: Loop, first: int, rounds: int, done: str) -> None:
        """The same by jumping back. The round stands on the stack, where the verifier sees it grow."""
        asm, program = self.asm, self.program
        at, again = script_frame.LOOP_STATE + 8 * program.depth, asm.new_label("round")
        jumps, texts, repeated = asm.jumps, asm.calls(SAME_TEXTS), self._repeated
        asm.store(R10, at, 0)
        asm.label(again)
        asm.load(R0, R10, at)
        self.words.recall(R1, rounds)
        asm.jge(R0, R1, done)
        asm.load(R1, R7, first)
        asm.add(R0, R1)
        self.set_local(statement.slot)
        with program.inside(program.depth + 1):
            self.body(statement.body)
        asm.load(R1, R10, at)
        asm.add(R1, 1)
        asm.store(R10, at, R1)
        once = asm.jumps - jumps + _JUMPS_OF_TEXTS * (asm.calls(SAME_TEXTS) - texts) + self._repeated - repeated
        limit = min((_JUMPS_INSIDE if program.depth else _JUMPS) // once, SHORT_LOOP_LIMIT)
        if limit < 2 or repeated + once * limit > _JUMPS_IN_ALL:
            raise AssemblerError("the loop is too long for this kernel", "do less in it, or use Linux 5.17 or newer")
        self._repeated = repeated + once * limit
        asm.jlt(R1, limit, again)
        self.words.recall(R0, rounds)
        asm.jle(R0, limit, done)
        program.count(Counter.LOOP_CUT)

    def subprograms(self) -> None:
        """Places the bodies of loops, and of loops within them."""
        while self._bodies:
            self._bodies.pop(0)()
