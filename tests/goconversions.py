"""Cases for the Go implementation of the conversions: the shared vectors, and random inputs with what Python makes of
them; and the Go functions by the conversions' names."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import yaml

from gotap.probe.convert import CONVERSIONS, Cut
from gotap.weave.runtime.conversions import GoType, go_conversion

VECTORS: dict[str, list[dict[str, Any]]] = yaml.safe_load(
    (Path(__file__).parent / "probe" / "conversion_vectors.yaml").read_text(encoding="utf-8")
)

#: Pieces of which random texts are made: what the conversions look for, and what is no UTF-8.
_PIECES = (
    *rb"/a ? = & ; sig %73ig Signature % + %2 REDACTED x=1 : ::1 [ ] %eth0 @ . 1.2.3.4 :80 65536 host".split(),
    *rb"UPDATE http HTTPS GET get {id} 0 panic *errors.errorString context,canceled syscall.Errno net.x".split(),
    *rb"""' " ` -- /* */ \ $1 $$ , ( ) 1e5 0x1f -1 N'x' E'\'' # db.t SELECT FROM IN""".split(),
    *(b" ", b"\t", b"\n", b"\x00", b"\xff", b"\xc3", b"\xa9", b"\xe2\x82", b"\xf0\x9f\x98\x80", "é…".encode()),
    *(b"net/http: abort Handler", b"context canceled", b"example.com"),
)
#: Pieces of SQL, and what a driver's package says of it (the lists of the catalogue have the same form).
_SQL = (
    *rb"""SELECT insert INTO Update DELETE FROM JOIN WHERE SET VALUES WITH AS EXPLAIN CREATE TABLE OR REPLACE VIEW DROP
    IF EXISTS FUNCTION GRANT COPY MERGE USING ON UNION DISTINCT CROSS APPLY EXEC IN in ONLY TRIGGER""".split(),
    *rb"""t1 a.b x "n m" "q" `b` [c] 'lit' 'it''s' 'it\'s' E'\\' N'u' x'ff' q'[a]' q'!b!' $$d$$ $t$e$t$ $1 $n ?1 :n
    :: @p @@v #tmp # -- --c /* */ /*c*/ // ( ) ( ) , , ; . .5 12 1e-3 0x1F TRUE false = + - { } ' " ` \ [ ]""".split(),
    *(b" ", b" ", b" ", b"\n", b"\xff", b"\xc3", "é".encode(), "naïve".encode(), b"\x00"),
    *(b"words_too_long_for_keywords", b"ORDER"),
)
_DRIVERS = (b"*pg.Driver", b"my/v2.Driver", b"lite.Driver[x.y]", b"ms.Driver", b"ora.D", b"other.D", b"", b"nothing")
_SYSTEMS = {
    "systems": ("pg=postgresql", "my=mysql", "my/v2/x=no", "lite=sqlite", "ms=microsoft.sql_server", "ora=oracle.db"),
    "dialects": (
        *("postgresql=nested", "mysql=backslash hash strings", "sqlite=brackets either"),
        *("microsoft.sql_server=brackets money nested", "oracle.db="),
    ),
}
_NUMBERS = (0, 1, 2, 3, 99, 200, 399, 400, 499, 500, 503, 110, 111, -1, 2**63 - 1, -(2**63))
_LISTS = ((), ("sig",), ("a b", "x"), ("GET", "get"), ("context canceled", "syscall.Errno=110"), ("net.x", "host"))


def dispatcher() -> str:
    """A Go file of package gotaprt that fills `converters`, the conversions by name."""
    lines = ["package gotaprt", "", "func init() {"]
    for name in CONVERSIONS:
        go = go_conversion(name)
        arguments = [f"in[{index}].{one.value.lower()}()" for index, one in enumerate(go.inputs)]
        for constant, kind in go.constants:
            assert kind is GoType.TEXTS, "the cases have no constants of other kinds"
            arguments.append(f'with["{constant}"]')
        call = f"{go.function}({', '.join(arguments)})"
        lines.append(f'\tconverters["{name}"] = func(in []*given, with map[string]Texts) Value {{')
        lines += [f"\t\treturn {call}", "\t}"]
    return "\n".join([*lines, "}", ""])


def cases(count: int) -> str:
    """JSON: for each conversion its vectors, and so many random cases. Inputs are null, {Int} or {Hex, Cut}."""
    choose = random.Random(11)
    found: list[dict[str, Any]] = []
    for name, vectors in VECTORS.items():
        for vector in vectors:
            found.append(_case(name, [_given(one) for one in vector["in"]], vector.get("with", {}), vector["out"]))
        for _ in range(count):
            found.append(_random(name, choose))
    return json.dumps(found)


def _case(name: str, inputs: list[Any], constants: dict[str, Any], out: Any) -> dict[str, Any]:
    return {"Name": name, "In": inputs, "With": {key: list(value) for key, value in constants.items()}, "Out": out}


def _given(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, int):
        return {"Int": int(value)}
    if isinstance(value, dict):
        return {"Hex": value["cut"].encode().hex(), "Cut": True}
    return {"Hex": value.encode().hex()}


def _random(name: str, choose: random.Random) -> dict[str, Any]:
    go = go_conversion(name)
    inputs: list[Any] = []
    python: list[Any] = []
    for kind in go.inputs:
        if choose.random() < 0.05:
            inputs.append(None)
            python.append(None)
        elif kind is GoType.TEXT:
            kept = _random_text(name, len(inputs), choose)
            cut = choose.random() < 0.2
            inputs.append({"Hex": kept.hex(), "Cut": cut})
            # As gotap.signals.plan gives them to conversions.
            python.append(Cut(kept.decode("utf-8", "ignore")) if cut else kept.decode("utf-8", "replace"))
        else:
            number = choose.choice(_NUMBERS)
            inputs.append({"Int": number})
            python.append(bool(number) if kind is GoType.BOOL else number)
    constants = {
        constant: _SYSTEMS.get(constant, choose.choice(_LISTS)) for constant, _ in go.constants if choose.random() < 0.8
    }
    return _case(name, inputs, constants, CONVERSIONS[name].function(*python, **constants))


def _random_text(name: str, place: int, choose: random.Random) -> bytes:
    if not name.startswith(("sql_", "db_system")):
        return b"".join(choose.choices(_PIECES, k=choose.randint(0, 9)))
    if place or name == "db_system":
        return choose.choice(_DRIVERS)
    return choose.choice((b"", b" ")).join(choose.choices(_SQL, k=choose.randint(0, 25)))
