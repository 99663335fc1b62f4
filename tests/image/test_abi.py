"""Go's register ABI: by hand for the rules, by the compiler's own DWARF for everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from gobuild import build, every_version
from gotap.image.abi import FLOAT_REGISTERS, INTEGER_REGISTERS, Piece, Pieces, alignment, assign, flatten
from gotap.image.containers.elf import Elf
from gotap.image.types.dwarf import DwarfTypes, Function, Location, Parameter
from gotap.image.types.dwarf.forms import sleb128, uleb128
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef

INT = Type("int", Kind.INT, 8)
BYTE = Type("uint8", Kind.UINT, 1)
FLOAT = Type("float64", Kind.FLOAT, 8)
COMPLEX = Type("complex64", Kind.COMPLEX, 8)
STRING = Type("string", Kind.STRING, 16)
SLICE = Type("[]int", Kind.SLICE, 24, elem=TypeRef(INT))
ERROR = Type("error", Kind.INTERFACE, 16)
POINTER = Type("*int", Kind.POINTER, 8, elem=TypeRef(INT))
EMPTY = Type("struct {}", Kind.STRUCT, 0)


def array(count: int, elem: Type) -> Type:
    return Type(f"[{count}]{elem.name}", Kind.ARRAY, count * elem.size, elem=TypeRef(elem), count=count)


def struct(size: int, *fields: tuple[int, Type]) -> Type:
    return Type("S", Kind.STRUCT, size, tuple(Field(f"f{at}", at, TypeRef(type_)) for at, type_ in fields))


def places(pieces: Pieces) -> list[str | int | None]:
    return [piece.register or piece.stack_offset for piece in pieces]


def test_receiver_and_words_of_a_handler() -> None:
    # func (sh serverHandler) ServeHTTP(rw ResponseWriter, req *Request)
    handler = struct(8, (0, POINTER))
    params = assign([handler, ERROR, POINTER], []).params
    assert [places(pieces) for pieces in params] == [["rax"], ["rbx", "rcx"], ["rdi"]]


def test_example_of_the_specification() -> None:
    # abi-internal.md: func f(a1 uint8, a2 [2]uintptr, a3 uint8) (r1 struct { x uintptr; y [2]uintptr }, r2 string)
    pair = array(2, INT)
    assigned = assign([BYTE, pair, BYTE], [struct(24, (0, INT), (8, pair)), STRING])
    assert assigned.params == ((Piece(0, 1, "rax"),), (Piece(0, 16, stack_offset=0),), (Piece(0, 1, "rbx"),))
    assert assigned.results == ((Piece(0, 24, stack_offset=16),), (Piece(0, 8, "rax"), Piece(8, 8, "rbx")))
    assert assigned.homes == (40, None, 41)


def test_a_value_is_never_split_between_registers_and_stack() -> None:
    # Eight integers leave one register: the slice goes to the stack, and the integer behind it takes the register.
    params = assign([INT] * 8 + [SLICE, INT, INT], []).params
    assert places(params[7]) == ["r10"]
    assert params[8] == (Piece(0, 24, stack_offset=0),)
    assert places(params[9]) == ["r11"]
    assert places(params[10]) == [24]


def test_floats_have_registers_of_their_own() -> None:
    params = assign([INT, FLOAT, COMPLEX, INT] + [FLOAT] * 13, []).params
    assert [places(pieces) for pieces in params[:4]] == [["rax"], ["xmm0"], ["xmm1", "xmm2"], ["rbx"]]
    assert params[2] == (Piece(0, 4, "xmm1"), Piece(4, 4, "xmm2"))
    assert places(params[15]) == ["xmm14"]
    assert params[16] == (Piece(0, 8, stack_offset=0),)


def test_results_start_over() -> None:
    assigned = assign([INT] * 9, [STRING, ERROR])
    assert [places(pieces) for pieces in assigned.results] == [["rax", "rbx"], ["rcx", "rdi"]]


def test_arrays_of_one_are_their_element_and_of_none_nothing() -> None:
    value = struct(24, (0, array(1, STRING)), (16, array(0, INT)), (16, BYTE))
    assert [(p.offset, p.size) for p in flatten(value) or ()] == [(0, 8), (8, 8), (16, 1)]
    assert flatten(struct(16, (0, array(2, INT)))) is None
    assert flatten(array(3, EMPTY)) is None


def test_zero_sized_values_take_no_place_but_align_the_stack() -> None:
    assigned = assign([array(2, BYTE), array(0, INT), array(3, BYTE)], [array(2, BYTE)])
    assert assigned.params == ((Piece(0, 2, stack_offset=0),), (), (Piece(0, 3, stack_offset=8),))
    assert places(assigned.results[0]) == [16]


def test_alignments() -> None:
    assert [alignment(t) for t in (BYTE, FLOAT, COMPLEX, STRING, EMPTY, array(0, INT))] == [1, 8, 4, 8, 1, 8]
    assert alignment(struct(16, (0, BYTE), (4, COMPLEX))) == 4


# -- the compiler's own account -------------------------------------------------------------------------------------

#: DWARF register numbers of the psABI for x86-64, figure 3.36.
_REGISTERS = {0: "rax", 1: "rdx", 2: "rcx", 3: "rbx", 4: "rsi", 5: "rdi", 6: "rbp", 7: "rsp"}
_REGISTERS |= {i: f"r{i}" for i in range(8, 16)} | {17 + i: f"xmm{i}" for i in range(16)}

#: What DWARF says of a function's entry is wrong for a few loops and phis that begin with the first instruction:
#: the location given is the one after the move (utf8.Valid, math/big.(*Int).Or, context.(*cancelCtx).cancel …).
_TOLERATED = 0.001


@pytest.mark.parametrize("go", every_version())
def test_agrees_with_the_compiler_on_every_function(go: str) -> None:
    counts: Counter[str] = Counter()
    wrong = []
    for function in DwarfTypes(Elf.open(build("httpserver", go))).functions():
        verdicts = _compare(function)
        if "disagrees" in verdicts and _leaves_out_parameters(go, function):
            explained = (_compare(function, missing) for missing in _ways_to_miss_a_parameter(function))
            verdicts = next((v for v in explained if "disagrees" not in v), verdicts)
        counts.update(verdicts)
        wrong += [function.name] if "disagrees" in verdicts else []
    message = f"Go {go}: {dict(counts)}; disagreeing: {wrong[:20]}"
    assert counts["in registers"] > 5000, message
    assert counts["on the stack"] > 50, message
    assert counts["disagrees"] <= _TOLERATED * counts["in registers"], message


def _leaves_out_parameters(go: str, function: Function) -> bool:
    """Go < 1.22 leaves out parameters without a name, every Go the dictionaries of some generic functions."""
    return int(go.split(".")[1]) < 22 or "go.shape." in function.name


def _ways_to_miss_a_parameter(function: Function) -> Iterator[tuple[int, int]]:
    """(position, words) of what DWARF may have left out."""
    positions = range(sum(not parameter.is_result for parameter in function.parameters) + 1)
    return ((position, words) for position in positions for words in range(1, 8))


def _compare(function: Function, missing: tuple[int, int] = (0, 0)) -> list[str]:
    """For every parameter and result with a place at the entry whether it is the one assigned."""
    params = [parameter for parameter in function.parameters if not parameter.is_result]
    results = [parameter for parameter in function.parameters if parameter.is_result]
    types = [parameter.type.get() for parameter in params]
    position, words = missing
    types[position:position] = [INT] * words
    assigned = assign(types, [result.type.get() for result in results])
    kept = [i for i in range(len(types)) if not position <= i < position + words]
    verdicts = [
        _verdict(_at_entry(function, parameter), assigned.params[i], assigned.homes[i])
        for i, parameter in zip(kept, params, strict=True)
    ]
    # Results in registers have a place of their own in the frame while the function runs: nothing to compare.
    on_stack = [(r, p) for r, p in zip(results, assigned.results, strict=True) if p and p[0].register is None]
    return verdicts + [_verdict(_at_entry(function, result), pieces, None) for result, pieces in on_stack]


def _verdict(location: Location | None, pieces: Pieces, home: int | None) -> str:
    told = _decode(location.expression) if location is not None else []
    if not pieces or all(place is None for place in told):
        return "nothing to compare"
    if pieces[0].register is None:
        # One place, or one for every part that is still used.
        start = pieces[0].stack_offset or 0
        inside = all(place is None or place in range(start, start + pieces[0].size) for place in told)
        return "on the stack" if inside and told[0] in (None, start) else "disagrees"
    if told[0] == home and isinstance(home, int):
        return "unused, or taken by address: at home in the caller's frame"
    registers = [piece.register for piece in pieces]
    # Go 1.18 repeats registers of values that it took apart; a part that is not used has no place.
    if list(dict.fromkeys(told)) == registers:
        return "in registers"
    partial = len(told) == len(registers) and all(t in (None, r) for t, r in zip(told, registers, strict=True))
    return "partly in registers" if partial else "disagrees"


def _at_entry(function: Function, parameter: Parameter) -> Location | None:
    return next((place for place in parameter.locations if place.low <= function.low_pc < place.high), None)


def _decode(expression: bytes) -> list[str | int | None]:
    """The places of an expression's pieces: a register, an offset from the canonical frame address, or nothing."""
    places: list[str | int | None] = []
    place: str | int | None = None
    at = 0
    while at < len(expression):
        operation = expression[at]
        at += 1
        if 0x50 <= operation <= 0x6F:  # DW_OP_reg0 …
            place = _REGISTERS[operation - 0x50]
        elif operation == 0x90:  # DW_OP_regx
            number, at = uleb128(expression, at)
            place = _REGISTERS[number]
        elif operation == 0x9C:  # DW_OP_call_frame_cfa
            place = 0
        elif operation == 0x91:  # DW_OP_fbreg
            place, at = sleb128(expression, at)
        elif operation == 0x93:  # DW_OP_piece
            _, at = uleb128(expression, at)
            places.append(place)
            place = None
        elif operation == 0x11:  # DW_OP_consts, with DW_OP_stack_value: a constant, no place
            _, at = sleb128(expression, at)
        elif operation == 0x06:  # DW_OP_deref: moved to the heap
            place = None
        else:
            assert operation == 0x9F, f"unexpected operation {operation:#x}"
    return places if 0x93 in expression and places else [place]


def test_register_lists() -> None:
    # cmd/compile/internal/ssa/_gen/AMD64Ops.go: ParamIntRegNames, ParamFloatRegNames.
    assert " ".join(INTEGER_REGISTERS) == "rax rbx rcx rdi rsi r8 r9 r10 r11"
    assert tuple(f"xmm{i}" for i in range(15)) == FLOAT_REGISTERS
