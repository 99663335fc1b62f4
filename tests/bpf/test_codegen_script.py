"""Programs of scripts in the BPF interpreter: events, frames, predicates, the moment, variables, thinning, losses."""

from __future__ import annotations

import struct

import pytest
from msgspec.structs import replace

from bpf_interpreter import RingMap
from codegen_process import MAP, Heap
from codegen_samples import (
    ARGUMENT,
    GOID,
    HERE,
    REQUEST,
    SP,
    SWISS,
    TARGET,
    TGID,
    G,
    load,
    text,
)
from gotap.bpf.asm import AssemblerError
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.keys import EPOCHS
from gotap.bpf.codegen.script.routines import generate_routine
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.scriptmaps import map_name
from gotap.bpf.codegen.script.setting import ScriptSetting, ValueSetting
from gotap.bpf.codegen.script.statements import SHORT_LOOP_LIMIT
from gotap.bpf.codegen.target import Place, Target
from gotap.bpf.isa import RingFlags
from gotap.image.code import Edge
from gotap.probe import ir
from gotap.probe.record import HEADER, Column, ColumnKind, Layout
from gotap.probe.script.bound import MapKind, MapSpec, Part, PartKind
from gotap.probe.script.limits import Limits
from gotap.probe.script.record import EventFlags
from gotap.probe.script.routine import (
    Branch,
    CaptureStack,
    CaptureValue,
    ClearMap,
    Emit,
    Ended,
    Enter,
    Forget,
    Leave,
    Loop,
    SetLocal,
    SetOwn,
    Statement,
    Store,
    Tally,
    Unwind,
    Unwound,
    Watch,
)
from script_process import ScriptProcess, emulated_maps

NUMBER = Column("number", ColumnKind.INT, 0)
OTHER = Column("other", ColumnKind.INT, 1)
NAME = Column("name", ColumnKind.TEXT, 2, 64)
LAYOUT = Layout("probe", 5, (NUMBER, OTHER, NAME))
COUNT = MapSpec(0, "@", MapKind.COUNT, (), Part(PartKind.UINT))
SUM = MapSpec(1, "@sum", MapKind.SUM, (), Part(PartKind.UINT))


def capture(column: Column, value: ir.Word | ir.AnyText, *conditions: ir.Word) -> ir.Capture:
    return ir.Capture(column, (ir.Alternative(conditions, value),))


def watch(*body: Statement, when: tuple[ir.Word, ...] = ()) -> Watch:
    return Watch(LAYOUT, when, body)


def emit(*captures: ir.Capture, event: int = 1) -> Emit:
    return Emit(event, captures)


def told(word: ir.Word, process: ScriptProcess | None = None, place: Place = HERE, **registers: int) -> int | None:
    """The word as an event has it."""
    process = process or ScriptProcess()
    process.run(watch(emit(capture(NUMBER, word))), place, **registers)
    return process.events()[-1].number(NUMBER)


def test_a_frame_of_the_threads_own_is_not_claimed() -> None:
    process = ScriptProcess(ScriptSetting(own_frames=True, slots=1))
    (frame_of_thread,) = process.machine.maps[script_frame.FRAMES].values.values()
    frame_of_thread[0] = 1  # as if a program had it
    process.run(watch(emit(capture(NUMBER, ir.Const(5)))))
    assert [event.number(NUMBER) for event in process.events()] == [5]
    assert process.count(Counter.FRAMES_BUSY) == 0


def test_an_event_says_when_where_and_who() -> None:
    process = ScriptProcess()
    process.machine.cookie, process.machine.cpu = 77, 1
    process.run(watch(emit(capture(NUMBER, ir.Const(-5)), event=9)))
    [event] = process.events()
    header = event.header
    assert (header["version"], header["layout"], header["event"], header["flags"]) == (1, 5, 9, 0)
    assert (header["pid"], header["target"], header["goid"], header["tid"]) == (TGID, TARGET.number, GOID, 99)
    assert (header["site"], header["cpu"], header["weight"], header["ended"]) == (77, 1, 1, Ended.OPEN)
    assert header["begin"] > 0 == header["end"]
    assert header["used"] == LAYOUT.heap_offset
    assert event.number(NUMBER) == -5
    assert not event.has(OTHER)
    assert len(event.data) == 128


