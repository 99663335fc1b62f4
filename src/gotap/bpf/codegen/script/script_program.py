"""What the programs of all routines share: whose hit it is, the frame, counters, the goroutine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.gomaps import MapEmitter
from gotap.bpf.codegen.memory import Memory
from gotap.bpf.codegen.planner import Block, Chain, Lookup, Plan, Step, children, plan, stable
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.script_words import ScriptWords
from gotap.bpf.codegen.script.setting import ScriptSetting
from gotap.bpf.codegen.target import Place, Target
from gotap.bpf.codegen.words import WordEmitter, pack_key
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, Helper
from gotap.probe import ir
from gotap.probe.record import VERSION, Layout
from gotap.probe.script.record import EventFlags
from gotap.probe.script.routine import Ended

#: Frames that are tried before a firing is given up: each is held by a program that was preempted.
_TRIES = 8
#: Frames that belong to a CPU before those of the next one are tried.
_FRAMES_PER_CPU = 4

_COUNT = "count"
#: Set in what stands for a goroutine where there is none: a thread.
_THREAD = 1 << 63


class ScriptProgram:
    """A program under construction. It leaves by `exit`, or, while it has a frame, by `release`; `finish` places both.

    R6 is the context, R7 the frame once there is one; R8 and R9 are scratch that survives calls. `probe`: whose
    counters are used.
    """

    def __init__(
        self,
        roots: Iterable[ir.Word],
        loops: bool,
        probe: int,
        place: Place,
        target: Target,
        setting: ScriptSetting,
        site: int | None = None,
    ) -> None:
        self.probe = probe
        self.place = place
        self.target = target
        self.setting = setting
        self.asm = Assembler()
        self.memory: Memory = script_frame.IN_FRAME if loops else script_frame.ON_STACK
        roots = tuple(roots)
        self.plan: Plan = plan(roots, self.memory, stable)
        self.steps = [step for step in self.plan.steps if not on_demand(step)]
        self.locals = frozenset(word.slot for word in below(roots) if isinstance(word, ir.Local))
        self.words = ScriptWords(self.asm, place, target, setting, self.plan, self.memory, site)
        self.early = WordEmitter(self.asm, place.inputs, target.bias, Plan())  # while there is no frame yet
        self.gomaps = MapEmitter(self.asm, setting.has_loop, self.memory)
        self.depth = 0  # of the loops that are being emitted
        self.far = False  # whether the pointer to the counters is out of reach, as in callbacks
        self._wants_count = False

    def start(self) -> None:
        """Leaves where the hit is not meant: the other edge of a jump, another process, after `stop`."""
        asm = self.asm
        asm.mov(R6, R1)
        if self.setting.has_loop:
            self.refuse_private_stack()
        if self.place.edge is not None:
            self.early.edge(self.place.edge, "exit")
        if self.target.tgid is not None:
            asm.call(Helper.GET_CURRENT_PID_TGID)
            asm.rsh(R0, 32)
            asm.jne(R0, self.target.tgid, "exit")
        elif self.target.is_sought and self.setting.pid_namespace is not None:
            self.require_process(*self.setting.pid_namespace)
        if self.setting.stops:
            asm.ld_map_value(R1, script_frame.STOPPED, 0)
            asm.load(R0, R1, 0)
            asm.jne(R0, 0, "exit")

    def require_process(self, device: int, inode: int) -> None:
        """Leaves where another process runs, by its id in gotap's own pid namespace."""
        asm = self.asm
        asm.constant(R1, device)
        asm.constant(R2, inode)
        asm.mov(R3, R10)
        asm.add(R3, frame.PAIR)
        asm.mov(R4, 8)  # struct bpf_pidns_info: u32 pid (of the thread), u32 tgid
        asm.call(Helper.GET_NS_CURRENT_PID_TGID)
        asm.jne(R0, 0, "exit")
        asm.load(R0, R10, frame.PAIR + 4, 4)
        asm.jne(R0, self.target.pid, "exit")

    def refuse_private_stack(self) -> None:
        """A tail call that is never made, as in gotap.bpf.codegen.rows: the stack is to be the thread's own."""
        asm = self.asm
        start = asm.new_label("start")
        asm.mov(R0, 0)
        asm.jeq(R0, 0, start)
        asm.ld_map(R2, script_frame.NO_PROGRAMS)
        asm.mov(R3, 0)
        asm.call(Helper.TAIL_CALL)
        asm.label(start)

    def finish(self, *, release: bool = True) -> None:
        """What every path leads to. `release`: with a frame."""
        asm = self.asm
        if release:
            asm.label("release")
            asm.store(R7, script_frame.CLAIM, 0)
        asm.label("exit")
        asm.mov(R0, 0)
        asm.exit_()

    def subprograms(self) -> None:
        """Placed behind the program; may be called once only."""
        self.gomaps.subprograms()
        self.words.subprograms()
        if not self._wants_count:
            return
        asm, lost = self.asm, self.asm.new_label("nocounters")
        asm.label(_COUNT)  # R1: offset of the counter, R2: number of the probe
        asm.mov(R6, R1)
        asm.store(R10, -8, R2)
        asm.ld_map(R1, script_frame.COUNTERS)
        asm.mov(R2, R10)
        asm.add(R2, -8)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, lost)
        asm.jgt(R6, 8 * (script_frame.COUNTER_COUNT - 1), lost)
        asm.add(R0, R6)
        asm.mov(R1, 1)
        asm.atomic_add(R0, 0, R1)
        asm.label(lost)
        asm.mov(R0, 0)
        asm.exit_()

    # Counters

    def counters(self) -> None:
        """Keeps a pointer to this CPU's counters."""
        asm = self.asm
        asm.store(R10, frame.COUNTERS_KEY, self.probe, 4)
        asm.ld_map(R1, script_frame.COUNTERS)
        asm.mov(R2, R10)
        asm.add(R2, frame.COUNTERS_KEY)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "exit")
        asm.store(R10, frame.COUNTERS, R0)

    def count(self, counter: Counter) -> None:
        """Loses R0 to R5."""
        asm = self.asm
        if self.far:
            self._wants_count = True
            self.counted_probe()
            asm.mov(R1, 8 * counter)
            asm.call_subprogram(_COUNT)
            return
        asm.load(R1, R10, frame.COUNTERS)
        asm.mov(R2, 1)
        asm.atomic_add(R1, 8 * counter, R2)

    @contextmanager
    def inside(self, depth: int) -> Iterator[None]:
        """While the body of a loop is emitted, `depth` deep; callbacks have a stack of their own."""
        before, far, state = self.depth, self.far, self.gomaps.state
        self.depth = depth
        if self.setting.has_loop:
            self.far, self.gomaps.state = True, script_frame.WALK_STATE_INSIDE
        yield
        self.depth, self.far, self.gomaps.state = before, far, state

    def counted_probe(self) -> None:
        """R2 = the number of the probe that is counted for."""
        self.asm.mov(R2, self.probe)

    # The goroutine

    def goroutine(self, lost: str, *, depth: bool = False) -> None:
        """GOID = id of the running goroutine, 0 where there is none; ROW_KEY = the key of its variables and its calls.

        `depth`: DEPTH = g.stack.hi minus the SP at the function's entry. Threads' own goroutines (g0) have no ids: the
        address of the g stands for them in keys.
        """
        asm = self.asm
        named = asm.new_label("named")
        asm.constant(R1, pack_key(self.target.number, 0))
        asm.store(R10, frame.ROW_KEY, R1)
        if self.target.goid is None:
            asm.store(R10, frame.GOID, 0)
            asm.call(Helper.GET_CURRENT_PID_TGID)
            asm.mov32(R0, R0)
            asm.constant(R1, _THREAD)
            asm.or_(R0, R1)
            asm.store(R10, frame.ROW_KEY + 8, R0)
            return
        if depth:
            assert self.target.stack_high is not None
            self.early.together({self.target.goid: frame.GOID, self.target.stack_high: frame.DEPTH}, lost)
            asm.load(R0, R10, frame.DEPTH)
            asm.load(R1, R6, PT_REGS["rsp"])
            asm.sub(R0, R1)
            if self.place.sp_offset:
                asm.sub(R0, self.place.sp_offset)
            asm.store(R10, frame.DEPTH, R0)
        else:
            self.early.word(self.target.goid, lost)
            asm.store(R10, frame.GOID, R0)
        asm.load(R0, R10, frame.GOID)
        asm.jne(R0, 0, named)
        asm.load(R0, R6, PT_REGS["r14"])
        asm.label(named)
        asm.store(R10, frame.ROW_KEY + 8, R0)

    def anyone(self) -> None:
        """As `goroutine`; where there is none to be read, as in code that C calls, there is none."""
        asm = self.asm
        unknown = asm.new_label("unknown")
        asm.store(R10, frame.GOID, 0)
        if self.target.goid is not None:
            asm.load(R1, R6, PT_REGS["r14"])
            asm.store(R10, frame.ROW_KEY + 8, R1)
        self.goroutine(unknown)
        asm.label(unknown)

    # The frame

    def _frame(self) -> None:
        """R7 = the frame whose number is in COUNTERS_KEY."""
        asm = self.asm
        asm.ld_map(R1, script_frame.FRAMES)
        asm.mov(R2, R10)
        asm.add(R2, frame.COUNTERS_KEY)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "exit")
        asm.mov(R7, R0)
        asm.add(R7, script_frame.FRAME_SCRATCH)

    def claim(self) -> None:
        """R7 = a frame that no other program has; when there is none it is counted, and the program exits."""
        asm = self.asm
        if self.setting.own_frames:
            asm.store(R10, frame.COUNTERS_KEY, 0, 4)
            self._frame()
            return
        again, claimed = asm.new_label("frame"), asm.new_label("claimed")
        asm.call(Helper.GET_SMP_PROCESSOR_ID)
        asm.mov(R8, R0)
        asm.mul(R8, _FRAMES_PER_CPU)
        asm.mov(R9, 0)
        asm.label(again)
        asm.mov(R1, R8)
        asm.add(R1, R9)
        asm.and_(R1, self.setting.slots - 1)
        asm.store(R10, frame.COUNTERS_KEY, R1, 4)
        self._frame()
        asm.mov(R0, 0)
        asm.mov(R1, 1)
        asm.atomic_cmpxchg(R7, script_frame.CLAIM, R1)
        asm.jeq(R0, 0, claimed)
        asm.add(R9, 1)
        asm.jlt(R9, min(_TRIES, self.setting.slots), again)
        self.count(Counter.FRAMES_BUSY)
        asm.jump("exit")
        asm.label(claimed)

    def keys(self) -> None:
        """GOROUTINE_KEY of the frame, from ROW_KEY on the stack."""
        asm = self.asm
        for offset in (0, 8):
            asm.load(R1, R10, frame.ROW_KEY + offset)
            asm.store(R7, script_frame.GOROUTINE_KEY + offset, R1)

    def header(self, layout: Layout) -> None:
        """An empty record: of the call or the firing nothing is said yet. Local variables are 0."""
        asm = self.asm
        asm.constant(R1, VERSION | layout.operation_id << 16 | layout.heap_offset << 48)
        asm.store(R7, 0, R1)
        asm.constant(R1, 1 | Ended.OPEN << 48)  # weight 1, no chunks
        asm.store(R7, script_frame.field("weight"), R1)
        for name in ("begin", "end", "present", "sequence", "spare"):
            asm.store(R7, script_frame.field(name), 0)
        asm.load(R1, R10, frame.GOID)
        asm.store(R7, script_frame.field("goid"), R1)

    def identify(self) -> None:
        """When, on which thread and CPU, at which site."""
        asm = self.asm
        if self.target.pid:
            asm.constant(R1, pack_key(self.target.pid, self.target.number))
            asm.store(R7, script_frame.field("pid"), R1)
        else:
            self.words.process("pid")
            asm.store(R7, script_frame.field("pid"), R0, 4)
            asm.store(R7, script_frame.field("target"), self.target.number, 4)
        if self.setting.timed:
            asm.call(Helper.KTIME_GET_NS)
            asm.store(R7, script_frame.field("begin"), R0)
        if self.setting.told:
            self.words.process("tid")
            asm.store(R7, script_frame.field("tid"), R0, 4)
            asm.call(Helper.GET_SMP_PROCESSOR_ID)
            asm.store(R7, script_frame.field("cpu"), R0, 1)
        self.words.site_number()
        asm.store(R7, script_frame.field("site"), R0, 4)

    def thin(self) -> None:
        """One firing of as many as the map says is taken, at random, and stands for all of them: its weight."""
        asm = self.asm
        take = asm.new_label("take")
        self.thinned(take)
        asm.call(Helper.GET_PRANDOM_U32)
        asm.mod(R0, R8)
        asm.jne(R0, 0, "exit")
        asm.label(take)
        asm.store(R10, frame.LINK, R8)

    def thinned(self, whole: str) -> None:
        """R8 = of how many firings one is taken; jumps to `whole` when all are."""
        asm = self.asm
        asm.store(R10, frame.COUNTERS_KEY, self.probe, 4)
        asm.ld_map(R1, script_frame.THIN)
        asm.mov(R2, R10)
        asm.add(R2, frame.COUNTERS_KEY)
        asm.call(Helper.MAP_LOOKUP)
        asm.mov(R8, 1)
        asm.jeq(R0, 0, whole)
        asm.load(R1, R0, 0, 4)
        asm.jle(R1, 1, whole)
        asm.mov(R8, R1)

    def weigh(self) -> None:
        """The firing's weight goes into the record; more than 1 is marked."""
        asm, whole = self.asm, self.asm.new_label("weighed")
        asm.load(R1, R10, frame.LINK)
        asm.store(R7, script_frame.field("weight"), R1, 4)
        asm.jle(R1, 1, whole)
        self.flag(EventFlags.THINNED)
        asm.label(whole)

    def flag(self, flag: int) -> None:
        """Sets a flag of the record. Loses R1."""
        asm = self.asm
        asm.load(R1, R7, script_frame.field("flags"), 1)
        asm.or_(R1, flag)
        asm.store(R7, script_frame.field("flags"), R1, 1)


