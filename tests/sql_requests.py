"""What tests ask of tests/programs/sqlcalls."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from endtoend_requests import exchange
from goservers import Server
from httpload import request_bytes

CONTEXTS = ("QueryContext", "QueryRowContext", "ExecContext")
METHODS = ("Query", "QueryRow", "Exec", *CONTEXTS)
#: Every method that is a span: (receiver, method).
CALLS = [
    (on, do)
    for on, methods in (("DB", METHODS), ("Conn", CONTEXTS), ("Tx", METHODS), ("Stmt", METHODS), ("StmtOfTx", METHODS))
    for do in methods
]


def asked(server: Server, path: str, **parameters: object) -> dict[str, Any]:
    """What the program saw of one request."""
    data = request_bytes(f"{path}?{urlencode(parameters, doseq=True)}", headers={"Connection": "close"})
    head, _, body = exchange(server.http, data).partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], (head, body)
    answer: dict[str, Any] = json.loads(body)
    return answer
