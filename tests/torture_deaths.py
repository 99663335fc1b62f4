"""gotap dies at every single step of what it does to a process: the process lives, and `gotap detach` tidies up.

gotap counts its ptrace requests and writes to the target's memory, and kills itself behind the one whose number is in
the environment variable GOTAP_TEST_DIE_AT.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from torture_forks import Forked, Forks
from torture_mechanisms import Memory, told, via
from torture_program import FUNCTIONS, Torture

_DIE_AT = "GOTAP_TEST_DIE_AT"
_SCRIPT = (
    f"{', '.join(f'{name}:entry' for name in FUNCTIONS)} {{ @entered[func] = count() }} "
    "main.pair, main.several { @ = hist(latency) }"
)


@dataclass(slots=True)
class Deaths:
    """At how many steps gotap has died, of how many it takes to attach, observe and detach."""

    steps: int = 0
    died: list[int] = field(default_factory=list)
    left: dict[int, list[str]] = field(default_factory=dict)  # by step, what was still there after `gotap detach`


def every_step() -> Iterator[int]:
    number = 0
    while True:
        number += 1
        yield number


def some_steps(growth: float = 3.0) -> Iterator[int]:
    """Fewer and fewer of the later ones."""
    number = 1.0
    while True:
        yield int(number)
        number = max(number + 1, number * growth)


def of_observing(target: Torture, forks: Forks, mechanism: str, steps: Iterator[int]) -> Deaths:
    """gotap dies at these steps of attaching, observing and detaching, until it gets through alive."""
    found = Deaths()
    before = Memory.of(target.pid)
    for number in steps:
        with forks.started(*_words(target, mechanism), environment={_DIE_AT: str(number)}) as gotap:
            survived = _ended_well(gotap)
        target.works()
        found.steps = number
        if survived:
            assert before.differences(Memory.of(target.pid)) == []
            return found
        found.died.append(number)
        _tidy(target, forks, before, found, number)
    return found


def of_detaching(target: Torture, forks: Forks, mechanism: str, steps: Iterator[int]) -> Deaths:
    """gotap is killed while it observes, then `gotap detach` dies at these steps, until it gets through."""
    found = Deaths()
    before = Memory.of(target.pid)
    for number in steps:
        kill_observing(target, forks, mechanism)
        done = forks.run("detach", str(target.pid), environment={_DIE_AT: str(number)})
        target.works()
        found.steps = number
        if done.code != 128 + signal.SIGKILL:
            assert done.code == 0, done.err
            assert before.differences(Memory.of(target.pid)) == []
            return found
        found.died.append(number)
        _tidy(target, forks, before, found, number)
    return found


def kill_observing(target: Torture, forks: Forks, mechanism: str) -> None:
    """gotap attaches and is killed; what it has left behind goes on working with nobody there to read."""
    with observing(target, forks, mechanism) as gotap:
        gotap.finish(signal.SIGKILL)
    target.works()


@contextmanager
def observing(target: Torture, forks: Forks, mechanism: str) -> Iterator[Forked]:
    with forks.started(*_words(target, mechanism)) as gotap:
        gotap.wait_for("gotap: attached")
        target.works()
        yield gotap


def detaches(target: Torture, forks: Forks) -> None:
    done = forks.run("detach", str(target.pid))
    assert done.code == 0, done.err


def _words(target: Torture, mechanism: str) -> tuple[str, ...]:
    return "trace", "-p", str(target.pid), *via(mechanism), "--json", "--max-overhead", "off", _SCRIPT


def _ended_well(gotap: Forked) -> bool:
    """Attaches, and detaches at SIGINT; False if it dies on the way."""
    try:
        gotap.wait_for("gotap: attached")
    except AssertionError:
        if gotap.poll() != -signal.SIGKILL:
            raise
        return False
    done = gotap.finish(signal.SIGINT if gotap.poll() is None else 0)
    if done.code == 128 + signal.SIGKILL:
        return False
    assert done.code == 0, told(done)
    return True


def _tidy(target: Torture, forks: Forks, before: Memory, found: Deaths, number: int) -> None:
    detaches(target, forks)
    if left := before.differences(Memory.of(target.pid)):
        found.left[number] = left
    target.works()
