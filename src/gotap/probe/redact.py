"""Credentials in URL queries: their values become REDACTED, their keys stay."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

#: Query keys whose values are credentials (semconv url.query, note); compared case-sensitively.
SENSITIVE_QUERY_KEYS = (
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
)
REDACTED = "REDACTED"


@lru_cache(maxsize=16)
def _plain_key(keys: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"(?:^|[&;])(?:" + "|".join(re.escape(key) for key in keys) + ")=")


_DEFAULT_PLAIN = _plain_key(SENSITIVE_QUERY_KEYS)


def redact_query(query: str, sensitive: tuple[str, ...]) -> str:
    """The query with the values of the `sensitive` keys (unescaped, case-sensitive) REDACTED.

    May be given the beginning of a query: a pair is judged by its key alone, so its value may be cut anywhere.
    """
    if not sensitive or "=" not in query:
        return query
    plain = _DEFAULT_PLAIN if sensitive is SENSITIVE_QUERY_KEYS else _plain_key(sensitive)
    if "%" not in query and "+" not in query and not plain.search(query):
        return query
    return "&".join(_redact_pair(pair, sensitive) for pair in query.split("&"))


def _redact_pair(pair: str, sensitive: tuple[str, ...]) -> str:
    """One `key=value` of a query. The key is unescaped as net/url.ParseQuery does it.

    Go refuses pairs with semicolons, others (Go before 1.17, proxies) take them for separators: a sensitive key
    behind any of them redacts the rest of the pair, which is safe for both readings.
    """
    start = 0
    while (equals := pair.find("=", start)) >= 0:
        key_start = max(pair.rfind(";", start, equals) + 1, start)
        if _unescape(pair[key_start:equals]) in sensitive:
            return pair[: equals + 1] + REDACTED
        semicolon = pair.find(";", equals)
        if semicolon < 0:
            break
        start = semicolon + 1
    return pair


def _unescape(key: str) -> str:
    return unquote_to_bytes(key.replace("+", " ")).decode(errors="replace")
