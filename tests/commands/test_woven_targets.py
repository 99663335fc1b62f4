"""Woven programs as targets: what they tell of themselves gotap leaves to them, whatever it watches with."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import gobuild
from cli import Finished, attributes, gotap, resource_spans, started
from goservers import Server, serving
from gotap.image.image import Image
from httpload import load
from kernel_access import needs_bpf
from otlp_server import Collector, collector
from processes import eventually
from weavecases import spans
from wovenbuilds import SERVER_RULE, weave

REQUESTS = 20
SQL = "/call?on=DB&do=QueryContext&query=SELECT+1"
SERVED, CALLED = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT
INERT = {"OTEL_SDK_DISABLED": "TRUE"}
ALL_WAYS = pytest.mark.parametrize("via", ["uprobe", "springboard", "hook", "auto"])


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stripped server that tells of the requests it serves, by a rule of this test's, and not of those it makes."""
    folder = tmp_path_factory.mktemp("woven") / "partly"
    files = {"gotap.yaml": SERVER_RULE}
    return weave(folder, files, "-ldflags=-s -w", program="httpserver", GOTAP_LIBRARIES="")


@pytest.fixture(scope="module")
def wholly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server that tells of everything, by gotap's catalogue."""
    folder = tmp_path_factory.mktemp("woven") / "wholly"
    return weave(folder, {}, program="httpserver")


@contextmanager
def telling(executable: Path, to: Collector, **more: str) -> Iterator[Server]:
    """A server that sends its spans soon."""
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": to.url, "OTEL_BSP_SCHEDULE_DELAY": "20", **more}
    with serving(executable, environment=variables) as server:
        yield server


def kinds(done: Finished) -> Counter[int]:
    """Span kind → how many spans gotap told."""
    return Counter(span.kind for span in done.spans)


def own_spans(to: Collector) -> Counter[int]:
    """The same of those that the program sent."""
    return Counter(span.kind for span in spans(to))


# -- inspect --------------------------------------------------------------------------------------------------------


def test_inspect_tells_what_is_woven_in_and_what_is_left(partly: Path) -> None:
    done = gotap("inspect", "--libraries", str(partly))
    assert (done.code, done.err) == (0, "")
    lines = done.out.decode().splitlines()[1:]
    [server] = [line for line in lines if "http.server" in line]
    assert server.split()[0] == "--"
    assert server.endswith(" http.server: woven into net/http: the program tells of it itself")
    whole = gotap("inspect", str(partly)).out.decode().splitlines()
    assert whole[1].startswith("  woven by gotap 0.1.0, catalogue ")
    assert whole[1].endswith(": http.server in net/http")
    assert [line.split()[:3] for line in whole[2:5]] == [
        ["ok", one, "http.client:"] for one in ("uprobe", "springboard", "hook")
    ]
    assert whole[5].split(None, 2)[2] == "http.server: woven in; http.client: by gotap go build"


def test_inspect_tells_it_to_programs_too(partly: Path) -> None:
    one = json.loads(gotap("inspect", "--json", "--libraries", str(partly)).out)
    woven = one["go"]["woven"]
    assert woven["operations"] == [{"operation": "http.server", "package": "net/http"}]
    assert woven["version"] == "0.1.0"
    [library] = [each for each in one["libraries"] if each["name"] == "net/http"]
    [server] = [each for each in library["operations"] if each["name"] == "http.server"]
    assert (server["binds"], server["sites"], server["woven"]) == (False, {}, ["net/http"])
    assert not [site for site in one["sites"] if site["operation"] == "http.server"]
    assert [each["id"] for each in one["conditions"] if each["id"].startswith("w")] == ["woven-in"]


def test_a_program_that_tells_of_everything_is_not_to_be_watched(wholly: Path) -> None:
    one = json.loads(gotap("inspect", "--json", str(wholly)).out)
    for mechanism in ("uprobe", "springboard", "hook"):
        assert one["mechanisms"][mechanism] == {"works": False, "because": ["watches-itself"]}
    [condition] = [each for each in one["conditions"] if each["id"] == "watches-itself"]
    assert condition["remedy"] == f"OTEL_SDK_DISABLED=true gotap run -- {wholly}"


def test_a_process_that_is_inert_is_judged_as_any_other(wholly: Path) -> None:
    with serving(wholly, environment=INERT) as inert, serving(wholly) as telling:
        silent, itself = (json.loads(gotap("inspect", "--json", str(one.pid)).out) for one in (inert, telling))
        listed = {json.loads(line)["target"]: json.loads(line) for line in gotap("ps", "--json").out.splitlines()}
        table = gotap("ps").out.decode().splitlines()
    assert "watches-itself" not in [each["id"] for each in silent["conditions"]]
    assert {each["name"]: each["binds"] for each in silent["libraries"][0]["operations"]}["http.server"]
    assert "watches-itself" in itself["mechanisms"]["uprobe"]["because"]
    for one, told in ((inert, silent), (telling, itself)):
        assert listed[str(one.pid)]["libraries"] == told["libraries"]
    rows = {line.split()[0]: line for line in table}
    assert "http.server" in rows[str(inert.pid)]
    assert "watches-itself" in rows[str(telling.pid)]


# -- attach and run -------------------------------------------------------------------------------------------------