def test_an_event_takes_nothing_of_the_one_before_it() -> None:
    process = ScriptProcess()
    process.run(watch(emit(capture(NUMBER, ir.Const(1)), capture(NAME, ir.ConstText(b"first"))),
                      emit(capture(OTHER, ir.Const(2)), event=2)))  # fmt: skip
    first, second = process.events()
    assert (first.number(NUMBER), first.text(NAME), first.has(OTHER)) == (1, b"first", False)
    assert (second.has(NUMBER), second.has(NAME), second.number(OTHER)) == (False, False, 2)
    assert second.header["used"] == LAYOUT.heap_offset
    process.run(watch(emit()))
    assert process.events()[-1].header["present"] == 0


def test_events_travel_in_few_sizes() -> None:
    process = ScriptProcess(ScriptSetting(frame_size=1000))
    wide = Column("wide", ColumnKind.TEXT, 2, 600)
    for length in range(0, 600, 50):
        process.memory.write(REQUEST + 1000 * length, b"x" * length) if length else None
        value = ir.Text(ir.Const(REQUEST + 1000 * length), ir.Const(length))
        process.run(Watch(Layout("wide", 6, (NUMBER, OTHER, wide)), (), (emit(capture(wide, value)),)))
        event = process.events()[-1]
        assert event.text(wide) == b"x" * length
        assert len(event.data) == min(size for size in script_frame.SIZES if size >= event.header["used"])


def test_what_finds_no_room_is_left_out_and_told() -> None:
    process = ScriptProcess(ScriptSetting(frame_size=128))
    process.memory.write(REQUEST, b"x" * 64)
    value = ir.Text(ir.Const(REQUEST), ir.Const(30))
    process.run(watch(emit(capture(NAME, value), capture(OTHER, ir.Const(3)))))
    [event] = process.events()
    assert (event.has(NAME), event.number(OTHER), event.header["flags"]) == (False, 3, EventFlags.HEAP_FULL)
    assert process.count(Counter.HEAP_FULL) == 1
    assert process.count(Counter.DEPTH_CUT) == 0
    process.run(watch(emit(capture(OTHER, ir.Const(4)))))
    assert process.events()[-1].header["flags"] == 0


def test_a_predicate_that_does_not_hold_or_fails_is_counted() -> None:
    process = ScriptProcess()
    for when in (ir.Compare("==", ARGUMENT, ir.Const(8), False), load(ir.Const(0))):
        process.run(watch(emit(), when=(when,)), rax=7)
    assert process.events() == []
    assert (process.count(Counter.HITS), process.count(Counter.FALSE)) == (2, 2)
    process.run(watch(emit(), when=(ir.Compare("==", ARGUMENT, ir.Const(8), False),)), rax=8)
    assert len(process.events()) == 1


def test_a_statement_that_fails_is_left_out_and_counted() -> None:
    process = ScriptProcess(ScriptSetting(locals=1))
    unreadable = load(ir.Const(0x10))
    process.run(watch(SetLocal(0, ir.Const(3)), SetLocal(0, unreadable), Branch(unreadable, (emit(event=5),), ()),
                      emit(capture(NUMBER, ir.Local(0)), capture(OTHER, unreadable))))  # fmt: skip
    [event] = process.events()
    assert (event.number(NUMBER), event.has(OTHER), event.header["event"]) == (3, False, 1)
    assert process.count(Counter.UNREADABLE) == 2


def test_the_first_alternative_that_holds() -> None:
    process = ScriptProcess()
    alternatives = (
        ir.Alternative((ir.Const(0),), ir.Const(1)),
        ir.Alternative((), load(ir.Const(0x10))),
        ir.Alternative((ir.Const(1),), ir.Const(3)),
        ir.Alternative((), ir.Const(4)),
        ir.Alternative((), ir.Const(5)),
    )
    process.run(watch(emit(ir.Capture(NUMBER, alternatives))))
    assert process.events()[0].number(NUMBER) == 3


def test_only_the_edge_that_is_meant_fires() -> None:
    process = ScriptProcess()
    place = Place({}, Edge(4, taken=True), 0)  # je
    process.run(watch(emit()), place, rflags=0)
    assert process.count(Counter.HITS) == 0
    process.run(watch(emit()), place, rflags=0x40)
    assert process.count(Counter.HITS) == 1


def test_other_processes_do_not_count() -> None:
    process = ScriptProcess()
    process.machine.pid_tgid = 1 << 32 | 1
    process.run(watch(emit()))
    assert (process.events(), process.count(Counter.HITS)) == ([], 0)


