"""What tests/programs/kernelguest does to a kernel: BPF maps and programs as gotap makes them, written down.

They are made on this kernel, with the features of another one: what passes on its way to bpf(2) is recorded.
"""

from __future__ import annotations

import base64
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from gotap.bpf.asm import R0, Assembler
from gotap.bpf.enums import AttachType, MapType, ProgramType
from gotap.bpf.isa import LD_IMM64, PSEUDO_MAP_FD, PSEUDO_MAP_VALUE
from gotap.bpf.machine import Executable
from gotap.errors import GotapError
from gotap.image.image import Image
from gotap.kernel import syscalls, trials, trials_scripts
from gotap.kernel.bpf import Program
from gotap.kernel.machine import KernelMachine
from gotap.kernel.trials import Bench
from gotap.observe.tracing.tracer import Tracer
from gotap.probe.script.binding.binder import bind_script
from gotap.probe.script.language.parser import parse_script
from kernel_maps import fd

#: What is tried: gotap's own trials, and whether uprobe_multi links can be made.
_TRIALS: dict[str, Callable[[Bench], Iterator[object]]] = {
    "bpf_loop": trials.bpf_loop,
    "attach_cookie": trials.attach_cookie,
    "no_prealloc": trials.no_prealloc,
    "percpu_lookup": trials_scripts.percpu_lookup,
    "on_demand": trials_scripts.on_demand,
    "clock_growing": trials_scripts.clock_growing,
}
FEATURES = (*_TRIALS, "uprobe_multi")

#: Calls of the guest's main.hot.
CALLS = 200
_DEEP = sum(n % 7 + 1 for n in range(CALLS) if n % 10 != 3)

