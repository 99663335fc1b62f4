"""Values from sparse memory: what is cut, what is missing and why, what contradicts itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gotap.image.types.gotypes import Field, Kind, Type, TypeRef
from gotap.probe.functions.closures import Captured
from gotap.probe.script.limits import Limits
from gotap.probe.script.record import CHUNK, EventFlags
from gotap.signals.values import (
    Hole,
    Memory,
    SnapshotMemory,
    Unavailable,
    moments,
    snapshot,
    to_json,
    to_text,
)
from gotap.signals.values.memory import Chunk
from gotap.signals.values.model import Interface, Value
from value_samples import named, pointer_to, read, type_of, words

PAIR = words(7, 0x1000, 5)
HELLO = {0x1000: b"hello"}


def both(value: Value) -> tuple[object, str]:
    return to_json(value), to_text(value)


# -- what is cut -------------------------------------------------------------------------------------------------


def test_a_string_longer_than_wanted_shows_its_length() -> None:
    value = read("string", words(0x1000, 300), {0x1000: b"x" * 300}, Limits(text=4))
    assert both(value) == ({"value": "xxxx", "len": 300, "cut": True}, "xxxx…(len 300)")


def test_a_string_of_which_less_was_taken_shows_its_length() -> None:
    value = read("string", words(0x1000, 5), SnapshotMemory([Chunk(0x1000, b"he", 5)]))
    assert both(value) == ({"value": "he", "len": 5, "cut": True}, "he…(len 5)")


def test_a_cut_through_a_character_leaves_it_out() -> None:
    memory = {0x1000: "aé€😀".encode()}
    for limit, shown in ((1, "a"), (2, "a"), (3, "aé"), (5, "aé"), (6, "aé€"), (9, "aé€")):
        value = read("string", words(0x1000, 10), memory, Limits(text=limit))
        assert to_json(value) == {"value": shown, "len": 10, "cut": True}
        value = read("[]uint8", words(0x1000, 10, 10), memory, Limits(text=limit))
        assert to_json(value) == {"value": shown, "len": 10, "cut": True}
    assert to_json(read("string", words(0x1000, 10), memory)) == "aé€😀"


def test_a_cut_string_that_is_no_text_is_hex() -> None:
    value = read("string", words(0x1000, 9), {0x1000: b"\xff\xfe\xfd"})
    assert both(value) == ({"value": {"hex": "fffefd"}, "len": 9, "cut": True}, r"\xff\xfe\xfd…(len 9)")


def test_a_string_of_no_wanted_bytes_is_only_its_length() -> None:
    assert both(read("string", words(0x1000, 3), {}, Limits(text=0))) == (
        {"value": "", "len": 3, "cut": True},
        "…(len 3)",
    )


def test_slices_and_arrays_show_as_many_elements_as_wanted() -> None:
    memory = {0x1000: bytes(range(100))}
    limits = Limits(elements=3)
    shown = {"value": [256, 770, 1284], "len": 50, "cut": True}
    assert both(read("[]int16", words(0x1000, 50, 50), memory, limits)) == (shown, "[256 770 1284 …(len 50)]")
    assert to_json(read("main.Codes", words(0x1000, 50, 50), memory, limits)) == shown
    assert to_json(read("[50]int16", bytes(range(100)), {}, limits)) == shown
    assert to_json(read("[][2]bool", words(0x1000, 50, 50), {0x1000: b"\1\0"}, limits)) == {
        "value": [[True, False]],
        "len": 50,
        "cut": True,
    }


def test_of_the_last_structure_the_known_fields_are_shown() -> None:
    value = read("[]main.Pair", words(0x2000, 2, 2), {0x2000: PAIR + words(8), **HELLO})
    assert to_json(value) == [{"A": 7, "B": "hello"}, {"A": 8, "B": {"unavailable": "page not in memory"}}]


@pytest.mark.parametrize("go", ["go1.23", "go1.24"])
def test_a_map_shows_as_many_entries_as_wanted(go: str) -> None:
    if go == "go1.23":
        header = words(5, 0, 0x3000)
        memory = {0x2000: header + words(0, 0, 0), 0x3000: bytes([9] * 5 + [0] * 3) + words(*range(16), 0)}
        first = [[0, 8], [1, 9]]
    else:
        memory = {0x2000: words(5, 0, 0x3000, 0, 0, 0), 0x3000: bytes([1] * 5 + [0x80] * 3) + words(*range(16))}
        first = [[0, 1], [2, 3]]
    value = read("map[int]int", words(0x2000), memory, Limits(elements=2), go=go)
    assert to_json(value) == {"value": {"map": first, "len": 5}, "len": 5, "cut": True}
    assert to_text(value) == f"map[{first[0][0]}:{first[0][1]} {first[1][0]}:{first[1][1]} …(len 5)]"
    whole = read("map[int]int", words(0x2000), memory, go=go)
    assert to_json(whole)["len"] == len(to_json(whole)["map"]) == 5


def test_pointers_are_followed_as_deep_as_wanted() -> None:
    memory = {0x1000: words(1, 0x2000), 0x2000: words(2, 0x3000), 0x3000: words(3, 0)}
    why = {"unavailable": "deeper than --max-depth 2"}
    value = read("*main.Node", words(0x1000), memory, Limits(depth=2))
    assert both(value) == (
        {"Value": 1, "Next": {"Value": 2, "Next": why}},
        "&{Value:1 Next:&{Value:2 Next:<unavailable: deeper than --max-depth 2>}}",
    )
    assert to_json(read("*main.Node", words(0x1000), memory, Limits(depth=0))) == {
        "unavailable": "deeper than --max-depth 0"
    }


# -- what is missing ---------------------------------------------------------------------------------------------


def test_what_no_chunk_holds_says_so() -> None:
    gone = {"unavailable": "page not in memory"}
    assert to_json(read("main.Pair", PAIR)) == {"A": 7, "B": gone}
    assert to_text(read("main.Pair", PAIR)) == "{A:7 B:<unavailable: page not in memory>}"
    assert to_json(read("*int", words(0x1000))) == gone
    assert to_json(read("[]int", words(0x1000, 2, 2))) == gone
    assert to_json(read("[]uint8", words(0x1000, 2, 2))) == gone
    assert to_json(read("map[string]int", words(0x1000))) == gone
    assert to_json(read("chan int", words(0x1000))) == gone
    assert to_json(read("func()", words(0x1000))) == gone
    assert to_json(read("error", words(0x1000, 0x2000))) == {"unavailable": "type: page not in memory"}


def test_a_map_whose_entries_are_missing_is_not_empty() -> None:
    assert to_json(read("map[string]int", words(0x1000), {0x1000: words(3, 0, 0x9000, 0, 0, 0)})) == {
        "unavailable": "page not in memory"
    }


def test_a_root_that_ends_early_lacks_the_rest() -> None:
    assert to_json(read("main.Pair", PAIR[:8])) == {"A": 7, "B": {"unavailable": "cut"}}
    assert to_json(read("[4]int", words(1, 2))) == {"value": [1, 2], "len": 4, "cut": True}
    assert to_json(read("[4]int", b"")) == {"unavailable": "cut"}
    assert to_json(read("int", b"")) == {"unavailable": "cut"}


def test_holes_are_missing_just_where_they_are() -> None:
    root = words(1, 0, 0x1000, 5) + bytes(8)
    holes = (Hole(8, 8, "float in X0"), Hole(32, 4, "float in X1"))
    value = read("main.Mixed", root, HELLO, holes=holes)
    assert both(value) == (
        {"A": 1, "F": {"unavailable": "float in X0"}, "S": "hello", "G": {"unavailable": "float in X1"}},
        "{A:1 F:<unavailable: float in X0> S:hello G:<unavailable: float in X1>}",
    )
    assert to_json(read("float64", bytes(8), holes=(Hole(0, 8, "float in X3"),))) == {"unavailable": "float in X3"}
    assert to_json(read("complex128", bytes(16), holes=(Hole(8, 8, "float in X1"),))) == {"unavailable": "float in X1"}
    assert to_json(read("[2]int", words(1, 2), holes=(Hole(8, 8, "optimised out"),))) == [
        1,
        {"unavailable": "optimised out"},
    ]


def test_types_that_nothing_describes_are_named() -> None:
    value = read("any", words(0x5000, 1), {0x1000: b""})
    assert to_json(value) == {"unavailable": "type made at run time, at 0x5000"}


# -- snapshots ---------------------------------------------------------------------------------------------------


def chunk(address: int, content: bytes, full: int | None = None) -> bytes:
    head = words(address) + len(content).to_bytes(4, "little")
    head += (len(content) if full is None else full).to_bytes(4, "little")
    return head + content.ljust(-(-len(content) // 8) * 8, b"\0")


def taken(*chunks: bytes, flags: int = 0, limits: Limits = Limits()) -> Memory:  # noqa: B008
    record = bytes(16) + b"".join(chunks)
    return snapshot(record, 16, len(record), flags, limits, None)


def test_chunks_of_a_record_are_its_memory() -> None:
    assert CHUNK.itemsize == 16
    before = chunk(0x0FF0, b"0123456789abcdef")
    memory = taken(chunk(0x1000, b"abc"), chunk(0x1003, b"def"), before)
    assert memory.prefix(0x1000, 6) == b"abcdef"
    assert memory.prefix(0x0FFF, 9) == b"fabcdef"
    assert memory.prefix(0x1006, 1) == memory.prefix(0xFEF, 1) == b""


def test_what_was_taken_later_is_memory_of_then() -> None:
    """A call's results lead to memory that was something else when its arguments were taken."""
    pieces = [chunk(0x1000, b"older"), chunk(0, b"result"), chunk(0x1000, b"newer"), chunk(0, b"more"), chunk(0, b"")]
    record = bytes(16) + b"".join(pieces)
    taken = moments(record, 16, len(record), 0, Limits(), None)
    result = 16 + len(pieces[0]) + 16
    assert taken.at(8).prefix(0x1000, 9) == b"older"
    assert taken.at(result).prefix(0x1000, 9) == b"newer"
    assert taken.at(result + 16 + len(pieces[2]) + 16).prefix(0x1000, 9) == b""


