"""gotap trace --to otlp: calls are spans, aggregations are metrics."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status, TracesData

import gobuild
from cli import attributes, gotap, started
from kernel_access import needs_bpf
from orders import Orders, taking_orders
from otlp_server import Collector, collector

pytestmark = [pytest.mark.root, needs_bpf]


@pytest.fixture(scope="module")
def orders() -> Iterator[Orders]:
    with taking_orders(gobuild.build("orders", gobuild.NEWEST)) as one:
        yield one


def exported(orders: Orders, script: str, *given: str, protocol: str = "http/protobuf", option: str = "") -> Collector:
    with collector() as state:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": state.url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        options = ("-p", str(orders.pid), "--to", "otlp", *([option] if option else []))
        with started("trace", *options, script, environment=environment) as tracing:
            tracing.attached()
            orders.give(*given)
            done = tracing.finish(signal.SIGINT)
        assert (done.code, done.out) == (0, b"")
        assert " 0 dropped;" in done.err
        return state


def spans_of(state: Collector) -> list[Span]:
    bodies = [TracesData.FromString(one.body) for one in state.requests if one.path == "/v1/traces"]
    return [span for data in bodies for one in data.resource_spans for scope in one.scope_spans for span in scope.spans]


def metrics_of(state: Collector) -> dict[str, Metric]:
    bodies = [MetricsData.FromString(one.body) for one in state.requests if one.path == "/v1/metrics"]
    return {metric.name: metric for data in bodies for one in data.resource_metrics for scope in one.scope_metrics
            for metric in scope.metrics}  # fmt: skip


def test_calls_are_spans(orders: Orders) -> None:
    state = exported(orders, "main.work, main.breaks", "work ab 3", "rescued because")
    spans = spans_of(state)
    assert sorted(span.name for span in spans) == ["main.breaks", "main.work", "main.work", "main.work"]
    assert len({span.span_id for span in spans}) == 4
    work = sorted((span for span in spans if span.name == "main.work"), key=lambda span: span.end_time_unix_nano)
    told: list[dict[str, Any]] = [attributes(span.attributes) for span in work]
    assert [one["gotap.arg.n"] for one in told] == [0, 1, 2]
    assert [one["gotap.arg.name"] for one in told] == ["ab"] * 3
    assert [one["gotap.result.~r0"] for one in told] == ["", "", "abab"]
    for span, one in zip(work, told, strict=True):
        assert one["code.function.name"] == "main.work"
        assert one["code.file.path"].endswith("orders/main.go")
        assert one["code.line.number"] == 21
        assert one["gotap.probe"] == "main.work, main.breaks"
        assert one["gotap.ended"] == "return"
        assert 0 < span.end_time_unix_nano - span.start_time_unix_nano < 10**9
        assert span.status.code == Status.STATUS_CODE_UNSET
        assert span.kind == Span.SPAN_KIND_INTERNAL
    (breaks,) = (span for span in spans if span.name == "main.breaks")
    assert breaks.status.code == Status.STATUS_CODE_ERROR
    assert attributes(breaks.attributes)["error.type"] == "panic"
    (resource,) = {one.resource.SerializeToString() for body in state.requests if body.path == "/v1/traces"
                   for one in TracesData.FromString(body.body).resource_spans}  # fmt: skip
    assert b"orders" in resource


def test_aggregations_are_metrics(orders: Orders) -> None:
    script = """main.work {
        @calls[args.name, args.n > 1] = count(); @total = sum(args.n); @largest = max(args.n); @mean = avg(args.n);
        @n = hist(args.n); @lin = lhist(args.n, 0, 4, 2); @q = quantile(args.n); @s = stats(args.n);
        @often = top(2, args.name); @last = args.n
    }"""
    metrics = metrics_of(exported(orders, script, "work a 5", "work b 1"))
    calls = metrics["gotap.trace.calls"]
    assert calls.sum.is_monotonic
    counted = {tuple(attributes(one.attributes).items()): one.as_int for one in calls.sum.data_points}
    assert counted == {
        (("k0", "a"), ("k1", False)): 2, (("k0", "a"), ("k1", True)): 3, (("k0", "b"), ("k1", False)): 1,
    }  # fmt: skip
    assert [one.as_int for one in metrics["gotap.trace.total"].sum.data_points] == [10]
    assert [one.as_int for one in metrics["gotap.trace.largest"].gauge.data_points] == [4]
    assert [one.as_double or one.as_int for one in metrics["gotap.trace.mean"].gauge.data_points] == [10 / 6]
    assert [one.as_int for one in metrics["gotap.trace.last"].gauge.data_points] == [0]
    (log,) = metrics["gotap.trace.n"].histogram.data_points
    assert (list(log.explicit_bounds), list(log.bucket_counts)) == ([-1, 0, 1, 3, 7], [0, 2, 1, 2, 1, 0])
    (linear,) = metrics["gotap.trace.lin"].histogram.data_points
    assert (list(linear.explicit_bounds), list(linear.bucket_counts)) == ([-1, 1, 3], [0, 3, 2, 1])
    (quantiles,) = metrics["gotap.trace.q"].summary.data_points
    assert [(one.quantile, one.value) for one in quantiles.quantile_values] == [(0.5, 1), (0.9, 4), (0.99, 4), (1, 4)]
    assert (quantiles.count, quantiles.sum) == (6, 10)
    (stats,) = metrics["gotap.trace.s"].summary.data_points
    assert (stats.count, stats.sum) == (6, 10)
    often = metrics["gotap.trace.often"].sum.data_points
    assert {attributes(one.attributes)["value"]: one.as_int for one in often} == {"a": 5, "b": 1}


def test_as_json(orders: Orders) -> None:
    state = exported(orders, "main.work { @ = count() }", "work a 2", protocol="http/json")
    (request,) = (one for one in state.requests if one.path == "/v1/metrics")
    assert request.headers["content-type"] == "application/json"
    assert b'"asInt":"2"' in request.body


def test_maps_are_sent_now_and_then(orders: Orders) -> None:
    with collector() as state:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": state.url, "OTEL_METRIC_EXPORT_INTERVAL": "50"}
        arguments = ("trace", "-p", str(orders.pid), "--to", "otlp", "main.work { @ = count() }")
        with started(*arguments, environment=environment) as tracing:
            tracing.attached()
            orders.give("work a 2")
            state.wait(lambda: "gotap.trace.map" in metrics_of(state))
            tracing.finish(signal.SIGINT)


def test_without_a_target_the_host_is_named() -> None:
    with collector() as state:
        done = gotap("trace", "--to", "otlp", "begin { @ = count(); stop }",
                     environment={"OTEL_EXPORTER_OTLP_ENDPOINT": state.url})  # fmt: skip
        assert done.code == 0
        (request,) = state.requests
    (one,) = MetricsData.FromString(request.body).resource_metrics
    assert attributes(one.resource.attributes)["service.name"] == "gotap"


def test_a_graph_is_a_trace(orders: Orders) -> None:
    spans = spans_of(exported(orders, "main.outer", "outer 2", "outer 1", option="--graph"))
    by_id = {span.span_id: span for span in spans}
    roots = [span for span in spans if not span.parent_span_id]
    assert [span.name for span in roots] == ["main.outer", "main.outer"]
    assert len({span.trace_id for span in spans}) == 2
    pairs = sorted((by_id[span.parent_span_id].name, span.name) for span in spans if span.parent_span_id)
    assert pairs == 3 * [("main.inner", "main.leaf")] + 3 * [("main.outer", "main.inner")] + 2 * [
        ("main.outer", "main.leaf")
    ]
    for span in spans:
        if span.parent_span_id:
            parent = by_id[span.parent_span_id]
            assert parent.trace_id == span.trace_id
            assert parent.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= parent.end_time_unix_nano
