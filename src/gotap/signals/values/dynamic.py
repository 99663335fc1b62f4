"""What an interface's two words lead to: runtime/runtime2.go, iface and eface, Go 1.18–1.27."""

from __future__ import annotations

from gotap.image.types.gotypes import Kind, Type
from gotap.signals.values.model import Unavailable, Value
from gotap.signals.values.reading import View


def dynamic(view: View, word: int, empty: bool) -> Type | Unavailable | None:
    """The dynamic type that an interface's first word names: a descriptor, or an itab that names one; None: nil."""
    if word == 0:
        return None
    run = view.run
    if not empty:
        descriptor = run.context.itab_type(word, run.memory)
        if descriptor is None:
            return Unavailable(f"type: {run.memory.why(word)}")
        word = descriptor
    found = run.context.dynamic_type(word)
    return Unavailable(found) if isinstance(found, str) else found


def content(view: View, type: Type, word: int) -> Value:
    """The value in an interface of that dynamic type and data word."""
    run = view.run
    if run.context.stored_directly(type):
        return run.decoder(type)(View(run, word.to_bytes(8, "little"), view.depth), 0)

    def inner() -> Value:
        found = run.follow(view, word, type.size)
        return found if isinstance(found, Unavailable) else run.decoder(type)(found, 0)

    if type.size == 0:  # the word leads to runtime.zerobase
        return run.decoder(type)(View(run, b"", view.depth), 0)
    if type.kind is Kind.STRUCT or type.kind is Kind.ARRAY:
        return run.within(word, type.name, inner)
    return inner()
