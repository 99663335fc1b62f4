"""Generated programs in the BPF interpreter: trace identity, remote parents, sampling."""

from __future__ import annotations

import numpy as np
import pytest

from codegen_process import MAP, Heap, Process, begin, end
from codegen_samples import (
    SWISS,
    header_text,
)
from gotap.bpf.codegen.tracing import Sampling
from gotap.probe import ir
from gotap.probe.record import RecordFlags

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


def traced(value: bytes | None, sampling: Sampling = Sampling()) -> tuple[np.void, bytes]:  # noqa: B008
    process = Process(sampling)
    heap = Heap(process.memory)
    headers = {} if value is None else {b"Traceparent": value}
    process.memory.write(MAP, heap.swiss(headers, SWISS))
    process.run(begin(remote=ir.TraceParent((header_text(SWISS, b"Traceparent"),))), rax=MAP)
    process.run(end())
    return process.records()[0]


@pytest.mark.parametrize("flags", ["00", "01", "02", "ff"])
def test_a_valid_traceparent_is_the_parent(flags: str) -> None:
    header, _ = traced(f"00-{TRACE}-{SPAN}-{flags}".encode())
    assert bytes(header["trace_id"]).hex() == TRACE
    assert bytes(header["parent_id"]).hex() == SPAN
    assert header["flags"] & RecordFlags.REMOTE_PARENT
    assert bool(header["flags"] & RecordFlags.SAMPLED) == bool(int(flags, 16) & 1)
    assert bytes(header["span_id"]) not in (bytes(8), bytes.fromhex(SPAN))


def test_a_later_version_may_go_on_after_a_dash() -> None:
    header, _ = traced(f"cc-{TRACE}-{SPAN}-01-what the future will be like".encode())
    assert header["flags"] & RecordFlags.REMOTE_PARENT


@pytest.mark.parametrize(
    "value",
    [
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"cc-{TRACE}-{SPAN}-01.extra",
        f"00_{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE[:-1]}:-{SPAN}-01",
        f"00-{TRACE[:-1]}`-{SPAN}-01",
        f"00-{TRACE[:-1]}/-{SPAN}-01",
        f"00-{TRACE[:-1]}é{SPAN}-01",
        "",
        None,
    ],
)
def test_an_invalid_traceparent_is_as_if_it_were_not_there(value: str | None) -> None:
    header, _ = traced(None if value is None else value.encode())
    assert not header["flags"] & RecordFlags.REMOTE_PARENT
    assert bytes(header["parent_id"]) == bytes(8)
    assert bytes(header["trace_id"]).hex() not in (TRACE, "0" * 32)
    assert header["flags"] & RecordFlags.SAMPLED


def test_the_sampler_decides_roots_and_follows_parents() -> None:
    never = Sampling(True, 0)
    assert not traced(None, never)[0]["flags"] & RecordFlags.SAMPLED
    assert traced(f"00-{TRACE}-{SPAN}-01".encode(), never)[0]["flags"] & RecordFlags.SAMPLED
    alone = Sampling(False, 0)
    assert not traced(f"00-{TRACE}-{SPAN}-01".encode(), alone)[0]["flags"] & RecordFlags.SAMPLED
    half = int.from_bytes(bytes.fromhex(TRACE)[8:], "big") >> 1
    assert not traced(f"00-{TRACE}-{SPAN}-01".encode(), Sampling(False, half))[0]["flags"] & RecordFlags.SAMPLED
    assert traced(f"00-{TRACE}-{SPAN}-00".encode(), Sampling(False, half + 1))[0]["flags"] & RecordFlags.SAMPLED
