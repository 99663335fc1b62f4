"""What the programs of all actions share: whose hit it is, and how rows are found, made and deleted."""

from __future__ import annotations

from collections.abc import Iterator

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.captures import CaptureEmitter
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.gomaps import MapEmitter
from gotap.bpf.codegen.planner import Plan, plan, words_of
from gotap.bpf.codegen.target import Options, Place, Target
from gotap.bpf.codegen.tracing import TraceEmitter
from gotap.bpf.codegen.words import WordEmitter, pack_key
from gotap.bpf.enums import Update
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R3, R4, R6, R7, R8, R10, Helper
from gotap.probe import ir
from gotap.probe.record import Layout, RecordFlags


class RowProgram:
    """A program under construction. It leaves by the label `exit`, which its subclass places."""

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
        assert self.target.goid is not None
        assert self.target.stack_high is not None
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

    def new_row(self, begin: ir.Begin | None = None) -> None:
        """R7 = a zeroed row of ROW_KEY; when there is no room it is counted, and the program exits.

        `begin`: what it is made for, if it is an operation's: a row that stands there already missed its end.
        """
        asm = self.asm
        room, full = asm.new_label("room"), asm.new_label("full")
        if begin is not None:
            made = asm.new_label("made")
            self.make_row(Update.NOEXIST)
            asm.jeq(R0, 0, made)
            self.row()
            asm.jeq(R0, 0, full)
            if not begin.by_depth and begin.key is None:
                self.refuse_nested(begin.layout)
            self.count_stale(begin)
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

    def count_stale(self, begin: ir.Begin) -> None:
        """R0 is a row whose end never came: what it left in other maps goes with it."""
        asm, whole = self.asm, self.asm.new_label("whole")
        asm.mov(R7, R0)
        self.count(Counter.STALE)
        asm.load(R1, R7, frame.field("used"), 2)
        asm.jle(R1, frame.FIRST_PART, whole)
        self.captures.spill.delete()
        asm.label(whole)
        if begin.scope and self.target.scoping is None:
            asm.load(R1, R7, frame.field("goid"))
            self.trace.key(frame.SCOPES, frame.SCOPE_GOROUTINE)
            self.delete_stale_scope()
        noted = begin.own_context if begin.scope and self.target.contexts else None
        for word, is_context in ((noted, True), (begin.subject, False)):
            if (kept := _keeps(begin, word)) is None:
                continue
            none = asm.new_label("notkept")
            self.early.word(kept, none)
            if is_context:
                asm.mov(R1, R0)
                self.trace.key(frame.SCOPES, frame.SCOPE_CONTEXT)
            else:
                self.subject_key(begin.layout)
            self.delete_stale_scope()
            asm.label(none)

    def delete_stale_scope(self) -> None:
        """Removes the scope at the key R2 in the map R1, unless it belongs to another operation than row R7 by now."""
        asm = self.asm
        others = asm.new_label("others")
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, others)
        asm.load(R1, R0, frame.field("span_id"))
        asm.load(R2, R7, frame.field("span_id"))
        asm.jne(R1, R2, others)
        asm.ld_map(R1, frame.SCOPES)
        asm.mov(R2, R10)
        asm.add(R2, frame.SCOPE_KEY)
        asm.call(Helper.MAP_DELETE)
        asm.label(others)

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


def _keeps(begin: ir.Begin, word: ir.Word | None) -> ir.Kept | None:
    """The word as the row keeps it from the begin on."""
    if word is None:
        return None
    as_it_is = (ir.Alternative((), word),)
    return next((ir.Kept(one.column) for one in begin.captures if one.alternatives == as_it_is), None)


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
