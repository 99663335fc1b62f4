"""Addresses of a stack → the frames that a Go programmer knows: inlined calls are frames of their own.

The first address is the probed instruction itself, the others are return addresses, which belong to the call before
them. Wrappers (of methods, of go and defer statements) are left out, as runtime.Callers does; `runtime.goexit` stays:
a stack that does not end there, and is shorter than was asked for, could not be followed further.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from gotap.image.errors import ImageError
from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.functions.pclntab import Function, Pclntab
from gotap.probe.functions.pattern import plain_name

#: A function that has had the funcID of wrappers ever since there are funcIDs (cmd/internal/objabi/funcid.go), so that
#: the table itself tells which number that is.
_A_WRAPPER = "runtime.deferreturn"
#: Addresses whose frames are remembered.
_MOST_KNOWN = 1 << 16
#: How deep calls are inlined into each other at most.
_DEEPEST = 100


class Frame(Struct, frozen=True):
    """One call. `file` is empty and `line` 0 where they are not known."""

    function: str
    file: str
    line: int
    inlined: bool = False


class StackFrames:
    """Frames of one program's addresses, each looked up once."""

    def __init__(self, pclntab: Pclntab) -> None:
        self._pclntab = pclntab
        self._known: dict[tuple[int, bool], tuple[Frame, ...]] = {}
        self._inlined: dict[int, list[InlinedCall]] = {}

    def stack(self, addresses: Sequence[int]) -> list[Frame]:
        """`addresses`: unrelocated, innermost first."""
        return [frame for index, address in enumerate(addresses) for frame in self.at(address, returns=index > 0)]

    def at(self, address: int, *, returns: bool) -> tuple[Frame, ...]:
        """The frames at one address, innermost first. `returns`: it is a return address, which wrappers do not show."""
        key = address, returns
        frames = self._known.get(key)
        if frames is None:
            frames = self._look_up(address, returns)
            if len(self._known) < _MOST_KNOWN:
                self._known[key] = frames
        return frames

    def _look_up(self, address: int, returns: bool) -> tuple[Frame, ...]:
        try:
            # A goroutine's first function returns to the instruction behind goexit's first, which is a nop for that.
            pc = address - 1 if returns else address
            function = self._pclntab.function_at(pc)
            if function is None:
                return (Frame(f"{address:#x}", "", 0),)
            found = self._frames(function, pc)
            return tuple(found[:-1] if returns and self._wrappers[function.index] else found)
        except ImageError:
            return (Frame(f"{address:#x}", "", 0),)

    @cached_property
    def _wrappers(self) -> NDArray[np.bool_]:
        """Of every function whether it is a wrapper."""
        ids, one = self._pclntab.function_ids, self._pclntab.find(_A_WRAPPER)
        found: NDArray[np.bool_] = ids == ids[one.index] if one is not None else np.zeros(len(ids), np.bool_)
        return found

    def _frames(self, function: Function, pc: int) -> list[Frame]:
        frames, at = [], pc
        for call in self._chain(function, pc):
            frames.append(self._frame(call.name, at, inlined=True))
            at = call.call_site
        frames.append(self._frame(function.name, at, inlined=False))
        return frames

    def _frame(self, name: str, pc: int, *, inlined: bool) -> Frame:
        file, line = self._pclntab.line(pc) or ("", 0)
        return Frame(plain_name(name), file, line, inlined)

    def _chain(self, function: Function, pc: int) -> list[InlinedCall]:
        """The inlined calls that the instruction came from, innermost first."""
        calls = self._inlined.get(function.index)
        if calls is None:
            calls = self._inlined[function.index] = self._pclntab.inlined_calls(function)
        here = [call for call in calls if any(start <= pc < end for start, end in call.ranges)]
        by_index = {call.index: call for call in here}
        parents = {call.parent for call in here}
        innermost = next((call for call in here if call.index not in parents), None)
        chain: list[InlinedCall] = []
        while innermost is not None and len(chain) < _DEEPEST:
            chain.append(innermost)
            innermost = by_index.get(innermost.parent) if innermost.parent is not None else None
        return chain


def frames(pclntab: Pclntab, addresses: Sequence[int]) -> list[Frame]:
    """The frames of one stack; for many stacks keep a StackFrames."""
    return StackFrames(pclntab).stack(addresses)


def stack_lines(stack: Sequence[Frame], clean: Callable[[str], str]) -> list[str]:
    """One line a frame, innermost first."""
    return [f"\t{clean(one.function)} {clean(one.file)}:{one.line}" if one.file else f"\t{clean(one.function)}"
            for one in stack]  # fmt: skip
