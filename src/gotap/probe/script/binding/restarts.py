"""Arguments that a function does not use are lost when it asks for a larger stack, or is preempted, at its entry.

It begins anew then, and the compiler has kept only what it will read. So where such arguments are wanted, that moment
is watched as well: it notes the call, and what was lost is not read for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from gotap.image.code import Location, Register
from gotap.image.functions.pclntab import Function
from gotap.probe import ir
from gotap.probe.catalogue import Choice
from gotap.probe.compiler import Scope
from gotap.probe.expression import parse
from gotap.probe.functions.model import FunctionSignature
from gotap.probe.places import BoundSite
from gotap.probe.script.binding.context import Context
from gotap.probe.script.binding.points import Names
from gotap.probe.script.bound import BoundRoutine
from gotap.probe.script.routine import Branch, SetOwn, Statement, Watch
from gotap.probe.typing import UINT
from gotap.probe.value import Value

#: The goroutine's variable that holds the depth of the call that begins anew; users cannot write such a name.
_VARIABLE = " begins anew"
#: A word that always fails: what is at no address.
_NEVER = ir.Load(ir.Const(0), 0, 8, False, False)


class Guard(Struct, frozen=True):
    """Of one group of functions: `lost`, the registers that some of them do not keep; where they begin anew."""

    slot: int
    depth: ir.Word
    lost: frozenset[str]
    sites: tuple[tuple[BoundSite, int], ...]

    def guarded(self, names: Names, inputs: Mapping[ir.Input, Location]) -> Names:
        """The arguments, with words that fail where they were lost."""
        return {name: self._guarded(value(), inputs) for name, value in names.items()}

    def _guarded(self, value: Value, inputs: Mapping[ir.Input, Location]) -> Callable[[], Value]:
        words = dict(value.words or {})
        for offset, word in words.items():
            place = inputs.get(word) if isinstance(word, ir.Input) else None
            if isinstance(place, Register) and place.name in self.lost:
                anew = ir.Compare("==", ir.Own(self.slot), self.depth, False)
                words[offset] = ir.Conditional(anew, _NEVER, word)
        changed = replace(value, words=words) if value.words is not None else value
        return lambda: changed

    def forget(self) -> Statement:
        """The call has begun: later ones of the same depth have lost nothing."""
        noted = ir.Compare("!=", ir.Own(self.slot), ir.Const(0), False)
        return Branch(noted, (SetOwn(self.slot, ir.Const(0)),), ())


def guard(context: Context, functions: Sequence[Function], signature: FunctionSignature) -> Guard | None:
    """What must be watched so that these functions' arguments are not read where they are lost; None: nothing."""
    registers = _registers(signature)
    lost: set[str] = set()
    sites: list[tuple[BoundSite, int]] = []
    for function in functions if registers else ():
        restarts = context.points.places.code(function).restarts()
        missing = {name for one in restarts for name in registers - one.kept}
        if missing:
            lost |= missing
            sites += [(context.points.places.bound(one.site, {}, function), 0) for one in restarts]
    if not lost:
        return None
    slot = context.shared.own.set(_VARIABLE, Value(UINT, {0: ir.Const(0)}))
    scope = Scope({}, "runtime", {})
    high = context.compiler.alternative(Choice(parse("g.stack.hi"), None), scope)[0].value
    assert not isinstance(high, ir.AnyText)
    found = Guard(slot, ir.Subtract(high, ir.Ambient("sp")), frozenset(lost), tuple(sites))
    frame = context.frame("a call that begins anew")
    flag = Watch(context.layout(frame), (), (SetOwn(slot, found.depth),))
    context.routines.append(BoundRoutine("(begins anew)", 0, flag, found.sites))
    return found


def _registers(signature: FunctionSignature) -> frozenset[str]:
    """The integer registers that arguments come in."""
    assignment = signature.assignment()
    if assignment is None:
        return frozenset()
    pieces = (piece.register for parts in assignment.params for piece in parts)
    return frozenset(name for name in pieces if name is not None and not name.startswith("xmm"))
