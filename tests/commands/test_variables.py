"""OTEL_* variables as gotap obeys them: whose counts for what, and values that make no sense."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from cli import Finished, attributes, gotap, measured, resource_spans, started
from goservers import serving
from httpload import load
from kernel_access import needs_bpf
from otlp_server import collector

pytestmark = [pytest.mark.root, needs_bpf]

DURATION = "http.server.request.duration"


def watched(
    httpserver: Path,
    requests: int = 4,
    *,
    target: Mapping[str, str] | None = None,
    own: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Finished:
    """gotap --to json over a server that was asked `requests` times; SIGINT once all are counted as metrics."""
    with (
        serving(httpserver, environment=target) as server,
        started("attach", str(server.pid), "--to", "json", environment=own) as watching,
    ):
        watching.attached()
        load(server.http, "/hello", requests, headers=headers)
        return watching.finish(signal.SIGINT)


def resource(done: Finished) -> dict[str, object]:
    return attributes(resource_spans(done.out)[0].resource.attributes)


# The resource


@pytest.mark.parametrize(
    ("target", "own", "expected"),
    [
        ({}, {}, "httpserver"),
        ({}, {"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_SERVICE_NAME": "theirs"}, {"OTEL_SERVICE_NAME": "mine"}, "theirs"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=attribute"}, {"OTEL_SERVICE_NAME": "mine"}, "attribute"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "name"}, {}, "name"),
    ],
)
def test_the_service_is_named_by_the_target_else_gotap_else_the_executable(
    httpserver: Path, target: dict[str, str], own: dict[str, str], expected: str
) -> None:
    assert resource(watched(httpserver, target=target, own=own))["service.name"] == expected


def test_resource_attributes_come_from_both(httpserver: Path) -> None:
    target = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod,team=a%20b"}
    found = resource(watched(httpserver, target=target, own={"OTEL_RESOURCE_ATTRIBUTES": "team=other,zone=1"}))
    assert (found["deployment.environment.name"], found["team"], found["zone"]) == ("prod", "a b", "1")
    assert found["process.executable.name"] == "httpserver"


def test_two_targets_keep_their_own_names(httpserver: Path) -> None:
    with (
        serving(httpserver, environment={"OTEL_SERVICE_NAME": "cart"}) as cart,
        serving(httpserver, environment={"OTEL_SERVICE_NAME": "stock"}) as stock,
        started("attach", str(cart.pid), str(stock.pid), "--to", "json", "--count", "5") as watching,
    ):
        watching.attached()
        load(cart.http, "/hello", 2)
        load(stock.http, "/hello", 3)
        done = watching.finish()
    spans = {"cart": 0, "stock": 0}
    points = {"cart": 0, "stock": 0}
    for one in resource_spans(done.out):
        spans[attributes(one.resource.attributes)["service.name"]] += sum(len(s.spans) for s in one.scope_spans)
    for data in done.metrics:
        for metrics in data.resource_metrics:
            for scope in metrics.scope_metrics:
                for metric in scope.metrics:
                    name = attributes(metrics.resource.attributes)["service.name"]
                    points[name] += sum(point.count for point in metric.histogram.data_points)
    assert spans == points == {"cart": 2, "stock": 3}


def test_what_makes_no_sense_in_a_targets_environment_is_told_with_its_pid(httpserver: Path) -> None:
    done = watched(httpserver, target={"OTEL_RESOURCE_ATTRIBUTES": "a=%zz", "OTEL_SERVICE_NAME": "cart"})
    assert ": OTEL_RESOURCE_ATTRIBUTES=a=%zz is ignored" in done.err
    assert resource(done)["service.name"] == "cart"


# Sampling


@pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
def test_nothing_sampled_and_everything_counted(httpserver: Path, sampler: str) -> None:
    done = watched(httpserver, 50, own={"OTEL_TRACES_SAMPLER": sampler})
    assert done.spans == []
    assert measured(done.out, DURATION) == 50


def test_the_targets_own_sampler_is_not_gotaps(httpserver: Path) -> None:
    done = watched(httpserver, 5, target={"OTEL_TRACES_SAMPLER": "always_off"})
    assert len(done.spans) == 5


def test_a_ratio_is_kept_by_the_trace_ids_and_metrics_count_all(httpserver: Path) -> None:
    own = {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}
    done = watched(httpserver, 2000, own=own)
    assert 400 < len(done.spans) < 600, "six standard deviations are 116"
    assert measured(done.out, DURATION) == 2000
    assert all(int.from_bytes(span.trace_id[8:], "big") >> 1 < 0.25 * 2**63 for span in done.spans)


@pytest.mark.parametrize(
    ("sampler", "flags", "expected"),
    [
        ("parentbased_always_on", "00", 0),
        ("parentbased_always_off", "01", 6),
        ("always_on", "00", 6),
        ("always_off", "01", 0),
    ],
)
def test_parent_based_samplers_take_over_the_parents_decision(
    httpserver: Path, sampler: str, flags: str, expected: int
) -> None:
    headers = {"traceparent": f"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}"}
    done = watched(httpserver, 6, own={"OTEL_TRACES_SAMPLER": sampler}, headers=headers)
    assert len(done.spans) == expected
    assert measured(done.out, DURATION) == 6
    assert all(span.parent_span_id.hex() == "00f067aa0ba902b7" for span in done.spans)


# Values that make no sense


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("OTEL_TRACES_SAMPLER", "sometimes", "parentbased_traceidratio"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "soon", "a whole number"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "monthly", "cumulative, delta"),
        ("OTEL_METRICS_EXEMPLAR_FILTER", "maybe", "trace_based"),
        ("OTEL_RESOURCE_ATTRIBUTES", "no pairs", "key1=value1,key2=value2"),
    ],
)
def test_they_warn_and_the_default_holds(httpserver: Path, name: str, value: str, accepted: str) -> None:
    done = watched(httpserver, own={name: value})
    assert done.code == 0
    assert len(done.spans) == 4
    warnings = [line for line in done.err.splitlines() if "is ignored" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"gotap: {name}={value} is ignored")
    assert accepted in warnings[0]


def test_a_ratio_that_is_none(httpserver: Path) -> None:
    done = watched(httpserver, own={"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"})
    assert "OTEL_TRACES_SAMPLER_ARG=2 is ignored: it is to be a number from 0 to 1" in done.err
    assert len(done.spans) == 4


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke", "http/protobuf, http/json"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "gzip, none"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "localhost", "a URL with http or https"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "many", "a whole number"),
    ],
)
def test_the_exporters_too(httpserver: Path, name: str, value: str, accepted: str) -> None:
    with collector() as state, serving(httpserver) as server:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": state.url, name: value}
        with started("attach", str(server.pid), "--to", "otlp", environment=environment) as watching:
            watching.attached()
            load(server.http, "/hello", 3)
            done = watching.finish(signal.SIGINT)
    assert done.code == 0
    assert done.summary.dropped == 0
    warnings = [line for line in done.err.splitlines() if "is ignored" in line]
    assert len(warnings) == 1
    assert name in warnings[0]
    assert accepted in warnings[0]


def test_headers_that_make_no_sense_are_not_repeated(httpserver: Path) -> None:
    secret = "authorization: hunter2"
    with collector() as state, serving(httpserver) as server:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": state.url, "OTEL_EXPORTER_OTLP_HEADERS": secret}
        with started("attach", str(server.pid), "--to", "otlp", environment=environment) as watching:
            watching.attached()
            done = watching.finish(signal.SIGINT)
    assert "OTEL_EXPORTER_OTLP_HEADERS is ignored" in done.err
    assert "hunter2" not in done.err


def test_grpc_is_refused_with_the_way_out() -> None:
    done = gotap("attach", "1", "--to", "otlp", environment={"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    assert done.code == 1
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: gotap speaks OTLP over HTTP only" in done.err
    assert "set it to http/protobuf" in done.err
    assert "4318" in done.err
