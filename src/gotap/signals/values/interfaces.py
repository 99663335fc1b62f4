"""Interfaces: the dynamic type and its value; for errors what they say, for contexts their chain."""

from __future__ import annotations

from gotap.image.types.gotypes import Type
from gotap.signals.values import gocontexts
from gotap.signals.values.dynamic import content, dynamic
from gotap.signals.values.messages import message
from gotap.signals.values.model import Interface, Nil, Unavailable, Value
from gotap.signals.values.reading import Decoder, View


def decoder(type: Type) -> Decoder:
    empty, is_context = type.empty, type.name == "context.Context"

    def decode_interface(view: View, at: int) -> Value:
        words = view.words(at, 2)
        if isinstance(words, Unavailable):
            return words
        found = dynamic(view, words[0], empty)
        if found is None:
            return Nil()
        if isinstance(found, Unavailable):
            return found
        if is_context or found.name in gocontexts.KNOWN:
            return Interface(found.name, gocontexts.chain(view, found, words[1]))
        value = content(view, found, words[1])
        return Interface(found.name, value, message(found.name, value))

    return decode_interface
