from __future__ import annotations

import pytest

from gotap.signals.metrics import Temporality
from gotap.sinks.environment import (
    ALWAYS,
    INDEFINITE,
    BatchSettings,
    Environment,
    GrpcRefused,
    OtlpSettings,
    Sampler,
    batch_settings,
    known_methods,
    metric_settings,
    otlp_settings,
    sampler,
    service_identity,
)

PREFIX = "OTEL_EXPORTER_OTLP_"


def settings(signal: str = "TRACES", **variables: str) -> OtlpSettings:
    environment = Environment({PREFIX + name: value for name, value in variables.items()})
    found = otlp_settings(environment, signal)
    assert environment.warnings == []
    return found


def test_defaults() -> None:
    nothing = Environment({})
    assert otlp_settings(nothing, "TRACES") == OtlpSettings("http://localhost:4318/v1/traces")
    assert otlp_settings(nothing, "METRICS") == OtlpSettings("http://localhost:4318/v1/metrics")
    assert batch_settings(nothing) == BatchSettings(5.0, 30.0, 512, 8192)
    assert sampler(nothing) == Sampler(True, ALWAYS)
    assert metric_settings(nothing).temporality is Temporality.CUMULATIVE
    assert metric_settings(nothing).interval == 60
    assert known_methods(nothing) is None
    assert service_identity(nothing, nothing) == {}
    assert nothing.warnings == []


def test_empty_is_unset() -> None:
    environment = Environment({PREFIX + "ENDPOINT": "", PREFIX + "TIMEOUT": " ", "OTEL_TRACES_SAMPLER": ""})
    assert otlp_settings(environment, "TRACES") == OtlpSettings("http://localhost:4318/v1/traces")
    assert sampler(environment) == Sampler()
    assert environment.warnings == []


class TestEndpoint:
    """The examples of the specification, protocol/exporter.md, and what follows from its words."""

    @pytest.mark.parametrize(
        ("variables", "traces", "metrics"),
        [
            (
                {"ENDPOINT": "http://collector:4318"},
                "http://collector:4318/v1/traces",
                "http://collector:4318/v1/metrics",
            ),
            (
                {
                    "TRACES_ENDPOINT": "http://collector:4318",
                    "METRICS_ENDPOINT": "https://collector.example.com/v1/metrics",
                },
                "http://collector:4318",
                "https://collector.example.com/v1/metrics",
            ),
            (
                {
                    "ENDPOINT": "http://collector:4318/mycollector/",
                    "METRICS_ENDPOINT": "https://collector.example.com/v1/metrics/",
                },
                "http://collector:4318/mycollector/v1/traces",
                "https://collector.example.com/v1/metrics/",
            ),
            ({"ENDPOINT": "http://[::1]:4318/"}, "http://[::1]:4318/v1/traces", "http://[::1]:4318/v1/metrics"),
            ({"ENDPOINT": "https://c"}, "https://c/v1/traces", "https://c/v1/metrics"),
        ],
    )
    def test_urls(self, variables: dict[str, str], traces: str, metrics: str) -> None:
        assert settings("TRACES", **variables).url == traces
        assert settings("METRICS", **variables).url == metrics

    @pytest.mark.parametrize("value", ["localhost:4318", "ftp://x", "http://", "http://x:99999", "x", "http://[::1"])
    def test_nonsense(self, value: str) -> None:
        environment = Environment({PREFIX + "ENDPOINT": value})
        assert otlp_settings(environment, "TRACES").url == "http://localhost:4318/v1/traces"
        otlp_settings(environment, "METRICS")
        (warning,) = environment.warnings
        assert value in warning
        assert "http or https" in warning

    def test_nonsense_of_the_signal_falls_back_to_the_common_one(self) -> None:
        environment = Environment({PREFIX + "TRACES_ENDPOINT": "nonsense", PREFIX + "ENDPOINT": "http://c:1"})
        assert otlp_settings(environment, "TRACES").url == "http://c:1/v1/traces"
        assert len(environment.warnings) == 1


