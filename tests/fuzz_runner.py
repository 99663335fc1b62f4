"""Runs damaged inputs through parsers. An input passes when it gives a value or a GotapError, within limits."""

from __future__ import annotations

import gc
import resource
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import NamedTuple

from fuzz_mutations import Seed, mutated
from gotap.errors import GotapError

#: CPU seconds that one input may take: other load on the machine does not count.
LIMIT_SECONDS = 2.0
#: Bytes of address space that inputs may make the process grow by.
LIMIT_BYTES = 200 << 20


class Target(NamedTuple):
    """`run` reads an input as far as the parser goes; it raises what the parser raises.

    `share`: how many inputs it gets for one of the dearest target.
    """

    name: str
    seeds: Sequence[Seed]
    run: Callable[[bytes], object]
    share: int = 1


class TookTooLong(BaseException):
    """Not an Exception, so that no handler in a parser can take it for its own."""


class Finding(NamedTuple):
    """An input that did not pass, and why; `place` is the innermost line of gotap on the way."""

    target: str
    content: bytes
    error: str
    place: str


class Tally(NamedTuple):
    inputs: int
    values: int
    errors: int
    findings: list[Finding]
    seconds: float


def check(target: Target, content: bytes) -> Finding | str:
    """What is wrong with the outcome, or its kind: "value" or "error". Call within `limits`."""
    try:
        signal.setitimer(signal.ITIMER_PROF, LIMIT_SECONDS)
        try:
            target.run(content)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except GotapError:
        return "error"
    except (Exception, TookTooLong) as error:
        return Finding(target.name, content, f"{type(error).__name__}: {error}"[:300], _place(error))
    return "value"


def run(target: Target, seed: int, first: int, count: int, most_findings: int = 20) -> Tally:
    """Inputs `first` … `first + count` of that seed; after enough different findings it stops."""
    outcomes: Counter[str] = Counter()
    findings: dict[str, Finding] = {}
    began = time.process_time()
    random = Random()
    done = 0
    for number in range(first, first + count):
        random.seed(seed << 40 | number)
        outcome = check(target, mutated(random, target.seeds))
        done += 1
        if isinstance(outcome, str):
            outcomes[outcome] += 1
            continue
        findings.setdefault(f"{outcome.place} {outcome.error.partition(':')[0]}", outcome)
        if len(findings) >= most_findings:
            break
    return Tally(done, outcomes["value"], outcomes["error"], list(findings.values()), time.process_time() - began)


@contextmanager
def limits() -> Iterator[None]:
    """The CPU watchdog, and a bound of the address space: what allocates beyond it gets a MemoryError.

    The bound holds for the whole process and is lifted at the end.
    """

    def too_long(_number: int, _frame: FrameType | None) -> None:
        raise TookTooLong(f"more than {LIMIT_SECONDS} s of CPU")

    handler = signal.signal(signal.SIGPROF, too_long)
    before = resource.getrlimit(resource.RLIMIT_AS)
    gc.collect()
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT_BYTES, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


def _place(error: BaseException) -> str:
    place, trace = "", error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if "gotap" in path.parts:
            place = f"{path.parent.name}/{path.name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
