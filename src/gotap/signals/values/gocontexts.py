"""context.Context: the chain of contexts from a derived one to the root, with keys, deadlines and cancellation.

context/context.go. A context's parent is an interface named Context (c in withoutCancelCtx), perhaps within a struct
that is embedded, or in Go 1.20 one that is pointed to. cancelCtx.err is an error, from Go 1.25 on an atomic.Value.
"""

from __future__ import annotations

from gotap.errors import GotapError
from gotap.image.types.gotypes import Field, Kind, Type
from gotap.signals.values.dynamic import dynamic
from gotap.signals.values.model import (
    ContextChain,
    ContextLink,
    Interface,
    Nil,
    Record,
    Unavailable,
    Value,
)
from gotap.signals.values.reading import View

#: Contexts of the standard library; others are followed where the static type is context.Context.
KNOWN = frozenset(
    (
        "*context.cancelCtx",
        "*context.timerCtx",
        "*context.valueCtx",
        "*context.afterFuncCtx",
        "*context.emptyCtx",
        "context.backgroundCtx",
        "context.todoCtx",
        "context.stopCtx",
        "context.withoutCancelCtx",
    )
)
_MOST_LINKS = 32
_MOST_NESTED = 4


def chain(view: View, type: Type, word: int) -> ContextChain:
    """The chain that begins with the context of that dynamic type and data word."""
    links: list[ContextLink] = []
    deadline: Value | None = None
    covered = True  # whether deadlines further out still hold
    while True:
        link, parent = _link(view, type, word)
        links.append(link)
        if covered and deadline is None:
            deadline = link.deadline
        covered = covered and type.name != "context.withoutCancelCtx"
        if parent is None or isinstance(parent, Unavailable):
            return ContextChain(links, deadline, parent)
        if len(links) >= _MOST_LINKS:
            return ContextChain(links, deadline, Unavailable(f"more than {_MOST_LINKS} contexts"))
        view, at = parent
        words = view.words(at, 2)
        if isinstance(words, Unavailable):
            return ContextChain(links, deadline, words)
        found = dynamic(view, words[0], empty=False)
        if found is None:
            return ContextChain(links, deadline)
        if isinstance(found, Unavailable):
            return ContextChain(links, deadline, found)
        type, word = found, words[1]


_Parent = tuple[View, int] | Unavailable | None


def _link(view: View, type: Type, word: int) -> tuple[ContextLink, _Parent]:
    """One context, and where the interface of its parent stands."""
    name = type.name
    try:
        struct, held = _struct_of(view, type, word)
        if struct is None:
            return ContextLink(name), None
        if isinstance(held, Unavailable):
            return ContextLink(name), held
        parent = _parent(held, struct, 0, 0)
        return _described(name, held, struct), parent
    except GotapError as error:  # of the types
        return ContextLink(name), Unavailable(str(error))


def _struct_of(view: View, type: Type, word: int) -> tuple[Type | None, View | Unavailable]:
    """The struct that a context is or points to, and its bytes; links do not count as depth."""
    pointed = type.kind is Kind.POINTER and type.elem is not None
    struct = type.elem.get() if pointed and type.elem is not None else type
    if struct.kind is not Kind.STRUCT or struct.size == 0:
        return None, Unavailable("no struct")
    run = view.run
    if not pointed and run.context.stored_directly(type):
        return struct, View(run, word.to_bytes(8, "little"), view.depth)
    if not run.take():
        return struct, Unavailable("too many parts")
    found = run.view(word, struct.size, view.depth)
    return struct, found if found.data else Unavailable(found.rest)


def _parent(view: View, struct: Type, at: int, nested: int) -> _Parent:
    for field in struct.fields:
        type = field.type.get()
        if type.kind is Kind.INTERFACE and (type.name == "context.Context" or field.name == "Context"):
            return view, at + field.offset
        if not field.embedded or nested >= _MOST_NESTED:
            continue
        if type.kind is Kind.STRUCT:
            inner = _parent(view, type, at + field.offset, nested + 1)
        elif type.kind is Kind.POINTER and type.name == "*context.cancelCtx":  # timerCtx of Go 1.20
            pointed = _pointed(view, type, at + field.offset)
            inner = pointed if isinstance(pointed, Unavailable) else _parent(*pointed, 0, nested + 1)
        else:
            continue
        if inner is not None:
            return inner
    return None


def _pointed(view: View, type: Type, at: int) -> tuple[View, Type] | Unavailable:
    word = view.word(at)
    if isinstance(word, Unavailable):
        return word
    assert type.elem is not None
    struct = type.elem.get()
    found = view.run.view(word, struct.size, view.depth)
    return (found, struct) if found.data else Unavailable(found.rest)


def _described(name: str, view: View, struct: Type) -> ContextLink:
    if name == "*context.valueCtx":
        return ContextLink(name, key=_value(view, struct, "key"), value=_value(view, struct, "val"))
    if name not in KNOWN:
        return ContextLink(name)
    deadline = _value(view, struct, "deadline") if name == "*context.timerCtx" else None
    cancel = _cancel(view, struct, 0)
    if cancel is None or isinstance(cancel, Unavailable):
        return ContextLink(name, deadline=deadline)
    error = _value(*cancel, "err")
    if isinstance(error, Record) and error.values:  # atomic.Value
        error = error.values[0]
    if isinstance(error, Interface):
        return ContextLink(name, deadline=deadline, cancelled=True, error=error.message)
    return ContextLink(name, deadline=deadline, cancelled=False if isinstance(error, Nil) else None)


def _cancel(view: View, struct: Type, at: int) -> tuple[View, Type] | Unavailable | None:
    """The cancelCtx that a context is or embeds, with its bytes."""
    if struct.name == "context.cancelCtx":
        return View(view.run, view.data[at:], view.depth, view.rest), struct
    for field in struct.fields:
        if field.name != "cancelCtx":
            continue
        type = field.type.get()
        return _pointed(view, type, field.offset) if type.kind is Kind.POINTER else _cancel(view, type, field.offset)
    return None


def _value(view: View, struct: Type, name: str) -> Value:
    field: Field | None = next((one for one in struct.fields if one.name == name), None)
    if field is None:
        return Unavailable(f"no field {name}")
    return view.run.decoder(field.type.get())(view, field.offset)
