"""Calls of functions, at their entries and returns."""

from __future__ import annotations

from gotap.bpf.asm import Code
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.call_chains import CallProgram
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.enums import Update
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R6, R7, R8, R9, R10, Helper
from gotap.probe.record import Layout
from gotap.probe.script.routine import Ended, Enter, Leave


class EnterProgram(CallProgram):
    """A call begins."""

    def generate(self, routine: Enter) -> Code:
        self.classes = self.setting.kept_classes(routine.layout.operation_id)
        self.start()
        self.counters()
        self.goroutine("lost", depth=True)
        self.end_deeper(entering=True)
        if self.setting.thinning:
            self.thin()
        self.count(Counter.HITS)
        self.claim()
        self.keys()
        self.header(routine.layout)
        if self.setting.thinning:
            self.weigh()
        self.condition(routine.when, self.steps, "release")
        if routine.captures or routine.values or routine.stacks:
            self.events.fill(routine.captures, routine.values, routine.stacks)
        self.identify()
        self.open(routine.layout)
        self.lost()
        return self.complete()

    def lost(self) -> None:
        asm = self.asm
        asm.jump("release")
        if asm.wanted("lost"):
            asm.label("lost")
            self.count(Counter.NO_GOROUTINE)
            asm.jump("exit")

    def open(self, layout: Layout) -> None:
        """The frame's record becomes an open call, the innermost of its goroutine."""
        asm = self.asm
        full, opened, named = asm.new_label("full"), asm.new_label("opened"), asm.new_label("named")
        self.call_key(layout)
        self.kept_class()
        asm.store(R7, script_frame.LINK + script_frame.CALL_PROBE, self.probe, 2)
        asm.load(R1, R6, PT_REGS["rip"])
        asm.store(R7, script_frame.LINK + script_frame.ENTRY_IP, R1)
        self.link()
        self.update(script_frame.CALLS, script_frame.CALL_KEY, script_frame.LINK, Update.NOEXIST)
        asm.jeq(R0, 0, opened)
        self.find(script_frame.CALLS, script_frame.CALL_KEY)
        asm.jeq(R0, 0, full)
        self.replace()
        asm.jump(named)
        asm.label(opened)
        unkept, unnamed = asm.new_label("unkept"), asm.new_label("unnamed")
        if self.classes:
            self.keep(unkept)
        self.name(layout, unnamed, named)
        asm.label(unnamed)
        if self.classes:
            self.forget_kept()
            asm.label(unkept)
        self.key(script_frame.CALLS, script_frame.CALL_KEY)
        asm.call(Helper.MAP_DELETE)
        asm.label(full)
        self.count(Counter.CALLS_FULL)
        asm.label(named)

    def replace(self) -> None:
        """R0 is an earlier call of this key, whose end was missed: this one takes its place in the chain."""
        asm, kept, unkept = self.asm, self.asm.new_label("kept"), self.asm.new_label("unkept")
        asm.mov(R8, R0)
        self.count(Counter.STALE)
        if not self.classes:
            self.replace_words()
            return
        asm.load(R9, R8, script_frame.KEPT_CLASS, 2)
        self.delete_kept()
        self.replace_words()
        self.keep(unkept)
        asm.jump(kept)
        asm.label(unkept)
        asm.store(R8, script_frame.KEPT_CLASS, 0, 2)
        self.count(Counter.CALLS_FULL)
        asm.label(kept)

    def replace_words(self) -> None:
        """All but the call outside of it, which stays."""
        asm = self.asm
        asm.load(R1, R7, script_frame.LINK + script_frame.KEPT_CLASS, 4)
        asm.store(R8, script_frame.KEPT_CLASS, R1, 4)
        for offset in range(script_frame.ENTRY_IP, self.setting.call_size, 8):
            asm.load(R1, R7, script_frame.LINK + offset)
            asm.store(R8, offset, R1)

    def kept_class(self) -> None:
        asm, chosen = self.asm, self.asm.new_label("class")
        asm.mov(R1, 0)
        if self.classes:
            asm.load(R2, R7, script_frame.field("used"), 2)
            if self.setting.own_frames:
                asm.jle(R2, self.setting.call_record, chosen)
            for number, size in enumerate(self.setting.kept_sizes[: self.classes], 1):
                asm.mov(R1, number)
                asm.jle(R2, size, chosen)
        asm.label(chosen)
        asm.store(R7, script_frame.LINK + script_frame.KEPT_CLASS, R1, 2)

    def link(self) -> None:
        """The call outside of this one is the innermost so far; R8 = the chain's head, or 0."""
        asm, linked = self.asm, self.asm.new_label("linked")
        asm.load(R8, R10, self.head)
        asm.mov32(R1, script_frame.NONE)
        asm.mov(R2, 0)
        asm.jeq(R8, 0, linked)
        asm.load(R1, R8, script_frame.HEAD_LAYOUT, 4)
        asm.load(R2, R8, script_frame.HEAD_DEPTH)
        asm.label(linked)
        asm.store(R7, script_frame.LINK + script_frame.OUTER_LAYOUT, R1, 4)
        asm.store(R7, script_frame.LINK + script_frame.OUTER_DEPTH, R2)
        asm.constant(R1, script_frame.NONE)
        asm.store(R7, script_frame.LINK + script_frame.INNER_LAYOUT, R1)

    def keep(self, full: str) -> None:
        """What was captured goes to the map of its class."""
        asm, done = self.asm, self.asm.new_label("kept")
        for number in range(1, 1 + self.classes):
            other = asm.new_label("class")
            asm.load(R1, R7, script_frame.LINK + script_frame.KEPT_CLASS, 2)
            asm.jne(R1, number, other)
            self.update(f"{script_frame.KEPT}{number}", script_frame.CALL_KEY, 0, Update.ANY)
            asm.jne(R0, 0, full)
            asm.jump(done)
            asm.label(other)
        asm.label(done)

    def forget_kept(self) -> None:
        asm = self.asm
        for number in range(1, 1 + self.classes):
            self.key(f"{script_frame.KEPT}{number}", script_frame.CALL_KEY)
            asm.call(Helper.MAP_DELETE)

    def name(self, layout: Layout, full: str, done: str) -> None:
        """The chain at R8 begins with this call; without one a chain is made. Jumps to `done`, or `full`."""
        asm, new = self.asm, self.asm.new_label("chain")
        head = script_frame.HEAD
        asm.jeq(R8, 0, new)
        asm.store(R8, script_frame.HEAD_LAYOUT, layout.operation_id, 4)
        asm.load(R1, R10, frame.DEPTH)
        asm.store(R8, script_frame.HEAD_DEPTH, R1)
        asm.load(R2, R7, script_frame.LINK + script_frame.OUTER_DEPTH)
        asm.jne(R1, R2, done)
        asm.load(R1, R7, script_frame.LINK + script_frame.OUTER_LAYOUT, 4)
        self.beside()
        asm.jeq(R0, 0, done)
        asm.store(R0, script_frame.INNER_LAYOUT, layout.operation_id, 4)
        asm.jump(done)
        asm.label(new)
        asm.store(R7, head + script_frame.HEAD_LAYOUT, layout.operation_id)
        asm.load(R1, R10, frame.DEPTH)
        asm.store(R7, head + script_frame.HEAD_DEPTH, R1)
        asm.store(R7, head + script_frame.HEAD_LIMIT, 0)
        asm.store(R7, head + script_frame.HEAD_RESUME, 0)
        self.update(script_frame.HEADS, script_frame.GOROUTINE_KEY, head, Update.ANY)
        asm.jeq(R0, 0, done)
        asm.jump(full)


