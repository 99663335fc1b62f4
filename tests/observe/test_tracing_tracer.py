"""Hand-bound scripts on a C program: what a tracer attaches, runs, hands out and leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import probe_target
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.machine import Executable
from gotap.image.code import Cost, Site
from gotap.kernel import features, syscalls
from gotap.kernel.errors import AttachError, BadSiteError
from gotap.kernel.machine import KernelMachine
from gotap.kernel.tracefs import Tracefs, TracefsError
from gotap.observe.tracing.governor import Governor
from gotap.observe.tracing.tracer import Tracer
from gotap.probe import ir
from gotap.probe.places import BoundSite
from gotap.probe.record import Column, ColumnKind, Layout
from gotap.probe.script.bound import BoundRoutine, BoundScript, MapKind, MapSpec, Origin, Part, PartKind
from gotap.probe.script.record import EVENT
from gotap.probe.script.routine import Emit, Statement, Tally, Watch
from kernel_access import needs_bpf
from probe_target import Target

pytestmark = [pytest.mark.root, needs_bpf]

COUNT = Tally(0, (ir.Ambient("site"),), ir.Const(1), False)


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe_target.build(tmp_path_factory.mktemp("target"))


@pytest.fixture
def target(executable: Path) -> Iterator[Target]:
    with Target(executable) as running:
        yield running


def layout(number: int) -> Layout:
    return Layout(f"probe{number}", number, (Column("tid", ColumnKind.UINT, 0),))


def emit(number: int) -> Emit:
    column = layout(number).column("tid")
    return Emit(1, (ir.Capture(column, (ir.Alternative((), ir.Ambient("tid")),)),))


def watch(number: int, *body: Statement, origin: Origin | None = None, sites: tuple[tuple[str, int], ...] = (),
          executable: Path | None = None) -> BoundRoutine:  # fmt: skip
    bound = []
    for name, cookie in sites:
        assert executable is not None
        address, offset = probe_target.symbol(executable, name)
        bound.append((BoundSite(Site(address, Cost.EMULATED, 0), offset, {}, name), cookie))
    return BoundRoutine(f"probe {number}", number, Watch(layout(number), (), body), tuple(bound), origin)


def script(*routines: BoundRoutine) -> BoundScript:
    site = Part(PartKind.UINT)
    counting = MapSpec(0, "@", MapKind.COUNT, (site,), Part(PartKind.UINT))
    layouts = {one.number: layout(one.number) for one in routines}
    return BoundScript(list(routines), [counting], layouts, {}, [])


def process(target: Target) -> Executable:
    return Executable(target.pid, None, target.exe, 0)


def counts(tracer: Tracer) -> dict[int, int]:
    """What the map holds: site number → count."""
    return {int.from_bytes(entry.parts[0], "little"): entry.count for entry in tracer.maps.read(0)}


def test_one_program_for_all_sites_of_a_routine(target: Target, executable: Path) -> None:
    bound = script(watch(1, COUNT, sites=(("pushed", 7), ("stepped", 8)), executable=executable))
    tracer = Tracer(KernelMachine(features.scripting()), bound)
    assert tracer.attach(process(target)) == 2
    assert len(tracer.loaded()) == 1
    target.do("mmts")
    assert counts(tracer) == {7: 3, 8: 1}
    (told,) = tracer.counts()
    assert (told.probe, told.counts[Counter.HITS]) == ("probe 1", 4)
    address, _ = probe_target.symbol(executable, "pushed")
    assert target.text(address, 1) == b"\xcc"
    tracer.detach()
    assert target.text(address, 1) == b"\x55"
    assert counts(tracer) == {7: 3, 8: 1}, "what was gathered stays"
    tracer.close()


def test_events_come_by_layout_and_know_their_order(target: Target, executable: Path) -> None:
    bound = script(
        watch(1, emit(1), sites=(("pushed", 0),), executable=executable),
        watch(2, emit(2), sites=(("stepped", 1),), executable=executable),
    )
    tracer = Tracer(KernelMachine(features.scripting()), bound)
    tracer.attach(process(target))
    target.do("msmms")
    found: list[tuple[int, int]] = []
    for number, rows in tracer.events():
        head = rows[:, : EVENT.itemsize].view(EVENT)[:, 0]
        assert (head["layout"] == number).all()
        assert (head["pid"] == target.pid).all()
        column = layout(number).column("tid")
        threads = np.ascontiguousarray(rows[:, column.offset : column.offset + 8]).view(np.uint64)[:, 0]
        assert (threads == target.pid).all()
        found.extend((int(place), number) for place in head["sequence"])
    assert [number for _, number in sorted(found)] == [1, 2, 1, 1, 2]
    tracer.close()


def test_begin_runs_once_intervals_when_due_end_at_the_end(target: Target, executable: Path) -> None:
    bound = script(
        watch(1, COUNT, origin=Origin("begin", cookie=11)),
        watch(2, COUNT, origin=Origin("interval", nanoseconds=2_000_000_000, cookie=12)),
        watch(3, COUNT, origin=Origin("end", cookie=13)),
        watch(4, COUNT, sites=(("pushed", 4),), executable=executable),
    )
    tracer = Tracer(KernelMachine(features.scripting()), bound)
    tracer.attach(process(target))
    assert counts(tracer) == {11: 1}
    due = tracer.run_due(0.0)
    assert due is not None
    assert tracer.run_due(due - 0.001) == due
    assert counts(tracer) == {11: 1}
    assert tracer.run_due(due) == due + 2
    assert tracer.run_due(due + 7) == due + 8, "what was missed is not made up for"
    assert counts(tracer) == {11: 1, 12: 2}
    target.do("m")
    tracer.detach()
    assert tracer.run_due(1e12) is None
    tracer.end()
    assert counts(tracer) == {11: 1, 12: 2, 13: 1, 4: 1}
    tracer.close()


def test_without_a_target(executable: Path) -> None:
    bound = script(watch(1, COUNT, emit(1), origin=Origin("begin", cookie=1)))
    tracer = Tracer(KernelMachine(features.scripting()), bound)
    assert tracer.attach(None) == 0
    assert counts(tracer) == {1: 1}
    ((_, rows),) = tracer.events()
    head = rows[:, : EVENT.itemsize].view(EVENT)[:, 0]
    assert head["pid"].tolist() == [os.getpid()]
    tracer.close()


def test_a_script_goes_on_with_another_process(executable: Path) -> None:
    bound = script(watch(1, COUNT, sites=(("pushed", 7),), executable=executable),
                   watch(2, COUNT, origin=Origin("begin", cookie=1)))  # fmt: skip
    tracer = Tracer(KernelMachine(features.scripting()), bound)
    with Target(executable) as first:
        tracer.attach(process(first))
        first.do("m")
    tracer.detach()  # after its end
    with Target(executable) as second:
        tracer.attach(process(second))
        second.do("mm")
        by_target = {entry.target: entry.count for entry in tracer.maps.read(0) if entry.parts[0][0] == 7}
        assert sorted(by_target.values()) == [1, 2]
        assert sum(entry.count for entry in tracer.maps.read(0) if entry.parts[0][0] == 1) == 1
        tracer.close()


def test_two_tracers_at_once(target: Target, executable: Path) -> None:
    machine = KernelMachine(features.scripting())
    tracers = [Tracer(machine, script(watch(1, COUNT, sites=(("pushed", cookie),), executable=executable)))
               for cookie in (3, 4)]  # fmt: skip
    for tracer in tracers:
        tracer.attach(process(target))
    target.do("mm")
    tracers[0].close()
    target.do("m")
    assert counts(tracers[1]) == {4: 3}
    tracers[1].close()
    address, _ = probe_target.symbol(executable, "pushed")
    assert target.text(address, 1) == b"\x55"


def test_all_or_nothing(target: Target, executable: Path) -> None:
    """`invalid` is no instruction in 64-bit mode: the second link is refused."""
    bound = script(watch(1, COUNT, sites=(("pushed", 7),), executable=executable),
                   watch(2, COUNT, sites=(("stepped", 8), ("invalid", 9)), executable=executable))  # fmt: skip
    tracer = Tracer(KernelMachine(features.scripting()), bound)
    with pytest.raises(BadSiteError):
        tracer.attach(process(target))
    address, _ = probe_target.symbol(executable, "pushed")
    assert target.text(address, 1) == b"\x55"
    assert tracer.loaded() == []
    target.do("m")
    assert counts(tracer) == {}
    tracer.close()


def test_a_target_that_has_ended(executable: Path) -> None:
    bound = script(watch(1, COUNT, sites=(("pushed", 7),), executable=executable))
    tracer = Tracer(KernelMachine(features.scripting()), bound)
    with Target(executable) as target:
        tracer.attach(process(target))
        target.do("mm")
    assert counts(tracer) == {7: 2}
    tracer.detach()
    with pytest.raises(AttachError):
        tracer.attach(process(target))
    assert counts(tracer) == {7: 2}
    tracer.close()


NAMESPACED = """
import json, os, sys
from pathlib import Path
from test_tracing_tracer import COUNT, counts, features, process, script, watch
from gotap.kernel.machine import KernelMachine
from gotap.observe.tracing.tracer import Tracer
from gotap.probe.script.bound import Origin
from probe_target import Target

