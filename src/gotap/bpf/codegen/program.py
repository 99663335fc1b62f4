"""One action at one kind of site → one BPF program."""

from __future__ import annotations

from gotap.bpf.asm import Code
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.aggregation import AggregationEmitter
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.rows import RowProgram
from gotap.bpf.codegen.target import Options, Place, Target, scoping
from gotap.bpf.codegen.wake import wake_flags
from gotap.bpf.codegen.words import pack_key
from gotap.bpf.isa import R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Helper, Reg
from gotap.probe import ir
from gotap.probe.record import SIZE_CLASSES, VERSION, Layout

__all__ = ["Options", "Place", "Target", "generate", "scoping"]


def generate(action: ir.Action, place: Place, target: Target, options: Options, number: int) -> Code:
    """The program of an action; `number` picks its hit counter."""
    return _Program(action, place, target, options, number).generate()


class _Program(RowProgram):
    """What each action does."""

    def generate(self) -> Code:
        asm = self.asm
        asm.mov(R6, R1)
        if self.options.has_loop:
            self.refuse_private_stack()
        if self.place.edge is not None:
            self.words.edge(self.place.edge, "exit")
        if self.target.tgid is not None:
            asm.call(Helper.GET_CURRENT_PID_TGID)
            asm.rsh(R0, 32)
            asm.jne(R0, self.target.tgid, "exit")
        self.counters()
        match self.action:
            case ir.Begin():
                self.begin(self.action)
            case ir.Annotate():
                self.annotate(self.action)
            case ir.End():
                self.end(self.action)
            case ir.Spawn():
                self.spawn(self.action)
            case ir.Aggregate():
                self.aggregate(self.action)
        asm.label("exit")
        asm.mov(R0, 0)
        asm.exit_()
        self.maps.subprograms()
        self.captures.spill.subprograms()
        self.trace.subprograms()
        return asm.finish()

    def begin(self, action: ir.Begin) -> None:
        asm, layout = self.asm, action.layout
        self.goroutine("lost", depth=True)
        self.row_key(layout, by_depth=action.by_depth, key=action.key, lost="lost")
        if action.subject is not None:
            self.refuse_same(layout, action.subject)
        self.new_row(action)
        self.count(Counter.BEGUN)
        self.header(layout)
        self.captures.capture_all(action.captures, layout.heap_offset)
        asm.load(R1, R10, frame.DEPTH)
        asm.store(R7, layout.column("depth").offset, R1)
        self.trace.identity(action, self.options.sampling)
        if action.scope:
            self.trace.open_scope(action.own_context if self.target.contexts else None)
        if action.subject is not None:
            self.note_subject(layout, action.subject)
        asm.jump("exit")
        asm.label("lost")
        self.count(Counter.NO_GOROUTINE)
        asm.jump("exit")

    def header(self, layout: Layout) -> None:
        asm = self.asm
        asm.constant(R1, VERSION | layout.operation_id << 16)
        asm.store(R7, frame.field("version"), R1)
        asm.constant(R1, pack_key(self.target.pid, self.target.number))
        asm.store(R7, frame.field("pid"), R1)
        asm.call(Helper.KTIME_GET_NS)
        asm.store(R7, frame.field("begin"), R0)
        asm.load(R1, R10, frame.GOID)
        asm.store(R7, frame.field("goid"), R1)

    def annotate(self, action: ir.Annotate) -> None:
        """The operation open on this goroutine, else the one on the goroutine it comes from."""
        asm = self.asm
        self.goroutine("exit")
        if action.keyed:
            self.scoped_row(action.layout)
        else:
            self.goroutines_row(action.layout)
        asm.mov(R7, R0)
        self.captures.capture_all(action.captures, None, shared=True)

    def end(self, action: ir.End) -> None:
        asm = self.asm
        self.goroutine("exit", depth=action.by_depth)
        self.row_key(action.layout, by_depth=action.by_depth, key=action.key, lost="exit")
        self.row()
        asm.jeq(R0, 0, "unknown")
        asm.mov(R7, R0)
        if action.discard:
            self.close(action)
            whole = asm.new_label("whole")
            asm.load(R1, R7, frame.field("used"), 2)
            asm.jle(R1, frame.FIRST_PART, whole)
            self.captures.spill.delete()
            asm.label(whole)
        else:
            asm.call(Helper.KTIME_GET_NS)
            asm.store(R7, frame.field("end"), R0)
            asm.store(R7, frame.field("outcome"), action.outcome, 1)
            self.captures.capture_all(action.captures, None)
            self.close(action)
            self.emit()
        self.delete_row()
        asm.jump("exit")
        asm.label("unknown")
        if action.certain:
            self.count(Counter.NO_BEGIN)

    def close(self, action: ir.End) -> None:
        asm = self.asm
        if action.scope and self.target.scoping is None:
            asm.load(R1, R7, frame.field("goid"))  # of the begin: a keyed operation may end on another goroutine
            self.trace.close_scope(frame.SCOPE_GOROUTINE)
        if action.own_context is not None and self.target.contexts:
            none = asm.new_label("nocontext")
            self.words.word(action.own_context, none)
            asm.mov(R1, R0)
            self.trace.close_scope(frame.SCOPE_CONTEXT)
            asm.label(none)
        if action.subject is not None:
            unknown = asm.new_label("nosubject")
            self.words.word(action.subject, unknown)
            self.subject_key(action.layout)
            asm.call(Helper.MAP_DELETE)
            asm.label(unknown)

    def emit(self) -> None:
        """Sends the record in the smallest class that holds it. The reader is woken when much waits."""
        asm = self.asm
        sized, spilled, sent = asm.new_label("sized"), asm.new_label("spilled"), asm.new_label("sent")
        lost, ended = asm.new_label("lost"), asm.new_label("ended")
        in_row = [size for size in SIZE_CLASSES if size <= frame.FIRST_PART]
        asm.load(R8, R7, frame.field("used"), 2)
        asm.jgt(R8, frame.FIRST_PART, spilled)
        for size in in_row:
            asm.mov(R3, size)
            asm.jle(R8, size, sized)
        asm.label(sized)
        self.output(R7)
        asm.jeq(R0, 0, ended)
        asm.label(lost)
        self.count(Counter.RING_FULL)
        asm.jump(ended)
        asm.label(spilled)
        self.captures.spill.whole(lost)
        asm.mov(R9, R0)
        for size in SIZE_CLASSES[len(in_row) : -1]:
            asm.mov(R3, size)
            asm.jle(R8, size, sent)
        asm.mov(R3, SIZE_CLASSES[-1])
        asm.label(sent)
        self.output(R9)
        asm.mov(R8, R0)
        self.captures.spill.delete()
        asm.jne(R8, 0, lost)
        asm.label(ended)
        self.count(Counter.ENDED)

    def output(self, record: Reg) -> None:
        """Sends R3 bytes of the record; R0 is not 0 when the ring is full."""
        asm = self.asm
        wake_flags(asm)
        asm.ld_map(R1, frame.RING)
        asm.mov(R2, record)
        asm.call(Helper.RINGBUF_OUTPUT)

    def aggregate(self, action: ir.Aggregate) -> None:
        """Borrows a row where words want scratch: nobody else has one of this goroutine at this depth."""
        asm = self.asm
        if self.plan.steps:
            self.goroutine("exit", depth=True)
            asm.constant(R1, pack_key(self.target.number, frame.BORROWED))
            asm.store(R10, frame.ROW_KEY, R1)
            for source, offset in ((frame.GOID, 8), (frame.DEPTH, 16)):
                asm.load(R1, R10, source)
                asm.store(R10, frame.ROW_KEY + offset, R1)
            self.new_row()
            self.captures.prefetch_all()
        AggregationEmitter(asm, self.words, self.target.number).aggregate(action, "aggregated")
        asm.label("aggregated")
        if self.plan.steps:
            self.delete_row()

    def spawn(self, action: ir.Spawn) -> None:
        """Links the new goroutine to the operation of its creator, or to what the creator itself is linked to."""
        asm = self.asm
        linked, store = asm.new_label("linked"), asm.new_label("store")
        self.creator(action)
        asm.load(R1, R10, frame.GOID)
        self.trace.goroutines_scope()
        asm.jeq(R0, 0, linked)
        asm.load(R1, R0, frame.field("span_id"))
        asm.store(R10, frame.LINK + 8, R1)
        asm.load(R1, R10, frame.GOID)
        asm.store(R10, frame.LINK, R1)
        asm.jump(store)
        asm.label(linked)
        asm.load(R1, R10, frame.GOID)
        self.trace.link()
        asm.jeq(R0, 0, "exit")
        asm.load(R1, R0, 0)
        asm.store(R10, frame.LINK, R1)
        asm.load(R1, R0, 8)
        asm.store(R10, frame.LINK + 8, R1)
        asm.label(store)
        asm.load(R1, R10, frame.CHILD)
        self.trace.key(frame.LINKS, frame.SCOPE_GOROUTINE)
        asm.mov(R3, R10)
        asm.add(R3, frame.LINK)
        asm.mov(R4, 0)
        asm.call(Helper.MAP_UPDATE)

    def creator(self, action: ir.Spawn) -> None:
        """CHILD = goid of the new goroutine, GOID = of its creator; exits when either cannot be had."""
        asm = self.asm
        known = asm.new_label("known")
        first = action.creator[0]
        if not first.conditions and isinstance(first.value, ir.Load) and isinstance(action.child, ir.Load) and (
            first.value.base == action.child.base
        ):  # both are told by the new g, so that no other alternative is more readable
            self.words.together({action.child: frame.CHILD, first.value: frame.GOID}, "exit")
            return
        self.words.word(action.child, "exit")
        asm.store(R10, frame.CHILD, R0)
        for alternative in action.creator:
            other = asm.new_label("creator")
            for condition in alternative.conditions:
                self.words.require(condition, other, other)
            assert not isinstance(alternative.value, ir.AnyText)
            self.words.word(alternative.value, other)
            asm.store(R10, frame.GOID, R0)
            asm.jump(known)
            asm.label(other)
        asm.jump("exit")
        asm.label(known)
