"""Lines and what stands there in a running program: gdb reads the places that are named, the source has the values."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from gobuild import NEWEST, OLDEST, PROGRAMS, build, every_version
from gotap.image.code import Constant, Cost, Global, Location, Register, Stack
from gotap.image.image import Image
from gotap.probe.catalogue import runtime
from gotap.probe.functions.copies import Copies
from gotap.probe.functions.lines import LinePlace, Lines, NoSuchLine
from gotap.probe.functions.locations import Locations
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.model import Variable
from gotap.probe.functions.signatures import Signatures
from gotap.probe.functions.written import read_signatures
from gotap.probe.places import Places
from gotap.probe.sources import types_of

SOURCE = PROGRAMS / "functions" / "main.go"


class Program:
    """tests/programs/functions, built by one release."""

    def __init__(self, go: str = NEWEST, mode: str = "plain") -> None:
        self.path = build("functions", go, mode=mode)
        self.image = Image.open(self.path)
        types = types_of(self.image, runtime())
        self.signatures = Signatures(Functions(self.image), types)
        self.places = Places(self.image, types)
        self.lines = Lines(self.signatures, self.places.code)
        self.locations = Locations(self.signatures)
        self.copies = Copies(self.image, self.places.code)

    def variables(self, place: LinePlace) -> dict[str, Variable]:
        at = place.site.address
        if place.call is not None:
            return self.locations.inlined(place.call, at)
        return self.locations.at(place.function, at, self.places.code(place.function))

    def watched(
        self, places: dict[int, dict[str, Any]], directory: Path, rounds: int
    ) -> list[tuple[int, dict[str, Any]]]:
        """What gdb saw, in order."""
        wanted, report = directory / "places.json", directory / "report.json"
        wanted.write_text(json.dumps(places))
        script = Path(__file__).parents[1] / "gdb_values.py"
        environment = {**os.environ, "PLACES": str(wanted), "REPORT": str(report), "GOMAXPROCS": "1"}
        environment |= {"GODEBUG": "asyncpreemptoff=1", "GOGC": "off"}
        command = ["gdb", "-nx", "-batch", "-x", str(script), "--args", str(self.path), str(rounds)]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
        return [(at, seen) for at, seen in json.loads(report.read_text())]


def line_of(text: str) -> int:
    """The number of the only line of main.go that holds a text."""
    found = [number for number, line in enumerate(SOURCE.read_text().splitlines(), 1) if text in line]
    assert len(found) == 1, text
    return found[0]


def as_part(location: Location | None) -> list[Any] | None:
    match location:
        case Register(name, size):
            return ["register", name, size]
        case Stack(offset, size):
            return ["stack", offset, size]
        case Global(address, size):
            return ["global", address, size]
        case Constant(value):
            return ["constant", value]
    return None


def parts_of(variable: Variable, name: str) -> dict[str, Any]:
    """Each word of a variable, `name.0`, `name.8`; what a pointer leads to as `name`."""
    if variable.by_reference:
        assert variable.type is not None
        part = as_part(variable.parts[0].location)
        return {name: [part, variable.type.size] if part is not None else None}
    return {f"{name}.{part.offset}": as_part(part.location) for part in variable.parts}


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
@pytest.mark.parametrize("go", every_version())
def test_values_at_lines_are_those_of_the_source(go: str, tmp_path: Path) -> None:
    program = Program(go)
    (limit,) = program.lines.find("main.go", line_of("// line: limit"))
    (inner,) = program.lines.find("main.go", line_of("inner := text"))
    places = {}
    for place in (limit, inner):
        variables = program.variables(place)
        places[place.site.address] = {
            key: part for name, one in variables.items() for key, part in parts_of(one, name).items()
        }
    rounds = 20
    seen = program.watched(places, tmp_path, rounds)
    numbers = [values["n.0"] for at, values in seen if at == limit.site.address]
    assert numbers == list(range(rounds))
    escaped = [values for at, values in seen if at == inner.site.address]
    assert len(escaped) == rounds - 2  # kept is more than 3
    for values in escaped:
        assert values["kept"] == values["count.0"] + 2
        assert values["text.8"] == len(str(values["kept"]))


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
@pytest.mark.parametrize("go", every_version())
def test_parameters_of_inlined_copies(go: str, tmp_path: Path) -> None:
    """`looped` is called with slices that begin with 1; gdb reads that at the copy's site, where DWARF tells of it."""
    program = Program(go)
    looped = program.signatures.functions.named("main.looped")
    assert looped is not None
    assert looped.copies is not None
    found = 0
    for call in looped.copies:
        site = program.copies.site(call, arguments=True)
        assert site.site is not None
        variables = program.locations.inlined(call, site.site.address)
        assert set(variables) >= {"values"}
        values = variables["values"]
        assert values.type is not None
        assert values.type.name == "[]int"
        if not values.parts or values.parts[0].location is None:
            assert "optimised out" in values.reason or "some of its words" in values.reason
            continue
        found += 1
        pointer = as_part(values.parts[0].location)
        seen = program.watched({site.site.address: {"first": [pointer, 8]}}, tmp_path, 12)
        assert [entry["first"] for _, entry in seen] == [1] * len(seen)
        assert len(seen) == sum(i % 5 for i in range(12))
    assert found <= len(looped.copies)


