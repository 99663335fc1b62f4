"""`python -m bench.phases PID`: attaches and detaches once in a fresh process; prints [clock, CPU] ms of each phase."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

spent: dict[str, tuple[float, float]] = {}


@contextmanager
def phase(name: str) -> Iterator[None]:
    begin, cpu = time.perf_counter(), time.process_time()
    yield
    spent[name] = (time.perf_counter() - begin) * 1e3, (time.process_time() - cpu) * 1e3


def main() -> None:
    with phase("imports"):
        from gotap.commands.memory import keep_small

        keep_small()
        from gotap.bpf.codegen.tracing import Sampling
        from gotap.bpf.machine import Executable
        from gotap.commands.targets import resource_of
        from gotap.image.image import Image
        from gotap.kernel.features import essential
        from gotap.kernel.machine import KernelMachine
        from gotap.observe.watch import Watcher
        from gotap.probe.binding import bind
        from gotap.probe.catalogue import libraries, runtime
        from gotap.probe.sources import types_of
        from gotap.process.proc import Process
        from gotap.sinks.environment import Environment
    process = Process(int(sys.argv[1]))
    with phase("host's features"):
        features = essential()
    with phase("maps"):
        watcher = Watcher(KernelMachine(features), Sampling())
    with phase("attach: catalogue"):
        known, go = libraries(), runtime()
    with phase("attach: image"):
        image = Image.open(process.exe)
    with phase("attach: types"):
        types = types_of(image, go)
    with phase("attach: bind"):
        binding = bind(image, types, known, go)
    bias = process.load_bias(image.elf.entry)
    with phase("attach: programs, probes"):
        attachment = watcher.attach(Executable(process.pid, process.initial_tgid, process.exe, bias), binding)
    with phase("attach: resource"):
        resource_of(process, image.go_version.text, Environment({}))
    with phase("detach"):
        watcher.detach(attachment)
    watcher.close()
    process.close()
    print(json.dumps(spent))


if __name__ == "__main__":
    main()
