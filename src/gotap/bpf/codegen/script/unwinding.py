"""Calls that end without returning: a panic, recovered or not, or runtime.Goexit has unwound them, or nobody knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gotap.bpf.asm import Code
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.call_chains import CallProgram
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.script_program import below, serves
from gotap.bpf.codegen.script.script_roots import roots_of_call
from gotap.bpf.codegen.words import pack_key
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Helper
from gotap.probe.script.routine import LOOP_LIMIT, Ended, Forget, Unwind, Unwound

_ENDED = {"panic": Ended.PANIC, "goexit": Ended.GOEXIT}
_STEP = "unwind"

#: On the stack until there is a frame: the depth above which calls have ended, and where the unwinder goes back to.
_LIMIT, _RESUME, _MISSED = frame.PAIR, frame.PAIR + 8, frame.DEPTH
_ASKED = ((_LIMIT, script_frame.LIMIT), (_MISSED, script_frame.MISSED), (_RESUME, script_frame.RESUME))


class EndingProgram(CallProgram):
    """Ends calls of the goroutine in ROW_KEY, from the innermost outwards, as long as they are deeper than LIMIT."""

    #: Where the kernel has no bpf_loop: how many calls end before the program starts itself anew, 33 times at most.
    at_once = 1

    def end_call(self, routine: Unwind) -> None:
        """What is to be done for the call at R8, whose key is CALL_KEY."""
        raise NotImplementedError

    def end_calls(self, routine: Unwind, again: int) -> None:
        """`again`: this program's number in UNWINDERS, by which it comes back where the kernel has no bpf_loop."""
        asm = self.asm
        stop = asm.new_label("stop")
        self.classes = self.setting.kept_classes()
        self.claim()
        self.words.moment = "unwound"
        self.far = True  # each call is counted for its own probe
        self.keys()
        for source, place in _ASKED:
            asm.load(R1, R10, source)
            asm.store(R7, place, R1)
        if self.setting.has_loop:
            asm.store(R10, script_frame.LOOP_STATE, R6)
            asm.store(R10, script_frame.LOOP_STATE + 8, R7)
            asm.mov(R1, LOOP_LIMIT)
            asm.ld_func(R2, _STEP)
            asm.mov(R3, R10)
            asm.add(R3, script_frame.LOOP_STATE)
            asm.mov(R4, 0)
            asm.call(Helper.LOOP)
            return
        for _ in range(self.at_once):
            with self.inside(1):
                self.end_one(routine, stop)
        self.innermost(stop)
        asm.store(R7, script_frame.CLAIM, 0)
        self.tail_call(again)
        asm.jump("exit")
        asm.label(stop)

    def innermost(self, stop: str) -> None:
        """R0 = the goroutine's value; jumps to `stop` when its innermost call is not deep enough."""
        asm = self.asm
        self.find(script_frame.HEADS, script_frame.GOROUTINE_KEY)
        asm.jeq(R0, 0, stop)
        asm.store(R10, self.head, R0)
        asm.load(R1, R0, script_frame.HEAD_DEPTH)
        asm.load(R2, R7, script_frame.LIMIT)
        asm.jle(R1, R2, stop)

    def tail_call(self, number: int | None = None) -> None:
        """Starts the program of UNWINDERS with that number, or with the one in R9; it returns when there is none."""
        asm = self.asm
        asm.mov(R1, R6)
        asm.ld_map(R2, script_frame.UNWINDERS)
        asm.mov(R3, R9 if number is None else number)
        asm.call(Helper.TAIL_CALL)

    def place_step(self, routine: Unwind) -> None:
        """Callback (R1 round, R2 state), behind the program."""
        asm = self.asm
        if not self.setting.has_loop:
            return
        stop = asm.new_label("stop")
        asm.label(_STEP)
        asm.load(R6, R2, 0)
        asm.load(R7, R2, 8)
        self.head = -8
        with self.inside(1):
            self.end_one(routine, stop)
        asm.mov(R0, 0)
        asm.exit_()
        asm.label(stop)
        asm.mov(R0, 1)
        asm.exit_()

    def end_one(self, routine: Unwind, stop: str) -> None:
        """Ends the innermost call; jumps to `stop` when there is none left that is deep enough."""
        asm = self.asm
        found = asm.new_label("open")
        self.innermost(stop)
        self.innermost_key(R7, script_frame.CALL_KEY, script_frame.GOROUTINE_KEY + 8)
        asm.mov(R2, R0)
        self.find_call(script_frame.CALL_KEY)
        asm.jne(R0, 0, found)
        self.forget_head()  # a chain that leads nowhere
        asm.store(R7, script_frame.LINK + script_frame.CALL_PROBE, self.probe, 2)
        self.count(Counter.STALE)
        asm.jump(stop)
        asm.label(found)
        asm.mov(R8, R0)
        self.end_call(routine)

    def give_up(self) -> None:
        """The call at R8 ended without anybody seeing how: that is counted, and nothing is said of it."""
        self.asm.load(R1, R8, script_frame.CALL_PROBE, 2)
        self.asm.store(R7, script_frame.LINK + script_frame.CALL_PROBE, R1, 2)
        self.pop()
        self.count(Counter.STALE)

    def dispatch(self, calls: Sequence[Unwound]) -> None:
        """Does what is to be done for calls of this layout: layouts with the same to do share it."""
        asm, done = self.asm, self.asm.new_label("ended")
        for call, ranges in _grouped(calls):
            body, other = asm.new_label("unwound"), asm.new_label("layout")
            asm.load(R1, R7, script_frame.field("layout"), 2)
            for first, last in ranges:
                if first == last:
                    asm.jeq(R1, first, body)
                    continue
                beyond = asm.new_label("beyond")
                asm.jlt(R1, first, beyond)
                asm.jle(R1, last, body)
                asm.label(beyond)
            asm.jump(other)
            asm.label(body)
            needed = below(roots_of_call(call))
            self.condition(call.when, [step for step in self.steps if serves(step, needed)], done)
            self.statements.body(call.body)
            asm.jump(done)
            asm.label(other)
        asm.label(done)

    def complete_with(self, routine: Unwind, *, release: bool) -> Code:
        """The end of the program, and what it calls."""
        self.finish(release=release)
        self.place_step(routine)
        self.subprograms()
        return self.asm.finish()

    def counted_probe(self) -> None:
        self.asm.load(R2, R7, script_frame.LINK + script_frame.CALL_PROBE, 2)