# Frames


def test_a_frame_that_a_preempted_program_holds_is_not_touched() -> None:
    process = ScriptProcess(ScriptSetting(slots=4))
    frames = process.machine.maps[script_frame.FRAMES].values
    first, second = (struct.pack("<I", index) for index in (0, 1))
    frames[first][:] = b"\1" + b"\xee" * (len(frames[first]) - 1)
    before = bytes(frames[first])
    code = generate_routine(watch(emit(capture(NUMBER, ir.Const(1)))), HERE, TARGET, process.setting, 0)
    process.machine.run(code, {"r14": G, "rsp": SP})
    assert process.events()[0].number(NUMBER) == 1
    assert bytes(frames[first]) == before
    assert not any(frames[second][:8])
    for frame_ in frames.values():
        frame_[0] = 1
    process.machine.run(code, {"r14": G, "rsp": SP})
    assert len(process.events()) == 1
    assert process.count(Counter.FRAMES_BUSY) == 1


def test_a_full_ring_is_counted() -> None:
    process = ScriptProcess(ring=300)
    for _ in range(4):
        process.run(watch(emit()))
    assert (process.count(Counter.EVENTS), process.count(Counter.RING_FULL)) == (2, 2)


def test_nothing_fires_after_stop_but_what_is_for_the_end() -> None:
    setting = ScriptSetting(maps=(COUNT,), stops=True)
    process = ScriptProcess(setting)
    one, stop = Tally(0, (), ir.Const(1), signed=False), Emit(2, stop=True)
    last = ir.Compare("==", ARGUMENT, ir.Const(3), False)
    for number in range(1, 9):
        process.run(watch(one, Branch(last, (stop,), ())), HERE, rax=number)
    process.run(watch(emit(event=4)))
    assert [event.header["event"] for event in process.events()] == [2]
    process.setting = replace(setting, stops=False)
    process.run(watch(emit(event=4)))
    assert process.events()[-1].header["event"] == 4
    [value] = process.machine.maps[map_name(COUNT)].values.values()
    assert struct.unpack("<Q", value) == (3,)


def test_what_stops_goes_on_where_nobody_is_told() -> None:
    process = ScriptProcess(ScriptSetting(stops=True), ring=64)
    for _ in range(2):
        process.run(watch(Emit(2, stop=True)))
    assert process.count(Counter.RING_FULL) == 2


def test_a_reader_can_be_woken_at_once() -> None:
    process = ScriptProcess()
    process.run(watch(emit(), Emit(2, wake=True)))
    ring = process.machine.maps[script_frame.RING]
    assert isinstance(ring, RingMap)
    assert ring.flags == [RingFlags.NO_WAKEUP, RingFlags.FORCE_WAKEUP]


# The moment


def test_words_of_the_moment() -> None:
    process = ScriptProcess()
    process.machine.cpu, process.machine.cookie = 1, 42
    process.memory.write(SP + 24, struct.pack("<Q", 0x45678))
    place = Place({}, None, 24)
    expected = {"pid": TGID, "tid": 99, "cpu": 1, "site": 42, "ip": 0x401234, "sp": SP + 24, "caller": 0x45678,
                "ended": Ended.OPEN, "latency": None}  # fmt: skip
    for what, value in expected.items():
        assert told(ir.Ambient(what), process, place, rip=0x401234) == value, what  # type: ignore[arg-type]
    before = told(ir.Ambient("nsecs"), process)
    after = told(ir.Ambient("nsecs"), process)
    assert before is not None
    assert after is not None
    assert before < after


def test_without_cookies_the_site_is_a_constant() -> None:
    process = ScriptProcess()
    routine = watch(emit(capture(NUMBER, ir.Ambient("site"))))
    code = generate_routine(routine, HERE, TARGET, process.setting, 0, 31)
    process.machine.cookie = 7
    process.machine.run(code, {"r14": G, "rsp": SP})
    [event] = process.events()
    assert event.number(NUMBER) == event.header["site"] == 31


