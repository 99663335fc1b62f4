"""The local variables of one firing: `$name`."""

from __future__ import annotations

from gotap.probe import ir
from gotap.probe.expression import ExpressionError
from gotap.probe.script.compiling.kinds import scalar_part
from gotap.probe.script.routine import SetLocal
from gotap.probe.value import Value, text_of


class Locals:
    """Numbers them. A word takes one slot, a text of the process two: pointer and length. Other texts take none: the
    name stands for them from then on.
    """

    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self.slots = 0

    def get(self, name: str) -> Value:
        if name not in self._values:
            raise ExpressionError(f"`${name}` is read before it is set", f"set it first: ${name} = …")
        return self._values[name]

    def set(self, name: str, value: Value) -> list[SetLocal]:
        """The statements that make `$name` the value."""
        known, text = self._values.get(name), text_of(value)
        if text is None and scalar_part(value) is None:
            raise ExpressionError(f"a {value.type.name} does not go into a variable", "select a part of it")
        if text is not None and not isinstance(text, ir.Text):
            if known is not None and known.text != text:
                raise ExpressionError(f"`${name}` already stands for something else", "use another variable")
            self._values[name] = value
            return []
        words = [text.pointer, text.length] if text is not None else [value.word(0, value.type.size)]
        if known is None:
            known = self._values[name] = self._reserve(value, len(words))
        slots = [word for word in (known.words or {}).values() if isinstance(word, ir.Local)]
        if len(slots) != len(words):
            raise ExpressionError(
                f"`${name}` is a {known.type.name}, and this is a {value.type.name}", "use another variable"
            )
        return [SetLocal(slot.slot, word) for slot, word in zip(slots, words, strict=True)]

    def counter(self, name: str, type_of: Value) -> int:
        """The slot of a loop's variable."""
        self.set(name, type_of)
        word = self._values[name].word(0)
        assert isinstance(word, ir.Local)
        return word.slot

    def _reserve(self, value: Value, count: int) -> Value:
        words: dict[int, ir.Word] = {8 * index: ir.Local(self.slots + index) for index in range(count)}
        self.slots += count
        return Value(value.type, words, promised=False)
