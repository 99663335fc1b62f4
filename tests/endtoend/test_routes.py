"""http.route: the pattern of the innermost ServeMux, whatever became of the request on its way (Go ≥ 1.22)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import gobuild
from endtoend_requests import get, has_routes, one
from goservers import Server, serving
from httpload import load, request_bytes
from watching import Watch, watching

VERSIONS = [version for version in gobuild.ALL if has_routes(version)]
FIRST = VERSIONS[0]


@pytest.fixture(
    scope="module",
    params=[v if v in (FIRST, gobuild.NEWEST) else pytest.param(v, marks=pytest.mark.matrix) for v in VERSIONS],
)
def go(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def edges(go: str) -> Iterator[Server]:
    with serving(gobuild.build("httpedges", go)) as one:
        yield one


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/hello", "/hello"),
        ("/users/7", "/users/{id}"),  # registered with a method
        ("/api/users/7", "/users/{id}"),  # a mux within a mux, behind StripPrefix
        ("/copied/users/7", "/users/{id}"),  # behind middleware that passes on a copy
        ("/nowhere", None),
        ("/api/nowhere", None),  # the innermost mux matched nothing
        ("/users/7/", None),
    ],
)
def test_the_innermost_pattern_that_matched(server: Server, watch: Watch, path: str, route: str | None) -> None:
    span = get(server, watch, path)
    assert span["http.route"] == route
    assert span.name == (f"GET {route}" if route else "GET")


def test_method_and_host_are_left_out(server: Server, watch: Watch) -> None:
    load_with_host(server, "/local/5", "localhost")
    span = one(watch.take("server"))
    assert span["http.route"] == "/local/{id}"


def load_with_host(server: Server, path: str, host: str) -> None:
    from endtoend_requests import exchange

    exchange(server.http, request_bytes(path, host=host, headers={"Connection": "close"}))


def test_a_redirect_of_the_mux_has_no_route_made_of_its_path(server: Server, watch: Watch) -> None:
    """`//hello` is sent to `/hello`: whatever is reported, it is a pattern, not a path of the client's making."""
    span = get(server, watch, "/api//users/./7")
    assert span["http.response.status_code"] in (301, 307)
    assert span["http.route"] in (None, "/api/")


def test_the_old_mux_has_no_patterns(go: str) -> None:
    with (
        serving(gobuild.build("httpserver", go), environment={"GODEBUG": "httpmuxgo121=1"}) as old,
        watching(old.pid) as watch,
    ):
        assert get(old, watch, "/hello")["http.route"] is None


def test_a_mux_behind_a_timeout_handler(edges: Server) -> None:
    """http.TimeoutHandler runs its handler on another goroutine."""
    with watching(edges.pid) as watch:
        assert get(edges, watch, "/timed/hello")["http.route"] == "/timed/hello"
        span = get(edges, watch, "/short/timed/expired")
        assert span["http.response.status_code"] == 503
        assert span["http.route"] == "/timed/expired"


def test_a_copy_that_is_garbage_by_the_end(edges: Server) -> None:
    with watching(edges.pid) as watch:
        load(edges.http, "/forgotten/garbage", 20, connections=2)
        assert [span["http.route"] for span in watch.server()] == ["/garbage"] * 20


def test_routes_of_requests_on_one_connection_do_not_mix(server: Server, watch: Watch) -> None:
    paths = ["/hello", "/users/1", "/nowhere", "/api/users/2", "/nothing", "/nowhere"]
    load(server.http, paths, 120, connections=3)
    expected = {
        "/hello": "/hello",
        "/users/1": "/users/{id}",
        "/nowhere": None,
        "/api/users/2": "/users/{id}",
        "/nothing": "/nothing",
    }
    spans = watch.take("server")
    assert len(spans) == 120
    assert all(span["http.route"] == expected[str(span["url.path"])] for span in spans)
