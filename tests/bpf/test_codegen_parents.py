"""Generated programs in the BPF interpreter: parents within the process, operations that share goroutine or key."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from msgspec.structs import replace

from codegen_process import Process, begin, end, number
from codegen_samples import (
    ARGUMENT,
    CONTEXT,
    CONTEXT_ARGUMENT,
    DEPTH,
    GOID,
    LAYOUT,
    SP,
    STATUS,
    TARGET,
    capture,
)
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.frame import Counter
from gotap.bpf.codegen.program import Place, scoping
from gotap.image.code import Register
from gotap.probe import ir
from gotap.probe.record import HEADER, Layout, RecordFlags

CLIENT = Layout("client", 2, (DEPTH,))


@pytest.fixture(params=[None, LAYOUT.operation_id], ids=["scopes", "rows as scopes"])
def process(request: pytest.FixtureRequest) -> Process:
    return Process(target=replace(TARGET, scoping=request.param))


def test_rows_stand_for_scopes_where_one_operation_is_found_by_goroutine_alone() -> None:
    served = begin(remote=ir.TraceParent(()))
    assert scoping([served, served, end(), replace(served, layout=CLIENT, scope=False)]) == LAYOUT.operation_id
    assert scoping([end()]) is None
    for other in (
        replace(served, layout=CLIENT),
        replace(served, by_depth=True),
        replace(served, key=ARGUMENT),
        replace(served, remote=None),
        replace(served, context=ir.ContextWalk(ir.Const(0), CONTEXT_ARGUMENT, ())),
    ):
        assert scoping([served, other]) is None


def client(process: Process, context: int, goid: int = 99, interface: int | None = None) -> np.void:
    """A client operation on another goroutine with that context; returns its header."""
    process.goroutine(0xC000002000, goid)
    place = Place({CONTEXT_ARGUMENT: Register("rbx")}, None, 0)
    walk = ir.ContextWalk(ir.Const(0), CONTEXT_ARGUMENT, (), interface=interface)
    process.run(ir.Begin(CLIENT, (), None, walk, None, False, True), place, rbx=context, r14=0xC000002000)
    process.run(ir.End(CLIENT, 0, True, (), False, None, True), place, r14=0xC000002000)
    return process.records()[-1][0]


def serve(process: Process, context: int) -> None:
    own = capture(CONTEXT, CONTEXT_ARGUMENT)
    place = Place({CONTEXT_ARGUMENT: Register("rbx")}, None, 0)
    process.run(begin(own, own=CONTEXT_ARGUMENT, remote=ir.TraceParent(())), place, rbx=context)


def finish(process: Process) -> np.void:
    process.run(end(own=ir.Kept(CONTEXT)))
    return process.records()[-1][0]


def test_a_client_finds_its_parent_by_its_context(process: Process) -> None:
    chain = [0xC000040000 + 0x100 * step for step in range(12)]
    for inner, outer in zip(chain[1:], chain, strict=False):
        process.memory.write(inner, struct.pack("<QQ", 0x1234, outer))
    serve(process, chain[0])
    child = client(process, chain[-1])
    parent = finish(process)
    assert bytes(child["trace_id"]) == bytes(parent["trace_id"])
    assert bytes(child["parent_id"]) == bytes(parent["span_id"])
    assert child["flags"] & RecordFlags.LOCAL_PARENT
    assert child["flags"] & RecordFlags.SAMPLED
    orphan = client(process, chain[-1])
    assert bytes(orphan["parent_id"]) == bytes(8), "the request is over: there is no parent"


def test_where_nobody_asks_for_contexts_none_is_noted() -> None:
    process = Process(target=replace(TARGET, scoping=LAYOUT.operation_id, contexts=False))
    serve(process, 0xC000040000)
    assert process.machine.maps[frame.SCOPES].values == {}
    assert finish(process)["span_id"].any()


def test_only_an_interface_of_the_contexts_own_type_is_followed(process: Process) -> None:
    """A type of the program's own may begin with anything; what it leads to is nobody's parent."""
    itab, other, interface = 0xC000050000, 0xC000051000, 0x7000
    process.memory.write(itab, struct.pack("<QQ", TARGET.bias + interface, 1))
    process.memory.write(other, struct.pack("<QQ", TARGET.bias + 0x7100, 1))
    process.memory.write(0xC000040100, struct.pack("<QQ", itab, 0xC000040000))
    process.memory.write(0xC000040200, struct.pack("<QQ", other, 0xC000040000))
    process.memory.write(0xC000040300, struct.pack("<QQ", 5, 0xC000040000))
    serve(process, 0xC000040000)
    contexts = [0xC000040000 + at for at in (0, 0x100, 0x200, 0x300)]
    found = [bytes(client(process, one, interface=interface)["parent_id"]) for one in contexts]
    parent = bytes(finish(process)["span_id"])
    assert found == [parent, parent, bytes(8), bytes(8)]


def test_a_context_that_points_to_what_has_the_parent(process: Process) -> None:
    """Go 1.20's timerCtx begins with a *cancelCtx."""
    timer, other = 0x7200, 0x7300
    for itab, type in ((0xC000050000, timer), (0xC000051000, other)):
        process.memory.write(itab, struct.pack("<QQ", 1, TARGET.bias + type))
    process.memory.write(0xC000040300, struct.pack("<QQ", 0xC000040200, 0))  # timerCtx, its *cancelCtx
    process.memory.write(0xC000040200, struct.pack("<QQ", 0xC000051000, 0xC000040100))  # cancelCtx, its parent
    process.memory.write(0xC000040100, struct.pack("<QQ", 0xC000051000, 0xC000040000))
    serve(process, 0xC000040000)
    itab = ir.Input("argument", 2, 0, 8, False)
    place = Place({CONTEXT_ARGUMENT: Register("rbx"), itab: Register("rcx")}, None, 0)
    process.goroutine(0xC000002000, 99)
    for dynamic in (0xC000050000, 0xC000051000):
        walk = ir.ContextWalk(itab, CONTEXT_ARGUMENT, (), behind=(timer,))
        begun = ir.Begin(CLIENT, (), None, walk, None, False, True)
        process.run(begun, place, rbx=0xC000040300, rcx=dynamic, r14=0xC000002000)
        process.run(ir.End(CLIENT, 0, True, (), False, None, True), place, r14=0xC000002000)
    parents = [bytes(header["parent_id"]) for header, _ in process.records()]
    assert parents == [bytes(finish(process)["span_id"]), bytes(8)]


