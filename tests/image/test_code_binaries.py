"""Sites in real Go programs: objdump judges what is there, gdb what happens."""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from gobuild import ALL, NEWEST, OLDEST, build
from gofunctions import GoBinary
from gotap.image.code import (
    ARGUMENT_REGISTERS,
    Constant,
    Cost,
    EntrySite,
    Exit,
    FunctionCode,
    Global,
    Location,
    Register,
    ReturnSite,
    Site,
    Stack,
    StaticAddress,
)

RESULTS = ("rax", "rbx", "rcx")


_UNOPTIMISED = "unoptimised"
_MODES = ("plain", _UNOPTIMISED, "pie", "race")


def cases(modes: Iterable[str]) -> list[Any]:
    ordinary = {(OLDEST, "plain"), (NEWEST, "plain"), (NEWEST, _UNOPTIMISED)}
    return [
        pytest.param(version, mode, marks=() if (version, mode) in ordinary else pytest.mark.matrix)
        for mode in modes
        for version in ALL
    ]


@functools.cache
def analysed(version: str, mode: str) -> GoBinary:
    flags = ("-gcflags=all=-N -l",) if mode == _UNOPTIMISED else ()
    return GoBinary(build("returns", version, mode="plain" if flags else mode, flags=flags))


@pytest.fixture
def binary(version: str, mode: str) -> GoBinary:
    return analysed(version, mode)


def disassemble(binary: GoBinary) -> dict[str, list[tuple[int, str]]]:
    """Address and text of every instruction by function, as objdump sees them."""
    command = ["objdump", "-d", "--no-show-raw-insn", "-j", ".text", str(binary.path)]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    functions: dict[str, list[tuple[int, str]]] = {}
    for line in listing.splitlines():
        if (head := re.fullmatch(r"[0-9a-f]+ <(.*)>:", line)) is not None:
            current = functions.setdefault(head[1], [])
        elif (row := re.fullmatch(r"\s*([0-9a-f]+):\t(.*)", line)) is not None:
            current.append((int(row[1], 16), row[2].strip()))
    return functions


def compiled(binary: GoBinary, *prefixes: str) -> list[str]:
    """Functions that the compiler made: those of assembly have ABI0's suffix."""
    return [name for name in binary.symbols if name.startswith(prefixes) and not name.endswith(".abi0")]


_CHEAP = re.compile(r"(data16 )*(push|nop[lw]?|xchg +%ax,%ax|call|jmp|j[a-z]+)\b")
_CHECK = re.compile(r"cmp +(0x10\(%r14\),%rsp|0x10\(%r14\),%r12|%rsp,0x10|.*0x10\(%r14\))")


@pytest.mark.parametrize(("version", "mode"), cases(_MODES))
def test_entry_sites(binary: GoBinary, version: str) -> None:
    """Each function that checks its stack has a cheap entry site right behind the check, as objdump shows it."""
    listing = disassemble(binary)
    checked = 0
    for name in compiled(binary, "main.", "fmt.", "strconv.", "os.", "strings.", "time."):
        rows = listing.get(name, [])
        checks = [i for i, (_, text) in enumerate(rows[:6]) if _CHECK.match(text)]
        site = binary.function(name).entry_site()
        assert site is not None
        if not checks:
            continue
        checked += 1
        branch, following = rows[checks[0] + 1], rows[checks[0] + 2]
        assert branch[1].startswith("jbe"), (name, branch)
        assert site.once
        if following[1] == "push   %rbp":
            assert (site.address, site.edge, site.sp_offset) == (following[0], None, 0), name
            continue
        assert version in ("1.18.10", "1.19.13", "1.20.14")
        if site.edge is not None:
            assert (site.address, site.edge.taken, site.sp_offset) == (branch[0], False, 0), name
        else:  # something cheap a little later, with the arguments still intact
            assert _CHEAP.match(dict(rows)[site.address])
            assert site.address in [address for address, _ in rows[:10]], name
    assert checked > 50


@pytest.mark.parametrize(("version", "mode"), cases(("plain", "race", "pie")))
def test_return_sites(binary: GoBinary) -> None:
    """Sites lie on instructions, cheap ones on those that a kernel emulates, and functions are fully understood."""
    listing = disassemble(binary)
    returns = cheap = 0
    for name in compiled(binary, "main.", "fmt.", "strconv.", "strings."):
        function = binary.function(name)
        assert function.complete, name
        rows = dict(listing[name])
        sites = function.return_sites(RESULTS)
        for site in sites:
            text = rows[site.address]
            assert site.cost != Cost.FORBIDDEN
            assert not site.cost.cheap or _CHEAP.match(text), (name, text)
            assert site.exit is not Exit.TAIL_CALL or text.startswith("jmp")
        rets = {address for address, text in rows.items() if text.startswith("ret")}
        returns += len(rets)
        cheap += len(rets) - len(rets & {site.address for site in sites})
        assert bool(sites) == bool(rets | {site.address for site in sites})
    assert cheap > returns / 6


