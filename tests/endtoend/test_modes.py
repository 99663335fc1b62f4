"""Every Go version in every build mode: requests, routes, parents and panics over the real kernel.

`make test-matrix` runs all of them and prints the table of docs/versions.md.
"""

from __future__ import annotations

from collections import Counter

import pytest

import gobuild
from endtoend_requests import has_routes, one
from goservers import serving
from httpload import load
from watching import watching

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize("mode", gobuild.every_mode())
@pytest.mark.parametrize("go", gobuild.every_version())
def test_spans_in_every_mode(go: str, mode: str) -> None:
    with serving(gobuild.build("httpserver", go, mode=mode)) as server, watching(server.pid) as watch:
        counts = load(server.http, ["/hello", "/users/7", "/status?code=503"], 30, connections=2)
        spans = watch.take("server")
        assert len(spans) == counts.handled == 30
        assert Counter(span["http.response.status_code"] for span in spans) == {200: 20, 503: 10}
        if has_routes(go):
            assert Counter(span["http.route"] for span in spans) == {"/hello": 10, "/users/{id}": 10, "/status": 10}

        headers = {"Traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
        load(server.http, f"/call?url={server.url('/hello')}", 1, connections=1, headers=headers)
        by_path = {span["url.path"]: span for span in watch.server()}
        outer, inner = by_path["/call"], one(watch.client())
        assert (outer.trace_id, outer.parent_id) == (TRACE_ID, PARENT_ID)
        assert inner.is_child_of(outer)
        assert inner["http.response.status_code"] == 200
        watch.take()

        load(server.http, "/panic", 1, connections=1)
        panicked = one(watch.take("server"))
        assert panicked["error.type"] == "panic"
        assert panicked["http.response.status_code"] is None
        assert not watch.losses()
