"""What is fuzzed of the facts about functions: patterns over damaged tables, lines, location expressions, prologues."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from fuzz_mutations import Seed
from fuzz_runner import Target
from gotap.errors import GotapError
from gotap.image.code import FunctionCode, InlinedCopy
from gotap.image.code.prologue import entry_sites
from gotap.image.containers.elf import Elf
from gotap.image.functions.arginfo import argument_info, parts_of
from gotap.image.functions.sourcelines import code_of_files, matching_files
from gotap.image.image import Image
from gotap.image.types.dwarf.expressions import placed
from gotap.image.types.dwarf.lines import read_lines
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.suggestions import no_such_function
from tiny_images import all_images

_WORD = Type("int", Kind.INT, 8)
_PAIR = Type("main.pair", Kind.STRUCT, 24, (Field("a", 0, TypeRef(_WORD)), Field("b", 8, TypeRef(
    Type("string", Kind.STRING, 16)))))  # fmt: skip
_TYPES = (_WORD, Type("string", Kind.STRING, 16), _PAIR, Type("[4]int", Kind.ARRAY, 32, elem=TypeRef(_WORD), count=4))


def targets() -> Iterator[Target]:
    yield Target("functions", [seed for tiny in all_images() if _opens((seed := Seed(*tiny)).content)], _functions, 3)
    expressions = ("539308529308", "9308539308", "91e07e930891f07d9308", "9c", "0300104000000000009308", "11789f")
    yield Target("locations", [Seed(text, bytes.fromhex(text)) for text in expressions], _locations, 5)
    yield Target("lines", [Seed(f"lines{version}", _line_program(version)) for version in (2, 5)], _lines, 4)
    infos = ("0008fe08081008fd1801", "fefdfe10081808fdfefe20082808fdfe30083808fdfdfe40084808fdfe0008fcfd")
    yield Target("arginfo", [Seed(text, bytes.fromhex(text)) for text in infos], parts_of, 3)
    codes = ("493b66107606554889e54883ec18", "4c8d6424b04d3b66100f86fa020000554889e5", "4885c07404c3", "90488b00c3")
    yield Target("prologues", [Seed(text, bytes.fromhex(text) * 8) for text in codes], _prologues, 5)


def _opens(content: bytes) -> bool:
    try:
        return len(Image(Elf(content)).pclntab) > 0
    except GotapError:
        return False


def _functions(content: bytes) -> None:
    image = Image(Elf(content))
    functions = Functions(image)
    table = image.pclntab
    for question in (
        lambda: functions.find("main.*"), lambda: functions.find("*[int]"), lambda: no_such_function(image, "main.fo"),
        lambda: list(code_of_files(table, matching_files(table, "main.go"))),
        lambda: [argument_info(table, table.function(i)) for i in range(min(len(table), 8))],
    ):  # fmt: skip
        _tried(question)


def _tried(question: Callable[[], object]) -> None:
    try:
        question()
    except GotapError:
        return


def _locations(content: bytes) -> None:
    for type_ in _TYPES:
        _tried(lambda type_=type_: placed(content, type_))  # type: ignore[misc]
        _tried(lambda type_=type_: placed(content, type_, everywhere=True))  # type: ignore[misc]


def _lines(content: bytes) -> None:
    read_lines(content, 0, 8)


def _prologues(content: bytes) -> None:
    half = len(content) // 2
    entry_sites(memoryview(content), 0x1000, [0x1000, 0x1000 + half], [half, len(content) - half])
    code = FunctionCode(content, 0x1000)
    ends = [instruction.ip for instruction in code.graph.instructions]
    for start in ends[:3]:
        copy = InlinedCopy(code, [(start, ends[-1])], ends[len(ends) // 2])
        copy.site()
        copy.site(arguments=True)


def _line_program(version: int) -> bytes:
    """A header of no files, then an address, rows of both kinds, and the end of the sequence."""
    quantum = (1, 1) if version >= 4 else (1,)
    header = bytes((*quantum, 1, 0xFC, 15, 11)) + bytes((0, 1, 1, 1, 1, 0, 0, 0, 1, 0))
    program = bytes((0, 9, 2)) + (0x401000).to_bytes(8, "little")
    program += bytes((3, 20, 1, 2, 4, 6, 80, 6, 8, 95, 9, 4, 0, 0, 1, 1))
    sizes = b"\x08\x00" if version >= 5 else b""
    rest = len(header).to_bytes(4, "little") + header + program
    body = version.to_bytes(2, "little") + sizes + rest
    return len(body).to_bytes(4, "little") + body