#: Scripts about the guest's own functions, and what their maps hold after CALLS calls.
SCRIPTS: dict[str, str] = {
    "counts": """
        main.hot:entry { @entries = count() }
        main.hot:return { @returns = count(); @failed[err != nil] = count() }
        main.deep:return { @deep = count() }
        main.recovers:return { @recovered = count() }
        main.fails:panic { @panics = count() }
        main.exits:panic { @goexits = count() }
    """,
    "calls": "main.hot",
    "values": 'main.hot:entry { printf("%v %s %+v\\n", args.n, args.name, args.p) }',
    "aggregations": """
        main.hot:return / args.n % 2 == 0 / {
            @sum = sum(args.n); @avg = avg(args.n); @min = min(args.n); @max = max(args.n); @stats = stats(args.n);
            @hist[args.name] = hist(latency); @lhist = lhist(args.n, 0, 200, 20); @quantile = quantile(latency);
            @top = top(5, args.n % 7); @series = tseries(args.n, 1s, 10)
        }
    """,
    "variables": """
        main.hot:entry { self.n = args.n; $x = args.n * 3 / 2 - 1; @last[goid] = $x; @seen[args.name, $x & 7] += 1 }
        main.deep:entry / self.n > 3 / { self.n += 1; @depth = max(self.n); if self.n > 100 { delete(@last[goid]) } }
        main.hot:entry { for $i in 0..args.n % 5 { @rounds = count() } }
    """,
    "stacks": "main.deep:entry { @[stack(8)] = count() }\nmain.hot:return { print(stack(4), latency) }",
    "goroutines": "goroutine:create { @born[func] = count() }\ngoroutine:exit { @died = count() }",
    "times": """
        begin { printf("begin %d\\n", 1); @begun = count() }
        interval:1s { print(@ticks); @ticks = count(); clear(@ticks) }
        end { @ended = count() }
    """,
    "samples": "profile:99hz { @[comm] = count() }",
}
EXPECTED: dict[str, dict[str, int]] = {
    "counts": {
        "@entries": CALLS, "@returns": CALLS, "@failed": CALLS, "@deep": _DEEP, "@recovered": CALLS // 10,
        "@panics": CALLS // 10, "@goexits": CALLS // 10,
    },
    "aggregations": dict.fromkeys(("@sum", "@stats", "@hist", "@lhist", "@quantile", "@top", "@series"), CALLS // 2),
    "variables": {"@rounds": 2 * CALLS},
    "stacks": {"@": _DEEP},
    "goroutines": {"@born": CALLS // 10, "@died": CALLS // 10},
    "times": {"@begun": 1, "@ended": 1},
}  # fmt: skip


@dataclass
class Offers:
    """The features of another kernel."""

    features: frozenset[str]

    def has(self, feature: str) -> bool:
        return feature in self.features


@dataclass
class Recording:
    """A case of the guest's plan; see its main.go."""

    name: str
    calls: int = 0
    maps: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    programs: list[dict[str, object]] = field(default_factory=list)
    fill: list[tuple[int, int, int]] = field(default_factory=list)
    map_names: dict[int, str] = field(default_factory=dict)  # of those that are read
    map_numbers: dict[int, int] = field(default_factory=dict)  # by descriptor
    program_numbers: dict[int, int] = field(default_factory=dict)
    blobs: dict[int, bytes] = field(default_factory=dict)  # BTF

    def plan(self) -> dict[str, object]:
        names = ("Type", "Key", "Value", "Entries", "Flags")
        return {
            "Name": self.name,
            "Maps": [dict(zip(names, one, strict=True)) for one in self.maps],
            "Programs": self.programs,
            "Fill": self.fill,
            "Calls": self.calls,
            "Read": sorted(self.map_names),
        }

    def add_program(self, kind: int, instructions: bytes, attach: int, btf: bytes, functions: bytes) -> int:
        code, references = self._portable(instructions)
        self.programs.append({
            "Name": "", "Type": kind, "Attach": attach, "Code": _text(code), "References": references,
            "Btf": _text(btf), "Functions": _text(functions), "Run": False, "Sites": [],
        })  # fmt: skip
        return len(self.programs) - 1

    def _portable(self, instructions: bytes) -> tuple[bytes, list[int]]:
        """Numbers of maps in place of descriptors, and which instructions have one."""
        code, references = bytearray(instructions), []
        for index in range(len(code) // 8):
            opcode, registers = code[8 * index], code[8 * index + 1]
            if opcode == LD_IMM64 and registers >> 4 in (PSEUDO_MAP_FD, PSEUDO_MAP_VALUE):
                (descriptor,) = struct.unpack_from("<i", code, 8 * index + 4)
                struct.pack_into("<i", code, 8 * index + 4, self.map_numbers[descriptor])
                references.append(index)
        return bytes(code), references


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@contextmanager
def recorded(name: str, calls: int = 0) -> Iterator[Recording]:
    """Records what is made in the kernel meanwhile; it is made all the same."""
    recording, lock = Recording(name, calls), threading.Lock()
    real = {one: getattr(syscalls, one) for one in ("map_create", "map_update", "program_load", "btf_load")}

    def map_create(kind: int, key: int, value: int, entries: int, flags: int, name: str) -> int:
        descriptor: int = real["map_create"](kind, key, value, entries, flags, name)
        recording.maps.append((int(kind), key, value, entries, int(flags)))
        recording.map_numbers[descriptor] = len(recording.maps) - 1
        return descriptor

    def map_update(fd: int, key: bytes, value: bytes, flags: int) -> None:
        real["map_update"](fd, key, value, flags)
        number = recording.map_numbers.get(fd)
        if number is not None and recording.maps[number][0] == MapType.PROG_ARRAY:
            (index,), (program,) = struct.unpack("<I", key), struct.unpack("<I", value)
            recording.fill.append((number, index, recording.program_numbers[program]))

    def btf_load(blob: bytes) -> int:
        descriptor: int = real["btf_load"](blob)
        recording.blobs[descriptor] = blob
        return descriptor

    def program_load(kind: ProgramType, instructions: bytes, **more: object) -> int:
        descriptor: int = real["program_load"](kind, instructions, **more)
        with lock:
            attach, functions = more.get("attach_type", AttachType.NONE), more.get("func_info", b"")
            btf = recording.blobs.get(int(more.get("btf_fd", 0)), b"") if functions else b""  # type: ignore[call-overload]
            recording.program_numbers[descriptor] = recording.add_program(
                int(kind), instructions, int(attach), btf, bytes(functions))  # type: ignore[call-overload]  # fmt: skip
        return descriptor

    replaced = {"map_create": map_create, "map_update": map_update, "btf_load": btf_load, "program_load": program_load}
    with mock.patch.multiple(syscalls, **replaced):
        yield recording


def trial_cases(guest: Path) -> list[Recording]:
    cases = []
    for name, trial in _TRIALS.items():
        with Bench() as bench, recorded(name) as recording:
            list(trials.bpf(bench))  # makes the counter that trials use
            list(trial(bench))
        for program in recording.programs:
            program["Name"] = name
            program["Run"] = name == "on_demand"
        cases.append(recording)
    with recorded("uprobe_multi") as recording:
        asm = Assembler()
        asm.mov(R0, 0)
        asm.exit_()
        Program.load(asm.finish().bytes({}), attach_type=AttachType.UPROBE_MULTI).close()
    recording.programs[0] |= {"Name": "uprobe_multi", "Sites": [(_entry(guest), 0)]}
    return [*cases, recording]


def _entry(guest: Path) -> int:
    """File offset of main.hot."""
    image = Image.open(guest)
    (function,) = (one for one in image.pclntab.functions() if one.name == "main.hot")
    offset = image.elf.offset_of(function.address)
    assert offset is not None
    return offset


def script_cases(guest: Path, features: frozenset[str]) -> list[Recording]:
    """SCRIPTS for the guest on a kernel with these features; one that cannot be there is left out, and told."""
    cases = []
    for name, text in SCRIPTS.items():
        try:
            cases.append(script_case(name, text, guest, features))
        except GotapError as error:
            print(f"  {name}: not without what this kernel lacks: {error}")
    return cases


def script_case(name: str, text: str, guest: Path, features: frozenset[str]) -> Recording:
    image = Image.open(guest)
    bound = bind_script(parse_script(text), image)
    executable = Executable(1, 1, "/proc/self/exe", 0)
    with recorded(name, CALLS) as recording:
        tracer = Tracer(KernelMachine(Offers(features)), bound)
        try:
            tracer.load(executable)
            for loaded in tracer.loaded():
                routine, program = loaded.part.routine, recording.programs[recording.program_numbers[loaded.program.fd]]
                program["Name"] = f"{routine.probe} {type(routine.routine).__name__}"
                program["Sites"] = loaded.part.sites
                kind = "" if routine.origin is None else routine.origin.kind
                program["Run"] = kind in ("begin", "end", "interval")
            for spec in bound.maps:
                descriptor = fd(tracer.maps.by_name[f"map{spec.number}"])
                recording.map_names[recording.map_numbers[descriptor]] = spec.name
        finally:
            tracer.close()
    return recording
