"""Records as a mechanism would write them, and an HTTP server's output description to decode them with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gotap.probe.record import (
    HEADER,
    VERSION,
    Attribute,
    Column,
    ColumnKind,
    Layout,
    Output,
    RecordFlags,
)

COLUMNS = {
    "method": ColumnKind.TEXT,
    "path": ColumnKind.TEXT,
    "query": ColumnKind.TEXT,
    "tls": ColumnKind.BOOL,
    "major": ColumnKind.INT,
    "minor": ColumnKind.INT,
    "host": ColumnKind.TEXT,
    "peer": ColumnKind.TEXT,
    "agent": ColumnKind.TEXT,
    "rw": ColumnKind.KEPT,
    "status": ColumnKind.INT,
    "pattern": ColumnKind.TEXT,
    "panic.type": ColumnKind.TYPE,
    "panic.text": ColumnKind.TEXT,
    "tracestate": ColumnKind.TEXT,
}

LAYOUT = Layout(
    "http.server", 3, tuple(Column(name, kind, index) for index, (name, kind) in enumerate(COLUMNS.items()))
)

SERVER = Output(
    operation="http.server",
    kind="server",
    name="{http.request.method|_OTHER=HTTP} {http.route}",
    attributes=(
        Attribute("http.request.method", "http_method", ("method",)),
        Attribute("http.request.method_original", "http_method_original", ("method",)),
        Attribute("http.response.status_code", "http_status", ("status",)),
        Attribute("http.route", "route_of_pattern", ("pattern",)),
        Attribute("url.path", "url_path", ("path",)),
        Attribute("url.query", "url_query", ("query",)),
        Attribute("url.scheme", "scheme_from_tls", ("tls",)),
        Attribute("server.address", "host_name", ("host",)),
        Attribute("server.port", "host_port", ("host",)),
        Attribute("client.address", "peer_address", ("peer",)),
        Attribute("network.protocol.version", "http_version", ("major", "minor")),
        Attribute("user_agent.original", "text", ("agent",)),
        Attribute("error.type", "http_server_error", ("status", "panic.type", "panic.text")),
    ),
    metric="http.server.request.duration",
    metric_attributes=(
        "http.request.method",
        "url.scheme",
        "http.response.status_code",
        "error.type",
        "http.route",
        "network.protocol.version",
    ),
    layout=LAYOUT,
    scope="net/http",
)


@dataclass
class Sample:
    """One record to write: a value absent from `values` has no present bit; (bytes, length) is a text that was cut."""

    values: Mapping[str, int | bytes | tuple[bytes, int]]
    begin: int = 1_000_000_000
    end: int = 1_005_000_000
    flags: RecordFlags = RecordFlags.SAMPLED
    trace_id: bytes = bytes(range(1, 17))
    span_id: bytes = bytes(range(1, 9))
    parent_id: bytes = bytes(8)
    version: int = VERSION
    header: Mapping[str, int] = field(default_factory=dict)  # what else to overwrite in the header


def encode(samples: list[Sample], size: int = 512, layout: Layout = LAYOUT) -> NDArray[np.uint8]:
    """(n, size): the samples as the bytes of records."""
    return np.array([list(_record(one, size, layout)) for one in samples], np.uint8).reshape(len(samples), size)


def _record(sample: Sample, size: int, layout: Layout) -> bytes:
    columns = bytearray(8 * len(layout.columns))
    heap = bytearray()
    present = 0
    for name, value in sample.values.items():
        column = layout.column(name)
        present |= 1 << column.index
        if isinstance(value, int):
            word = (value % 2**64).to_bytes(8, "little")
        else:
            kept, length = value if isinstance(value, tuple) else (value, len(value))
            offset = layout.heap_offset + len(heap)
            word = offset.to_bytes(2, "little") + len(kept).to_bytes(2, "little") + length.to_bytes(4, "little")
            heap += kept
        columns[8 * column.index : 8 * column.index + 8] = word
    header = np.zeros(1, HEADER)
    header["version"], header["operation"] = sample.version, layout.operation_id
    header["flags"], header["present"] = sample.flags, present
    header["used"] = layout.heap_offset + len(heap)
    header["begin"], header["end"] = sample.begin, sample.end
    header["trace_id"] = np.frombuffer(sample.trace_id, np.uint8)
    header["span_id"] = np.frombuffer(sample.span_id, np.uint8)
    header["parent_id"] = np.frombuffer(sample.parent_id, np.uint8)
    for name, value in sample.header.items():
        header[name] = value
    record = header.tobytes() + columns + heap
    assert len(record) <= size
    return bytes(record.ljust(size, b"\xaa"))


def request(**changes: int | bytes | tuple[bytes, int] | None) -> dict[str, int | bytes | tuple[bytes, int]]:
    """The columns of an ordinary request; a keyword replaces one (`panic_text` for `panic.text`), None removes it."""
    values: dict[str, int | bytes | tuple[bytes, int]] = {
        "method": b"GET",
        "path": b"/users/7",
        "query": b"a=1",
        "tls": 0,
        "major": 1,
        "minor": 1,
        "host": b"example.com:8080",
        "peer": b"10.0.0.1:5555",
        "agent": b"curl/8.5.0",
        "status": 200,
        "pattern": b"GET /users/{id}",
    }
    for key, value in changes.items():
        name = key.replace("_", ".")
        if value is None:
            del values[name]
        else:
            values[name] = value
    return values
