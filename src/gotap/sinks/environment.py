"""OTEL_* environment variables, by the rules of OpenTelemetry's specification (1.50, checked August 2026).

An empty value is an unset one. A value that makes no sense is ignored with a warning that names what would be accepted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

from msgspec import Struct

from gotap.errors import GotapError
from gotap.signals.metrics import Temporality

_T = TypeVar("_T")

#: What a timeout of 0, "indefinite", stands for: seconds.
INDEFINITE = 2**31 / 1000

#: A trace id is sampled if its last 8 bytes, big-endian, halved, are below the threshold; this one samples all.
ALWAYS = 1 << 63


class GrpcRefused(GotapError):
    """OTEL_EXPORTER_OTLP_PROTOCOL asks for gRPC."""


class Environment:
    """Variables of a process, and what was wrong with those that were read: `warnings`, each once."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.warnings: list[str] = []

    def get(self, name: str) -> str | None:
        """The value without blanks around it; None if it is unset or empty."""
        return self._variables.get(name, "").strip() or None

    def read(
        self, names: Sequence[str], parse: Callable[[str], _T], accepted: str, default: _T, *, secret: bool = False
    ) -> _T:
        """The first of the variables that is set and that `parse` accepts (ValueError: it does not), else `default`.

        `secret` values are not repeated in the warning.
        """
        for name in names:
            value = self.get(name)
            if value is None:
                continue
            try:
                return parse(value)
            except ValueError:
                self.warn(f"{name}{'' if secret else f'={value}'} is ignored: it is to be {accepted}")
        return default

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)

    def integer(self, name: str, default: int, least: int = 0) -> int:
        return self.read([name], _integer(least), f"a whole number from {least} to {2**31 - 1}", default)

    def choice(self, names: Sequence[str], choices: Mapping[str, _T], default: _T) -> _T:
        """One of a set of words, whatever their case."""

        def parse(value: str) -> _T:
            if value.lower() not in choices:
                raise ValueError
            return choices[value.lower()]

        return self.read(names, parse, f"one of {', '.join(choices)}", default)


