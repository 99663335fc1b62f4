"""Events of `gotap trace` as JSON, one object a line; docs/trace.schema.json describes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from gotap.probe.script.bound import EventKind
from gotap.signals.call_trees import CallNode, preorder
from gotap.signals.events import Events, Field, ended_word
from gotap.signals.trace_format import print_texts, printf_texts
from gotap.signals.trace_values import as_json, frame_json

if TYPE_CHECKING:
    from gotap.signals.maps import MapResult

_encode = msgspec.json.Encoder().encode


class TraceJson:
    """Renders; each text is one line."""

    def __init__(self) -> None:
        self._latest: tuple[Events, list[dict[str, Any]]] | None = None  # the batch that a tree's call was of last

    def events(self, events: Events) -> list[bytes]:
        """One line for each event."""
        match events.spec.kind:
            case EventKind.PRINTF:
                return [_line({"text": text}) for text in printf_texts(events, _as_it_is)]
            case EventKind.PRINT:
                return [_line({"text": text}) for text in print_texts(events, _as_it_is)]
            case _:
                return [_line(one) for one in _calls(events)]

    def tree(self, tree: CallNode) -> bytes:
        """A call and those it made, a line each, with how deep each is."""
        lines: list[bytes] = []
        for node, depth, closes in preorder(tree):
            if not closes:
                if self._latest is None or self._latest[0] is not node.events:
                    self._latest = node.events, list(_calls(node.events))
                lines.append(_line({**self._latest[1][node.row], "depth": depth}))
        return b"".join(lines)

    def map(self, result: MapResult) -> bytes:
        from gotap.signals.maps import to_json

        return _line(to_json(result))


def _line(content: dict[str, Any]) -> bytes:
    return _encode(content) + b"\n"


def _as_it_is(text: str) -> str:
    return text.encode("utf-8", "replace").decode()  # a surrogate is no character of JSON


def _calls(events: Events) -> Iterator[dict[str, Any]]:
    probe = events.spec.probe
    arguments, results = _columns(events.fields), _columns(events.results)
    for row, site in enumerate(events.site):
        one: dict[str, Any] = {
            "probe": probe,
            "time_unix_nano": events.time[row],
            "pid": events.pid[row],
            "tid": events.tid[row],
            "goid": events.goid[row] or None,
        }
        if site is not None:
            one["func"] = events.function[row]
        if site is not None and events.spec.func is None:  # else it is not about the place where it was seen
            one |= {"file": site.file, "line": site.line}
        one["args"] = {name: values[row] for name, values in arguments}
        ended = ended_word(events.ended[row])
        if ended == "return":
            one["results"] = {name: values[row] for name, values in results}
        if ended is not None:
            if events.latency is not None:
                one["latency_ns"] = events.latency[row]
            one["ended"] = ended
        if events.weight[row] > 1:
            one["sampled"] = 1 / events.weight[row]
        if events.stack is not None:
            one["stack"] = [frame_json(frame) for frame in events.stack[row]]
        yield one


def _columns(fields: Sequence[Field]) -> list[tuple[str, list[Any]]]:
    return [(field.name, [as_json(field.part, value) for value in field.values]) for field in fields]