class UnwindProgram(EndingProgram):
    """At a place of the runtime where calls are unwound."""

    def generate(self, routine: Unwind) -> Code:
        asm = self.asm
        self.start()
        self.counters()
        self.early.word(routine.goid, "exit")
        asm.store(R10, frame.ROW_KEY + 8, R0)
        asm.constant(R1, pack_key(self.target.number, 0))
        asm.store(R10, frame.ROW_KEY, R1)
        asm.ld_map(R1, script_frame.HEADS)
        asm.mov(R2, R10)
        asm.add(R2, frame.ROW_KEY)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "exit")
        if routine.above is None:
            self.own_depth()
            asm.store(R10, _MISSED, R0)
            asm.store(R10, _LIMIT, 0)
        else:
            self.early.word(routine.above, "exit")
            asm.store(R10, _LIMIT, R0)
            asm.store(R10, _MISSED, -1)
        asm.store(R10, _RESUME, 0)
        self.end_calls(routine, 1 + self.number)
        if routine.ended == "goexit":
            self.end_goroutine()
        return self.complete_with(routine, release=True)

    def end_goroutine(self) -> None:
        """Its value goes, if all of its calls have ended."""
        asm, kept = self.asm, self.asm.new_label("kept")
        self.find(script_frame.HEADS, script_frame.GOROUTINE_KEY)
        asm.jeq(R0, 0, kept)
        asm.load(R1, R0, script_frame.HEAD_LAYOUT, 4)
        asm.jne(R1, 0, kept)
        self.forget_head()
        asm.label(kept)

    def own_depth(self) -> None:
        """R0 = how deep in the goroutine's stack this place's function is."""
        asm = self.asm
        assert self.target.stack_high is not None
        self.early.word(self.target.stack_high, "exit")
        asm.load(R1, R6, PT_REGS["rsp"])
        asm.sub(R0, R1)
        if self.place.sp_offset:
            asm.sub(R0, self.place.sp_offset)

    def end_call(self, routine: Unwind) -> None:
        asm = self.asm
        seen, done = asm.new_label("seen"), asm.new_label("given_up")
        asm.load(R1, R7, script_frame.CALL_KEY + 16)
        asm.load(R2, R7, script_frame.MISSED)
        asm.jle(R1, R2, seen)
        self.give_up()
        asm.jump(done)
        asm.label(seen)
        self.take()
        if self.setting.timed:
            asm.call(Helper.KTIME_GET_NS)
            asm.store(R7, script_frame.field("end"), R0)
        asm.store(R7, script_frame.field("ended"), int(_ENDED[routine.ended]), 1)
        self.clear_locals()
        self.dispatch(routine.calls)
        asm.label(done)


