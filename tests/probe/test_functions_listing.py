"""What is listed of a program's functions, its closures, and entry sites of many functions at once."""

from __future__ import annotations

from weakref import WeakSet

import pytest

from gobuild import NEWEST, OLDEST, build, every_version
from gotap.image.code import Cost, FunctionCode
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.probe.catalogue import runtime
from gotap.probe.functions.closures import Closures
from gotap.probe.functions.entries import entry_sites
from gotap.probe.functions.listing import Listed, Listing
from gotap.probe.functions.matching import FunctionKind, Functions
from gotap.probe.functions.signatures import Signatures
from gotap.probe.places import Places
from gotap.probe.sources import types_of


def opened(go: str, mode: str = "plain") -> tuple[Signatures, Places]:
    image = Image.open(build("functions", go, mode=mode))
    types = types_of(image, runtime())
    return Signatures(Functions(image), types), Places(image, types)


def listed(go: str, pattern: str, mode: str = "plain") -> dict[str, Listed]:
    signatures, places = opened(go, mode)
    return {one.name: one for one in Listing(signatures, places.code).of(signatures.functions.find(pattern))}


def test_a_listing_keeps_the_code_of_a_few_functions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: (one.text, one.inlined) for name, one in listed(NEWEST, "main.*").items()}
    monkeypatch.setattr("gotap.probe.functions.listing._KEPT", 2)
    signatures, places = opened(NEWEST)
    alive: WeakSet[FunctionCode] = WeakSet()
    most = 0

    def analyse(function: Function) -> FunctionCode:
        nonlocal most
        code = places.analyse(function)
        alive.add(code)
        most = max(most, len(alive))
        return code

    listing = Listing(signatures, analyse).of(signatures.functions.find("main.*"))
    assert {one.name: (one.text, one.inlined) for one in listing} == expected
    assert most <= 4  # those, the new one, and one that is at work


@pytest.mark.parametrize("go", every_version())
def test_a_package(go: str) -> None:
    found = listed(go, "main.*")
    assert found["main.counter"].text == "main.counter(start int, step *int) func(int) int"
    looped = found["main.looped"]
    assert not looped.bodies
    assert looped.text.startswith("main.looped(values []int)")
    assert looped.inlined is not None
    assert looped.inlined.text == "1 of 1 copy"
    assert found["main.named"].inlined is None
    for one in found.values():
        for body in one.bodies:
            assert body.problem == ""
            assert body.entry_cost in (Cost.EMULATED, Cost.SINGLE_STEP, Cost.NOP5)
            assert body.returns or one.name == "main.main", one.name
    assert found["main.Map[...]"].kind is FunctionKind.GENERIC
    assert set(found["main.Map[...]"].instances) == {
        "main.Map[int,string]", "main.Map[string,float64]", "main.Map[int32,int]",
    }  # fmt: skip


def test_a_stripped_program_says_what_is_missing() -> None:
    found = listed(NEWEST, "main.*", "stripped")
    assert not found["main.counter"].signature.known
    assert "sig 'main.counter(" in found["main.counter"].signature.reason
    assert found["main.counter"].bodies[0].entry_cost is Cost.EMULATED
    assert found["main.discard.Write"].signature.known  # a method that reflection reaches


@pytest.mark.parametrize("go", every_version())
def test_what_closures_captured(go: str) -> None:
    signatures, _ = opened(go)
    counter = signatures.functions.named("main.counter.func1")
    assert counter is not None
    found = Closures(signatures).captured(counter.bodies[0].address)
    if int(go.split(".")[1]) < 23:
        assert found is None
        return
    assert found is not None
    assert [(one.name, one.type.name, one.offset, one.by_reference) for one in found] == [
        ("total", "int", 8, True), ("step", "*int", 16, False),
    ]  # fmt: skip
    assert Closures(signatures).captured(counter.bodies[0].address + 1) is None


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_entry_sites_of_many_are_those_of_each(go: str) -> None:
    signatures, places = opened(go)
    bodies = [body for one in signatures.functions.find("strconv.*").functions for body in one.bodies]
    assert len(bodies) > 10
    assert entry_sites(places.image, bodies, places.code) == [places.code(body).entry_site() for body in bodies]
    assert entry_sites(places.image, [], places.code) == []