def test_a_cyclic_or_broken_context_ends_the_walk(process: Process) -> None:
    process.memory.write(0xC000040000, struct.pack("<QQ", 1, 0xC000040000))
    assert bytes(client(process, 0xC000040000)["parent_id"]) == bytes(8)
    assert bytes(client(process, 0xDEAD00000000)["parent_id"]) == bytes(8)


CHILD = ir.Input("callee", 0, 0, 8, False)
CREATOR = ir.Input("callee", 1, 0, 8, False)


def spawn(process: Process, child: int, creator: int) -> None:
    place = Place({CHILD: Register("rbx"), CREATOR: Register("rcx")}, None, None)
    process.run(ir.Spawn(CHILD, (ir.Alternative((), CREATOR),)), place, rbx=child, rcx=creator)


def test_a_client_finds_its_parent_by_its_goroutines_ancestry(process: Process) -> None:
    serve(process, 0xC000040000)
    for child, creator in ((50, GOID), (51, 50), (52, 51), (53, 52)):
        spawn(process, child, creator)
    child = client(process, 0, goid=53)
    stranger = client(process, 0, goid=54)
    parent = finish(process)
    assert bytes(child["parent_id"]) == bytes(parent["span_id"])
    assert bytes(stranger["parent_id"]) == bytes(8)
    late = client(process, 0, goid=53)
    assert bytes(late["parent_id"]) == bytes(8), "an ended request is no parent"
    serve(process, 0xC000040000)  # the next request on the same connection's goroutine
    later = client(process, 0, goid=53)
    assert bytes(later["parent_id"]) == bytes(8), "the goroutine came from the request before"


def begun_meanwhile(process: Process, context: int, element: bytearray, other: bytes, moment: int) -> np.void:
    """The header of a client operation before whose instruction number `moment` the element became another one."""

    def use_again(ran: int) -> None:
        if ran == moment:
            element[:] = other

    before, rows = bytes(element), process.machine.maps[frame.ROWS].values
    open_before = set(rows)
    process.machine.meanwhile = use_again
    walk = ir.ContextWalk(ir.Const(0), CONTEXT_ARGUMENT, ())
    place = Place({CONTEXT_ARGUMENT: Register("rbx")}, None, 0)
    process.run(ir.Begin(CLIENT, (), None, walk, None, False, True), place, rbx=context, r14=0xC000002000)
    process.machine.meanwhile = None
    element[:] = before
    [row] = (rows.pop(key) for key in set(rows) - open_before)
    return np.frombuffer(bytes(row[: HEADER.itemsize]), HEADER)[0]


