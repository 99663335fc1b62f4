"""The conversions: the closed, named list of functions that turn captured values into attributes.

The catalogue names them; no backend has conversion code of its own. A conversion is a pure function of its inputs
(None: the column is absent; a TYPE column comes as the type's full name, "" for a nil interface; a text that was cut
comes as Cut) and of constants (keyword-only parameters, given by the catalogue or by the user's options). Its result
is the attribute's value, or None: the operation has no such attribute.

`tests/probe/conversion_vectors.yaml` holds the vectors that every other implementation of this list must pass.
Checked with OpenTelemetry's semantic conventions 1.44.0 (HTTP, URL, client, server, error, database).
"""

from __future__ import annotations

from gotap.probe import convert_errors, convert_http, convert_sql, convert_values
from gotap.probe.convert_http import KNOWN_METHODS
from gotap.probe.convert_registry import (
    CONVERSIONS,
    ELLIPSIS,
    Conversion,
    ConversionError,
    Convert,
    Cut,
    Param,
    Result,
    Value,
    conversion,
)
from gotap.probe.redact import SENSITIVE_QUERY_KEYS

__all__ = [
    "CONVERSIONS",
    "ELLIPSIS",
    "KNOWN_METHODS",
    "SENSITIVE_QUERY_KEYS",
    "Conversion",
    "ConversionError",
    "Convert",
    "Cut",
    "Param",
    "Result",
    "Value",
    "conversion",
    "convert_errors",
    "convert_http",
    "convert_sql",
    "convert_values",
]
