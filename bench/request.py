"""CPU that the target spends per request: alone, with gotap, with probes that do nothing at gotap's sites, and with
the probes that other tools would set.

gotap runs inside this process, without decoding: whatever the agent spends is no part of the target's CPU clock.
The kernel measures the programs' run time while gotap is attached, as it does for the real command.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

from bench.measure import Values, alternate, verdict
from bench.programs import SERVICE, Load, NotPossible, Service, build, service
from gotap.bpf.asm import R0, Assembler, Code
from gotap.bpf.codegen.frame import Counter as KernelCounter
from gotap.bpf.codegen.tracing import Sampling
from gotap.commands.mechanisms import UPROBE, Machines
from gotap.commands.targets import Targets
from gotap.image.containers.elf import Elf
from gotap.kernel.bpf import enable_stats
from gotap.kernel.features import essential
from gotap.observe.watch import Totals
from gotap.observe.watchers import Watchers
from gotap.sinks.environment import Environment

#: Bounds of docs/benchmarks.md: µs more per server request, hits per server request, hits with a client call in it.
MOST_ADDED, MOST_HITS, MOST_HITS_WITH_CLIENT = 8.0, 4, 10

#: What usual tools attach to: entry of the handler's caller and each return of the response's end.
_ENTRY, _RETURNS = "net/http.serverHandler.ServeHTTP", "net/http.(*response).finishRequest"


def run(arguments: argparse.Namespace) -> None:
    with service() as backend, service(backend.url("/hello"), stripped=True) as target:
        for path, load, most in (
            ("/hello", Load(2000), MOST_HITS),
            ("/hello", Load(0), MOST_HITS),
            ("/call", Load(1000), MOST_HITS_WITH_CLIENT),
        ):
            compare(target, path, load, most, arguments)


@dataclass(slots=True)
class Watched:
    """Sums over the rounds in which gotap was attached."""

    requests: int = 0
    spans: int = 0
    runs: int = 0
    run_time: int = 0  # ns
    hits: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)

    def add(self, requests: int, spans: int, before: Totals, after: Totals) -> None:
        self.requests += requests
        self.spans += spans
        self.runs += after.runs - before.runs
        self.run_time += after.run_time - before.run_time
        self.hits.update({name: count - before.hits.get(name, 0) for name, count in after.hits.items()})
        for one in (KernelCounter.RING_FULL, KernelCounter.ROWS_FULL, KernelCounter.NO_GOROUTINE, KernelCounter.STALE):
            self.lost[one.name] += after.counters[one] - before.counters[one]


def compare(target: Service, path: str, load: Load, most_hits: int, arguments: argparse.Namespace) -> None:
    watched = Watched()

    def spent() -> float:
        """µs of the target's CPU per request."""
        before = target.cpu()
        requests = load.run(target.url(path), arguments.seconds).requests
        watched.requests = requests
        return (target.cpu() - before) / requests / 1e3

    seen = Watched()

    def with_gotap() -> float:
        with attached(target) as (totals, spans):
            before, at_first = totals(), spans()
            value = spent()
            after = totals()
            seen.add(watched.requests, spans() - at_first, before, after)
        return value

    def with_traps() -> float:
        with patch("gotap.observe.watch.generate", lambda *_: nothing()), attached(target):
            return spent()

    variants: dict[str, Callable[[], float]] = {"alone": spent, "with gotap": with_gotap, "traps alone": with_traps}
    if shutil.which("bpftrace") is None:
        print("bpftrace is not installed (Debian package bpftrace): no peer to compare with")
    else:
        variants["with bpftrace"] = lambda: with_peer(target, spent)
    spent()  # warm
    found = alternate(variants, arguments.rounds)
    print(f"GET {path}, {load}: the target's CPU per request, median of {arguments.rounds} rounds (least…most)")
    for name, values in found.items():
        tell(name, values, found["alone"], seen if name == "with gotap" else None, most_hits)


def nothing() -> Code:
    """A program that does nothing: what is left of a probe is the kernel's trap."""
    asm = Assembler()
    asm.mov(R0, 0)
    asm.exit_()
    return asm.finish()


