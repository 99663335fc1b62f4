"""Signatures against the program's source, and those of stripped binaries against those with debug information."""

from __future__ import annotations

import pytest

from gobuild import NEWEST, OLDEST, build, every_version
from gotap.image.image import Image
from gotap.image.types.gotypes import Kind, Type, TypeRef
from gotap.probe.catalogue import runtime
from gotap.probe.functions.instances import Instance
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.model import FunctionSignature
from gotap.probe.functions.shapes import Shapes
from gotap.probe.functions.signatures import SignatureMismatch, Signatures, receiver_of
from gotap.probe.functions.written import Imports, read_signatures
from gotap.probe.sources import types_of


def opened(go: str = NEWEST, mode: str = "plain", *written: str) -> Signatures:
    functions = Functions(Image.open(build("functions", go, mode=mode)))
    return Signatures(functions, types_of(functions.image, runtime()), read_signatures(written, functions))


def of(signatures: Signatures, name: str) -> FunctionSignature:
    found = signatures.functions.named(name)
    assert found is not None, name
    return signatures.of(found.bodies[0])


#: As in main.go and odd.go. `?`: without a name, whose type Go before 1.22 does not tell.
DECLARED = {
    "main.(*base).Name": "(prefix string) string  receiver b *main.base",
    "main.(*base).receiverless": "(~a0 int?)  receiver ~recv *main.base",
    "main.discard.Write": "(p []uint8) (int, error)  receiver ~recv main.discard",
    "main.blank": "(~a0 int?, text string, ~a2 bool?) (~r0 int, length int)",
    "main.unnamed": "(~a0 int?, ~a1 string?, ~a2 bool?) (string, error)",
    "main.named": "(a int8, b uint16, c float32, d string, e []uint8, f [2]int, g struct { main.x int; main.y int })"
    " (n int, s string, err error)",
    "main.counter": "(start int, step *int) func(int) int",
    "main.counter.func1": "(more int) int",
    "main.deferred": "(n int, d main.derived) (result int)",
    "main.spawned": "(done chan<- int, n int)",
    "main.inlined": "(a int, b int) int",
    "main.main": "()",
    "example.com/functions/odd.v2.(*Shape).Grow": "(by int)  receiver s *example.com/functions/odd%2ev2.Shape",
    "example.com/functions/odd.v2.Count": "(values []int) (n int)",
}


@pytest.mark.parametrize("go", every_version())
def test_signatures_are_those_of_the_source(go: str) -> None:
    signatures = opened(go)
    old = int(go.split(".")[1]) < 22
    for name, text in DECLARED.items():
        found = of(signatures, name)
        for type_ in ("int", "string", "bool"):
            text = text.replace(f"{type_}?", "?" if old else type_)
        assert found.text(name) == name + text
        assert found.source == "DWARF"
        assert found.assignment() is not None


@pytest.mark.parametrize("go", every_version())
def test_unnamed_parameters_move_the_others(go: str) -> None:
    found = of(opened(go), "main.blank")
    assignment = found.assignment()
    assert assignment is not None
    by_name = dict(zip((one.name for one in found.parameters), assignment.params, strict=True))
    assert [piece.register for piece in by_name["text"]] == ["rbx", "rcx"]
    assert [one.name for one in found.parameters] == ["~a0", "text", "~a2"]


@pytest.mark.parametrize("go", every_version())
def test_instances_take_a_hidden_dictionary(go: str) -> None:
    signatures = opened(go)
    assert of(signatures, "main.Map").dictionary == 0
    assert [one.name for one in of(signatures, "main.Map").arguments] == ["values", "f"]
    push = of(signatures, "main.(*List).Push")
    assert push.dictionary == (0 if go in ("1.18.10", "1.19.13") else 1)
    assert [one.name for one in push.arguments] == ["l", "item", "times"]
    assert push.has_receiver