def test_ids_of_threads_are_those_of_gotaps_own_namespace() -> None:
    process = ScriptProcess(ScriptSetting(pid_namespace=(4, 0xF0000001)), target=replace(TARGET, pid=0))
    process.machine.pid_namespace = 4, 0xF0000001
    process.machine.pid_tgid = TGID << 32 | 5000
    process.run(watch(emit(capture(NUMBER, ir.Ambient("tid")), capture(OTHER, ir.Ambient("pid")))))
    [event] = process.events()
    assert (event.number(NUMBER), event.number(OTHER)) == (4000, TGID - 1000)
    assert (event.header["tid"], event.header["pid"], event.header["target"]) == (4000, TGID - 1000, TARGET.number)


def test_threads_own_goroutines_have_variables_of_their_own() -> None:
    """All g0 have the goid 0; what stands for one is its address."""
    process = ScriptProcess(ScriptSetting(own=1))
    for g in (G + 0x1000, G + 0x2000):
        process.goroutine(g, 0)
        process.run(watch(SetOwn(0, ir.Const(g), True)), r14=g)
    for g in (G + 0x1000, G + 0x2000):
        assert told(ir.Own(0), process, r14=g) == g
        assert process.events()[-1].header["goid"] == 0
    assert told(ir.Own(0), process) == 0


def test_where_no_goroutine_can_be_read_there_is_none() -> None:
    process = ScriptProcess()
    process.run(watch(emit()), r14=0x10)
    assert process.events()[0].header["goid"] == 0


def test_programs_that_are_not_gos_have_variables_of_threads() -> None:
    process = ScriptProcess(ScriptSetting(own=1), target=Target(3, TGID, None, 0, None, None))
    for thread in (5, 6, 5):
        process.machine.pid_tgid = TGID << 32 | thread
        process.run(watch(SetOwn(0, ir.Const(1), True)))
    process.machine.pid_tgid = TGID << 32 | 5
    assert told(ir.Own(0), process) == 2


# What the kernel hands over


def test_fields_and_texts_of_a_tracepoints_record() -> None:
    process = ScriptProcess(target=Target(3, 0, None, 0, None, None))
    record = struct.pack("<8xiHH8sI", -7, 0xFFFE, 0, b"comm\0\0\0\0", 6 << 16 | 28) + b"where\0"
    routine = watch(
        emit(capture(NUMBER, ir.Field(8, 4, True)), capture(OTHER, ir.Field(12, 2, True)),
             capture(NAME, ir.RecordText(16, 8, False))),
        emit(capture(NUMBER, ir.Field(8, 4, False)), capture(NAME, ir.RecordText(24, 4, True))),
    )  # fmt: skip
    code = generate_routine(routine, HERE, process.target, process.setting, 0, 3, registers=False)
    process.machine.run(code, context=record)
    first, second = process.events()
    assert (first.number(NUMBER), first.number(OTHER), first.text(NAME)) == (-7, -2, b"comm")
    assert (second.number(NUMBER), second.text(NAME)) == (0xFFFFFFF9, b"where")
    assert first.header["pid"] == TGID


def test_texts_of_c_end_at_their_zero() -> None:
    process = ScriptProcess()
    process.memory.write(REQUEST, b"/bin/sh\0after")
    process.run(watch(emit(capture(NAME, ir.CText(ARGUMENT, 64)))))
    process.run(watch(emit(capture(NAME, ir.CText(ir.Const(0x10), 64)))))
    assert [event.text(NAME) for event in process.events()] == [b"/bin/sh", None]


# Variables, maps


def test_a_goroutines_variables_go_with_it() -> None:
    process = ScriptProcess(ScriptSetting(own=2, own_texts=frozenset({1})))
    process.memory.write(REQUEST, struct.pack("<QQ", REQUEST + 32, 3) + bytes(16) + b"GET")
    process.run(watch(SetOwn(0, ir.Const(4)), SetOwn(1, text(ARGUMENT))))
    process.run(watch(emit(capture(NUMBER, ir.Own(0)), capture(NAME, ir.OwnText(1)))))
    process.run(Forget(ARGUMENT), rax=GOID)
    assert process.machine.maps[script_frame.OWN].values == {}
    process.run(watch(emit(capture(NUMBER, ir.Own(0)), capture(NAME, ir.OwnText(1)))))
    assert [(event.number(NUMBER), event.text(NAME)) for event in process.events()] == [(4, b"GET"), (0, b"")]


def test_too_many_goroutines_with_variables_are_counted() -> None:
    process = ScriptProcess(ScriptSetting(own=1))
    for goid in range(1, 11):
        process.goroutine(G + 0x1000 * goid, goid)
        process.run(watch(SetOwn(0, ir.Const(1))), r14=G + 0x1000 * goid)
    assert process.count(Counter.OWN_FULL) == 2