@pytest.mark.parametrize(("version", "mode"), cases(("plain", "pie")))
def test_switch_tables(binary: GoBinary, version: str) -> None:
    """`main.cases` jumps through a table from Go 1.19 on: with the image all ways are known, without it none."""
    address, size = binary.symbols["main.cases"]
    code = binary.read(address, size)
    assert code is not None
    with_table = any("jmp    *(" in text for _, text in disassemble(binary)["main.cases"])
    assert with_table == (version != "1.18.10")
    known = binary.function("main.cases")
    assert known.complete
    assert len(known.graph.blocks) > 11
    blind = FunctionCode(code, address, callees=binary.callees)
    assert blind.complete != with_table
    if with_table:
        assert blind.late_site() is None
        plain = {address for address, text in disassemble(binary)["main.cases"] if text.startswith("ret")}
        assert {site.address for site in blind.return_sites(RESULTS)} == plain
        entry = blind.entry_site()
        assert entry is not None
        assert entry.once


# -- gdb -----------------------------------------------------------------------------------------------------------

_ARGUMENTS = ARGUMENT_REGISTERS[:4]
#: Its deferred call recovers, so that late sites may be skipped (see FunctionCode.late_site).
_RECOVERS = ("main.recovers",)


def as_json(location: Location | None) -> list[Any] | None:
    match location:
        case Register(name, size):
            return ["register", name, size]
        case Stack(offset, size):
            return ["stack", offset, size]
        case Global(address, size):
            return ["global", address, size]
        case StaticAddress(address):
            return ["static", address]
        case Constant(value):
            return ["constant", value]
    return None


def describe(function: FunctionCode, site: Site) -> dict[str, Any]:
    return {
        "address": site.address,
        "sp_offset": site.sp_offset,
        "edge": [site.edge.condition, site.edge.taken] if site.edge else None,
        "words": [as_json(location) for location in site.results] if isinstance(site, ReturnSite) else [],
        "exit": site.exit.value if isinstance(site, ReturnSite) else "",
        "arguments": [as_json(location) for location in function.words_at(site.address, _ARGUMENTS)],
    }


def describe_function(name: str, function: FunctionCode, entry: EntrySite) -> dict[str, Any]:
    late = function.late_site()
    sites = function.return_sites(RESULTS, idle_hits=3, allow_faults=True)
    return {
        "entry": describe(function, entry),
        "late": describe(function, late) if late is not None else None,
        "returns": [describe(function, site) for site in sites],
        "rets": [instruction.ip for instruction in function.graph.instructions if str(instruction) == "ret"],
        "recovers": name in _RECOVERS,
    }


def run_under_gdb(binary: GoBinary, functions: dict[str, Any], directory: Path) -> dict[str, Any]:
    sites, report = directory / "sites.json", directory / "report.json"
    sites.write_text(json.dumps({"functions": functions}))
    script = Path(__file__).parents[1] / "gdb_sites.py"
    environment = {**os.environ, "SITES": str(sites), "REPORT": str(report), "GOMAXPROCS": "1"}
    environment["GODEBUG"] = "asyncpreemptoff=1"
    command = ["gdb", "-nx", "-batch", "-x", str(script), "--args", str(binary.path), "15"]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
    return dict(json.loads(report.read_text()))


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
@pytest.mark.parametrize(("version", "mode"), cases(("plain", _UNOPTIMISED, "race")))
def test_what_sites_say_is_what_happens(binary: GoBinary, tmp_path: Path) -> None:
    """At each `ret` that is executed: one entry and one return site have fired, and all words were as they said."""
    functions = {}
    for name in compiled(binary, "main.", "strconv.", "fmt.", "errors.", "io.", "strings."):
        function = binary.function(name)
        entry = function.entry_site()
        if entry is not None and entry.once:
            functions[name] = describe_function(name, function, entry)
    report = run_under_gdb(binary, functions, tmp_path)
    assert report["errors"] == []
    assert report["open"] == 0
    assert report["entries"] == report["returns"] > 1000
    assert report["compared"] > 1000
    assert report["arguments"] > 2000


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
@pytest.mark.parametrize(("version", "mode"), cases(("plain",))[:1])
def test_gdb_would_notice(binary: GoBinary, tmp_path: Path) -> None:
    """The judge of the test above sees a wrong location, a wrong direction and a missing site."""
    name = "main.spills"
    function = binary.function(name)
    entry = function.entry_site()
    assert entry is not None

    def errors(**change: Any) -> list[str]:
        described = describe_function(name, function, entry)
        described["late"] = None
        for site in described["returns"]:
            site.update(change)
        return list(run_under_gdb(binary, {name: described}, tmp_path)["errors"])

    assert errors() == []
    assert any("result differs" in error for error in errors(words=[["constant", 5]] * 3))
    assert any("without a return site" in error for error in errors(edge=[0, True]))
    assert any("argument differs" in error for error in errors(arguments=[["constant", 5]]))
