"""Probes that are no places in the Go program: begin, end, interval, profile, tracepoints, system calls, C code."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gotap.errors import GotapError
from gotap.image.types.gotypes import Kind, Type
from gotap.probe import ir
from gotap.probe.script.binding.context import Context
from gotap.probe.script.binding.watches import watch
from gotap.probe.script.bound import Origin
from gotap.probe.script.compiling.stage import Stage
from gotap.probe.script.language import tree
from gotap.probe.script.tracepoint import FieldInfo
from gotap.probe.typing import STRING
from gotap.probe.value import Value

#: Offsets in struct pt_regs (x86-64) of the registers that hold the arguments of a C function, in order, and its
#: result: rdi, rsi, rdx, rcx, r8, r9; rax (System V ABI).
_C_ARGUMENTS = (112, 104, 96, 88, 72, 64)
_C_RESULT = 80
_GO_ARGUMENTS = "this is a function of a Go program, whose arguments are not where C's are: probe it by its Go name"
#: Bytes of a text that ends with a zero.
_TEXT_LIMIT = 256

_SIZES = {(size, signed): Type(f"{'' if signed else 'u'}int{8 * size}", Kind.INT if signed else Kind.UINT, size)
          for size in (1, 2, 4, 8) for signed in (True, False)}  # fmt: skip


#: (category, name) → fields by name. Raises GotapError when there is no such tracepoint.
Tracepoints = Callable[[str, str], Mapping[str, FieldInfo]]
#: A C function → where it is. Raises GotapError.
Symbols = Callable[[tree.Uprobe], Origin]


class OriginProbes:
    def __init__(self, context: Context, tracepoints: Tracepoints, symbols: Symbols) -> None:
        self.context = context
        self.tracepoints = tracepoints
        self.symbols = symbols

    def bind(self, number: int, probe: tree.Probe, spec: tree.Spec) -> None:
        try:
            origin, stage = self.origin(spec)
        except GotapError as error:
            raise self.context.error(spec.at, str(error), error.remedy) from None
        watch(self.context, number, probe, stage, (), probe.text, origin)

    def origin(self, spec: tree.Spec) -> tuple[Origin, Stage]:
        nothing = Stage(is_go=False, has_stack=False)
        match spec:
            case tree.Begin():
                return Origin("begin"), nothing
            case tree.End():
                return Origin("end"), nothing
            case tree.Interval(nanoseconds):
                return Origin("interval", nanoseconds=nanoseconds), nothing
            case tree.Profile(hertz):
                return Origin("profile", hertz=hertz), Stage(is_go=self.context.image is not None)
            case tree.Syscall(name):
                return Origin("syscall", name=name), self.stage("syscalls", f"sys_enter_{name}")
            case tree.Tracepoint(category, name):
                return Origin("tracepoint", category=category, name=name), self.stage(category, name)
            case tree.Uprobe():
                origin = self.symbols(spec)
                unknown = spec.returns or origin.is_go
                return origin, Stage(
                    is_go=False,
                    args=None if unknown else {f"arg{i}": _register(i) for i in range(len(_C_ARGUMENTS))},
                    no_args=_GO_ARGUMENTS if origin.is_go else "arguments are known at the entry",
                    results={"ret": _c_result} if spec.returns else None,
                )
            case _:
                raise AssertionError(spec)

    def stage(self, category: str, name: str) -> Stage:
        fields = self.tracepoints(category, name)
        return Stage(is_go=False, args={field: _field(source) for field, source in fields.items()})


def _field(info: FieldInfo) -> Callable[[], Value]:
    """A field of a tracepoint's record. Texts of system calls are the process's, others the kernel's."""
    text: ir.AnyText | None = None
    if info.kind == "pointer" and "char" in info.type:
        text = ir.CText(ir.Field(info.offset, 8, False), _TEXT_LIMIT)
    elif info.kind in ("text", "located text"):
        text = ir.RecordText(info.offset, info.size, info.kind == "located text")
    if text is not None:
        return lambda: Value(STRING, text=text)
    type = _SIZES.get((info.size, info.signed))
    if type is None:
        return lambda: Value(STRING, {}, missing=f"{info.type} is not taken along")
    return lambda: Value(type, {0: ir.Field(info.offset, info.size, info.signed)}, promised=False)


def _register(index: int) -> Callable[[], Value]:
    return lambda: Value(_SIZES[8, True], {0: ir.Field(_C_ARGUMENTS[index], 8, True)}, promised=False)


def _c_result() -> Value:
    return Value(_SIZES[8, True], {0: ir.Field(_C_RESULT, 8, True)}, promised=False)
