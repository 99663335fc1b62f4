"""One action at one kind of site → one BPF program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct, field

from gotap.image.code import Edge, Location
from gotap.kernel.asm import Assembler, Code
from gotap.kernel.codegen import frame
from gotap.kernel.codegen.aggregation import AggregationEmitter
from gotap.kernel.codegen.captures import CaptureEmitter
from gotap.kernel.codegen.frame import Counter
from gotap.kernel.codegen.gomaps import MapEmitter
from gotap.kernel.codegen.planner import Plan, plan, words_of
from gotap.kernel.codegen.tracing import Sampling, TraceEmitter
from gotap.kernel.codegen.wake import wake_flags
from gotap.kernel.codegen.words import WordEmitter, pack_key
from gotap.kernel.isa import PT_REGS, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Helper, Reg
from gotap.kernel.syscalls import Update
from gotap.probe import ir
from gotap.probe.record import SIZE_CLASSES, VERSION, Layout, RecordFlags


class Target(Struct, frozen=True):
    """The process a program is made for; all of it becomes constants in the bytecode.

    Map keys hold `number`, gotap's own name for the process, which no pid namespace and no reuse of pids can confuse.
    """

    number: int  # record.HEADER target
    pid: int  # as gotap sees it, for the record
    tgid: int | None  # in the initial pid namespace; None: not known, the attachment's pid filter alone decides
    bias: int  # load bias of its executable
    goid: ir.Word
    stack_high: ir.Word
    scoping: int | None = None  # the operation whose rows are the goroutines' scopes, see `scoping`
    contexts: bool = True  # whether some begin looks for its parent by a context: else none need be noted


def scoping(actions: Iterable[ir.Action]) -> int | None:
    """The operation whose rows can stand for the scopes of goroutines, of all actions in one process.

    There must be no other one with a scope, its rows must be found by goroutine alone, and its begins must not look for
    a parent on their goroutine: they would find themselves.
    """
    begins = [action for action in actions if isinstance(action, ir.Begin) and action.scope]
    numbers = {begin.layout.operation_id for begin in begins}
    by_goroutine = all(not begin.by_depth and begin.key is None for begin in begins)
    from_elsewhere = all(begin.remote is not None and begin.context is None for begin in begins)
    return numbers.pop() if len(numbers) == 1 and by_goroutine and from_elsewhere else None


class Place(Struct, frozen=True):
    """What the sites of one program have in common."""

    inputs: Mapping[ir.Input, Location]
    edge: Edge | None
    sp_offset: int | None


class Options(Struct, frozen=True):
    sampling: Sampling = field(default_factory=Sampling)
    has_loop: bool = True


def generate(action: ir.Action, place: Place, target: Target, options: Options, number: int) -> Code:
    """The program of an action; `number` picks its hit counter."""
    return _Program(action, place, target, options, number).generate()


class _Program:
    def __init__(self, action: ir.Action, place: Place, target: Target, options: Options, number: int) -> None:
        self.action = action
        self.place = place
        self.target = target
        self.options = options
        self.number = number
        self.asm = Assembler()
        self.plan: Plan = Plan() if isinstance(action, ir.Spawn) else plan(_roots(action))
        self.words = WordEmitter(self.asm, place.inputs, target.bias, self.plan)
        self.early = WordEmitter(self.asm, place.inputs, target.bias, Plan())  # while there is no row yet
        self.trace = TraceEmitter(self.asm, self.words, target.number, target.scoping)
        self.maps = MapEmitter(self.asm, options.has_loop)
        self.captures = CaptureEmitter(self.asm, self.words, self.maps, self.plan, self.heap_full)

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

    def refuse_private_stack(self) -> None:
        """A tail call that is never made, so that the stack is the thread's own.

        From Linux 6.13 (commit a76ab5731e32) programs of kprobe type that use 64 bytes of stack get one of the CPU's
        instead, unless there is a tail call among their instructions (check_max_stack_depth). Yet a program on a uprobe
        may be preempted, and the next one on that CPU would then write into its stack. Reading the process onto the
        thread's stack is also a third cheaper. Kernels that might refuse tail calls beside subprograms (before 5.10)
        know neither private stacks nor bpf_loop (5.17).
        """
        asm = self.asm
        start = asm.new_label("start")
        asm.mov(R0, 0)
        asm.jeq(R0, 0, start)
        asm.ld_map(R2, frame.NO_PROGRAMS)
        asm.mov(R3, 0)
        asm.call(Helper.TAIL_CALL)
        asm.label(start)

    def counters(self) -> None:
        """Keeps a pointer to this CPU's counters and counts the hit."""
        asm = self.asm
        asm.store(R10, frame.COUNTERS_KEY, 0, 4)
        asm.ld_map(R1, frame.COUNTERS_MAP)
        asm.mov(R2, R10)
        asm.add(R2, frame.COUNTERS_KEY)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "exit")
        asm.store(R10, frame.COUNTERS, R0)
        asm.mov(R1, 1)
        asm.atomic_add(R0, 8 * (Counter.HITS + self.number), R1)

    def count(self, counter: Counter) -> None:
        self.asm.load(R1, R10, frame.COUNTERS)
        self.asm.mov(R2, 1)
        self.asm.atomic_add(R1, 8 * counter, R2)

    def heap_full(self) -> None:
        self.trace.flag(RecordFlags.HEAP_FULL)
        self.count(Counter.HEAP_FULL)

    def goroutine(self, lost: str, *, depth: bool = False) -> None:
        """GOID = id of the running goroutine.

        `depth`: DEPTH = g.stack.hi minus the SP at the function's entry, which does not change when the stack moves.
        """
        asm = self.asm
        if not depth:
            self.early.word(self.target.goid, lost)
            asm.store(R10, frame.GOID, R0)
            return
        self.early.together({self.target.goid: frame.GOID, self.target.stack_high: frame.DEPTH}, lost)
        asm.load(R0, R10, frame.DEPTH)
        asm.load(R1, R6, PT_REGS["rsp"])
        asm.sub(R0, R1)
        if self.place.sp_offset:
            asm.sub(R0, self.place.sp_offset)
        asm.store(R10, frame.DEPTH, R0)

    def row_key(self, layout: Layout, *, by_depth: bool = False, key: ir.Word | None = None, lost: str = "") -> None:
        """ROW_KEY = process, operation, then what names the operation: its key, or its goroutine and perhaps depth."""
        asm = self.asm
        asm.constant(R1, pack_key(self.target.number, layout.operation_id))
        asm.store(R10, frame.ROW_KEY, R1)
        if key is not None:
            self.early.word(key, lost)
            asm.store(R10, frame.ROW_KEY + 8, R0)
        else:
            asm.load(R1, R10, frame.GOID)
            asm.store(R10, frame.ROW_KEY + 8, R1)
        if by_depth:
            asm.load(R1, R10, frame.DEPTH)
            asm.store(R10, frame.ROW_KEY + 16, R1)
        else:
            asm.store(R10, frame.ROW_KEY + 16, 0)

    def row(self) -> None:
        """R0 = the row of ROW_KEY, or 0."""
        asm = self.asm
        asm.ld_map(R1, frame.ROWS)
        asm.mov(R2, R10)
        asm.add(R2, frame.ROW_KEY)
        asm.call(Helper.MAP_LOOKUP)

    def new_row(self, by_goroutine: Layout | None = None) -> None:
        """R7 = a zeroed row of ROW_KEY; when there is no room it is counted, and the program exits.

        `by_goroutine`: the layout of an operation of which a goroutine has one at a time.
        """
        asm = self.asm
        room, full = asm.new_label("room"), asm.new_label("full")
        if by_goroutine is not None:
            made = asm.new_label("made")
            self.make_row(Update.NOEXIST)
            asm.jeq(R0, 0, made)
            self.row()
            asm.jeq(R0, 0, full)
            self.refuse_nested(by_goroutine)
            self.make_row(Update.ANY)
            asm.jne(R0, 0, full)  # else a stale row would be taken for the new one
            asm.label(made)
        else:
            self.make_row(Update.ANY)
            asm.jne(R0, 0, full)
        self.row()
        asm.jne(R0, 0, room)
        asm.label(full)
        self.count(Counter.ROWS_FULL)
        asm.jump("exit")
        asm.label(room)
        asm.mov(R7, R0)

    def make_row(self, mode: Update) -> None:
        """R0 = 0: ROW_KEY has a new row."""
        asm = self.asm
        asm.ld_map(R1, frame.ROWS)
        asm.mov(R2, R10)
        asm.add(R2, frame.ROW_KEY)
        asm.ld_map_value(R3, frame.TEMPLATE)
        asm.mov(R4, int(mode))
        asm.call(Helper.MAP_UPDATE)

    def delete_row(self) -> None:
        asm = self.asm
        asm.ld_map(R1, frame.ROWS)
        asm.mov(R2, R10)
        asm.add(R2, frame.ROW_KEY)
        asm.call(Helper.MAP_DELETE)

    def begin(self, action: ir.Begin) -> None:
        asm, layout = self.asm, action.layout
        self.goroutine("lost", depth=True)
        self.row_key(layout, by_depth=action.by_depth, key=action.key, lost="lost")
        if action.subject is not None:
            self.refuse_same(layout, action.subject)
        self.new_row(None if action.by_depth or action.key is not None else layout)
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

    def refuse_nested(self, layout: Layout) -> None:
        """R0 is the row of the operation that is open: a begin deeper in the same goroutine's stack belongs to it."""
        asm = self.asm
        stale = asm.new_label("stale")
        asm.load(R1, R0, layout.column("depth").offset)
        asm.load(R2, R10, frame.DEPTH)
        asm.jle(R2, R1, stale)
        self.count(Counter.NESTED)
        asm.jump("exit")
        asm.label(stale)
        self.count(Counter.STALE)

    def refuse_same(self, layout: Layout, subject: ir.Word) -> None:
        """A begin deeper in the same goroutine's stack and about the same belongs to the operation that is open."""
        asm = self.asm
        fresh = asm.new_label("fresh")
        self.early.word(subject, fresh)
        self.subject_key(layout)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, fresh)
        asm.load(R1, R0, frame.SCOPE_ROW)
        asm.load(R2, R10, frame.DEPTH)
        asm.jle(R2, R1, fresh)  # what was noted there has been unwound by a panic
        self.count(Counter.NESTED)
        asm.jump("exit")
        asm.label(fresh)

    def note_subject(self, layout: Layout, subject: ir.Word) -> None:
        asm = self.asm
        unknown = asm.new_label("nosubject")
        asm.load(R1, R10, frame.DEPTH)
        asm.store(R7, frame.SCOPE_ROW, R1)
        self.words.word(subject, unknown)
        self.subject_key(layout)
        asm.mov(R3, R7)
        asm.mov(R4, 0)
        asm.call(Helper.MAP_UPDATE)
        asm.label(unknown)

    def subject_key(self, layout: Layout) -> None:
        """R1 = the scopes, R2 = the key of an operation about R0 on this goroutine."""
        asm = self.asm
        asm.mov(R8, R0)
        asm.load(R1, R10, frame.GOID)
        self.trace.key(frame.SCOPES, frame.SCOPE_SUBJECT | layout.operation_id << 8)
        asm.store(R10, frame.SCOPE_KEY + 16, R8)

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

    def scoped_row(self, layout: Layout) -> None:
        """R0 = the row of the operation whose scope this goroutine is in; none: exit."""
        asm = self.asm
        scoped = asm.new_label("scoped")
        self.row_key(layout)
        asm.load(R1, R10, frame.GOID)
        self.trace.goroutines_scope()
        asm.jne(R0, 0, scoped)
        self.trace.linked("exit")
        asm.label(scoped)
        asm.load(R8, R0, frame.field("span_id"))
        asm.load(R1, R0, frame.SCOPE_ROW)
        asm.store(R10, frame.ROW_KEY + 8, R1)
        self.row()
        asm.jeq(R0, 0, "exit")
        asm.load(R1, R0, frame.field("span_id"))
        asm.jne(R1, R8, "exit")

    def goroutines_row(self, layout: Layout) -> None:
        """R0 = the row of the operation on this goroutine, or on the one that it was created under; none: exit."""
        asm = self.asm
        own = asm.new_label("own")
        self.row_key(layout)
        self.row()
        asm.jne(R0, 0, own)
        asm.load(R1, R10, frame.GOID)
        self.trace.link()
        asm.jeq(R0, 0, "exit")
        asm.load(R8, R0, 8)
        asm.load(R1, R0, 0)
        asm.store(R10, frame.ROW_KEY + 8, R1)
        self.row()
        asm.jeq(R0, 0, "exit")
        asm.load(R1, R0, frame.field("span_id"))
        asm.jne(R1, R8, "exit")
        asm.label(own)

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
            assert not isinstance(alternative.value, ir.Text)
            self.words.word(alternative.value, other)
            asm.store(R10, frame.GOID, R0)
            asm.jump(known)
            asm.label(other)
        asm.jump("exit")
        asm.label(known)


def _roots(action: ir.Begin | ir.Annotate | ir.End | ir.Aggregate) -> Iterator[ir.Word]:
    """Every word that the action evaluates with the row at hand."""
    if isinstance(action, ir.Aggregate):
        yield from (*action.when, *action.keys, action.value)
        return
    for capture in action.captures:
        yield from words_of(capture.alternatives)
    if isinstance(action, ir.Begin):
        if action.remote is not None:
            yield from words_of(action.remote.trace_parent)
        if action.context is not None:
            yield from (action.context.type, action.context.data)
        if action.own_context is not None:
            yield action.own_context
        if action.subject is not None:
            yield action.subject
    elif isinstance(action, ir.End) and action.own_context is not None:
        yield action.own_context
