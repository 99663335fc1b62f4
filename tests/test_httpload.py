"""The load generators against the test server's own counts: what they say was handled is what reached the handlers."""

from __future__ import annotations

import json
import subprocess

import pytest

from gobuild import NEWEST, OLDEST, build
from goservers import serving
from httpload import Counts, load


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_every_request_that_was_taken_up_is_counted_at_both_ends(go: str) -> None:
    with serving(build("httpserver", go)) as server:
        total = Counts()
        total.add(load(server.http, "/hello", 500, connections=3, pipeline=7))
        total.add(load(server.http, ["/hello", "/panic", "/nothing", "/abort"], 100, pipeline=5))
        total.add(load(server.http, ["/stream?n=3", "/hijack", "/panic-after-write"], 30, connections=3))
        total.add(load(server.http, "/status?code=404", 5, version="1.0"))
        total.add(load(server.http, "/hello", 5, method="HEAD"))
        assert total.sent == 640 == total.handled + total.unanswered
        assert total.lost > 0
        assert total.cut == 10
        assert total.status[404] == 5
        counts = server.stop()
        assert sum(count["begun"] for count in counts.values()) == total.handled
        assert all(count["begun"] == count["finished"] for count in counts.values())


def test_go_load_generator_counts_http1_and_http2() -> None:
    with serving(build("httpserver", NEWEST)) as server:
        urls = [server.url("/hello"), server.url("/status?code=500", "https")]
        told = json.loads(subprocess.check_output([build("httpload"), "-n", "1000", "-c", "4", *urls], timeout=60))
        assert (told["requests"], told["errors"], told["status"]) == (1000, 0, {"200": 500, "500": 500})
        counts = server.stop()
        assert counts["/hello"]["finished"] == counts["/status"]["finished"] == 500