@ALL_WAYS
@pytest.mark.root
@needs_bpf
def test_no_operation_is_told_twice(partly: Path, via: str) -> None:
    """Requests that a server passes on to itself: what is woven is the program's, what is not is gotap's."""
    assert [one.operation for one in Image.open(partly).woven_operations] == ["http.server"]
    with collector() as otlp, telling(partly, otlp) as server:
        with started("attach", str(server.pid), "--via", via, "--to", "json") as watching:
            watching.attached()
            passed_on = f"/call?url={server.url('/hello')}"
            assert load(server.http, passed_on, REQUESTS).answered == REQUESTS
            otlp.wait(lambda: otlp.spans() >= 2 * REQUESTS)
            watching.wait_for_spans(REQUESTS)
            done = watching.finish(signal.SIGINT)
        assert own_spans(otlp) == {SERVED: 2 * REQUESTS}
    assert kinds(done) == {CALLED: REQUESTS}
    assert done.summary.dropped == 0
    assert done.err.count("partly is woven: it tells of http.server itself, so gotap does not;") == 1
    assert "started with OTEL_SDK_DISABLED=true it leaves that to gotap" in done.err


@pytest.mark.root
@needs_bpf
@pytest.mark.parametrize("go", [pytest.param("1.21.13", marks=pytest.mark.matrix), gobuild.NEWEST])
@pytest.mark.parametrize("libraries", ["net/http", "database/sql"])
def test_a_library_that_is_not_woven_is_watched(libraries: str, go: str, tmp_path: Path) -> None:
    """Requests that call a database: of the two spans that each is, one is the program's."""
    chosen = {"GOTAP_LIBRARIES": libraries, "GOTOOLCHAIN": f"go{go}"}
    executable = weave(tmp_path / "shop", {}, "-ldflags=-s -w", "-trimpath", program="sqlcalls", **chosen)
    itself, left = (SERVED, CALLED) if libraries == "net/http" else (CALLED, SERVED)
    with collector() as otlp, telling(executable, otlp) as server:
        with started("attach", str(server.pid), "--to", "json") as watching:
            watching.attached()
            assert load(server.http, SQL, REQUESTS).status[200] == REQUESTS
            otlp.wait(lambda: otlp.spans() >= REQUESTS)
            watching.wait_for_spans(REQUESTS)
            done = watching.finish(signal.SIGINT)
        assert own_spans(otlp) == {itself: REQUESTS}
    assert kinds(done) == {left: REQUESTS}


@ALL_WAYS
@pytest.mark.root
@needs_bpf
def test_of_a_program_that_is_inert_gotap_tells_everything(wholly: Path, via: str) -> None:
    with collector() as otlp, telling(wholly, otlp, **INERT) as server:
        with started("attach", str(server.pid), "--via", via, "--to", "json") as watching:
            watching.attached()
            assert load(server.http, f"/call?url={server.url('/hello')}", REQUESTS).answered == REQUESTS
            watching.wait_for_spans(3 * REQUESTS)
            done = watching.finish(signal.SIGINT)
        assert otlp.requests == []
    assert kinds(done) == {SERVED: 2 * REQUESTS, CALLED: REQUESTS}
    assert "woven" not in done.err


@pytest.mark.root
@needs_bpf
def test_processes_of_one_file_are_each_taken_for_what_they_are(wholly: Path) -> None:
    with collector() as otlp, telling(wholly, otlp) as itself, telling(wholly, otlp, **INERT) as inert:
        with started("attach", str(itself.pid), str(inert.pid), "--to", "json") as watching:
            watching.attached()
            for one in (itself, inert):
                load(one.http, "/hello", REQUESTS)
            watching.wait_for_spans(REQUESTS)
            otlp.wait(lambda: otlp.spans() >= REQUESTS)
            done = watching.finish(signal.SIGINT)
        assert own_spans(otlp) == {SERVED: REQUESTS}
    assert f"{itself.pid}: wholly is woven: it tells of " in done.err
    pids = {attributes(one.resource.attributes)["process.pid"] for one in resource_spans(done.out)}
    assert (pids, len(done.spans)) == ({inert.pid}, REQUESTS)


@pytest.mark.root
@needs_bpf
def test_where_nothing_is_left_attach_says_so_and_fails(wholly: Path) -> None:
    with serving(wholly) as server:
        for via in ("uprobe", "hook", "auto"):
            done = gotap("attach", str(server.pid), "--via", via, "--to", "json")
            assert done.code == 1
            told = done.err.splitlines()
            assert len(told) == 2
            assert told[0].startswith(f"gotap: {server.pid}: wholly is woven: it tells of ")
            assert told[0].endswith(" itself, and nothing else can be watched")
            assert "OTEL_SDK_DISABLED=true" in told[1]


@pytest.mark.root
@needs_bpf
def test_run_leaves_a_woven_program_to_itself(wholly: Path) -> None:
    call = [str(wholly), "-client", "http://127.0.0.1:1/", "-n", "1"]
    done = gotap("run", "--to", "json", "--", *call)
    assert (done.code, done.spans) == (0, [])
    assert done.err.count("wholly is woven: it tells of ") == 1
    assert "nothing was watched" not in done.err
    done = gotap("run", "--to", "json", "--", *call, environment=INERT)
    assert [span.name for span in done.spans] == ["GET"]


@pytest.mark.root
@needs_bpf
def test_of_several_processes_it_is_told_once(wholly: Path, httpserver: Path) -> None:
    """Below a shell, which ends with none of them."""
    script = f"{wholly} & {wholly} & {httpserver} & wait"
    with started("run", "--to", "json", "--", "sh", "-c", script) as watching:
        eventually(lambda: watching.err.count("listening http=") == 3, "three servers")
        watching.attached()
        watching.wait_for("wholly is woven: it tells of ")
        done = watching.finish(signal.SIGINT)
    assert done.err.count("wholly is woven: it tells of ") == 1
