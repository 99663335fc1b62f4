"""Programs at times, tracepoints and C functions: hand-made ones that count, in the kernel."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import probe_target
from gotap.bpf.asm import R0, R1, R2, R6, R7, R10, Assembler, Helper
from gotap.bpf.machine import Source
from gotap.kernel import features
from gotap.kernel.bpf import Map, MapType, Program
from gotap.kernel.errors import AttachError, KernelError
from gotap.kernel.machine import KernelMachine
from gotap.kernel.origins import attach_origin, online_cpus
from gotap.kernel.tracefs import NoTracepoint, Tracefs, TracefsError
from gotap.observe.tracing.programs import program_type
from gotap.probe.script.bound import Origin
from gotap.process.symbols import find_symbol
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]


class Counting:
    """Counts by cookie the runs in one process; on demand the only run is this process's."""

    def __init__(self, origin: Origin, pid: int) -> None:
        self.origin = origin
        self.features = features.scripting()
        self.counts = Map.create(MapType.ARRAY, 4, 8, 8)
        asm = Assembler()
        asm.mov(R6, R1)
        asm.call(Helper.GET_CURRENT_PID_TGID)
        asm.rsh(R0, 32)
        asm.jne(R0, pid, "out")
        if origin.kind in ("begin", "end", "interval"):
            asm.mov(R0, origin.cookie)
        else:
            asm.mov(R1, R6)
            asm.call(Helper.GET_ATTACH_COOKIE)
        asm.store(R10, -4, R0, 4)
        asm.ld_map(R1, "counts")
        asm.mov(R2, R10)
        asm.add(R2, -4)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, "out")
        asm.mov(R7, 1)
        asm.atomic_add(R0, 0, R7)
        asm.label("out")
        asm.mov(R0, 0)
        asm.exit_()
        self.machine = KernelMachine(self.features)
        (loaded,) = self.machine.load([Source(asm.finish(), {"counts": self.counts}, program_type(origin))])
        assert isinstance(loaded, Program)
        self.program = loaded

    def attach(self, pid: int = 0, *, user_only: bool = False):  # type: ignore[no-untyped-def]
        return attach_origin(self.program, self.origin, pid=pid, features=self.features, user_only=user_only)

    def hits(self) -> int:
        return int.from_bytes(self.counts.lookup(self.origin.cookie.to_bytes(4, "little")) or b"", "little")

    def close(self) -> None:
        self.program.close()
        self.counts.close()


@pytest.fixture(scope="module")
def _tracepoints() -> None:
    try:
        Tracefs().close()
    except TracefsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return probe_target.build(tmp_path_factory.mktemp("target"))


@pytest.fixture
def counting(request: pytest.FixtureRequest) -> Iterator[Counting]:
    made = Counting(request.param, os.getpid())
    yield made
    made.close()


@pytest.mark.parametrize("counting", [Origin(kind, cookie=5) for kind in ("begin", "end", "interval")], indirect=True)
def test_on_demand(counting: Counting) -> None:
    with counting.attach() as link:
        assert link.sites == 0
        for expected in (1, 2, 3):
            counting.machine.run(counting.program)
            assert counting.hits() == expected


def test_a_kernel_that_runs_nothing_on_demand_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    counting = Counting(Origin("begin"), os.getpid())

    def refused(*_: object, **__: object) -> int:
        raise OSError(524, "not supported")

    monkeypatch.setattr(Program, "test_run", refused)
    with pytest.raises(KernelError, match="on demand") as told:
        counting.machine.run(counting.program)
    assert "Linux 5.10" in told.value.remedy
    counting.close()


@pytest.mark.usefixtures("_tracepoints")
@pytest.mark.parametrize(
    "counting",
    [Origin("syscall", name="getppid", cookie=3),
     Origin("tracepoint", category="syscalls", name="sys_exit_getppid", cookie=2)],
    indirect=True, ids=["syscall", "tracepoint"],
)  # fmt: skip
def test_a_tracepoint_fires_on_whatever_cpu(counting: Counting) -> None:
    before = os.sched_getaffinity(0)
    with counting.attach():
        for cpu in sorted(before):
            os.sched_setaffinity(0, {cpu})
            os.getppid()
        os.sched_setaffinity(0, before)
        assert counting.hits() == len(before)
    os.getppid()
    assert counting.hits() == len(before)


@pytest.mark.usefixtures("_tracepoints")
@pytest.mark.parametrize("counting", [Origin("syscall", name="getpppid")], indirect=True)
def test_a_system_call_that_is_none(counting: Counting) -> None:
    with pytest.raises(NoTracepoint, match="getpppid") as told:
        counting.attach()
    assert "syscalls:sys_enter_getppid" in told.value.similar


@pytest.mark.parametrize("user_only", [False, True])
@pytest.mark.parametrize("counting", [Origin("profile", hertz=999, cookie=1)], indirect=True)
def test_a_profile_samples_what_runs(counting: Counting, user_only: bool) -> None:
    with counting.attach(user_only=user_only) as link:
        assert link.sites == 1
        start = time.process_time()
        while counting.hits() < 20:
            assert time.process_time() - start < 30, "30 s of work were not sampled 20 times"
    hits = counting.hits()
    sum(range(1_000_000))
    assert counting.hits() == hits


@pytest.mark.parametrize("counting", [Origin("profile", hertz=1 << 40)], indirect=True)
def test_more_samples_than_the_kernel_takes(counting: Counting) -> None:
    with pytest.raises(AttachError, match="a second at most"):
        counting.attach()


@pytest.mark.parametrize("returns", [False, True])
def test_a_c_function_and_its_return(executable: Path, returns: bool) -> None:
    found = find_symbol(str(executable), "pushed", returns=returns)
    origin = Origin("uprobe", path=found.path, file_offset=found.file_offset, returns=returns, cookie=4)
    with probe_target.Target(executable) as target, probe_target.Target(executable) as other:
        counting = Counting(origin, target.pid)
        with counting.attach(target.pid):
            target.do("mmt")
            other.do("m")
            assert counting.hits() == 3
        target.do("m")
        assert counting.hits() == 3
        counting.close()


def test_cpus_are_those_that_the_scheduler_knows() -> None:
    assert len(online_cpus()) == os.sysconf("SC_NPROCESSORS_ONLN")
