"""What is fuzzed of values: memory that a program may hold, under types of every kind.

An input is one byte for the type, one for the Go version, then memory from BASE on, which begins with the value.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace

import msgspec

from fuzz_mutations import Seed
from fuzz_runner import Target
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef
from gotap.probe.functions.closures import Captured
from gotap.probe.script.limits import Limits
from gotap.signals.values import Context, SnapshotMemory, decode, to_json, to_text
from gotap.signals.values.memory import Chunk
from value_samples import Described, named, pointer_to, type_of, version, words

BASE = 0x10000
_VERSIONS = ("go1.18", "go1.23", "go1.24", "go1.27 X:mapsplitgroup")
#: Descriptors of dynamic types stand below the memory; itabs are in it.
_DESCRIPTORS = 0x8000


def _struct(name: str, size: int, *fields: tuple[str, int, Type]) -> Type:
    return Type(name, Kind.STRUCT, size, tuple(Field(field, at, TypeRef(type)) for field, at, type in fields))


@cache
def _types() -> tuple[Type, ...]:
    any_, text, word, error = map(type_of, ("any", "string", "uint64", "error"))
    context = Type("context.Context", Kind.INTERFACE, 16)
    texts = (
        "int", "float32", "complex64", "string", "[]uint8", "[]string", "[][]int32", "[3]main.Pair", "main.Mixed",
        "*main.Node", "map[string]int", "map[int64]main.Pair", "map[main.Pair][]string", "map[int]map[int]int",
        "map[[200]uint8][200]uint8", "error", "any", "main.Holder", "chan int", "func()", "[]any",
    )  # fmt: skip
    location = pointer_to(_struct("time.Location", 104))
    return (
        *map(type_of, texts),
        context,
        Type("syscall.Errno", Kind.UINT, 8),
        _struct("time.Time", 24, ("wall", 0, word), ("ext", 8, word), ("loc", 16, location)),
        pointer_to(_struct("context.valueCtx", 48, ("Context", 0, context), ("key", 16, any_), ("val", 32, any_))),
        pointer_to(_struct("context.cancelCtx", 64, ("Context", 0, context), ("err", 48, error))),
        pointer_to(named("fmt.wrapError", type_of("main.Wrapped"))),
        pointer_to(_struct("io/fs.PathError", 48, ("Op", 0, text), ("Path", 16, text), ("Err", 32, error))),
    )


class _Functions:
    def function_at(self, pc: int) -> object:
        return SimpleNamespace(name=f"main.f.func{pc & 3}")


@cache
def _contexts() -> tuple[Context, ...]:
    described = Described({_DESCRIPTORS + 8 * index: type for index, type in enumerate(_types())})
    variables = (Captured("n", type_of("int"), 8), Captured("s", type_of("any"), 16, by_reference=True))
    return tuple(
        Context(
            described,
            version(text),
            functions=_Functions(),
            limits=Limits(depth=2 + index * 4),
            captures=lambda entry: variables,
        )
        for index, text in enumerate(_VERSIONS)
    )


def _read(content: bytes) -> None:
    if len(content) < 2:
        return
    types, contexts = _types(), _contexts()
    type, context = types[content[0] % len(types)], contexts[content[1] % len(contexts)]
    memory = SnapshotMemory([Chunk(BASE, content[2:], len(content))])
    value = decode(type, content[2 : 2 + type.size], memory, context)
    text = to_text(value)
    form = msgspec.json.encode(to_json(value))
    assert len(text) < 1 << 24
    assert len(form) < 1 << 24
    msgspec.json.decode(form)


def targets() -> Iterator[Target]:
    yield Target("values", [*_seeds()], _read, 4)


#: Where seeds have a string's bytes or a structure, and an itab.
_TARGET, _ITAB = BASE + 0x80, BASE + 0x40


def _seeds() -> Iterator[Seed]:
    """Values that lead to others; interfaces to one of each type."""
    for number, type in enumerate(_types()):
        for go in range(len(_VERSIONS)):
            for dynamic in range(0, len(_types()), 1 if type.kind is Kind.INTERFACE and go == 3 else len(_types())):
                body = _memory(type, dynamic)
                fields = [(2 + at, 8) for at in range(0, len(body), 8)]
                yield Seed(f"{type.name} {go} {dynamic}", bytes((number, go)) + body, fields)


def _memory(type: Type, dynamic: int) -> bytes:
    """The value, an itab, then addresses and small numbers in turn: most words may be what they are taken for."""
    descriptor = _DESCRIPTORS + 8 * dynamic
    first = (descriptor if type.empty else _ITAB) if type.kind is Kind.INTERFACE else _TARGET
    held = [first, _TARGET if type.kind is Kind.INTERFACE else 3, 3, 0, 0, 0, 0, 0, 0, descriptor]
    for place in range(len(held), 80):
        held.append((_TARGET + 8 * (place * 7 % 60), place % 5, _ITAB, descriptor)[place % 4])
    return words(*held)