class UnwinderProgram(EndingProgram):
    """Where another program finds open calls that are deeper than where it runs: it goes on there afterwards.

    The calls are over, and no panic, Goexit or return of theirs was seen: assembly that jumps, a return that could not
    be probed or whose goroutine could not be read.
    """

    at_once = 8

    def end_call(self, routine: Unwind) -> None:
        self.give_up()

    def generate(self, routine: Unwind) -> Code:
        asm = self.asm
        self.start()
        self.counters()
        self.goroutine("exit")
        asm.ld_map(R1, script_frame.HEADS)
        asm.mov(R2, R10)
        asm.add(R2, frame.ROW_KEY)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "exit")
        for source, place in ((script_frame.HEAD_LIMIT, _LIMIT), (script_frame.HEAD_RESUME, _RESUME)):
            asm.load(R1, R0, source)
            asm.store(R10, place, R1)
        asm.store(R10, _MISSED, 0)
        self.end_calls(routine, 0)
        asm.load(R9, R7, script_frame.RESUME)
        asm.store(R7, script_frame.CLAIM, 0)
        self.tail_call()
        return self.complete_with(routine, release=False)


class ForgetProgram(CallProgram):
    """A goroutine ends, and with it its variables."""

    def generate(self, routine: Forget) -> Code:
        asm = self.asm
        self.start()
        self.early.word(routine.goid, "exit")
        asm.store(R10, frame.ROW_KEY + 8, R0)
        asm.constant(R1, pack_key(self.target.number, 0))
        asm.store(R10, frame.ROW_KEY, R1)
        asm.ld_map(R1, script_frame.OWN)
        asm.mov(R2, R10)
        asm.add(R2, frame.ROW_KEY)
        asm.call(Helper.MAP_DELETE)
        asm.label("exit")
        asm.mov(R0, 0)
        asm.exit_()
        return asm.finish()


def _grouped(calls: Sequence[Unwound]) -> Iterator[tuple[Unwound, list[tuple[int, int]]]]:
    """Calls for which the same is to be done: one of them, and the ranges (both ends included) of their layouts."""
    groups: dict[tuple[object, ...], list[Unwound]] = {}
    for call in calls:
        groups.setdefault((call.when, call.body), []).append(call)
    for group in groups.values():
        ranges: list[tuple[int, int]] = []
        for number in sorted({call.layout.operation_id for call in group}):
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1] = ranges[-1][0], number
            else:
                ranges.append((number, number))
        yield group[0], ranges