@pytest.mark.parametrize("go", every_version())
@pytest.mark.parametrize("mode", ["plain", "stripped"])
def test_one_place_for_each_body_and_copy(go: str, mode: str) -> None:
    program = Program(go, mode)
    found = program.lines.find("functions/main.go", line_of("return b - a"))
    where = {(place.function.name, place.call.name if place.call else "") for place in found}
    assert ("main.inlined", "") in where
    assert ("main.caller", "main.inlined") in where
    assert len(found) == len({place.site.address for place in found})
    (seventh,) = program.lines.find("main.go", line_of("// line: seventh"))
    assert seventh.function.name == "main.lines"
    assert program.image.pclntab.line(seventh.site.address) == (seventh.file, seventh.line)
    assert seventh.exact
    cheap = program.lines.find("main.go", line_of("// line: seventh"), variables=False)[0]
    assert cheap.site.cost <= seventh.site.cost
    assert cheap.site.cost is not Cost.FORBIDDEN


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_statements_begin_where_the_compiler_says(go: str) -> None:
    """Where DWARF tells, the site is one of the addresses that `go tool objdump` lists under the line."""
    program = Program(go)
    place = program.lines.find("main.go", line_of("// line: limit"))[0]
    command = ["go", "tool", "objdump", "-s", "^main.lines$", str(program.path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listing.splitlines() if line.startswith("  main.go:")]
    assert place.site.address in {int(row[1], 16) for row in rows if row[0] == f"main.go:{place.line}"}


@pytest.mark.parametrize("go", every_version())
def test_what_the_compiler_makes_of_go_and_defer_is_no_place_of_their_line(go: str) -> None:
    program = Program(go)
    source = SOURCE.read_text().splitlines()
    for text, function in (("go spawned(done, i)", "main.once"), ("defer fmt.Fprintln(", "main.deferred")):
        (line,) = (number for number, one in enumerate(source, 1) if one.strip().startswith(text))
        places = program.lines.find("functions/main.go", line)
        assert {place.function.name for place in places if place.call is None} == {function}, text


def test_lines_without_code() -> None:
    program = Program()
    with pytest.raises(NoSuchLine, match=r"line 1 of main.go has no code") as told:
        program.lines.find("main.go", 1)
    assert "near it, code comes from" in told.value.remedy
    with pytest.raises(NoSuchLine, match=r"no code of this binary comes from a file mian\.go") as told:
        program.lines.find("mian.go", 3)
    assert "functions/main.go" in told.value.remedy
    with pytest.raises(NoSuchLine):
        program.lines.find("ain.go", 3)  # whole components


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_package_variables(go: str) -> None:
    plain, stripped = Program(go), Program(go, "stripped")
    total = plain.locations.package_variable("main.Total")
    assert total is not None
    assert total.type is not None
    assert (total.type.name, total.available) == ("int", True)
    command = ["go", "tool", "nm", str(plain.path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    known = {line.split()[2]: int(line.split()[0], 16) for line in listing.splitlines() if len(line.split()) == 3}
    assert total.memory == Global(known["main.Total"], 8)
    assert plain.locations.package_variable("main.nothing") is None
    assert stripped.locations.package_variable("main.Total") is None


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_parameters_without_debug_information(go: str) -> None:
    """Their words are followed from the entry through the code, as far as it proves where they are."""
    program = Program(go, "stripped")
    functions = program.signatures.functions
    written = read_signatures(["main.escapes(count int, keep func(*int)) int"], functions)
    locations = Locations(Signatures(functions, types_of(program.image, runtime()), written))
    (place,) = program.lines.find("main.go", line_of("inner := text"))
    found = locations.at(place.function, place.site.address, program.places.code(place.function))
    expected = Program(go)
    (same,) = expected.lines.find("main.go", line_of("inner := text"))
    told = expected.variables(same)
    for name in ("count", "keep"):
        if found[name].available:
            assert [part.location for part in found[name].parts] == [part.location for part in told[name].parts]