def test_printing_a_map_says_which_epoch_is_meant() -> None:
    process = ScriptProcess(ScriptSetting(maps=(COUNT, SUM)))
    for _ in range(2):
        process.run(watch(Emit(1, epoch_of=1), ClearMap(1), Emit(2, epoch_of=1), Emit(3, epoch_of=0), emit(event=4)))
    weights = [int(event.header["weight"]) for event in process.events()]
    assert weights == [0, 1, 0, 1, 1, 2, 0, 1]
    assert struct.unpack_from("<QQ", process.machine.maps[EPOCHS].values[bytes(4)]) == (0, 2)


def test_a_full_map_is_counted() -> None:
    spec = MapSpec(0, "@", MapKind.VALUE, (Part(PartKind.UINT),), Part(PartKind.UINT), entries=2)
    process = ScriptProcess(ScriptSetting(maps=(spec,)))
    for key in range(4):
        process.run(watch(Store(0, (ir.Const(key),), ir.Const(1))))
    assert process.count(Counter.MAP_FULL) == 2


def test_long_texts_are_compared_whole() -> None:
    process = ScriptProcess()
    long = b"x" * 500
    texts = struct.pack("<QQQQ", REQUEST + 64, 500, REQUEST + 64, 513)
    process.memory.write(REQUEST, texts.ljust(64) + long + b"y" * 20)
    for value, expected in ((long, 1), (long[:-1] + b"y", 0), (long[:-1], 0)):
        assert told(ir.TextEquals(text(ARGUMENT), value), process) == expected
    assert told(ir.TextEquals(text(ARGUMENT, 16), long), process) is None
    assert told(ir.TextsEqual(text(ARGUMENT), text(ARGUMENT)), process) == 1
    assert told(ir.TextsEqual(text(ARGUMENT), text(ARGUMENT, 16)), process) is None


# Loops


def test_loops_stand_in_loops() -> None:
    process = ScriptProcess(ScriptSetting(locals=3, maps=(COUNT, SUM)))
    inner = Loop(2, ir.Const(0), ir.Local(1), (Tally(1, (), ir.Local(2), False),))
    middle = Loop(1, ir.Const(0), ir.Local(0), (inner,))
    process.run(watch(Loop(0, ir.Const(0), ir.Const(6), (middle,))))
    expected = sum(c for a in range(6) for b in range(a) for c in range(b))
    [value] = process.machine.maps["map1"].values.values()
    assert struct.unpack_from("<QQ", value)[1] == expected