def on_demand(step: Step) -> bool:
    """Whether it must be done anew wherever its result is wanted."""
    match step:
        case Block(base):
            return not stable(base)
        case Lookup(map):
            return not stable(map)
        case Chain(unwrapped):
            return not stable(unwrapped)


def below(roots: Iterable[ir.Word]) -> set[ir.Word]:
    """The words and all that they are made of."""
    found: set[ir.Word] = set()
    pending = list(roots)
    while pending:
        word = pending.pop()
        if word not in found:
            found.add(word)
            pending += children(word)
    return found


def steps_for(steps: Iterable[Step], wanted: Iterable[ir.Word]) -> tuple[list[Step], list[Step]]:
    """The steps of a plan that some words need, and the others."""
    needed = below(wanted)
    first: list[Step] = []
    later: list[Step] = []
    for step in steps:
        (first if serves(step, needed) else later).append(step)
    return first, later


def serves(step: Step, words: set[ir.Word]) -> bool:
    """Whether the step is done for one of the words."""
    match step:
        case Block(base):
            return base in words
        case Lookup(map, layout, places):
            return any(ir.MapElement(map, layout, key) in words for key, _, _ in places)
        case Chain(unwrapped):
            type, data, wrappers = unwrapped.type, unwrapped.data, unwrapped.wrappers
            return any(ir.Unwrapped(type, data, wrappers, part) in words for part in (0, 1))