@pytest.mark.parametrize("way", ["context", "ancestry"])
@pytest.mark.parametrize("again", ["made", "filled"])
def test_a_request_that_ends_while_its_child_begins_is_the_parent_or_there_is_none(
    process: Process, way: str, again: str
) -> None:
    """The kernel gives an element to the next who wants one at once: at any instruction it may be another's."""
    context = 0xC000040000 if way == "context" else 0
    serve(process, 0xC000040000)
    spawn(process, 99, GOID)
    process.goroutine(0xC000002000, 99 if way == "ancestry" else 98)
    own = process.target.scoping is not None and way == "ancestry"
    kind = LAYOUT.operation_id if own else frame.SCOPE_CONTEXT if way == "context" else frame.SCOPE_GOROUTINE
    values = process.machine.maps[frame.ROWS if own else frame.SCOPES].values
    [element] = (value for key, value in values.items() if struct.unpack_from("<I", key, 4)[0] == kind)
    header = np.frombuffer(bytes(element[: HEADER.itemsize]), HEADER)[0]
    parent = (bytes(header["trace_id"]), bytes(header["span_id"]))
    other = bytearray(element)
    for name in ("trace_id", "span_id", "parent_id"):
        start = frame.field(name)
        other[start : start + header[name].nbytes] = (b"\x55" if again == "filled" else b"\0") * header[name].nbytes
    begun_meanwhile(process, context, element, other, 0)
    found = set()
    for moment in range(1, process.machine.ran + 1):
        child = begun_meanwhile(process, context, element, other, moment)
        if child["parent_id"].any():
            assert (bytes(child["trace_id"]), bytes(child["parent_id"])) == parent, moment
        else:
            assert bytes(child["trace_id"]) not in (parent[0], bytes(16), b"\x55" * 16), moment
            assert not child["flags"] & RecordFlags.LOCAL_PARENT
        found.add(bool(child["parent_id"].any()))
    assert found == {True, False}


def test_an_annotation_reaches_the_operation_of_the_creator(process: Process) -> None:
    serve(process, 0xC000040000)
    spawn(process, 60, GOID)
    process.goroutine(0xC000003000, 60)
    process.run(ir.Annotate(LAYOUT, (capture(STATUS, ir.Const(42)),)), r14=0xC000003000)
    finish(process)
    assert number(process.machine.ring[-1], STATUS) == 42


def test_a_begin_below_that_is_about_the_same_is_the_same_operation() -> None:
    process = Process()
    about = replace(begin(capture(CONTEXT, ARGUMENT), by_depth=True), subject=ARGUMENT)
    ended = replace(end(by_depth=True), subject=ir.Kept(CONTEXT), certain=False)
    process.run(about, rax=0x111)
    process.run(about, rax=0x111, rsp=SP - 0x100)
    process.run(about, rax=0x222, rsp=SP - 0x200)
    process.run(about, rax=0x222, rsp=SP - 0x300)
    assert (process.count(Counter.BEGUN), process.count(Counter.NESTED)) == (2, 2)
    process.goroutine(0xC000002000, 30)
    process.run(about, rax=0x111, r14=0xC000002000, rsp=SP - 0x100)
    assert process.count(Counter.BEGUN) == 3, "another goroutine's is another operation"
    for depth in (0x300, 0x200, 0x100, 0):
        process.run(ended, rsp=SP - depth)
    assert len(process.records()) == 2
    assert process.count(Counter.NO_BEGIN) == 0
    process.run(ended, r14=0xC000002000, rsp=SP - 0x100)
    assert process.machine.maps[frame.SCOPES].values == {}
    assert process.machine.maps[frame.ROWS].values == {}


def test_what_a_panic_unwound_does_not_hide_a_later_begin_about_the_same() -> None:
    process = Process()
    about = replace(begin(capture(CONTEXT, ARGUMENT), by_depth=True), subject=ARGUMENT)
    process.run(about, rax=0x111, rsp=SP - 0x100)
    process.run(about, rax=0x111, rsp=SP - 0x100)
    process.run(about, rax=0x111)
    assert (process.count(Counter.BEGUN), process.count(Counter.NESTED)) == (3, 0)


def test_a_request_whose_end_was_missed_is_no_parent_once_the_next_begins(process: Process) -> None:
    """Its context's address may be another context's by now."""
    serve(process, 0xC000040000)
    serve(process, 0xC000041000)
    assert process.count(Counter.STALE) == 1
    found = [bytes(client(process, one)["parent_id"]) for one in (0xC000040000, 0xC000041000)]
    assert found == [bytes(8), bytes(finish(process)["span_id"])]
    assert process.machine.maps[frame.SCOPES].values == {}


