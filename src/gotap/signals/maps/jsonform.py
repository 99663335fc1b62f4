"""Maps as JSON: {"map": "@name", "kind": "hist", "entries": [{"key": […], "value": …}]}; docs/trace-maps.md.

Where probes that store into it were thinned, "sampled" comes after the kind: the least fraction of firings taken.
"""

from __future__ import annotations

from typing import Any

from gotap.probe.script.bound import MapSpec
from gotap.signals.maps.model import Bucket, Histogram, MapResult, MapValue, Quantiles, Series, Stats, Top
from gotap.signals.trace_values import as_json, rfc3339


def to_json(result: MapResult) -> dict[str, Any]:
    """Plain objects for msgspec, entries with the largest values first."""
    spec = result.spec
    return {
        "map": spec.name,
        "kind": spec.kind.value,
        **({"sampled": 1 / result.sampled_of} if result.sampled_of > 1 else {}),
        "entries": [
            {
                "key": [as_json(part, value) for part, value in zip(spec.keys, entry.key, strict=True)],
                "value": value_json(spec, entry.value),
            }
            for entry in result.entries
        ],
    }


def value_json(spec: MapSpec, value: MapValue) -> Any:
    match value:
        case Histogram(buckets):
            return {"buckets": [_bucket(one) for one in buckets]}
        case Stats(count, avg, total, least, greatest):
            return {"count": count, "avg": avg, "total": total, "min": least, "max": greatest}
        case Quantiles(p50, p90, p99, greatest):
            return {"p50": p50, "p90": p90, "p99": p99, "max": greatest}
        case Top(values):
            part = spec.bucket or spec.value
            return [{"value": as_json(part, one), "count": count} for one, count in values]
        case Series(points):
            return [
                {"from": rfc3339(one.start), "to": rfc3339(one.end), "value": one.value, "count": one.count}
                for one in points
            ]
        case _:
            return as_json(spec.value, value)


def _bucket(bucket: Bucket) -> dict[str, Any]:
    return {"from": bucket.start, "to": bucket.end, "count": bucket.count}