def test_why_something_is_missing() -> None:
    assert taken(chunk(0x1000, b"", 8)).why(0x1000) == "page not in memory"
    assert taken(chunk(0x1000, b"ab", 8)).why(0x1002) == "cut"
    assert taken().why(0x1000) == "not taken along"
    assert taken(flags=EventFlags.DEPTH_CUT).why(1) == "deeper than --max-depth 4"
    assert taken(flags=EventFlags.HEAP_FULL, limits=Limits(total=99)).why(1) == "beyond --max-bytes 99"
    assert taken(chunk(0x1000, b"", 8), flags=EventFlags.DEPTH_CUT).why(0x1000) == "page not in memory"


def test_chunks_within_others_change_nothing() -> None:
    memory = taken(chunk(0x1000, b"abcdefgh"), chunk(0x1002, b"cd"), chunk(0x1000, b"ab", 8))
    assert memory.prefix(0x1000, 9) == b"abcdefgh"


def test_a_record_that_ends_within_a_chunk_is_read_as_far_as_it_goes() -> None:
    record = chunk(0x1000, b"abcdefgh")[:-4]
    assert snapshot(record, 0, len(record), 0, Limits(), None).prefix(0x1000, 8) == b"abcd"
    assert snapshot(record, 0, 7, 0, Limits(), None).prefix(0x1000, 8) == b""


