"""Calls of one goroutine put into each other: what a function called, directly and indirectly.

A call is known when it ends, so what it called is there before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct, field

from gotap.probe.script.routine import Ended
from gotap.signals.events import Events

#: Calls that wait for the end of the one around them, of one goroutine; further ones are left out.
MOST_WAITING = 100_000


class CallNode(Struct):
    """A call and those it made, in their order. Times in Unix ns. `left_out`: calls for which there was no room."""

    events: Events
    row: int
    begin: int
    end: int
    calls: list[CallNode] = field(default_factory=list)
    left_out: int = 0


class _Goroutine(Struct):
    """`waiting`: ended calls in the open ones, by their end."""

    waiting: list[CallNode] = field(default_factory=list)
    left_out: int = 0


class OpenRoots:
    """Counts the calls of roots that are open on each goroutine.

    `entries`, `roots`: probes that tell the beginning of a root's call, and its end. A root's call within another one's
    is a part of that one's tree.
    """

    def __init__(self, entries: Collection[str], roots: Collection[str]) -> None:
        self._entries = frozenset(entries)
        self._roots = frozenset(roots)
        self._open: dict[int, int] = {}

    def begins(self, events: Events, row: int) -> bool:
        """Whether this is the beginning of a root's call, which then is open."""
        if events.spec.probe not in self._entries:
            return False
        site, goid = events.site[row], events.goid[row]
        if site is None or not site.inlined_into:  # whose end nobody sees
            self._open[goid] = self._open.get(goid, 0) + 1
        return True

    def within(self, goid: int) -> bool:
        """Whether any is open on the goroutine."""
        return goid in self._open

    def ends(self, events: Events, row: int) -> bool:
        """Whether this is the end of the outermost open call of a root."""
        goid = events.goid[row]
        if events.spec.probe not in self._roots or goid not in self._open:
            return False
        self._open[goid] -= 1
        if self._open[goid]:
            return False
        del self._open[goid]
        return True

    def counts(self, events: Events, row: int) -> bool:
        """Whether a tree is complete with this event; for whoever is shown all of them."""
        return not self.begins(events, row) and self.ends(events, row)


class CallTrees:
    """Takes events in their order; gives the tree of each root's call when it ends, see OpenRoots."""

    def __init__(self, entries: Collection[str], roots: Collection[str], most: int = MOST_WAITING) -> None:
        self._open = OpenRoots(entries, roots)
        self._most = most
        self._goroutines: dict[int, _Goroutine] = {}

    def add(self, events: Events, row: int) -> CallNode | None:
        """The tree that this event completes, if it does."""
        goid = events.goid[row]
        if self._open.begins(events, row) or events.ended[row] == Ended.OPEN or not self._open.within(goid):
            return None
        goroutine = self._goroutines.setdefault(goid, _Goroutine())
        latency = events.latency[row] if events.latency is not None else 0
        node = CallNode(events, row, events.time[row] - latency, events.time[row])
        waiting = goroutine.waiting
        first = len(waiting)
        while first and waiting[first - 1].begin >= node.begin:
            first -= 1
        node.calls = waiting[first:]
        del waiting[first:]
        if self._open.ends(events, row):
            node.left_out = goroutine.left_out
            del self._goroutines[goid]
            return node
        if len(waiting) < self._most:
            waiting.append(node)
        else:
            goroutine.left_out += 1
        return None


def preorder(tree: CallNode) -> Iterator[tuple[CallNode, int, bool]]:
    """(call, depth, whether this is its end) in the order in which it happened; a call that made none has no end."""
    stack: list[tuple[CallNode, int, bool]] = [(tree, 0, False)]
    while stack:
        node, depth, closes = stack.pop()
        yield node, depth, closes
        if not closes and node.calls:
            stack.append((node, depth, True))
            stack.extend((call, depth + 1, False) for call in reversed(node.calls))