def test_what_belongs_to_another_request_by_now_stays_when_a_stale_one_goes(process: Process) -> None:
    serve(process, 0xC000040000)
    place = Place({CONTEXT_ARGUMENT: Register("rbx")}, None, 0)
    served = begin(capture(CONTEXT, CONTEXT_ARGUMENT), own=CONTEXT_ARGUMENT, remote=ir.TraceParent(()))
    process.goroutine(0xC000004000, 40)
    process.run(served, place, rbx=0xC000040000, r14=0xC000004000)
    serve(process, 0xC000041000)
    child = client(process, 0xC000040000)
    process.run(end(own=ir.Kept(CONTEXT)), r14=0xC000004000)
    parent = process.records()[-1][0]
    assert parent["goid"] == 40
    assert bytes(child["parent_id"]) == bytes(parent["span_id"])


def test_a_call_that_a_panic_ended_goes_with_the_next_at_its_depth() -> None:
    process = Process()
    about = replace(begin(capture(CONTEXT, ARGUMENT), by_depth=True), subject=ARGUMENT)
    for subject in (0x111, 0x222):
        process.run(about, rax=subject)
    assert process.count(Counter.STALE) == 1
    process.run(replace(end(by_depth=True), subject=ir.Kept(CONTEXT)))
    assert process.machine.maps[frame.SCOPES].values == process.machine.maps[frame.ROWS].values == {}


def test_a_key_that_names_a_new_operation_takes_the_old_ones_scope_along() -> None:
    process = Process()
    place = Place({ARGUMENT: Register("rax")}, None, 0)
    keyed = replace(begin(), key=ARGUMENT)
    process.run(keyed, place, rax=0x111)
    process.goroutine(0xC000002000, 30)
    process.run(keyed, place, rax=0x111, r14=0xC000002000)
    assert process.count(Counter.STALE) == 1
    process.run(replace(end(), key=ARGUMENT), place, rax=0x111, r14=0xC000002000)
    assert [int(header["goid"]) for header, _ in process.records()] == [30]
    assert process.machine.maps[frame.SCOPES].values == process.machine.maps[frame.ROWS].values == {}


def test_what_turns_out_to_be_no_operation_is_forgotten() -> None:
    process = Process()
    process.run(begin(own=ARGUMENT))
    process.run(replace(end(own=ir.Kept(CONTEXT)), discard=True, certain=False))
    process.run(replace(end(), certain=False))
    assert process.records() == []
    assert process.count(Counter.NO_BEGIN) == process.count(Counter.ENDED) == 0
    assert process.machine.maps[frame.ROWS].values == {}


def test_what_comes_from_elsewhere_is_no_child_of_this_process() -> None:
    """A server's begin has headers to tell its parent, and nothing of its own process."""
    process = Process()
    process.run(begin())
    process.run(begin(by_depth=True, remote=ir.TraceParent(())), rsp=SP - 0x100)
    process.run(begin(by_depth=True), rsp=SP - 0x200)
    process.run(end(by_depth=True), rsp=SP - 0x200)
    process.run(end(by_depth=True), rsp=SP - 0x100)
    inner, middle = (header for header, _ in process.records())
    assert inner["flags"] & RecordFlags.LOCAL_PARENT
    assert not middle["flags"] & RecordFlags.LOCAL_PARENT
    assert not middle["parent_id"].any()


def test_a_key_names_the_operation_at_both_ends_on_any_goroutine() -> None:
    process = Process()
    key = {ARGUMENT: Register("rax")}
    place = Place(key, None, 0)
    first, second = (ir.Begin(LAYOUT, (), None, None, None, True, False, ARGUMENT) for _ in range(2))
    process.run(first, place, rax=0x111)
    process.goroutine(0xC000002000, 30)
    process.run(second, place, rax=0x222, r14=0xC000002000)
    process.run(ir.Annotate(LAYOUT, (capture(STATUS, ir.Const(5)),), True), place)
    ended = ir.End(LAYOUT, 0, True, (), True, None, False, ARGUMENT)
    process.goroutine(0xC000003000, 31)
    process.run(ended, place, rax=0x111, r14=0xC000003000)
    process.run(ended, place, rax=0x222, r14=0xC000003000)
    process.run(ended, place, rax=0x333, r14=0xC000003000)
    records = process.records()
    assert [int(header["goid"]) for header, _ in records] == [GOID, 30]
    assert [number(record, STATUS) for _, record in records] == [5, None]
    assert process.count(Counter.NO_BEGIN) == 1
