"""A script run in this process, so that Python's own time can be told apart: events read and decoded, not formatted."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from bench.programs import process_cpu
from bench.tracee import Tracee
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.machine import Executable
from gotap.commands.trace.names import NoNames
from gotap.image.image import Image
from gotap.kernel.features import scripting
from gotap.kernel.machine import KernelMachine
from gotap.observe.tracing.tracer import Tracer
from gotap.probe.script.binding.binder import bind_script
from gotap.probe.script.language.parser import parse_script
from gotap.process.proc import Process
from gotap.signals.clock import Clock
from gotap.signals.events import EventDecoder


@dataclass(frozen=True, slots=True)
class Decoded:
    """`seconds` on the wall while the target called; CPU seconds of the target meanwhile, and of the thread that reads
    and decodes."""

    events: int
    lost: int
    seconds: float
    target: float
    cpu: float


def decoded_events(target: Tracee, text: str, calls: int) -> Decoded:
    """The script's events while the target calls its hot function so often."""
    script = parse_script(text)
    with Process(target.pid) as process:
        image = Image.open(process.exe)
        bound = bind_script(script, image)
        executable = Executable(target.pid, process.initial_tgid, process.exe, process.load_bias(image.elf.entry))
    names, clock = NoNames(bound.sites), Clock()
    decoders = {
        number: EventDecoder(layout, {event: spec for (of, event), spec in bound.events.items() if of == number},
                             names, clock)
        for number, layout in bound.layouts.items()
    }  # fmt: skip
    tracer = Tracer(KernelMachine(scripting()), bound)
    try:
        tracer.attach(executable)
        events, cpu = 0, 0.0
        spent: list[int] = []
        before = process_cpu(target.pid)
        work = threading.Thread(target=lambda: spent.append(target.do("hot", calls)))
        work.start()
        last = False
        while True:
            tracer.ring.wait(0.05)
            begin = time.thread_time()
            for layout, rows in tracer.events():
                events += sum(len(batch) for batch in decoders[layout].decode(rows))
            cpu += time.thread_time() - begin
            if last:
                break
            last = not work.is_alive()
        work.join()
        used = (process_cpu(target.pid) - before) / 1e9
        lost = sum(one.counts[Counter.RING_FULL] + one.counts[Counter.FRAMES_BUSY] for one in tracer.counts())
    finally:
        tracer.close()
    return Decoded(events, lost, spent[0] / 1e9, used, cpu)
