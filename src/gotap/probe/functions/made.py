"""What functions that the compiler made stand for: `go f(x)` runs a function of its own that calls f."""

from __future__ import annotations

from gotap.image.code import called_functions
from gotap.image.functions.pclntab import Function
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.pattern import plain_name

#: Called to grow the stack.
_GROWS = "runtime.morestack"


def meant_name(functions: Functions, function: Function) -> str:
    """The name of the function that is meant: what was inlined into a made one, or is called by it, if it is one alone;
    else its own.
    """
    own = plain_name(function.name)
    if not functions.kind_of(function).is_made:
        return own
    table = functions.image.pclntab
    meant = {plain_name(call.name) for call in table.inlined_calls(function) if call.parent is None}
    if not meant:
        targets = called_functions(functions.image.code(function), function.address)
        called = [table.function_at(target) for target in targets]
        meant = {plain_name(one.name) for one in called if one is not None and not one.name.startswith(_GROWS)}
    return meant.pop() if len(meant) == 1 else own


def made_for(functions: Functions, name: str) -> list[Function]:
    """The made functions that stand for the function of that name."""
    return [one for one in functions.made() if meant_name(functions, one) == name]
