"""Func values: which function, and what a closure captured."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gotap.image.abi import align, alignment
from gotap.image.types.gotypes import Type
from gotap.probe.functions.closures import Captured
from gotap.signals.values.context import Context
from gotap.signals.values.model import Function, Nil, Record, Unavailable, Value
from gotap.signals.values.reading import View

#: `pkg.(*T).Method-fm`, `pkg.T.Method-fm`: what the compiler calls a method value's function.
_METHOD_VALUE = re.compile(r"(?:(?P<package>.*)\.\(\*(?P<pointer>[^()]*)\)|(?P<type>.*))\.[^./]+-fm")
#: What func literals are called, those within others (`main.f.func1.2`), bodies of loops and method values.
_CLOSURE = re.compile(r"\.func\d+(?:[.-]|$)|-(?:fm|range\d+)$")
_NOT_DESCRIBED = Unavailable("the program does not describe captured variables")
_WORD = 8


def decode_function(view: View, at: int) -> Value:
    """A func is a pointer to a funcval: the code's address, then the captured variables (runtime2.go, 1.18–1.27)."""
    address = view.word(at)
    if isinstance(address, Unavailable):
        return address
    if address == 0:
        return Nil()
    found = view.run.follow(view, address, _WORD)
    if isinstance(found, Unavailable):
        return found
    code = found.word(0)
    if isinstance(code, Unavailable):
        return code
    context = view.run.context
    name = context.function_name(code)
    if name is None:
        return Unavailable(f"no function at {code:#x}")
    variables = _receiver(name, context) or context.captured(address, code)
    if variables is None:
        return Function(name, _NOT_DESCRIBED if _CLOSURE.search(name) else None)
    if not variables:
        return Function(name)
    return view.run.within(address, name, lambda: Function(name, _captured(view, address, variables)))


def _captured(view: View, address: int, variables: Sequence[Captured]) -> Record:
    size = max(one.offset + (_WORD if one.by_reference else one.type.size) for one in variables)
    run = view.run
    held = run.view(address, size, view.depth + 1)
    values = []
    for one in variables:
        if not one.by_reference:
            values.append(run.decoder(one.type)(held, one.offset))
            continue
        pointer = held.word(one.offset)
        behind = pointer if isinstance(pointer, Unavailable) else run.follow(held, pointer, one.type.size)
        values.append(behind if isinstance(behind, Unavailable) else run.decoder(one.type)(behind, 0))
    return Record(tuple(one.name for one in variables), values)


def _receiver(name: str, context: Context) -> list[Captured] | None:
    """A method value holds its receiver behind the code's address (cmd/compile/internal/walk/closure.go)."""
    matched = _METHOD_VALUE.fullmatch(name)
    if matched is None:
        return None
    full = f"*{matched['package']}.{matched['pointer']}" if matched["package"] else matched["type"]
    type = context.named_type(full)
    return [Captured("~recv", type, _offset(type))] if type is not None else None


def _offset(type: Type) -> int:
    return align(_WORD, alignment(type))