def _integer(least: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not (value.isascii() and value.isdigit() and least <= int(value) < 2**31):
            raise ValueError
        return int(value)

    return parse


def _pairs(value: str) -> dict[str, str]:
    """`key1=value1,key2=value2` with percent-encoding; raises ValueError if any of it is something else."""
    pairs: dict[str, str] = {}
    for item in value.split(","):
        if not item.strip():
            continue
        key, equals, text = item.partition("=")
        key = _percent_decoded(key.strip())
        if not equals or not key:
            raise ValueError
        pairs[key] = _percent_decoded(text.strip())
    return pairs


def _percent_decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise ValueError
    return unquote_to_bytes(text).decode()


# Sampling


class Sampler(Struct, frozen=True):
    """How the kernel decides at the begin of an operation.

    `parent_based`: the parent's decision is taken over, if there is a parent. Otherwise a trace is sampled when
    `int.from_bytes(trace_id[8:16], "big") >> 1 < ratio_threshold`, as Go's SDK has it (sdk/trace/sampling.go,
    traceIDRatioSampler, v1.40), so that all services agree.
    """

    parent_based: bool = True
    ratio_threshold: int = ALWAYS


_SAMPLERS = {
    "always_on": (False, ALWAYS),
    "always_off": (False, 0),
    "traceidratio": (False, None),
    "parentbased_always_on": (True, ALWAYS),
    "parentbased_always_off": (True, 0),
    "parentbased_traceidratio": (True, None),
}


def sampler(environment: Environment) -> Sampler:
    """OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG; parentbased_always_on by default."""
    parent_based, threshold = environment.choice(["OTEL_TRACES_SAMPLER"], _SAMPLERS, _SAMPLERS["parentbased_always_on"])
    if threshold is None:
        ratio = environment.read(["OTEL_TRACES_SAMPLER_ARG"], _ratio, "a number from 0 to 1", 1.0)
        threshold = int(ratio * ALWAYS)
    return Sampler(parent_based, threshold)


def _ratio(value: str) -> float:
    ratio = float(value)
    if not 0.0 <= ratio <= 1.0:
        raise ValueError
    return ratio


# Resource


def service_identity(target: Environment, own: Environment) -> dict[str, str]:
    """Resource attributes that the user gives: in the target's environment, else in gotap's.

    OTEL_SERVICE_NAME wins over a `service.name` in OTEL_RESOURCE_ATTRIBUTES. Without either there is no `service.name`.
    """
    attributes: dict[str, str] = {}
    for environment in (own, target):
        accepted = "key1=value1,key2=value2, other characters percent-encoded"
        nothing: dict[str, str] = {}
        attributes |= environment.read(["OTEL_RESOURCE_ATTRIBUTES"], _pairs, accepted, nothing)
        if name := environment.get("OTEL_SERVICE_NAME"):
            attributes["service.name"] = name
    return attributes


def known_methods(environment: Environment) -> tuple[str, ...] | None:
    """OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS: overrides the conversions' list (semconv http.request.method)."""
    value = environment.get("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS")
    return tuple(method.strip() for method in value.split(",") if method.strip()) if value else None


# Metrics


class MetricSettings(Struct, frozen=True):
    temporality: Temporality
    interval: float  # seconds
    exemplars: bool


def metric_settings(environment: Environment) -> MetricSettings:
    """Temporality, export interval, and whether sampled spans become exemplars (always_on: they alone can, too)."""
    temporalities = {
        "cumulative": Temporality.CUMULATIVE,
        "delta": Temporality.DELTA,
        "lowmemory": Temporality.DELTA,  # of histograms
    }
    return MetricSettings(
        temporality=environment.choice(
            ["OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"], temporalities, Temporality.CUMULATIVE
        ),
        interval=environment.integer("OTEL_METRIC_EXPORT_INTERVAL", 60_000, least=1) / 1000,
        exemplars=environment.choice(
            ["OTEL_METRICS_EXEMPLAR_FILTER"], {"trace_based": True, "always_on": True, "always_off": False}, True
        ),
    )


# Export


#: Spans that wait at most, unless OTEL_BSP_MAX_QUEUE_SIZE says so. The specification's 2048 is for spans that come
#: one by one; ours come as what a ring gathered since it was last read.
_QUEUE = 8192


class BatchSettings(Struct, frozen=True):
    """OTEL_BSP_*: seconds and spans."""

    delay: float = 5.0
    export_timeout: float = 30.0
    batch: int = 512
    queue: int = _QUEUE


def batch_settings(environment: Environment) -> BatchSettings:
    queue = environment.integer("OTEL_BSP_MAX_QUEUE_SIZE", _QUEUE, least=1)
    batch = environment.integer("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", min(512, queue), least=1)
    if batch > queue:
        environment.warn(
            f"OTEL_BSP_MAX_EXPORT_BATCH_SIZE={batch} is ignored: it is to be at most OTEL_BSP_MAX_QUEUE_SIZE, {queue}"
        )
        batch = min(512, queue)
    return BatchSettings(
        delay=environment.integer("OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000,
        export_timeout=environment.integer("OTEL_BSP_EXPORT_TIMEOUT", 30_000) / 1000 or INDEFINITE,
        batch=batch,
        queue=queue,
    )


class OtlpSettings(Struct, frozen=True):
    """Where and how one signal is exported."""

    url: str
    json: bool = False
    headers: tuple[tuple[str, str], ...] = ()
    timeout: float = 10.0  # seconds
    gzip: bool = False
    certificate: str | None = None  # PEM files
    client_certificate: str | None = None
    client_key: str | None = None


_PATHS = {"TRACES": "v1/traces", "METRICS": "v1/metrics"}
_DEFAULT_ENDPOINT = "http://localhost:4318"


def otlp_settings(environment: Environment, signal: str) -> OtlpSettings:
    """OTEL_EXPORTER_OTLP_* with the signal's own variant first; `signal` is TRACES or METRICS. Raises GrpcRefused."""

    def names(option: str) -> list[str]:
        return [f"OTEL_EXPORTER_OTLP_{signal}_{option}", f"OTEL_EXPORTER_OTLP_{option}"]

    def file(option: str) -> str | None:
        return next((value for name in names(option) if (value := environment.get(name))), None)

    protocol = environment.choice(
        names("PROTOCOL"),
        {"http/protobuf": "http/protobuf", "http/json": "http/json", "grpc": "grpc"},
        "http/protobuf",
    )
    if protocol == "grpc":
        raise GrpcRefused(
            f"{next(filter(environment.get, names('PROTOCOL')))}=grpc: gotap speaks OTLP over HTTP only",
            "set it to http/protobuf and the endpoint to the HTTP port, which collectors have at 4318",
        )
    return OtlpSettings(
        url=_url(environment, signal),
        json=protocol == "http/json",
        headers=environment.read(
            names("HEADERS"), _headers, "key1=value1,key2=value2, percent-encoded", (), secret=True
        ),
        timeout=environment.read(
            names("TIMEOUT"), _integer(0), f"a whole number of milliseconds, 0 to {2**31 - 1}", 10_000
        )
        / 1000
        or INDEFINITE,
        gzip=environment.choice(names("COMPRESSION"), {"gzip": True, "none": False}, False),
        certificate=file("CERTIFICATE"),
        client_certificate=file("CLIENT_CERTIFICATE"),
        client_key=file("CLIENT_KEY"),
    )


def _url(environment: Environment, signal: str) -> str:
    """The signal's own endpoint as it is; else the common one with the signal's path appended."""
    accepted = "a URL with http or https and a host, like http://localhost:4318"
    own = environment.read([f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT"], _endpoint, accepted, "")
    if own:
        return own
    base = environment.read(["OTEL_EXPORTER_OTLP_ENDPOINT"], _endpoint, accepted, _DEFAULT_ENDPOINT)
    parts = urlsplit(base)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{_PATHS[signal]}", query="", fragment="").geturl()


def _endpoint(value: str) -> str:
    parts = urlsplit(value)  # ValueError: no URL at all
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError
    return value


def _headers(value: str) -> tuple[tuple[str, str], ...]:
    headers = tuple(_pairs(value).items())
    for name, text in headers:
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", text):
            raise ValueError
    return headers