def test_where_chunks_are_silent_the_executable_speaks() -> None:
    beyond = SnapshotMemory([Chunk(0x1000, b"constant", 8)])
    memory = SnapshotMemory([Chunk(0x2000, words(0x1000, 8), 16)], beyond)
    assert to_text(read("*string", words(0x2000), memory)) == "&constant"


# -- what contradicts itself --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type", "root"),
    [
        ("string", words(0x1000, 1 << 50)),
        ("[]int", words(0x1000, -1, 8)),
        ("[]uint8", words(0x1000, 1 << 62, 8)),
        ("[]int", words(0, 3, 3)),
        ("map[int]int", words(0x2000)),
    ],
)
def test_impossible_lengths_are_damage(type: str, root: bytes) -> None:
    value = read(type, root, {0x1000: bytes(64), 0x2000: words(-5, 0, 0x1000, 0, 0, 0)})
    assert isinstance(value, Unavailable)
    assert value.why.startswith("damaged")


def test_cycles_end() -> None:
    memory = {0x1000: words(1, 0x2000), 0x2000: words(2, 0x1000)}
    value = read("*main.Node", words(0x1000), memory, Limits(depth=100))
    assert to_json(value) == {"Value": 1, "Next": {"Value": 2, "Next": {"cycle": True}}}


