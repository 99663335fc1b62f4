"""What all programs of one script have in common, beside their target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from gotap.bpf.codegen.script import script_frame
from gotap.probe import ir
from gotap.probe.script.bound import BoundScript, EventKind, MapSpec
from gotap.probe.script.limits import Limits
from gotap.probe.script.record import EVENT
from gotap.probe.script.routine import Enter, Routine
from gotap.probe.script.stackwords import StackWords
from gotap.probe.shapes import Shapes

#: Calls that are open on a goroutine at once and need no entry of their own, if they take no more than so many bytes;
#: half of that inside the target, where an entry costs little and memory is taken in advance.
_HEAD_CALLS, _HEAD_BYTES = 4, 1024


class ValueSetting(Struct, frozen=True):
    """What programs must know to capture values with what they lead to: see gotap.bpf.codegen.script.deep_memory."""

    limits: Limits
    read_only: tuple[tuple[int, int], ...] = ()
    dynamic_first: int = 0
    dynamic_count: int = 0


class ScriptSetting(Struct, frozen=True):
    """Constants of the programs. The maps' sizes follow from it, see `gotap.bpf.codegen.script.script_frame`.

    `frame_size`: bytes of the largest record; `slots`: frames, a power of two; `own_frames`: each thread has one, which
    FRAMES gives by any key; `told`: there may be events; `timed`: somebody may ask when calls began and ended;
    `filtered`: layouts whose calls are not all followed, so that a return without a call tells nothing; `keeping`: of
    those of whose entries more is kept than when and where it was, how many bytes of the record at most; `traces`:
    whether the catalogue's maps of open server operations are at hand, under the names of `gotap.bpf.codegen.frame`,
    and `scoping` as of their programs.
    `stops`: STOPPED is to be set, and heeded.
    `pid_namespace`: device and inode of gotap's own, None where it is the first one.
    """

    frame_size: int = 1024
    slots: int = 16
    own_frames: bool = False
    told: bool = True
    timed: bool = True
    locals: int = 0
    own: int = 0
    own_texts: frozenset[int] = frozenset()
    maps: tuple[MapSpec, ...] = ()
    filtered: frozenset[int] = frozenset()
    keeping: Mapping[int, int] = field(default_factory=dict)
    has_loop: bool = True
    has_cookie: bool = True
    cpus: int = 0  # possible CPUs; 0: programs cannot look at other CPUs' values (bpf_map_lookup_percpu_elem)
    stack_words: StackWords | None = None
    values: ValueSetting | None = None
    unwinder: bool = False  # whether UNWINDERS holds a program
    thinning: bool = False
    stops: bool = False
    traces: bool = False
    scoping: int | None = None
    pid_namespace: tuple[int, int] | None = None

    @property
    def record_size(self) -> int:
        """Bytes of a frame's record: the size by which the largest event travels."""
        return next((size for size in script_frame.SIZES if size >= self.frame_size), script_frame.LARGEST_FRAME)

    @property
    def frame_value_size(self) -> int:
        return script_frame.FRAME_SCRATCH + self.record_size + script_frame.FRAME_TAIL

    @property
    def own_size(self) -> int:
        return script_frame.own_offsets(self.own, self.own_texts)[1]

    @property
    def call_record(self) -> int:
        """Bytes of a record that stand with the call: its header, and all that is kept of most calls, since copying
        costs little and an insertion much.
        """
        kept = (-(-size // 8) * 8 for size in self.keeping.values() if size <= script_frame.KEPT_SIZES[0])
        return max((EVENT.itemsize, *kept))

    @property
    def call_size(self) -> int:
        """Bytes of a value of CALLS."""
        return script_frame.CALL_HEADER + self.call_record

    @property
    def head_calls(self) -> int:
        """How many calls a value of HEADS has room for."""
        return max(1, min(_HEAD_CALLS, _HEAD_BYTES // (self.call_size << self.own_frames)))

    @property
    def head_size(self) -> int:
        """Bytes of a value of HEADS."""
        return script_frame.HEAD_SIZE + self.head_calls * self.call_size

    def kept_classes(self, layout: int | None = None) -> int:
        """How many of the classes of `kept_sizes` matter for calls of a layout, or for all calls."""
        sizes = [size for number, size in self.keeping.items() if layout in (None, number)]
        most = min(max(sizes, default=0), self.record_size)
        return next(number for number, size in enumerate((self.call_record, *self.kept_sizes)) if most <= size)

    @property
    def kept_sizes(self) -> tuple[int, ...]:
        """Bytes of a value of KEPT1, KEPT2, …: what is kept of a call from its entry, by class."""
        smaller = [size for size in script_frame.KEPT_SIZES if size < self.record_size]
        return (*smaller, self.record_size)


def asks_for_latency(value: object) -> bool:
    """Whether a statement, an expression, or what they are made of, does."""
    if isinstance(value, ir.Ambient):
        return value.what == "latency"
    if isinstance(value, Struct):
        return any(asks_for_latency(getattr(value, name)) for name in value.__struct_fields__)
    if isinstance(value, Mapping):
        return asks_for_latency(list(value.values()))
    return isinstance(value, list | tuple | frozenset) and any(map(asks_for_latency, value))


def value_setting(shapes: Shapes) -> ValueSetting:
    dynamic = shapes.dynamic
    return ValueSetting(shapes.limits, shapes.read_only, dynamic.first, len(dynamic.numbers))


def filtered_layouts(routines: Iterable[Routine]) -> frozenset[int]:
    """Layouts of calls that a predicate decides at the entry about."""
    return frozenset(one.layout.operation_id for one in routines if isinstance(one, Enter) and one.when)


def keeping_layouts(routines: Iterable[Routine]) -> dict[int, int]:
    """Layouts of calls whose entries fill columns, and how many bytes of the record those are at most."""
    enters = [one for one in routines if isinstance(one, Enter) and (one.captures or one.values or one.stacks)]
    return {one.layout.operation_id: _kept(one) for one in enters}


def _kept(enter: Enter) -> int:
    if enter.values:
        return script_frame.LARGEST_FRAME
    texts = sum(one.column.limit for one in enter.captures)
    return enter.layout.heap_offset + texts + sum(8 + 8 * one.stack.frames for one in enter.stacks)


def script_setting(script: BoundScript, *, slots: int = 16, own_frames: bool = False, has_loop: bool = True,
                   has_cookie: bool = True, cpus: int = 0, unwinder: bool = False, thinning: bool = False,
                   traces: bool = False, scoping: int | None = None, pid_namespace: tuple[int, int] | None = None,
                   ) -> ScriptSetting:  # fmt: skip
    """The setting of a script on a kernel with these features."""
    return ScriptSetting(
        frame_size=script.frame_size,
        slots=slots,
        own_frames=own_frames,
        told=bool(script.events),
        timed=bool(script.events) or asks_for_latency([one.routine for one in script.routines]),
        locals=script.locals,
        own=script.own,
        own_texts=script.own_texts,
        maps=tuple(script.maps),
        filtered=filtered_layouts(one.routine for one in script.routines),
        keeping=keeping_layouts(one.routine for one in script.routines),
        has_loop=has_loop,
        has_cookie=has_cookie,
        cpus=cpus,
        stack_words=script.stack_words,
        values=None if script.shapes is None else value_setting(script.shapes),
        unwinder=unwinder,
        thinning=thinning,
        stops=any(spec.kind is EventKind.STOP for spec in script.events.values()),
        traces=traces,
        scoping=scoping,
        pid_namespace=pid_namespace,
    )