class TestOtlp:
    def test_signal_wins_over_common(self) -> None:
        found = settings(TIMEOUT="1000", TRACES_TIMEOUT="2500", COMPRESSION="none", TRACES_COMPRESSION="gzip")
        assert (found.timeout, found.gzip) == (2.5, True)
        assert settings("METRICS", TIMEOUT="1000", TRACES_TIMEOUT="2500").timeout == 1.0

    def test_timeout_zero_is_indefinite(self) -> None:
        assert settings(TIMEOUT="0").timeout == INDEFINITE

    @pytest.mark.parametrize("value", ["-1", "10s", "1.5", "99999999999"])
    def test_timeout_nonsense(self, value: str) -> None:
        environment = Environment({PREFIX + "TIMEOUT": value})
        assert otlp_settings(environment, "TRACES").timeout == 10
        assert "milliseconds" in environment.warnings[0]

    def test_headers_are_percent_decoded(self) -> None:
        found = settings(HEADERS="api-key=a%20b%2Cc=d, authorization = Basic%20eA==,x=")
        assert found.headers == (("api-key", "a b,c=d"), ("authorization", "Basic eA=="), ("x", ""))

    @pytest.mark.parametrize("value", ["nothing", "=x", "a b=c", "a=%0d%0aX: y", "a=%zz", "a=%ff", "key=s3cr3t,x"])
    def test_headers_nonsense_is_told_without_the_secret(self, value: str) -> None:
        environment = Environment({PREFIX + "HEADERS": value})
        assert otlp_settings(environment, "TRACES").headers == ()
        assert PREFIX + "HEADERS is ignored" in environment.warnings[0]
        assert "s3cr3t" not in environment.warnings[0]

    def test_protocols(self) -> None:
        assert not settings(PROTOCOL="http/protobuf").json
        assert settings(PROTOCOL="http/json").json
        assert settings(PROTOCOL="grpc", TRACES_PROTOCOL="http/json").json

    def test_grpc_is_refused_with_the_way_out(self) -> None:
        with pytest.raises(GrpcRefused) as caught:
            settings(PROTOCOL="grpc")
        assert "http/protobuf" in caught.value.remedy
        assert "4318" in caught.value.remedy

    def test_nonsense_words(self) -> None:
        environment = Environment({PREFIX + "PROTOCOL": "udp", PREFIX + "COMPRESSION": "zstd"})
        assert otlp_settings(environment, "TRACES") == OtlpSettings("http://localhost:4318/v1/traces")
        assert "one of http/protobuf, http/json, grpc" in environment.warnings[0]
        assert "one of gzip, none" in environment.warnings[1]

    def test_files(self) -> None:
        found = settings(CERTIFICATE="/a", TRACES_CERTIFICATE="/b", CLIENT_KEY="/k", CLIENT_CERTIFICATE="/c")
        assert (found.certificate, found.client_key, found.client_certificate) == ("/b", "/k", "/c")


class TestBatch:
    def test_values(self) -> None:
        environment = Environment(
            {
                "OTEL_BSP_SCHEDULE_DELAY": "100",
                "OTEL_BSP_EXPORT_TIMEOUT": "0",
                "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "10",
                "OTEL_BSP_MAX_QUEUE_SIZE": "20",
            }
        )
        assert batch_settings(environment) == BatchSettings(0.1, INDEFINITE, 10, 20)
        assert environment.warnings == []

    def test_small_queue_bounds_the_default_batch_silently(self) -> None:
        environment = Environment({"OTEL_BSP_MAX_QUEUE_SIZE": "20"})
        assert batch_settings(environment).batch == 20
        assert environment.warnings == []

    def test_batch_larger_than_the_queue(self) -> None:
        environment = Environment({"OTEL_BSP_MAX_QUEUE_SIZE": "600", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "700"})
        assert batch_settings(environment).batch == 512
        assert "at most OTEL_BSP_MAX_QUEUE_SIZE, 600" in environment.warnings[0]

    @pytest.mark.parametrize("value", ["0", "-5", "many"])
    def test_nonsense(self, value: str) -> None:
        environment = Environment({"OTEL_BSP_MAX_QUEUE_SIZE": value})
        assert batch_settings(environment) == BatchSettings()
        assert value in environment.warnings[0]


