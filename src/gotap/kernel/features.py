"""What this host's kernel lets this process do, found by doing it: never by comparing versions.

    features = essential()
    if not features.watchable: … features.missing() …
    features.has("uprobe_multi")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gotap.kernel import cgroup, host, trials, trials_scripts
from gotap.kernel.findings import Feature, Features
from gotap.kernel.lockdown import level, lockdown
from gotap.kernel.trials import Bench

__all__ = ["Feature", "Features", "essential", "lockdown_level", "probe", "scripting"]

_Trial = Callable[[Bench], Iterator[Feature]]

_NEEDED: tuple[_Trial, ...] = (trials.bpf, trials.program, trials.ringbuf)
_HELPFUL: tuple[_Trial, ...] = (trials.bpf_loop, trials.attach_cookie, trials.no_prealloc)
_SCRIPTS: tuple[_Trial, ...] = (trials_scripts.percpu_lookup, trials_scripts.on_demand, trials_scripts.clock_growing)
_TOLD: tuple[_Trial, ...] = (trials.nop5, trials.stats, trials.jit, trials.memlock, trials.write_user, lockdown)


def essential() -> Features:
    """What attaching must know, in 10 to 20 ms: bpf, program, ringbuf, uprobes, uprobe_multi, bpf_loop, attach_cookie,
    no_prealloc; perf_uprobe only when it is the one to be used."""
    with Bench() as bench:
        return _features(_run(bench, (*_NEEDED, trials.uprobes_if_needed, *_HELPFUL)))


def scripting() -> Features:
    """What tracing must know besides: percpu_lookup, on_demand, clock_growing; a millisecond more."""
    with Bench() as bench:
        return _features(_run(bench, (*_NEEDED, trials.uprobes_if_needed, *_HELPFUL, *_SCRIPTS)))


def probe() -> Features:
    """Everything; about 0.15 s, most of it the kernel's removal of the uprobes that were tried."""
    with Bench() as bench:
        found = [
            host.release_finding(),
            host.capabilities_finding(),
            *_run(bench, (*_NEEDED, trials.uprobes, *_HELPFUL, *_SCRIPTS, *_TOLD)),
            host.btf_finding(),
            host.tracefs_finding(),
            host.paranoid_finding(),
            host.yama_finding(),
            cgroup.memory_finding(),
        ]
        bench.finish_closing()
    return _features(found)


def lockdown_level() -> str | None:
    """"none", "integrity" or "confidentiality"; None when nothing tells. A millisecond."""
    with Bench() as bench:
        return level(bench)


def _run(bench: Bench, wanted: Iterable[_Trial]) -> Iterator[Feature]:
    for trial in wanted:
        yield from trial(bench)


def _features(found: Iterable[Feature]) -> Features:
    return Features({feature.id: feature for feature in found})
