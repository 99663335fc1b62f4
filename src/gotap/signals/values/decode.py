"""Decoders by type: each is made once for a context's types and reads any value of its type.

Kinds whose values are one or more words that lead elsewhere have modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gotap.errors import GotapError
from gotap.image.types.gotypes import Kind, Type
from gotap.signals.values import closures, interfaces, maps, scalars, sequences, times
from gotap.signals.values.context import Context
from gotap.signals.values.errno import ERRNO, errno_text
from gotap.signals.values.memory import Memory
from gotap.signals.values.model import TOO_DEEP, Cycle, Nil, Pointer, Record, Told, Unavailable, Value
from gotap.signals.values.reading import TOO_MUCH, Decoder, Hole, Run, View, target
from gotap.signals.values.sayings import saying

__all__ = ["Hole", "decode"]


def decode(type: Type, root: bytes, memory: Memory, context: Context, holes: Sequence[Hole] = ()) -> Value:
    """The value of that type whose own bytes are `root`; what its pointers lead to is read from `memory`.

    `root` may be shorter than the type, and `holes` are parts of it that are not known: what lies in either is
    Unavailable. Never raises, whatever the bytes: what cannot be read says so, and cost and size are bounded by the
    limits.
    """
    run = Run(memory, context, _make)
    try:
        return run.decoder(type)(View(run, root, holes=tuple(holes)), 0)
    except RecursionError:
        return TOO_DEEP
    except GotapError as error:  # of the types
        return Unavailable(str(error))


def _make(type: Type) -> Decoder:
    special = _special(type)
    if special is not None:
        return special
    decoder, said = _by_kind(type), saying(type.name)
    return decoder if said is None else _telling(type, decoder, said)


def _telling(type: Type, decoder: Decoder, said: Callable[[Value], str | None]) -> Decoder:
    def decode_telling(view: View, at: int) -> Value:
        value = decoder(view, at)
        if isinstance(value, Unavailable | Cycle) or (isinstance(value, Nil) and type.kind is not Kind.SLICE):
            return value
        text = said(value)
        return value if text is None else Told(value, text)

    return decode_telling


def _special(type: Type) -> Decoder | None:
    """Types whose values are more than their fields, or say by a method of theirs what they are."""
    kind, decoder = _SPECIAL.get(type.name, (None, None))
    return decoder if type.kind is kind else None


def _errno(view: View, at: int) -> Value:
    number = view.word(at)
    return number if isinstance(number, Unavailable) else Told(number, errno_text(number, view.run.context.version))


#: By name, with the kind that they have.
_SPECIAL: dict[str, tuple[Kind, Decoder]] = {
    "time.Time": (Kind.STRUCT, times.decode_time),
    "time.Duration": (Kind.INT, times.decode_duration),
    "time.Month": (Kind.INT, times.decode_month),
    "time.Weekday": (Kind.INT, times.decode_weekday),
    ERRNO: (Kind.UINT, _errno),
}


def _by_kind(type: Type) -> Decoder:
    kind = type.kind
    if kind in scalars.KINDS:
        return scalars.decoder(type)
    if kind is Kind.STRUCT:
        return _struct(type)
    if kind is Kind.ARRAY:
        return sequences.array(type)
    if kind is Kind.SLICE:
        return sequences.slice(type)
    if kind is Kind.POINTER:
        return _pointer(type)
    if kind is Kind.MAP:
        return maps.decoder(type)
    if kind is Kind.INTERFACE:
        return interfaces.decoder(type)
    if kind is Kind.CHAN:
        return sequences.channel
    return closures.decode_function


def _struct(type: Type) -> Decoder:
    names = tuple(field.name for field in type.fields)
    members: list[tuple[int, Decoder]] = []

    def decode_struct(view: View, at: int) -> Value:
        if not members:
            run = view.run
            members.extend((field.offset, run.decoder(field.type.get())) for field in type.fields)
        if not view.run.take(len(members)):
            return TOO_MUCH
        return Record(names, [member(view, at + offset) for offset, member in members])

    return decode_struct


def _pointer(type: Type) -> Decoder:
    def decode_pointer(view: View, at: int) -> Value:
        address = view.word(at)
        if isinstance(address, Unavailable):
            return address
        if address == 0:
            return Nil()
        elem = target(type.elem)
        return elem if isinstance(elem, Unavailable) else follow_pointer(view, address, elem)

    return decode_pointer


def follow_pointer(view: View, address: int, elem: Type) -> Value:
    """What stands at an address that a value holds."""
    run, size = view.run, elem.size
    if elem.kind is Kind.ARRAY and elem.count:
        size = size // elem.count * min(elem.count, run.context.limits.elements)
    place = (address, elem.name)
    if place in run.path:
        return Cycle()
    if not run.take():
        return TOO_MUCH
    found = run.follow(view, address, size)
    if isinstance(found, Unavailable):
        return found
    run.path.add(place)
    try:
        return Pointer(run.decoder(elem)(found, 0))
    finally:
        run.path.discard(place)
