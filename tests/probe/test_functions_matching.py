"""Patterns against the linker's symbol table, DWARF's inlined calls and the program's source."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gobuild import NEWEST, OLDEST, build, every_version
from gotap.image.image import Image
from gotap.probe.functions.matching import FunctionKind, Functions, Match
from gotap.probe.functions.pattern import parse_pattern, plain_name, without_arguments
from gotap.probe.functions.suggestions import no_such_function


def opened(go: str = NEWEST, mode: str = "plain") -> Functions:
    return Functions(Image.open(build("functions", go, mode=mode)))


def named(functions: Functions, pattern: str) -> dict[str, Match]:
    return {one.name: one for one in functions.find(pattern).functions}


def symbols(path: Path) -> dict[str, int]:
    listing = subprocess.run(["go", "tool", "nm", str(path)], check=True, capture_output=True, text=True).stdout
    rows = (line.split(maxsplit=2) for line in listing.splitlines())
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3 and row[1] in "tTrR"}


#: What main.go declares, but for closures, and of which kind; `looped` and `nested` are inlined everywhere.
DECLARED = {
    "main.(*List[...]).Push": FunctionKind.GENERIC,
    "main.(*base).Name": FunctionKind.FUNCTION,
    "main.(*base).receiverless": FunctionKind.FUNCTION,
    "main.List[...].Len": FunctionKind.GENERIC,
    "main.Map[...]": FunctionKind.GENERIC,
    "main.Sum[...]": FunctionKind.GENERIC,
    "main.add": FunctionKind.ASSEMBLY,
    **dict.fromkeys(
        (f"main.{name}" for name in (
            "blank", "caller", "counter", "deferred", "discard.Write", "escapes", "inlined", "lines", "looped",
            "main", "named", "nested", "once", "spawned", "unnamed",
        )), FunctionKind.FUNCTION,
    ),
}  # fmt: skip


@pytest.mark.parametrize("go", every_version())
@pytest.mark.parametrize("mode", ["plain", "stripped"])
def test_a_package_is_its_source(go: str, mode: str) -> None:
    found = named(opened(go, mode), "main.*")
    closures = {name for name, one in found.items() if one.kind is FunctionKind.CLOSURE}
    assert {name: one.kind for name, one in found.items() if name not in closures} == DECLARED
    expected = {"main.counter.func1", "main.deferred.func1", "main.once.func1", "main.once.func2", "main.once.func3"}
    assert closures == expected
    assert {name for name, one in found.items() if one.only_inlined} == {"main.looped", "main.nested"}
    assert {name: len(one.copies or ()) for name, one in found.items() if one.copies} == {
        "main.inlined": 3, "main.looped": 1, "main.nested": 1,
    }  # fmt: skip


@pytest.mark.parametrize("go", every_version())
def test_wrappers_are_left_out_beside_what_they_call(go: str) -> None:
    functions = opened(go)
    everything = functions.find("main.*")
    assert everything.wrappers >= 2
    bodies = [body for one in everything.functions for body in one.bodies]
    assert not any(functions.kind_of(body).is_made for body in bodies)
    # Alone they can be meant: a method value, a wrapper for a pointer.
    alone = named(functions, "example.com/functions/odd.v2.(*Shape).Grow-fm")
    assert [one.kind for one in alone.values()] == [FunctionKind.METHOD_VALUE]
    wrapper = named(functions, "main.(*discard).Write")
    assert [one.kind for one in wrapper.values()] == [FunctionKind.WRAPPER]


@pytest.mark.parametrize("go", every_version())
def test_dictionaries_tell_instances_apart(go: str) -> None:
    functions = opened(go)
    known = symbols(build("functions", go))
    maps = named(functions, "main.Map")["main.Map[...]"]
    assert {one.name: one.dictionary for one in maps.instances} == {
        f"main.Map[{arguments}]": known[f"main..dict.Map[{arguments}]"]
        for arguments in ("int,string", "string,float64", "int32,int")
    }
    for pattern in ("main.Map[int,string]", "main.Map[int, string]"):
        one = named(functions, pattern)["main.Map[...]"]
        assert [instance.arguments for instance in one.instances] == ["int,string"]
        assert 1 <= len(one.bodies) <= 3
    pushes = named(functions, "main.(*List).Push")["main.(*List[...]).Push"]
    assert {one.name for one in pushes.instances} == {"main.(*List[string]).Push", "main.(*List[*main.base]).Push"}
    only = named(functions, "main.(*List[*base]).Push")["main.(*List[...]).Push"]
    assert [one.name for one in only.instances] == ["main.(*List[*main.base]).Push"]
    assert functions.find("main.Map[bool,string]").functions == ()


def test_a_stripped_binary_does_not_name_its_dictionaries() -> None:
    functions = opened(NEWEST, "stripped")
    assert not functions.instances.known
    found = functions.find("main.Map[int,string]")
    assert found.wanted == "int,string"
    assert [one.instances for one in found.functions] == [()]
    assert [body.name for body in found.functions[0].bodies] == ["main.Map[go.shape.int,go.shape.string]"]


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_paths_may_be_written_plain_or_escaped(go: str) -> None:
    functions = opened(go)
    for path in ("example.com/functions/odd.v2", "example.com/functions/odd%2ev2", "*odd.v2", "*odd%2ev2"):
        assert list(named(functions, f"{path}.(*Shape).*")) == ["example.com/functions/odd.v2.(*Shape).Grow"]
    assert list(named(functions, "*odd.v2.Shape.Area")) == ["example.com/functions/odd.v2.Shape.Area"]


def test_the_star_of_a_pointer_receiver_is_literal() -> None:
    functions = opened()
    assert set(named(functions, "main.(*base).*")) == {"main.(*base).Name", "main.(*base).receiverless"}
    assert set(named(functions, "main.*.Name")) == {"main.(*base).Name"}
    assert "main.(*base).Name" in named(functions, "main.*Name")
    assert functions.find("main.(*nothing).*").functions == ()
    assert functions.find("ain.caller").functions == ()
    assert functions.find("main.call").functions == ()


def test_functions_that_are_only_inlined_are_found_without_looking_for_the_places() -> None:
    found = {one.name: one for one in opened().find("main.*", inlined=False).functions}
    assert found["main.looped"].only_inlined
    assert found["main.looped"].copies is None
    assert found["main.inlined"].bodies


def test_names() -> None:
    assert plain_name("gopkg.in/yaml%2ev3.(*Node).Decode") == "gopkg.in/yaml.v3.(*Node).Decode"
    assert plain_name("a/%c3%a9t%c3%a9.F") == "a/été.F"
    assert without_arguments("main.(*List[go.shape.[]int]).Push") == "main.(*List[...]).Push"
    assert without_arguments("main.F[go.shape.int].func1") == "main.F[...].func1"
    assert without_arguments("main.F") == "main.F"
    assert parse_pattern("main.Map[int,string]").arguments == "int,string"
    assert parse_pattern("main.Map[...]").arguments == ""


@pytest.mark.parametrize(
    ("pattern", "meant"),
    [
        ("main.Caller", "main.caller"),
        ("main.caler", "main.caller"),
        ("caller", "main.caller"),
        ("odd.Count", "example.com/functions/odd.v2.Count"),
        ("main.base.Name", "main.(*base).Name"),
        ("fnt.Fprintln", "fmt.Fprintln"),
    ],
)
def test_suggestions(pattern: str, meant: str) -> None:
    error = no_such_function(opened().image, pattern)
    assert error.suggestions[0] == meant
    assert f"`{meant}`" in error.remedy


def test_a_package_that_is_not_there() -> None:
    error = no_such_function(opened().image, "strcnov.Foo")
    assert "no code of package strcnov" in str(error)
    assert error.suggestions[0] == "strconv.*"
    assert "lists what there is" in no_such_function(opened().image, "main.qqqqqqqq").remedy
