"""Where the runtime keeps what is needed to follow a goroutine's stack across changes of stack.

`runtime.systemstack`, `mcall` and `morestack` go on with the thread's own stack (g0) and save where the goroutine
stands in g.sched; `runtime.cgocallback` runs Go code for C on top of what the goroutine had called C from.
Sources: asm_amd64.s (systemstack, gosave_systemstack_switch, mcall, morestack, asmcgocall, cgocallback), Go 1.18,
1.21, 1.24 and 1.27.
"""

from __future__ import annotations

from msgspec import Struct

from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.image.types.gotypes import Type
from gotap.probe.typing import Types


class Callback(Struct, frozen=True):
    """Go called from C. Depths are bytes between SP and its value at the function's entry: while cgocallback calls into
    Go, while asmcgocall calls C (that is where the saved SP points), while cgocall calls asmcgocall.
    """

    start: int
    end: int
    depth: int
    switch_depth: int
    caller_start: int
    caller_end: int
    caller_depth: int


class StackWords(Struct, frozen=True):
    """Offsets in bytes: of g.stack.hi, g.m and g.sched's fields in a g, of g0 and curg in an m. Unrelocated addresses:
    [start, end) of functions: `switch` systemstack_switch, `grow` morestack, `base` goexit, where goroutines begin.

    `switch_depth`: as in Callback, of systemstack: 8 where it saves the frame pointer (Go ≥ 1.21), else 0.
    `callback` None: the program has no cgo.
    """

    high: int
    m: int
    sp: int
    pc: int
    bp: int
    g0: int
    curg: int
    switch: tuple[int, int]
    switch_depth: int
    grow: tuple[int, int]
    base: tuple[int, int]
    callback: Callback | None = None


def stack_words(image: Image, types: Types) -> StackWords | None:
    """None where the binary does not tell: stacks end at such changes then."""
    g, m = types.find("runtime.g"), types.find("runtime.m")
    find = image.pclntab.find
    names = "systemstack_switch", "systemstack", "morestack", "goexit"
    switch, stack, grow, base = (find(f"runtime.{name}") for name in names)
    if g is None or m is None or switch is None or stack is None or grow is None or base is None:
        return None
    try:
        return StackWords(
            high=_offset(g, "stack", "hi"),
            m=_offset(g, "m"),
            sp=_offset(g, "sched", "sp"),
            pc=_offset(g, "sched", "pc"),
            bp=_offset(g, "sched", "bp"),
            g0=_offset(m, "g0"),
            curg=_offset(m, "curg"),
            switch=_range(switch),
            switch_depth=_depth(image, stack),
            grow=_range(grow),
            base=_range(base),
            callback=_callback(image),
        )
    except LookupError:
        return None


def _offset(type: Type, *path: str) -> int:
    at = 0
    for name in path:
        field = next((one for one in type.fields if one.name == name), None)
        if field is None:
            raise LookupError(name)
        at, type = at + field.offset, field.type.get()
    return at


def _range(function: Function) -> tuple[int, int]:
    return function.address, function.end


def _depth(image: Image, function: Function) -> int:
    """Of its body."""
    return max(depth for _, _, depth in image.pclntab.stack_depths(function))


def _callback(image: Image) -> Callback | None:
    names = "cgocallback", "asmcgocall", "cgocall"
    callback, switch, caller = (image.pclntab.find(f"runtime.{name}") for name in names)
    if callback is None or switch is None or caller is None:
        return None
    return Callback(
        *_range(callback), _depth(image, callback), _depth(image, switch), *_range(caller), _depth(image, caller)
    )