@pytest.mark.parametrize(("has_loop", "rounds"), [(True, 200), (False, SHORT_LOOP_LIMIT)])
def test_loops_that_would_go_on_are_cut_and_counted(
    has_loop: bool, rounds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gotap.bpf.codegen.script.statements.LOOP_LIMIT", 200)
    process = ScriptProcess(ScriptSetting(locals=1, maps=(COUNT,), has_loop=has_loop))
    process.run(watch(Loop(0, ir.Const(-3), ir.Const(rounds - 3), (SetLocal(0, ir.Const(0)),))))
    assert process.count(Counter.LOOP_CUT) == 0
    process.run(watch(Loop(0, ir.Const(-3), ir.Const(rounds - 2), (SetLocal(0, ir.Const(0)),))))
    assert process.count(Counter.LOOP_CUT) == 1


def test_a_go_map_that_a_variable_leads_to_is_looked_up_each_time() -> None:
    process = ScriptProcess(ScriptSetting(locals=2))
    heap = Heap(process.memory)
    for index in range(3):
        headers = {b"Key": b"value %d" % index, b"Other": b"x"}
        process.memory.write(MAP + 0x1000 * index, heap.swiss(headers, SWISS))
    element = ir.MapElement(ir.Local(1), SWISS, b"Key")
    first = load(element)
    found = capture(NAME, ir.Text(load(first), load(first, 8)))
    address = ir.Add(ir.Const(MAP), ir.Arithmetic("*", ir.Local(0), ir.Const(0x1000), False))
    process.run(watch(Loop(0, ir.Const(0), ir.Const(3), (SetLocal(1, address), emit(found)))))
    assert [event.text(NAME) for event in process.events()] == [b"value 0", b"value 1", b"value 2"]


# Thinning


def test_what_is_thinned_stands_for_more() -> None:
    process = ScriptProcess(ScriptSetting(maps=(COUNT, SUM), thinning=True))
    process.machine.maps[script_frame.THIN].values[bytes(4)][:] = struct.pack("<I", 4)
    routine = watch(emit(), Tally(0, (), ir.Const(1), False), Tally(1, (), ir.Const(10), False))
    code = generate_routine(routine, HERE, TARGET, process.setting, 0)
    for _ in range(400):
        process.machine.run(code, {"r14": G, "rsp": SP})
    taken = process.count(Counter.HITS)
    assert 60 < taken < 140, "one of four, by the interpreter's own seed"
    events = process.events()
    assert len(events) == taken
    assert {(int(event.header["weight"]), int(event.header["flags"])) for event in events} == {(4, EventFlags.THINNED)}
    count, sum = (next(iter(process.machine.maps[f"map{number}"].values.values())) for number in (0, 1))
    assert struct.unpack("<Q", count) == (4 * taken,)
    assert struct.unpack("<QQ", sum) == (4 * taken, 40 * taken)


def test_calls_are_thinned_at_their_entry() -> None:
    process = ScriptProcess(ScriptSetting(thinning=True))
    process.machine.maps[script_frame.THIN].values[bytes(4)][:] = struct.pack("<I", 3)
    enter, leave = (generate_routine(one, HERE, TARGET, process.setting, 0)
                    for one in (Enter(LAYOUT, ()), Leave(LAYOUT, (), (emit(),))))  # fmt: skip
    for _ in range(90):
        for code in (enter, leave):
            process.machine.run(code, {"r14": G, "rsp": SP})
    events = process.events()
    assert 10 < len(events) == process.count(Counter.HITS) < 60
    assert {int(event.header["weight"]) for event in events} == {3}
    assert process.count(Counter.UNPAIRED) == 0


# Calls


@pytest.mark.parametrize(("keeping", "apart"), [(200, 0), (300, 1)])
def test_a_call_keeps_what_its_end_needs(keeping: int, apart: int) -> None:
    process = ScriptProcess(ScriptSetting(keeping={5: keeping}))
    process.memory.write(REQUEST, struct.pack("<QQ", REQUEST + 32, 4) + bytes(16) + b"path")
    process.machine.cookie = 12
    process.run(Enter(LAYOUT, (), (capture(NAME, text(ARGUMENT)), capture(NUMBER, ARGUMENT))))
    assert len(process.machine.maps[f"{script_frame.KEPT}1"].values) == apart
    process.machine.cookie = 0
    process.memory.write(REQUEST + 32, b"else")
    same = ir.TextsEqual(ir.KeptText(NAME), ir.ConstText(b"path"))
    process.run(Leave(LAYOUT, (same,), (emit(capture(OTHER, ir.Ambient("latency"))),)), rax=1)
    [event] = process.events()
    assert (event.text(NAME), event.number(NUMBER), event.number(OTHER)) == (b"path", REQUEST, 1000)
    header = event.header
    assert (header["site"], header["ended"], header["end"] - header["begin"]) == (12, Ended.RETURN, 1000)


def test_returns_of_calls_that_began_before_the_attach_are_counted() -> None:
    process = ScriptProcess()
    process.run(Leave(LAYOUT, (), (emit(),)))
    assert (process.events(), process.count(Counter.UNPAIRED)) == ([], 1)
    process = ScriptProcess(ScriptSetting(filtered=frozenset({5})))
    process.run(Enter(LAYOUT, (ir.Const(0),)))
    process.run(Leave(LAYOUT, (), (emit(),)))
    assert (process.events(), process.count(Counter.UNPAIRED)) == ([], 0)


NAMED = Enter(LAYOUT, (), (capture(NAME, text(ARGUMENT)), capture(NUMBER, ARGUMENT)))


@pytest.mark.parametrize("full", [script_frame.HEADS, f"{script_frame.KEPT}1"])
def test_calls_that_find_no_room_are_counted_and_leave_nothing(full: str) -> None:
    process = ScriptProcess(ScriptSetting(keeping={5: 300}))
    process.memory.write(REQUEST, struct.pack("<QQ", REQUEST + 32, 4) + bytes(16) + b"path")
    process.machine.maps[full].max_entries = 1
    for goid in (1, 2):
        process.goroutine(G + 0x1000 * goid, goid)
        process.run(NAMED, r14=G + 0x1000 * goid)
    assert process.count(Counter.CALLS_FULL) == 1
    for goid in (1, 2):
        process.run(Leave(LAYOUT, (), (emit(),)), r14=G + 0x1000 * goid)
    assert [int(event.header["goid"]) for event in process.events()] == [1]
    for name in (script_frame.CALLS, script_frame.HEADS, f"{script_frame.KEPT}1"):
        assert process.machine.maps[name].values == {}, name


def test_calls_deeper_than_a_goroutine_has_room_for_have_entries_of_their_own() -> None:
    process = ScriptProcess(ScriptSetting(keeping={5: 200}))
    room, maps = process.setting.head_calls, process.machine.maps
    maps[script_frame.CALLS].max_entries = 2
    stacks = [SP - 64 * level for level in range(room + 3)]
    for level, stack in enumerate(stacks):
        process.run(Enter(LAYOUT, (), (capture(NUMBER, ARGUMENT),)), rsp=stack, rax=level)
    assert (len(maps[script_frame.CALLS].values), process.count(Counter.CALLS_FULL)) == (2, 1)
    for stack in reversed(stacks[:-1]):
        process.run(Leave(LAYOUT, (), (emit(),)), rsp=stack)
    assert [event.number(NUMBER) for event in process.events()] == [*reversed(range(room + 2))]
    assert maps[script_frame.CALLS].values == maps[script_frame.HEADS].values == {}


def test_a_goroutine_keeps_its_value_until_it_ends_unless_there_are_many() -> None:
    process = ScriptProcess(ScriptSetting(keeping={5: 200}, unwinder=True))
    heads, most = process.machine.maps[script_frame.HEADS].values, 3
    counts = process.machine.maps[script_frame.HEAD_COUNT].values
    counts[bytes(4)][:] = struct.pack("<QQ", 0, most)
    for goid in range(1, 6):
        process.goroutine(G + 0x1000 * goid, goid)
        for _ in range(2):
            process.run(Enter(LAYOUT, (), ()), r14=G + 0x1000 * goid)
            process.run(Leave(LAYOUT, (), (emit(),)), r14=G + 0x1000 * goid)
    assert [int.from_bytes(key[8:], "little") for key in heads] == [1, 2, 3]
    for goid in (2, 5):
        exited = Unwind(ir.Const(goid), None, "goexit", (Unwound(LAYOUT, (), ()),))
        process.run(exited, r14=G + 0x1000 * goid)
    assert [int.from_bytes(key[8:], "little") for key in heads] == [1, 3]
    assert struct.unpack("<QQ", counts[bytes(4)]) == (2, most)
    assert len(process.events()) == 10


def test_recursion_and_a_stack_that_moves() -> None:
    process = ScriptProcess(ScriptSetting(keeping={5: 200}))
    for depth in range(20):
        process.run(Enter(LAYOUT, (), (capture(NUMBER, ARGUMENT),)), rax=depth, rsp=SP - 64 * depth)
    moved = 0x10_0000
    process.memory.write(G + 8, struct.pack("<Q", 0xC000100000 + moved))
    for depth in reversed(range(20)):
        process.run(Leave(LAYOUT, (), (emit(),)), rsp=SP - 64 * depth + moved)
    assert [event.number(NUMBER) for event in process.events()] == list(reversed(range(20)))
    assert process.machine.maps[script_frame.HEADS].values == {}


# The server request


@pytest.mark.parametrize("scoping", [None, 8], ids=["scopes", "rows"])
def test_trace_ids_are_those_of_the_request_that_is_served(scoping: int | None) -> None:
    process = ScriptProcess(ScriptSetting(traces=True, scoping=scoping))
    words = [ir.TraceWord("traceid", 0), ir.TraceWord("traceid", 1), ir.TraceWord("spanid")]
    from bpf_interpreter import HashMap, Machine

    size = frame.ROW_SIZE if scoping else frame.SCOPE_SIZE
    kept = HashMap(frame.SCOPE_KEY_SIZE, size, 8)
    links = HashMap(frame.SCOPE_KEY_SIZE, frame.LINK_SIZE, 8)
    maps = {**emulated_maps(process.setting), (frame.ROWS if scoping else frame.SCOPES): kept, frame.LINKS: links}
    process.machine = Machine(maps, memory=process.memory, pid_tgid=TGID << 32 | 99)

    def ids() -> list[int | None]:
        return [told(word, process) for word in words]

    assert ids() == [None, None, None]
    scope = bytearray(size)
    fields = HEADER.fields
    assert fields is not None
    for name, value in (("trace_id", bytes(8) + b"\1" * 8), ("span_id", b"\2" * 8)):
        scope[fields[name][1] : fields[name][1] + len(value)] = value
    key = struct.pack("<IIQQ", TARGET.number, scoping or frame.SCOPE_GOROUTINE, GOID, 0)
    kept.values[key] = scope
    expected = [0, int.from_bytes(b"\1" * 8, "little"), int.from_bytes(b"\2" * 8, "little")]
    assert ids() == expected
    kept.values[struct.pack("<IIQQ", TARGET.number, scoping or 0, 5, 0)] = kept.values.pop(key)
    link = struct.pack("<IIQQ", TARGET.number, frame.SCOPE_GOROUTINE, GOID, 0)
    links.values[link] = bytearray(struct.pack("<Q", 5) + b"\2" * 8)
    assert ids() == expected, "the goroutine was created under the request"
    links.values[link][8] = 3
    assert ids() == [None, None, None], "another request by now"


# Stacks and values


def test_a_stack_is_a_column() -> None:
    process = ScriptProcess()
    column = Column("stack", ColumnKind.STACK, 1)
    bases = [SP + 0x100, SP + 0x200, 0]
    for base, following, address in zip(bases, bases[1:], (0x402000, 0x403000), strict=False):
        process.memory.write(base, struct.pack("<QQ", following, address))
    process.memory.write(SP, struct.pack("<Q", 0x401500))
    stack = CaptureStack(column, ir.Stack(8))
    taken = Emit(1, (capture(NAME, ir.ConstText(b"odd")),), stacks=(stack,))
    process.run(Watch(Layout("stacks", 4, (NUMBER, column, NAME)), (), (taken,)), rip=0x401234, rbp=SP + 0x100)
    [event] = process.events()
    data = event.text(column)
    assert data is not None
    assert struct.unpack(f"<{len(data) // 8}Q", data) == (0x401234, 0x401500, 0x402000, 0x403000)
    assert event.text(NAME) == b"odd"


def test_a_calls_values_come_from_both_of_its_ends() -> None:
    """What its end adds stands behind what its entry left, in a chunk of its own if that had chunks."""
    process = ScriptProcess(ScriptSetting(keeping={6: 1000}, values=ValueSetting(Limits())))
    early, late = (Column(name, ColumnKind.VALUE, index) for index, name in enumerate(("early", "late")))
    layout = Layout("values", 6, (early, late, NAME))
    given = CaptureValue(early, 0, 12, parts=((0, 8, ARGUMENT), (8, 4, ir.Const(7))))
    process.memory.write(REQUEST, bytes(range(40)))
    result = CaptureValue(late, 0, 40, address=ARGUMENT)
    process.run(Enter(layout, (), values=(given,)), rax=0x1122334455667788)
    process.run(Leave(layout, (), (Emit(0, (capture(NAME, ir.ConstText(b"text")),), (result,)), Emit(1))))
    both, entry = process.events()
    assert both.text(early) == entry.text(early) == struct.pack("<QI", 0x1122334455667788, 7)
    assert (both.text(late), both.text(NAME)) == (bytes(range(40)), b"text")
    assert not entry.has(late)
    assert not entry.has(NAME)


def test_values_need_a_setting() -> None:
    value = CaptureValue(Column("value", ColumnKind.VALUE, 0), 0, 8, address=ARGUMENT)
    with pytest.raises(AssemblerError, match="nothing is known of their types"):
        ScriptProcess().run(Watch(LAYOUT, (), (Emit(1, values=(value,)),)))


def test_expressions_that_nest_too_deeply_are_refused() -> None:
    word: ir.Word = ARGUMENT
    for _ in range(40):
        word = ir.Add(ARGUMENT, word)
    with pytest.raises(AssemblerError, match="nested too deeply"):
        ScriptProcess().run(watch(emit(capture(NUMBER, word))))


def test_loops_that_nest_too_deeply_are_refused() -> None:
    loop: Statement = emit()
    for _ in range(5):
        loop = Loop(0, ir.Const(0), ir.Const(2), (loop,))
    with pytest.raises(AssemblerError, match="4 deep at most"):
        ScriptProcess(ScriptSetting(locals=1)).run(watch(loop))