class LeaveProgram(CallProgram):
    """A call returns."""

    def generate(self, routine: Leave) -> Code:
        asm, layout = self.asm, routine.layout
        self.classes = self.setting.kept_classes(layout.operation_id)
        self.words.moment = "return"
        self.start()
        self.counters()
        self.goroutine("lost", depth=True)
        self.end_deeper(entering=False)
        self.claim()
        self.keys()
        self.call_key(layout)
        self.find(script_frame.CALLS, script_frame.CALL_KEY)
        asm.jeq(R0, 0, "unpaired")
        asm.mov(R8, R0)
        self.take()
        if self.setting.timed:
            asm.call(Helper.KTIME_GET_NS)
            asm.store(R7, script_frame.field("end"), R0)
        asm.store(R7, script_frame.field("ended"), int(Ended.RETURN), 1)
        self.clear_locals()
        self.condition(routine.when, self.steps, "release")
        self.statements.body(routine.body)
        asm.jump("release")
        asm.label("unpaired")
        if layout.operation_id not in self.setting.filtered:
            self.count_unpaired()
        asm.jump("release")
        if asm.wanted("lost"):
            asm.label("lost")
            self.count(Counter.NO_GOROUTINE)
            asm.jump("exit")
        return self.complete()

    def count_unpaired(self) -> None:
        """A call that began before the attach; where firings are thinned it may just not have been taken."""
        asm = self.asm
        if not self.setting.thinning:
            self.count(Counter.UNPAIRED)
            return
        whole = asm.new_label("whole")
        self.thinned(whole)
        asm.jump("release")
        asm.label(whole)
        self.count(Counter.UNPAIRED)