def test_overflow_buckets_in_a_circle_end() -> None:
    bucket = bytes([9] + [0] * 7) + words(*range(16), 0x3000)
    memory = {0x2000: words(1 << 20, 0, 0x3000, 0, 0, 0), 0x3000: bucket}
    value = read("map[int]int", words(0x2000), memory, Limits(elements=1 << 20), go="go1.23")
    assert to_json(value)["cut"]


def test_what_branches_without_end_is_bounded() -> None:
    """Each array leads twice to the next: 2^60 paths."""
    leaf = type_of("int")
    memory = {}
    for level in range(60):
        leaf = Type(f"main.L{level}", Kind.ARRAY, 16, elem=TypeRef(pointer_to(leaf)), count=2)
        memory[0x1000 + 16 * level] = words(0x1000 + 16 * (level - 1), 0x1000 + 16 * (level - 1))
    value = read(leaf, memory[0x1000 + 16 * 59], memory, Limits(depth=100))
    assert "too many parts" in to_text(value)


def test_types_within_themselves_end() -> None:
    def itself() -> Type:
        return damaged

    damaged = Type("main.Damaged", Kind.STRUCT, 8, (Field("x", 0, TypeRef(itself)),))
    assert read(damaged, bytes(8)) == Unavailable("nested too deeply")


# -- closures, errors ---------------------------------------------------------------------------------------------


class _Functions:
    """A function table of one function."""

    def function_at(self, pc: int) -> object:
        return SimpleNamespace(name="main.f.func1") if pc == 0x400100 else None


def test_captured_variables_by_value_and_by_reference() -> None:
    variables = (Captured("n", type_of("int"), 8), Captured("s", type_of("string"), 16, by_reference=True))
    memory = {0x2000: words(0x400100, 5, 0x3000), 0x3000: words(0x1000, 5), **HELLO}
    value = read("func()", words(0x2000), memory, functions=_Functions(), captures=lambda entry: variables)
    assert both(value) == (
        {"func": "main.f.func1", "captured": {"n": 5, "s": "hello"}},
        "main.f.func1{n:5 s:hello}",
    )
    memory.pop(0x3000)
    value = read("func()", words(0x2000), memory, functions=_Functions(), captures=lambda entry: variables)
    assert to_json(value)["captured"]["s"] == {"unavailable": "page not in memory"}


def test_code_that_is_no_function_is_not_named() -> None:
    value = read("func()", words(0x2000), {0x2000: words(0x77)}, functions=_Functions())
    assert to_json(value) == {"unavailable": "no function at 0x77"}


def test_parts_of_messages_that_are_missing_stand_there_as_such() -> None:
    wrapped = named("fmt.wrapError", type_of("main.Wrapped"))
    described = {0x8000: pointer_to(wrapped)}
    memory = {0x6000: words(0, 0x8000), 0x7000: words(0x1000, 5, 0, 0)}
    value = read("error", words(0x6000, 0x7000), memory, described=described)
    assert isinstance(value, Interface)
    assert value.message == "<unavailable: page not in memory>"
    value = read("error", words(0x6000, 0x7000), memory | HELLO, described=described)
    assert both(value) == (
        {"type": "*fmt.wrapError", "value": {"msg": "hello", "err": None}, "error": "hello"},
        "hello",
    )
    value = read("error", words(0x6000, 0x9000), memory, described=described)
    assert to_json(value) == {"type": "*fmt.wrapError", "value": {"unavailable": "page not in memory"}}
