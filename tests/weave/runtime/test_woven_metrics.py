"""Durations that programs with gotap's Go runtime count: the points that gotap makes of the same spans."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    AGGREGATION_TEMPORALITY_DELTA,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from cli import attributes
from gotap import __version__
from gotap.signals import metrics as live
from gotaprt_programs import RELEASES, build, line, running, settings
from otlp_server import Collector, Reply, collector


@pytest.fixture(params=RELEASES, scope="module")
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(request.param, tmp_path_factory.mktemp("program"), main="metrics")


@pytest.fixture(scope="module")
def newest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("1.26.8", tmp_path_factory.mktemp("program"), main="metrics")


def run(program: Path, lines: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
    given = "".join(f"{one}\n" for one in lines)
    return subprocess.run([program], input=given, capture_output=True, text=True, env=environment, timeout=60)


def resources(otlp: Collector) -> list[ResourceMetrics]:
    found = (MetricsData.FromString(one.body) for one in otlp.requests if one.path == "/v1/metrics")
    return [one for data in found for one in data.resource_metrics]


def metrics(otlp: Collector) -> Iterator[tuple[str, Metric]]:
    """With their scopes, in the order in which they came."""
    for one in resources(otlp):
        for scope in one.scope_metrics:
            assert scope.scope.version == __version__
            yield from ((scope.scope.name, metric) for metric in scope.metrics)


def points(otlp: Collector, name: str) -> list[HistogramDataPoint]:
    return [point for _, metric in metrics(otlp) if metric.name == name for point in metric.histogram.data_points]


def traced(otlp: Collector) -> list[ResourceSpans]:
    found = (TracesData.FromString(one.body) for one in otlp.requests if one.path == "/v1/traces")
    return [one for data in found for one in data.resource_spans]


def spans(otlp: Collector, scope: str, kind: int) -> list[Span]:
    all = (one for resource in traced(otlp) for one in resource.scope_spans if one.scope.name == scope)
    return [span for one in all for span in one.spans if span.kind == kind]


LINES = ("server GET 200 0", "server GET 200 6", "server GET 500 30", "client GET 200 0", "query SELECT 0 6",
         "server POST 200 0", "open x 0 0", "query SELECT 1 0", "query INSERT 1 0", "client GET 404 0")  # fmt: skip

EXPECTED = {
    "http.server.request.duration": ("net/http", Span.SPAN_KIND_SERVER,
                                     ("http.request.method", "http.response.status_code", "error.type")),
    "http.client.request.duration": ("net/http", Span.SPAN_KIND_CLIENT,
                                     ("http.request.method", "http.response.status_code", "error.type")),
    "db.client.operation.duration": ("database/sql", Span.SPAN_KIND_CLIENT, ("db.operation.name",)),
}  # fmt: skip


def test_points_say_what_spans_say(program: Path) -> None:
    with collector() as otlp:
        done = run(program, LINES, **settings(otlp))
    assert (done.returncode, done.stderr) == (0, "")
    assert resources(otlp)[0].resource == traced(otlp)[0].resource
    assert {one.scope.name for one in traced(otlp)[0].scope_spans} == {"net/http", "database/sql", "os"}
    found = {metric.name: (scope, metric) for scope, metric in metrics(otlp)}
    assert set(found) == set(EXPECTED)
    for name, (library, kind, dimensions) in EXPECTED.items():
        scope, metric = found[name]
        assert (scope, metric.unit) == (library, "s")
        assert metric.histogram.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
        groups: dict[tuple[tuple[str, object], ...], list[Span]] = {}
        for span in spans(otlp, library, kind):
            said = attributes(span.attributes)
            groups.setdefault(tuple((key, said[key]) for key in dimensions if key in said), []).append(span)
        assert {tuple(attributes(point.attributes).items()) for point in metric.histogram.data_points} == set(groups)
        for point in metric.histogram.data_points:
            is_of(point, groups[tuple(attributes(point.attributes).items())])


def is_of(point: HistogramDataPoint, counted: list[Span]) -> None:
    """The sums, the buckets and the exemplars are those of the spans."""
    seconds = np.array([span.end_time_unix_nano - span.start_time_unix_nano for span in counted]) / 1e9
    buckets = np.searchsorted(point.explicit_bounds, seconds, side="left")
    assert point.count == len(counted)
    assert list(point.bucket_counts) == np.bincount(buckets, minlength=len(point.explicit_bounds) + 1).tolist()
    expected = seconds.sum(), seconds.min(), seconds.max()
    assert (point.sum, point.min, point.max) == pytest.approx(expected, abs=1e-9)
    last = dict(zip(buckets.tolist(), counted, strict=True))
    assert [one.span_id for one in point.exemplars] == [last[bucket].span_id for bucket in sorted(last)]
    for bucket, exemplar in zip(sorted(last), point.exemplars, strict=True):
        span = last[bucket]
        duration = span.end_time_unix_nano - span.start_time_unix_nano
        assert (exemplar.trace_id, exemplar.as_double) == (span.trace_id, pytest.approx(duration / 1e9, abs=1e-9))
        # Spans and points are sent at two times, between which the clock may be set a little.
        assert abs(exemplar.time_unix_nano - span.end_time_unix_nano) < 1e9
        assert point.start_time_unix_nano <= exemplar.time_unix_nano <= point.time_unix_nano


def test_bounds_and_descriptions_are_those_of_live_mechanisms(newest: Path) -> None:
    with collector() as otlp:
        run(newest, LINES, **settings(otlp))
    found = {metric.name: metric for _, metric in metrics(otlp)}
    assert set(found) == set(live.METRICS), "the program has an operation for each"
    for name, metric in live.METRICS.items():
        assert found[name].description == metric.description
        assert {tuple(point.explicit_bounds) for point in found[name].histogram.data_points} == {metric.bounds}


@pytest.mark.parametrize("sampler", ["always_off", "traceidratio"])
def test_what_is_not_sampled_counts(newest: Path, sampler: str) -> None:
    with collector() as otlp:
        run(newest, LINES, **settings(otlp, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0"))
    assert not traced(otlp)
    assert sum(point.count for name in EXPECTED for point in points(otlp, name)) == 9
    assert not any(point.exemplars for name in EXPECTED for point in points(otlp, name))


def test_no_exemplars_where_none_are_wanted(newest: Path) -> None:
    with collector() as otlp:
        run(newest, LINES, **settings(otlp, OTEL_METRICS_EXEMPLAR_FILTER="always_off"))
    assert otlp.spans() == 10
    assert not any(point.exemplars for name in EXPECTED for point in points(otlp, name))


def test_one_signal_without_the_other(newest: Path) -> None:
    with collector() as otlp:
        run(newest, LINES, **settings(otlp, OTEL_METRICS_EXPORTER="none"))
        assert {one.path for one in otlp.requests} == {"/v1/traces"}
    with collector() as otlp:
        run(newest, LINES, **settings(otlp, OTEL_TRACES_EXPORTER="none"))
        assert {one.path for one in otlp.requests} == {"/v1/metrics"}
    with collector() as otlp:
        run(newest, LINES, **settings(otlp, OTEL_SDK_DISABLED="true"))
        assert otlp.requests == []
    with collector() as otlp:
        run(newest, ["open x 0 0"], **settings(otlp))
        assert {one.path for one in otlp.requests} == {"/v1/traces"}, "nothing was counted"


def test_flushes_send_what_is_new(newest: Path) -> None:
    lines = ["server GET 200 0", "flush", "flush", "server GET 200 0", "server PUT 200 0", "flush"]
    with collector() as otlp:
        assert run(newest, lines, **settings(otlp)).stdout.split() == ["true"] * 3
    assert [point.count for point in points(otlp, "http.server.request.duration")] in ([1, 2, 1], [1, 1, 2])
    assert len({point.start_time_unix_nano // 10**9 for point in points(otlp, "http.server.request.duration")}) <= 2


@pytest.mark.parametrize("preference", ["delta", "LowMemory"])
def test_delta(newest: Path, preference: str) -> None:
    lines = ["server GET 200 0", "server PUT 200 0", "flush", "flush", "server GET 200 0", "flush"]
    asked = {"OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": preference}
    with collector() as otlp:
        run(newest, lines, **settings(otlp, **asked))
    found = [metric for _, metric in metrics(otlp)]
    assert {one.histogram.aggregation_temporality for one in found} == {AGGREGATION_TEMPORALITY_DELTA}
    first, second = (one.histogram.data_points for one in found)
    assert ([one.count for one in first], [one.count for one in second]) == ([1, 1], [1])
    assert len(second[0].exemplars) == 1
    assert second[0].start_time_unix_nano > first[0].time_unix_nano - 10**9


def test_what_is_counted_is_sent_again_at_each_interval(newest: Path) -> None:
    with (
        collector() as otlp,
        running(newest, **settings(otlp, OTEL_METRIC_EXPORT_INTERVAL="20")) as one,
    ):
        assert one.stdin is not None
        one.stdin.write("server GET 200 0\n")
        one.stdin.flush()
        otlp.wait(lambda: len(points(otlp, "http.server.request.duration")) >= 3)
        one.stdin.close()
        assert one.wait(10) == 0
    found = points(otlp, "http.server.request.duration")
    assert {point.count for point in found} == {1}
    times = [point.time_unix_nano for point in found]
    assert times == sorted(times)


def test_more_sets_of_attributes_than_there_is_room_for(newest: Path) -> None:
    with collector() as otlp:
        run(newest, ["many server 2300"], **settings(otlp, OTEL_TRACES_EXPORTER="none"))
    found = points(otlp, "http.server.request.duration")
    assert len(found) == live.CARDINALITY_LIMIT + 1
    [overflow] = [point for point in found if attributes(point.attributes) == live.OVERFLOW]
    assert overflow.count == 300


def test_metrics_have_variables_of_their_own(newest: Path) -> None:
    with collector() as spans_otlp, collector() as otlp:
        own = {
            "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{otlp.url}/own",
            "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "x-own=1",
            "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION": "gzip",
        }
        assert run(newest, LINES, **settings(spans_otlp, **own)).returncode == 0
    assert {one.path for one in spans_otlp.requests} == {"/v1/traces"}
    [request] = otlp.requests
    assert (request.path, request.headers["x-own"], request.headers["content-encoding"]) == ("/own", "1", "gzip")
    assert len(MetricsData.FromString(request.body).resource_metrics) == 1
    assert "content-encoding" not in spans_otlp.requests[0].headers


def test_gzip(program: Path) -> None:
    lines = ["many server 300", "flush", "many client 300", "flush"]
    with collector() as otlp:
        assert run(program, lines, **settings(otlp, OTEL_EXPORTER_OTLP_COMPRESSION="gzip")).stdout == "true\ntrue\n"
    assert {one.headers["content-encoding"] for one in otlp.requests} == {"gzip"}
    assert all(int(one.headers["content-length"]) < len(one.body) / 3 for one in otlp.requests)
    assert otlp.spans() == 600
    assert sum(point.count for point in points(otlp, "http.client.request.duration")) == 300


def test_what_the_collector_cannot_take_yet_is_sent_again(newest: Path) -> None:
    busy = Reply(503)
    asked = {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRIC_EXPORT_INTERVAL": "1"}
    with collector(busy, busy) as otlp, running(newest, **settings(otlp, **asked)) as one:
        assert one.stdin is not None
        one.stdin.write("server GET 200 0\n")
        one.stdin.flush()
        otlp.wait(lambda: len(otlp.requests) >= 3, 20.0)
        assert otlp.requests[0].body == otlp.requests[1].body == otlp.requests[2].body
        one.stdin.write("flush\n")
        one.stdin.flush()
        assert line(one.stdout) == "true"


def test_what_is_refused_is_told(newest: Path) -> None:
    with collector() as otlp:
        otlp.reply = Reply(400)
        told = run(newest, LINES, **settings(otlp, OTEL_TRACES_EXPORTER="none", OTEL_LOG_LEVEL="error"))
        assert told.stderr == f"gotap: {otlp.url[7:]} answered 400\n"
        otlp.reply = Reply(body=b"\x0a\x02\x08\x05")
        told = run(newest, LINES, **settings(otlp, OTEL_TRACES_EXPORTER="none", OTEL_LOG_LEVEL="error"))
        assert told.stderr == f"gotap: {otlp.url[7:]} answered 200, but rejected 5 metrics\n"
    silent = run(newest, LINES, **settings())
    assert (silent.returncode, silent.stderr) == (0, "")
