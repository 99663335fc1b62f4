"""Trials: each tries one thing that the kernel may or may not let this process do, on code of our own."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import threading
from collections.abc import Callable, Iterator

from gotap.bpf.asm import R0, R1, R2, R3, R4, R6, R10, Assembler, Code, Helper
from gotap.bpf.enums import AttachType, MapFlags, MapType, ProgramType
from gotap.kernel import host, syscalls
from gotap.kernel.attach import uprobe_pmu
from gotap.kernel.bpf import Map, Program, enable_stats
from gotap.kernel.errors import AttachUnsupportedError, KernelError, VerifierError, errno_text
from gotap.kernel.findings import Feature
from gotap.kernel.playground import EMULATED, NOP5, Playground


class Bench:
    """What several probes share: a counter that programs increment, the playground, links that wait to be closed."""

    def __init__(self) -> None:
        self._undo = contextlib.ExitStack()
        self.counter: Map | None = None  # None: bpf(2) is denied
        self.page: Playground | None = None
        self.nop5 = b""
        self._closing: list[threading.Thread] = []

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def finish_closing(self) -> None:
        """Waits until nothing of ours is attached any more."""
        for thread in self._closing:
            thread.join()

    def hits(self) -> int:
        assert self.counter is not None
        return int.from_bytes(self.counter.lookup(bytes(4)) or b"", "little")

    def keep(self, counter: Map) -> None:
        self.counter = counter
        self._undo.callback(counter.close)

    def playground(self) -> Playground:
        """OSError when there is nowhere to put it."""
        if self.page is None:
            self.page = Playground()
            self._undo.callback(self.page.close)
        return self.page

    def load(self, code: Code, kind: ProgramType = ProgramType.KPROBE, attach_type: AttachType = AttachType.NONE
             ) -> Program:
        fds = {} if self.counter is None else {"counter": self.counter.fd}
        program = Program.load(code.bytes(fds), kind, "gotap_probe", attach_type=attach_type,
                               subprograms=code.subprograms)
        self._undo.callback(program.close)
        return program

    def close_later(self, *descriptors: int) -> None:
        """Detaching waits for grace periods of the kernel; several do so side by side."""
        for fd in descriptors:
            thread = threading.Thread(target=os.close, args=(fd,))
            thread.start()
            self._closing.append(thread)


def _counting() -> Code:
    asm = Assembler()
    asm.ld_map_value(R1, "counter")
    asm.mov(R2, 1)
    asm.atomic_add(R1, 0, R2)
    asm.mov(R0, 0)
    asm.exit_()
    return asm.finish()


def calling(helper: Helper, size: int = 8) -> Code:
    """Calls `helper(stack buffer, size, its own context's word)`: enough for the verifier to say whether it may."""
    asm = Assembler()
    asm.load(R3, R1)
    if helper is not Helper.GET_ATTACH_COOKIE:
        asm.store(R10, -8, 0)
        asm.mov(R1, R10)
        asm.add(R1, -8)
        if helper is Helper.PROBE_WRITE_USER:
            asm.mov(R2, R1)
            asm.mov(R1, R3)
            asm.mov(R3, size)
        else:
            asm.mov(R2, size)
    asm.call(helper)
    asm.mov(R0, 0)
    asm.exit_()
    return asm.finish()


def _reason(error: KernelError | OSError) -> str:
    if isinstance(error, KernelError):
        return str(error)
    return errno_text(error.errno or 0)


UNTRIED = "not tried: bpf(2) is not allowed"


def _loads(bench: Bench, id_: str, name: str, code: Callable[[], Code], yes: str, remedy: str, *, needed: bool = False
           ) -> Iterator[Feature]:
    if bench.counter is None:
        yield Feature(id_, name, False, UNTRIED, needed=needed, tried=False)
        return
    try:
        bench.load(code())
    except KernelError as error:
        detail = "the verifier refuses it" if isinstance(error, VerifierError) else _reason(error)
        yield Feature(id_, name, False, detail, remedy, needed)
    else:
        yield Feature(id_, name, True, yes, needed=needed)


# What gotap cannot do without


def bpf(bench: Bench) -> Iterator[Feature]:
    name = "bpf(2) system call"
    try:
        bench.keep(Map.create(MapType.ARRAY, 4, 8, 1, name="gotap_probe"))
    except KernelError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            yield Feature("bpf", name, False, *_why_denied(), needed=True)
        else:
            yield Feature("bpf", name, False, str(error), error.remedy, needed=True)
    else:
        yield Feature("bpf", name, True, "allowed", needed=True)


def _why_denied() -> tuple[str, str]:
    """(why, remedy) of an EPERM from bpf(2)."""
    have = host.capabilities()
    if not have & {"CAP_BPF", "CAP_SYS_ADMIN"}:
        disabled = host.unprivileged_bpf_disabled()
        return (f"denied: this process has neither CAP_BPF nor CAP_SYS_ADMIN (unprivileged_bpf_disabled is {disabled})",
                host.way_to_capabilities())
    if host.in_user_namespace():
        return ("denied: this process lives in a user namespace, whose capabilities do not reach bpf(2)",
                host.way_to_capabilities())
    if host.seccomp():
        return "denied though the capability is there: a seccomp filter is on", f"in a container: {host.CONTAINER}"
    return ("denied though the capability is there: a security module or RLIMIT_MEMLOCK forbids it",
            "look for the denial in the kernel's log (dmesg)")


def _or_capabilities(remedy: str) -> str:
    """Only a process that has what it needs can tell what the kernel lacks."""
    return host.way_to_capabilities() if host.missing_capabilities() else remedy


def program(bench: Bench) -> Iterator[Feature]:
    return _loads(bench, "program", "programs for uprobes", lambda: calling(Helper.PROBE_READ_USER),
                  "load, and may read the watched process's memory",
                  _or_capabilities("the kernel needs CONFIG_BPF_EVENTS=y"), needed=True)


def ringbuf(bench: Bench) -> Iterator[Feature]:
    name = "BPF ring buffer"
    if bench.counter is None:
        yield Feature("ringbuf", name, False, UNTRIED, needed=True, tried=False)
        return
    try:
        Map.create(MapType.RINGBUF, 0, 0, os.sysconf("SC_PAGESIZE"), name="gotap_probe").close()
    except KernelError as error:
        yield Feature("ringbuf", name, False, str(error), "use Linux 5.8 or newer", needed=True)
    else:
        yield Feature("ringbuf", name, True, "can be made", needed=True)


def uprobes(bench: Bench) -> Iterator[Feature]:
    """uprobe_multi_link, uprobe_multi, perf_uprobe and their sum, uprobes."""
    multi = list(_uprobe_multi(bench, (EMULATED, NOP5)))
    perf = _perf_uprobe(bench)
    yield _uprobe_sum(multi[-1], perf)
    yield from multi
    yield perf


def uprobes_if_needed(bench: Bench) -> Iterator[Feature]:
    """As `uprobes`, without trying the fallback when it will not be used: it takes 0.1 s to remove."""
    multi = list(_uprobe_multi(bench, (EMULATED,)))
    if multi[-1].ok:
        yield _uprobe_sum(multi[-1], None)
        yield from multi
    else:
        perf = _perf_uprobe(bench)
        yield _uprobe_sum(multi[-1], perf)
        yield from (*multi, perf)


def _uprobe_sum(multi: Feature, perf: Feature | None) -> Feature:
    name = "breakpoints in programs (uprobes)"
    if multi.ok:
        return Feature("uprobes", name, True, "work, many by one system call", needed=True)
    if perf is not None and perf.ok:
        return Feature("uprobes", name, True, "work, one by one: detaching takes longer", needed=True)
    detail = perf.detail if perf is not None else multi.detail
    if detail == UNTRIED:
        return Feature("uprobes", name, False, detail, needed=True, tried=False)
    remedy = _or_capabilities("the kernel needs CONFIG_UPROBE_EVENTS=y")
    return Feature("uprobes", name, False, detail, remedy, needed=True)


def _uprobe_multi(bench: Bench, offsets: tuple[int, ...]) -> Iterator[Feature]:
    """The link, and whether its pid filter covers all threads.

    Linux 6.6 to 6.10 let only the process's first thread pass (fixed by 46ba0e49b642, and in stable trees).
    """
    link_name, name = "uprobe_multi link", "uprobe_multi for whole processes"
    remedy = "use Linux 6.6 or newer; gotap falls back to perf_event uprobes"
    if bench.counter is None:
        yield Feature("uprobe_multi_link", link_name, False, UNTRIED, tried=False)
        yield Feature("uprobe_multi", name, False, UNTRIED, tried=False)
        return
    try:
        page = bench.playground()
        program = bench.load(_counting(), attach_type=AttachType.UPROBE_MULTI)
        link = syscalls.link_create_uprobe_multi(program.fd, page.path, [(offset, 0) for offset in offsets],
                                                 os.getpid())
    except (KernelError, OSError) as error:
        yield Feature("uprobe_multi_link", link_name, False, _reason(error), remedy)
        yield Feature("uprobe_multi", name, False, "there is no such link", remedy)
        return
    before = bench.hits()
    page.call_in_thread(EMULATED)
    fires = bench.hits() == before + 1
    if NOP5 in offsets:
        page.call(NOP5)  # the first hit makes it a call
        bench.nop5 = page.text(NOP5, 1)
    bench.close_later(link)
    yield Feature("uprobe_multi_link", link_name, True, "can be made")
    yield (Feature("uprobe_multi", name, True, "the pid filter lets all threads pass") if fires else
           Feature("uprobe_multi", name, False, "the pid filter lets the first thread only pass",
                   "use Linux 6.11 or newer, or a stable kernel with its fix; gotap falls back to perf_event uprobes"))


def _perf_uprobe(bench: Bench) -> Feature:
    name = "perf_event uprobes"
    remedy = _or_capabilities("the kernel needs CONFIG_UPROBE_EVENTS=y; gotap does not need it beside uprobe_multi")
    if bench.counter is None:
        return Feature("perf_uprobe", name, False, UNTRIED, tried=False)
    try:
        page = bench.playground()
        program = bench.load(_counting())
        event = syscalls.perf_event_open_uprobe(uprobe_pmu(), page.path, EMULATED, os.getpid())
    except (KernelError, OSError) as error:
        return Feature("perf_uprobe", name, False, _reason(error),
                       error.remedy if isinstance(error, AttachUnsupportedError) else remedy)
    try:
        syscalls.perf_set_bpf(event, program.fd)
        before = bench.hits()
        page.call_in_thread(EMULATED)
        fires = bench.hits() == before + 1
    except OSError as error:
        return Feature("perf_uprobe", name, False, _reason(error), remedy)
    finally:
        bench.close_later(event)
    return Feature("perf_uprobe", name, fires, "work" if fires else "the program does not run", "" if fires else remedy)


# What makes it better


def bpf_loop(bench: Bench) -> Iterator[Feature]:
    def looping() -> Code:
        asm = Assembler()
        asm.mov(R1, 1)
        asm.ld_func(R2, "body")
        asm.mov(R3, 0)
        asm.mov(R4, 0)
        asm.call(Helper.LOOP)
        asm.mov(R0, 0)
        asm.exit_()
        asm.label("body")
        asm.mov(R0, 0)
        asm.exit_()
        return asm.finish()

    return _loads(bench, "bpf_loop", "loops (bpf_loop)", looping, "work",
                  "use Linux 5.17 or newer; loops are unrolled and shorter without it")


def attach_cookie(bench: Bench) -> Iterator[Feature]:
    return _loads(bench, "attach_cookie", "attach cookies", lambda: calling(Helper.GET_ATTACH_COOKIE), "work",
                  "use Linux 5.15 or newer; each site gets a program of its own without them")


def no_prealloc(bench: Bench) -> Iterator[Feature]:
    """Hash maps that take memory only for what they hold, used in a uprobe program."""
    id_, name = "no_prealloc", "hash maps that grow"
    remedy = "maps take their full memory from the start without it"
    if bench.counter is None:
        yield Feature(id_, name, False, UNTRIED, tried=False)
        return
    asm = Assembler()
    asm.mov(R6, R1)
    asm.store(R10, -8, 0)
    asm.ld_map(R1, "growing")
    asm.mov(R2, R10)
    asm.add(R2, -8)
    asm.mov(R3, R2)
    asm.mov(R4, 0)
    asm.call(Helper.MAP_UPDATE)
    asm.mov(R0, 0)
    asm.exit_()
    try:
        with Map.create(MapType.HASH, 8, 8, 64, MapFlags.NO_PREALLOC, "gotap_probe") as growing:
            Program.load(asm.finish().bytes({"growing": growing.fd}), name="gotap_probe").close()
    except KernelError as error:
        yield Feature(id_, name, False, _reason(error), remedy)
    else:
        yield Feature(id_, name, True, "may be used in uprobe programs")


def nop5(bench: Bench) -> Iterator[Feature]:
    """Whether the breakpoint on a 5-byte nop became a call (after `uprobes` has hit it)."""
    name = "fast uprobes on 5-byte nops"
    if bench.counter is None:
        yield Feature("nop5", name, False, UNTRIED, tried=False)
    elif bench.nop5 == b"\xe8":
        yield Feature("nop5", name, True, "become calls: about a third of a breakpoint's cost")
    else:
        yield Feature("nop5", name, False, "stay breakpoints" if bench.nop5 else "not tried: there is no uprobe_multi",
                      "use Linux 6.18 or newer on x86-64; everything works without it, at a higher cost a hit")


def stats(bench: Bench) -> Iterator[Feature]:
    name = "run time statistics"
    if bench.counter is None:
        yield Feature("stats", name, False, UNTRIED, tried=False)
        return
    try:
        with enable_stats():
            program = bench.load(_counting(), ProgramType.SOCKET_FILTER)
            program.test_run(bytes(64))
            runs = program.stats().runs
    except (KernelError, OSError) as error:
        yield Feature("stats", name, False, _reason(error),
                      "give gotap CAP_SYS_ADMIN; the cost of probes is not shown without it")
    else:
        yield Feature("stats", name, runs > 0, "work" if runs else "count nothing")


def jit(bench: Bench) -> Iterator[Feature]:
    name = "JIT compiler"
    if bench.counter is None:
        yield Feature("jit", name, False, UNTRIED, tried=False)
        return
    try:
        compiled = bench.load(_counting()).jited()
    except (KernelError, OSError) as error:
        yield Feature("jit", name, False, _reason(error))
        return
    yield Feature("jit", name, compiled, "compiles programs" if compiled else "off: programs are interpreted, slowly",
                  "" if compiled else "sysctl net.core.bpf_jit_enable=1")


def memlock(bench: Bench) -> Iterator[Feature]:
    """Kernels before 5.11 charge maps to RLIMIT_MEMLOCK: with a limit of 0 they refuse every map."""
    name = "memory for maps"
    if bench.counter is None:
        yield Feature("memlock", name, False, UNTRIED, tried=False)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, hard))
    try:
        os.close(syscalls.map_create(MapType.ARRAY, 4, 8, 1, 0, "gotap_probe"))
        charged = False
    except OSError:
        charged = True
    finally:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (soft, hard))
    if not charged:
        yield Feature("memlock", name, True, "is charged to the memory cgroup, RLIMIT_MEMLOCK does not matter")
    elif hard == resource.RLIM_INFINITY or "CAP_SYS_RESOURCE" in host.capabilities():
        yield Feature("memlock", name, True, "is charged to RLIMIT_MEMLOCK, which gotap raises")
    else:
        yield Feature("memlock", name, False, f"is charged to RLIMIT_MEMLOCK, at most {hard // 1024} KiB",
                      "ulimit -l unlimited, or give gotap CAP_SYS_RESOURCE")


def write_user(bench: Bench) -> Iterator[Feature]:
    """Refused under lockdown; where it is allowed, the kernel logs a warning about this very probe."""
    return _loads(bench, "write_user", "writing to watched processes", lambda: calling(Helper.PROBE_WRITE_USER),
                  "the kernel would allow it (no lockdown)",
                  "the kernel is locked down (lockdown=integrity, often by secure boot); gotap does not need it")
