"""Reads OTLP/JSON with protobuf's own JSON parser, after the one thing in which OTLP differs: hexadecimal ids."""

from __future__ import annotations

import base64
import json
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

_IDS = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def _with_base64_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_base64_ids(one) for one in value]
    if not isinstance(value, dict):
        return value
    changed = {}
    for key, one in value.items():
        if key in _IDS and one:
            assert len(one) == 2 * _IDS[key]
            changed[key] = base64.b64encode(bytes.fromhex(one)).decode()
        else:
            changed[key] = _with_base64_ids(one)
    return changed


def read_traces(line: bytes) -> TracesData:
    data: TracesData = ParseDict(_with_base64_ids(json.loads(line)), TracesData())
    return data


def read_metrics(line: bytes) -> MetricsData:
    data: MetricsData = ParseDict(_with_base64_ids(json.loads(line)), MetricsData())
    return data