def tell(name: str, values: Values, alone: Values, seen: Watched | None, most_hits: int) -> None:
    line = f"  {name:<15}{values.text('µs'):<26}"
    if values is alone:
        print(line)
        return
    added = values.less(alone)
    line += f"{added.text('µs', sign='+'):<28}{values.median / alone.median:.2f}×"
    if seen is None:
        print(line)
        return
    hits = sum(seen.hits.values()) / seen.requests
    print(f"{line}  {verdict(added.median, MOST_ADDED, 'µs') if most_hits == MOST_HITS else ''}".rstrip())
    print(
        f"    {hits:.2f} hits ({verdict(round(hits, 2), most_hits, digits=0)}), {added.median / hits:.2f} µs a hit, "
        f"of which {seen.run_time / max(seen.runs, 1) / 1e3:.2f} µs in BPF; "
        f"{seen.spans / seen.requests:.3f} spans a request"
    )
    for probe, count in seen.hits.items():
        if count:
            print(f"      {count / seen.requests:.3f} {probe}")
    if lost := {cause: count for cause, count in seen.lost.items() if count}:
        print(f"    LOST: {lost}")


@contextmanager
def attached(target: Service) -> Iterator[tuple[Callable[[], Totals], Callable[[], int]]]:
    """gotap's probes in the target and a thread that empties the ring every 50 ms; yields (totals, spans so far)."""
    features = essential()
    if missing := features.missing():
        raise NotPossible(f"this host does not let gotap watch: {missing[0].name}: {missing[0].detail}")
    machines, watchers = Machines(UPROBE, "watch"), Watchers(Sampling())
    stop, drained = threading.Event(), threading.Lock()
    count = 0

    def drain() -> int:
        nonlocal count
        with drained:
            count += sum(len(rows) for _, _, rows in watchers.records())
            return count

    def keep_draining() -> None:
        while not stop.wait(0.05):
            drain()

    thread = threading.Thread(target=keep_draining)
    with enable_stats():
        one = Targets(watchers, machines, Environment({}), {}).open(target.pid)
        thread.start()
        try:
            yield watchers.totals, drain
        finally:
            stop.set()
            thread.join()
            one.process.close()
            watchers.close()


def with_peer(target: Service, measure: Callable[[], float]) -> float:
    """The same measure with bpftrace attached: one map entry, one histogram."""
    # By file offset, in a stripped program, and `--unsafe`: else bpftrace takes the `*` in Go's names for a wildcard,
    # and Debian's, built without a disassembler, refuses instructions within a function. R14 is the goroutine.
    entry, returns = probe_offsets(target.executable)
    binary = target.executable
    ends = ",\n".join(f"uprobe:{binary}:{offset:#x}" for offset in returns)
    script = (
        f'BEGIN {{ printf("ready\\n"); }}\n'
        f'uprobe:{binary}:{entry:#x} {{ @begin[reg("r14")] = nsecs; }}\n'
        f'{ends} /@begin[reg("r14")]/ '
        f'{{ @duration = hist(nsecs - @begin[reg("r14")]); delete(@begin[reg("r14")]); }}\n'
    )
    command = ["bpftrace", "--unsafe", "-p", str(target.pid), "-e", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        try:
            lines = []
            while (line := process.stdout.readline()) and line.strip() != "ready":
                lines.append(line)
            if not line:
                raise NotPossible(f"bpftrace ended: {''.join(lines)}")
            return measure()
        finally:
            process.terminate()
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:  # it does not always hear SIGTERM while it prints its maps
                process.kill()


def probe_offsets(stripped: Path) -> tuple[int, tuple[int, ...]]:
    """File offsets of the entry's first instruction and of each RET, by `go tool objdump` of a build with symbols."""
    named = build(SERVICE)
    elf, other = Elf.open(stripped), Elf.open(named)

    def listing(function: str) -> list[tuple[int, str]]:
        command = ["go", "tool", "objdump", "-s", f"^{re.escape(function)}$", str(named)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.findall(r"^\s+\S+:\d+\s+0x([0-9a-f]+)\s+[0-9a-f]+\s+(.*)$", output, re.MULTILINE)
        return [(int(address, 16), text.strip()) for address, text in found]

    entry = listing(_ENTRY)[0][0]
    addresses = (entry, *(address for address, text in listing(_RETURNS) if text == "RET"))
    if any(elf.read(address, 16) != other.read(address, 16) for address in addresses):
        raise NotPossible("with and without symbols the program's code differs")
    offsets = [offset for address in addresses if (offset := elf.offset_of(address)) is not None]
    return offsets[0], tuple(offsets[1:])
