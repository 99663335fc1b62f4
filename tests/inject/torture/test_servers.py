"""One span for each request, whatever the mechanism, attached in the middle or from the program's first instruction."""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path

import pytest

import gobuild
from cli import Finished, attributes, started, text_is_original
from goservers import serving
from httpload import load
from processes import eventually
from torture_mechanisms import Memory, every_mechanism, patches, skip_without, via

_PATHS = ["/hello", "/status?code=503", "/deep?n=2000", "/nothing", "/panic", "/hello?a=b", "/stream?n=3"]
_REQUESTS = 700


@pytest.fixture(params=every_mechanism(quick=("springboard", "hook")))
def mechanism(request: pytest.FixtureRequest) -> str:
    skip_without(request.param)
    return str(request.param)


def check(done: Finished, requests: int) -> None:
    """Nothing is lost, and what is told of each request is what was asked."""
    assert done.code == 0, done.err
    servers = [attributes(span.attributes) for span in done.spans if span.kind == 2]
    summary = done.summary
    assert (len(servers), summary.dropped) == (requests, 0), done.err
    each = requests // len(_PATHS)
    told = Counter((one["url.path"], one.get("http.response.status_code")) for one in servers)
    for path, status in (("/hello", 200), ("/status", 503), ("/deep", 200), ("/nothing", 200), ("/stream", 200)):
        assert told[path, status] == each * (2 if path == "/hello" else 1), told
    assert {one["http.request.method"] for one in servers} == {"GET"}


@pytest.mark.parametrize("go", [pytest.param(gobuild.OLDEST, marks=pytest.mark.matrix), gobuild.NEWEST])
def test_attached_to_a_running_server(go: str, mechanism: str) -> None:
    with serving(gobuild.build("httpserver", go)) as server:
        before = Memory.of(server.pid)
        load(server.http, _PATHS, 70)
        with started("attach", str(server.pid), *via(mechanism), "--to", "json") as gotap:
            gotap.attached()
            sites = patches(before, Memory.of(server.pid))
            counts = load(server.http, _PATHS, _REQUESTS, connections=8)
            done = gotap.finish(signal.SIGINT)
        check(done, counts.handled)
        assert sites["int3" if mechanism == "uprobe" else "jump"] > 0
        assert before.differences(Memory.of(server.pid)) == []


def test_from_its_first_instruction(mechanism: str) -> None:
    server = gobuild.build("httpserver", gobuild.NEWEST)
    with started("run", *via(mechanism), "--to", "json", "--", str(server)) as gotap:
        def address() -> re.Match[str] | None:
            return re.search(r"listening http=(\S+)", gotap.err + gotap.out.decode(errors="replace"))

        found = eventually(address, "the server's line")
        assert found
        counts = load(found[1], _PATHS, _REQUESTS, connections=8)
        (pid,) = Path(f"/proc/{gotap.pid}/task/{gotap.pid}/children").read_text().split()
        assert not text_is_original(int(pid))
        done = gotap.finish(signal.SIGTERM)
    check(done, counts.handled)
