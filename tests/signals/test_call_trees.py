"""Calls put into each other: against a program of calls that keeps its own tree."""

from __future__ import annotations

import random
from typing import Any

import pytest

from gotap.probe.script.routine import Ended
from gotap.signals.call_trees import CallNode, CallTrees, preorder
from trace_events import calls

ENTRY, ROOT, CALLED = "main.root:entry", "main.root", "--graph"


class Machine:
    """Runs random calls on a few goroutines and tells their events in the order in which they happen."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.now = 0
        self.events: list[Any] = []
        self.trees: list[Any] = []  # of roots' outermost calls, in the order of their ends: (begin, [calls])

    def run(self) -> None:
        stacks: dict[int, list[tuple[str, int, list[Any]]]] = {goid: [] for goid in (1, 2, 3)}
        for _ in range(400):
            goid = self.choose.choice(list(stacks))
            self.step(goid, stacks[goid])
        for goid, stack in stacks.items():
            while stack:
                self.end(goid, stack)

    def step(self, goid: int, stack: list[tuple[str, int, list[Any]]]) -> None:
        self.now += 1
        if stack and (len(stack) > 8 or self.choose.random() < 0.5):
            self.end(goid, stack)
            return
        probe = ROOT if self.choose.random() < 0.3 else CALLED
        if probe == ROOT:
            self.events.append(calls(probe=ENTRY, goid=goid, ended=Ended.OPEN, latency=None, end=[self.now]))
        stack.append((probe, self.now, []))

    def end(self, goid: int, stack: list[tuple[str, int, list[Any]]]) -> None:
        self.now += 1
        probe, begin, made = stack.pop()
        ended = self.choose.choice([Ended.RETURN, Ended.PANIC])
        self.events.append(calls(probe=probe, goid=goid, ended=ended, latency=self.now - begin, end=[self.now]))
        within_root = any(outer == ROOT for outer, _, _ in stack)
        if within_root:
            stack[-1][2].append((begin, made))
        elif probe == ROOT:
            self.trees.append((begin, made))


def told(node: CallNode, start: int) -> Any:
    return node.begin - start, [told(call, start) for call in node.calls]


@pytest.mark.parametrize("seed", range(20))
def test_random_programs(seed: int) -> None:
    machine = Machine(seed)
    machine.run()
    trees = CallTrees({ENTRY}, {ROOT})
    start = calls().time[0]
    found = [told(tree, start) for events in machine.events if (tree := trees.add(events, 0)) is not None]
    assert found == machine.trees
    assert found


def test_calls_that_began_before_the_attach_are_left_out() -> None:
    trees = CallTrees({ENTRY}, {ROOT})
    assert trees.add(calls(probe=CALLED), 0) is None
    assert trees.add(calls(probe=ROOT), 0) is None


def test_inlined_copies_of_a_root_have_no_end() -> None:
    trees = CallTrees({ENTRY}, {ROOT})
    entry = calls(probe=ENTRY, ended=Ended.OPEN, latency=None)
    site = entry.site[0]
    assert site is not None
    entry.site[0] = type(site)(site.function, site.package, site.file, site.line, site.address, "main.main")
    assert trees.add(entry, 0) is None
    assert trees.add(calls(probe=CALLED), 0) is None
    assert not trees._goroutines


def test_what_finds_no_room_is_counted() -> None:
    trees = CallTrees({ENTRY}, {ROOT}, most=3)
    trees.add(calls(probe=ENTRY, ended=Ended.OPEN, latency=None, end=[0]), 0)
    for moment in range(10, 110, 10):
        trees.add(calls(probe=CALLED, latency=1, end=[moment]), 0)
    tree = trees.add(calls(probe=ROOT, latency=200, end=[200]), 0)
    assert tree is not None
    assert (len(tree.calls), tree.left_out) == (3, 7)


def test_deep_trees_need_no_stack() -> None:
    deepest = CallNode(calls(), 0, 0, 0)
    for _ in range(5000):
        deepest = CallNode(calls(), 0, 0, 0, [deepest])
    steps = list(preorder(deepest))
    assert max(depth for _, depth, _ in steps) == 5000
    assert len(steps) == 2 * 5000 + 1