class TestSampler:
    @pytest.mark.parametrize(
        ("name", "argument", "expected"),
        [
            ("always_on", "", Sampler(False, ALWAYS)),
            ("always_off", "", Sampler(False, 0)),
            ("traceidratio", "0.25", Sampler(False, 1 << 61)),
            ("traceidratio", "", Sampler(False, ALWAYS)),
            ("traceidratio", "0", Sampler(False, 0)),
            ("traceidratio", "1", Sampler(False, ALWAYS)),
            ("parentbased_always_on", "0.1", Sampler(True, ALWAYS)),
            ("parentbased_always_off", "", Sampler(True, 0)),
            ("ParentBased_TraceIdRatio", "0.5", Sampler(True, 1 << 62)),
        ],
    )
    def test_values(self, name: str, argument: str, expected: Sampler) -> None:
        environment = Environment({"OTEL_TRACES_SAMPLER": name, "OTEL_TRACES_SAMPLER_ARG": argument})
        assert sampler(environment) == expected
        assert environment.warnings == []

    @pytest.mark.parametrize("value", ["jaeger_remote", "xray", "half"])
    def test_unknown(self, value: str) -> None:
        environment = Environment({"OTEL_TRACES_SAMPLER": value})
        assert sampler(environment) == Sampler(True, ALWAYS)
        assert f"OTEL_TRACES_SAMPLER={value}" in environment.warnings[0]
        assert "parentbased_traceidratio" in environment.warnings[0]

    @pytest.mark.parametrize("value", ["-0.1", "1.1", "nan", "10%", "inf"])
    def test_argument_nonsense_is_as_if_unset(self, value: str) -> None:
        environment = Environment({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": value})
        assert sampler(environment) == Sampler(False, ALWAYS)
        assert "from 0 to 1" in environment.warnings[0]


class TestIdentity:
    @pytest.mark.parametrize(
        ("target", "own", "expected"),
        [
            ({"OTEL_SERVICE_NAME": "t"}, {"OTEL_SERVICE_NAME": "o"}, {"service.name": "t"}),
            ({}, {"OTEL_SERVICE_NAME": "o"}, {"service.name": "o"}),
            (
                {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,x=1"},
                {"OTEL_SERVICE_NAME": "o"},
                {"service.name": "a", "x": "1"},
            ),
            ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=a", "OTEL_SERVICE_NAME": "t"}, {}, {"service.name": "t"}),
            ({"OTEL_RESOURCE_ATTRIBUTES": "x=1"}, {"OTEL_RESOURCE_ATTRIBUTES": "x=2,y=3"}, {"x": "1", "y": "3"}),
            ({"OTEL_RESOURCE_ATTRIBUTES": "x=a%2Cb%3Dc%C3%A9"}, {}, {"x": "a,b=cé"}),
        ],
    )
    def test_target_then_gotap(self, target: dict[str, str], own: dict[str, str], expected: dict[str, str]) -> None:
        environments = Environment(target), Environment(own)
        assert service_identity(*environments) == expected
        assert [one.warnings for one in environments] == [[], []]

    @pytest.mark.parametrize("value", ["x", "x=1,y", "x=%f", "=1"])
    def test_any_error_discards_the_whole_value(self, value: str) -> None:
        target = Environment({"OTEL_RESOURCE_ATTRIBUTES": value, "OTEL_SERVICE_NAME": "t"})
        assert service_identity(target, Environment({})) == {"service.name": "t"}
        assert "OTEL_RESOURCE_ATTRIBUTES" in target.warnings[0]


def test_metrics() -> None:
    environment = Environment(
        {
            PREFIX + "METRICS_TEMPORALITY_PREFERENCE": "DELTA",
            "OTEL_METRIC_EXPORT_INTERVAL": "1500",
            "OTEL_METRICS_EXEMPLAR_FILTER": "always_off",
        }
    )
    found = metric_settings(environment)
    assert (found.temporality, found.interval, found.exemplars) == (Temporality.DELTA, 1.5, False)
    assert metric_settings(Environment({PREFIX + "METRICS_TEMPORALITY_PREFERENCE": "lowmemory"})).temporality == 1
    wrong = Environment({PREFIX + "METRICS_TEMPORALITY_PREFERENCE": "sometimes"})
    assert metric_settings(wrong).temporality is Temporality.CUMULATIVE
    assert "cumulative, delta, lowmemory" in wrong.warnings[0]


def test_known_methods() -> None:
    environment = Environment({"OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS": "GET, PROPFIND,"})
    assert known_methods(environment) == ("GET", "PROPFIND")