@pytest.mark.parametrize("go", every_version())
def test_methods_of_stripped_binaries(go: str) -> None:
    """What the runtime's types say is what DWARF says, but for names."""
    stripped, plain = opened(go, "stripped"), opened(go)
    compared = 0
    for match in plain.functions.find("os.(*File).*").functions + plain.functions.find("reflect.*").functions:
        for body in match.bodies:
            told = stripped.functions.named(match.name)
            if told is None or not receiver_of(body.name) or len(told.bodies) != 1:
                continue
            found, expected = stripped.of(told.bodies[0]), plain.of(body)
            if found.source != "runtime types" or any(one.type is None for one in expected.parameters):
                continue
            compared += 1
            for ours, theirs in ((found.parameters, expected.parameters), (found.results, expected.results)):
                names = [[one.type.name for one in each if one.type] for each in (ours, theirs)]
                assert names[0] == names[1], match.name
    assert compared > 20


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_users_name_the_arguments_of_stripped_binaries(go: str) -> None:
    written = (
        "main.unnamed(count int, text string, flag bool) (answer string, err error)",
        "main.(*base).Name(prefix string) string",
        "main.add(a, b int) int",
        "main.deferred(n int, d derived) int",
        "example.com/functions/odd.v2.Shape.Area(s Shape, factor int) int",
    )
    signatures = opened(go, "stripped", *written)
    unnamed = of(signatures, "main.unnamed")
    assert unnamed.text("f") == "f(count int, text string, flag bool) (answer string, err error)"
    assert unnamed.source == "sig"
    assert of(signatures, "main.(*base).Name").text("f") == "f(prefix string) string  receiver ~recv *main.base"
    area = of(signatures, "example.com/functions/odd.v2.Shape.Area")
    assert [one.name for one in area.parameters] == ["s", "factor"]
    add = of(signatures, "main.add")
    assignment = add.assignment()
    assert add.abi0
    assert assignment is not None
    assert [pieces[0].stack_offset for pieces in (*assignment.params, *assignment.results)] == [0, 8, 16]
    nothing = of(signatures, "main.spawned")
    assert not nothing.known
    assert "sig 'main.spawned(" in nothing.reason


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
@pytest.mark.parametrize(
    "wrong",
    [
        "main.spawned(done chan int)",
        "main.spawned(done chan int, n int32)",
        "main.spawned(done []int, n int)",
        "main.spawned(n int, s string)",
        "main.counter.func1()",
    ],
)
def test_a_wrong_signature_is_refused(go: str, wrong: str) -> None:
    signatures = opened(go, "stripped", wrong)
    with pytest.raises(SignatureMismatch, match="is not its own"):
        of(signatures, wrong.partition("(")[0])


def test_short_names_of_packages() -> None:
    imports = Imports(Image.open(build("functions")))
    assert imports["odd"] == "example.com/functions/odd.v2"
    assert imports["strconv"] == "strconv"
    assert imports["main"] == "main"
    assert "nothing" not in imports


def test_receivers() -> None:
    assert receiver_of("net/http.(*conn).serve") == "*net/http.conn"
    assert receiver_of("main.T.M") == "main.T"
    assert receiver_of("main.(*List[go.shape.int]).Push") == "*main.List[go.shape.int]"
    for name in ("main.f", "main.f.func1", "main.(*T).M.func1", "main.init.0", "main.T.M-fm", "main.f.gowrap1"):
        assert receiver_of(name) == "", name


@pytest.mark.parametrize("go", every_version())
def test_types_of_the_only_instance(go: str) -> None:
    """A pointer's shape leads to a byte; what is meant is the type argument."""
    signatures = opened(go)
    told = {}
    for pattern in ("main.(*List).Push", "main.Map", "main.Sum"):
        match = signatures.functions.named(pattern)
        assert match is not None
        told[pattern] = {signatures.of(body).text("f") for body in match.bodies}
    assert told["main.(*List).Push"] == {
        "f(item string, times int) int  receiver l *main.List[string]",
        "f(item *main.base, times int) int  receiver l *main.List[*main.base]",
    }
    assert "f(values []int, f func(int) string) []string" in told["main.Map"]
    assert told["main.Sum"] == {
        f"f(values []{type_}) (total {type_})" for type_ in ("int", "float64", "int32")
    }


def test_shapes_of_several_instances_stay() -> None:
    types = opened().types
    two = [Instance("main.F[*int]", "*int", 1), Instance("main.F[*string]", "*string", 2)]
    pointer = Type("go.shape.*uint8", Kind.POINTER, 8, elem=TypeRef(types.resolve("uint8")))
    assert Shapes(types, "go.shape.*uint8", two).concrete(pointer).kind is Kind.UNSAFE_POINTER
    one = Shapes(types, "go.shape.*uint8", two[:1]).concrete(pointer)
    assert (one.name, one.kind) == ("*int", Kind.POINTER)
    mixed = [Instance("main.F[int,main.id]", "int,main.id", 1)]
    number = Type("go.shape.int", Kind.INT, 8)
    assert Shapes(types, "go.shape.int,go.shape.int", mixed).concrete(number) == number
    assert Shapes(types, "go.shape.int", two).concrete(types.resolve("int")) == types.resolve("int")