tracer = Tracer(KernelMachine(features.scripting()),
                script(watch(1, COUNT, origin=Origin("syscall", name="write", cookie=5))))
with Target(Path(sys.argv[1])) as target, Target(Path(sys.argv[1])) as other:
    tracer.attach(process(target))
    target.do("mm")
    other.do("mmmm")
    os.write(2, b"")
    print(json.dumps([target.pid, counts(tracer)[5]]))
tracer.close()
"""


def test_one_process_is_meant_also_in_a_pid_namespace(executable: Path) -> None:
    """Its id there is not the one that programs see."""
    try:
        Tracefs().close()
    except TracefsError as error:
        pytest.skip(str(error))
    tests = Path(__file__).parent
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", NAMESPACED, executable],
        env=os.environ | {"PYTHONPATH": f"{tests}:{tests.parent}"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    pid, hits = json.loads(done.stdout)
    assert pid < 10
    assert hits == 2


def test_maps_of_samples_have_their_memory_where_they_must(executable: Path) -> None:
    """Before Linux 6.1 samples refuse maps that grow."""
    known = features.scripting()

    class Old:
        def has(self, feature: str) -> bool:
            return feature != "clock_growing" and known.has(feature)

    sampled, plain = (Tracer(KernelMachine(Old()), script(watch(1, COUNT, origin=origin)))
                      for origin in (Origin("profile", hertz=99), Origin("begin")))  # fmt: skip
    sampled.attach(None)
    plain.attach(None)
    assert sampled.maps.memory() > plain.maps.memory()
    for tracer in (sampled, plain):
        tracer.close()


def test_a_probe_that_is_dropped_stays_away(target: Target, executable: Path) -> None:
    bound = script(watch(1, COUNT, sites=(("pushed", 7),), executable=executable),
                   watch(2, COUNT, sites=(("stepped", 8),), executable=executable))  # fmt: skip
    tracer = Tracer(KernelMachine(features.scripting()), bound)
    tracer.attach(process(target))
    target.do("ms")
    tracer.drop(1)
    target.do("ms")
    assert counts(tracer) == {7: 1, 8: 2}
    tracer.detach()
    tracer.attach(process(target))
    target.do("ms")
    assert sum(entry.count for entry in tracer.maps.read(0) if entry.parts[0][0] == 7) == 1
    assert [told.probe for told in tracer.counts()] == ["probe 1", "probe 2"]
    assert [told.detached is None for told in tracer.counts()] == [False, True]
    tracer.close()


def test_thinned_counts_are_scaled(target: Target, executable: Path) -> None:
    bound = script(watch(1, COUNT, sites=(("pushed", 7),), executable=executable))
    tracer = Tracer(KernelMachine(features.scripting()), bound, thinning=True)
    tracer.attach(process(target))
    target.do("m" * 10)
    assert counts(tracer) == {7: 10}
    tracer.thin(1, 4)
    target.do("m" * 200)
    (told,) = tracer.counts()
    taken = told.counts[Counter.HITS] - 10
    assert 0 < taken < 200
    assert counts(tracer) == {7: 10 + 4 * taken}
    assert tracer.sampling.factor(0, tracer.maps.epoch(0)) == 4
    tracer.close()


def test_nothing_is_left_open(target: Target, executable: Path) -> None:
    known = features.scripting()
    before = set(os.listdir("/proc/self/fd"))
    bound = script(watch(1, COUNT, emit(1), sites=(("pushed", 7),), executable=executable),
                   watch(2, COUNT, origin=Origin("end", cookie=1)))  # fmt: skip
    tracer = Tracer(KernelMachine(known), bound)
    tracer.attach(process(target))
    target.do("m")
    list(tracer.events())
    tracer.close()
    assert set(os.listdir("/proc/self/fd")) <= before  # what was tried before may still be closing


def test_what_is_too_dear_is_taken_out_with_words(target: Target, executable: Path) -> None:
    bound = script(watch(1, COUNT, sites=(("pushed", 7),), executable=executable))
    tracer = Tracer(KernelMachine(features.scripting()), bound, thinning=True)
    tracer.attach(process(target))
    with Governor(tracer, 1e-9) as governor:
        assert governor.look(100.0) == []
        target.do("m" * 20)
        assert governor.look(100.5) == [], "not yet"
        (text,) = governor.look(101.0)
        assert text.startswith("probe 1 is detached")
        assert "20 hits a second" in text
        target.do("m")
        assert counts(tracer) == {7: 20}
        assert governor.look(102.0) == []
    tracer.close()


def test_hits_are_estimated_where_the_kernel_does_not_measure(
    target: Target, executable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied() -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(syscalls, "enable_stats", denied)
    bound = script(watch(1, COUNT, sites=(("pushed", 7),), executable=executable))
    tracer = Tracer(KernelMachine(features.scripting()), bound, thinning=True)
    tracer.attach(process(target))
    with Governor(tracer, 1e-9) as governor:
        assert not governor.measures
        governor.look(100.0)
        target.do("m" * 20)
        (text,) = governor.look(101.0)
        assert "20 hits a second" in text
    tracer.close()
