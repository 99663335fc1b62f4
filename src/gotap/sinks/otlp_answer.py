"""What an OTLP/HTTP server answers: success, in part or whole; when to try again; why not.

opentelemetry-proto, docs/specification.md, OTLP/HTTP Response.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from gotap.sinks.http_answer import Answer
from gotap.sinks.protobuf import fields

#: Statuses after which the same request may be sent again.
RETRYABLE = frozenset({429, 502, 503, 504})

#: Seconds: whoever wants to be left alone for longer is asked again after that.
_LONGEST_RETRY_AFTER = 3600.0

_REMEDIES = {
    400: "is the server an OTLP receiver of this version?",
    401: "credentials go into OTEL_EXPORTER_OTLP_HEADERS",
    403: "credentials go into OTEL_EXPORTER_OTLP_HEADERS",
    404: "OTLP over HTTP is at port 4318, /v1/traces and /v1/metrics, unless the server says otherwise",
    405: "OTLP over HTTP is at port 4318, /v1/traces and /v1/metrics, unless the server says otherwise",
    413: "a smaller OTEL_BSP_MAX_EXPORT_BATCH_SIZE makes smaller requests",
    415: "OTEL_EXPORTER_OTLP_PROTOCOL chooses between http/protobuf and http/json",
}


def partial_success(answer: Answer) -> tuple[int, str]:
    """(rejected, message) of a success; ValueError: the body is no OTLP response."""
    if not answer.body:
        return 0, ""
    if _is_json(answer):
        return _partial_success_json(answer.body)
    rejected, message = 0, ""
    for number, content in fields(answer.body):
        if number == 1 and isinstance(content, bytes):
            for inner, value in fields(content):
                if inner == 1 and isinstance(value, int):
                    rejected = value
                elif inner == 2 and isinstance(value, bytes):
                    message = value.decode("utf-8", "replace")
    return rejected, message


def _partial_success_json(body: bytes) -> tuple[int, str]:
    decoded = _json(body)
    partial = decoded.get("partialSuccess") if isinstance(decoded, dict) else None
    if not isinstance(decoded, dict) or not isinstance(partial, dict | None):
        raise ValueError("no OTLP response")
    if not partial:
        return 0, ""
    rejected = partial.get("rejectedSpans") or partial.get("rejectedDataPoints") or 0
    message = partial.get("errorMessage") or ""
    if not isinstance(rejected, int | str) or isinstance(rejected, bool) or not isinstance(message, str):
        raise ValueError("no OTLP response")
    return int(rejected), message


def retry_after(answer: Answer) -> float | None:
    """Seconds that the server wants to be left alone; None: it does not say."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_RETRY_AFTER)
    import email.utils  # 40 modules, for a date that hardly any server gives

    try:
        wanted = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(wanted, 0.0), _LONGEST_RETRY_AFTER)


def refusal(answer: Answer) -> str:
    """What to tell of an answer that is no success."""
    said = _message(answer)
    told = f"answered {answer.status} {answer.reason}".rstrip() + (f": {said}" if said else "")
    if 300 <= answer.status < 400 and (location := answer.headers.get("location")):
        told += f" (moved to {location}; redirects are not followed)"
    remedy = _REMEDIES.get(answer.status)
    return f"{told}; {remedy}" if remedy else told


def _message(answer: Answer) -> str:
    """The text of a google.rpc.Status, or a short plain text, from an answer's body."""
    text = ""
    try:
        if _is_json(answer):
            decoded = _json(answer.body)
            text = str(decoded.get("message") or "") if isinstance(decoded, dict) else ""
        elif answer.headers.get("content-type", "").startswith("application/x-protobuf"):
            found = [value for number, value in fields(answer.body) if number == 2 and isinstance(value, bytes)]
            text = found[0].decode() if found else ""
        elif answer.headers.get("content-type", "").startswith("text/plain"):
            text = answer.body.decode()
    except ValueError:
        return ""
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:199] + "…"


def _json(body: bytes) -> Any:
    """ValueError: it is none, or nested too deep."""
    try:
        return msgspec.json.decode(body)  # DecodeError is a ValueError
    except RecursionError:
        raise ValueError("nested too deep") from None


def _is_json(answer: Answer) -> bool:
    return answer.headers.get("content-type", "").startswith("application/json")
