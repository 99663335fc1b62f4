"""The words of the language: one place for the parser, the binder, suggestions and the documentation."""

from __future__ import annotations

from types import MappingProxyType
from typing import get_args

from gotap.probe import expression
from gotap.probe.script.language.tree import AGGREGATIONS, GoroutineEvent, Point

#: What begins a probe, but for functions and lines.
KINDS = ("begin", "end", "interval", "profile", "goroutine", "syscall", "tracepoint", "uprobe")
#: Where in a function, as it is written; "call" is not.
POINTS: tuple[str, ...] = tuple(point for point in get_args(Point) if point != "call")
GOROUTINE_EVENTS: tuple[str, ...] = get_args(GoroutineEvent)

#: What begins a statement, but for assignments.
STATEMENTS = ("print", "printf", "if", "for", "delete", "clear", "stop")

#: Names that have a value wherever a probe of the right kind fires: (what it is).
BUILTINS = MappingProxyType(
    {
        "args": "the arguments of the call, of a system call or a tracepoint, by name: args.NAME",
        "ret": "the result of the call; results by name: ret.NAME",
        "latency": "how long the call took",
        "err": "the last result of type error",
        "goid": "the goroutine",
        "parent_goid": "the goroutine that created it",
        "pid": "the process",
        "tid": "the thread",
        "comm": "the thread's name",
        "cpu": "the CPU",
        "nsecs": "the time since boot, without suspension",
        "func": "the function's name",
        "pkg": "the function's package",
        "file": "the source file",
        "line": "the source line",
        "caller": "the name of the function that called",
        "traceid": "the trace that the served request belongs to",
        "spanid": "the span of the served request",
    }
)

#: Functions that expressions may call: (least, most arguments), how they are written.
FUNCTIONS = MappingProxyType(
    {
        **expression.BUILTINS,
        "stack": (0, 1, "stack(n)"),
        "label": (1, 1, 'label("key")'),
        "now": (1, 1, "now(args.x.y)"),
        "str": (1, 2, "str(address) or str(address, bytes)"),
    }
)

#: Aggregations: least and most arguments, how they are written.
AGGREGATION_USES = MappingProxyType(
    {
        "count": (0, 0, "count()"),
        "sum": (1, 1, "sum(x)"),
        "avg": (1, 1, "avg(x)"),
        "min": (1, 1, "min(x)"),
        "max": (1, 1, "max(x)"),
        "stats": (1, 1, "stats(x)"),
        "hist": (1, 2, "hist(x) or hist(x, bits)"),
        "lhist": (4, 4, "lhist(x, low, high, step)"),
        "quantile": (1, 1, "quantile(x)"),
        "top": (2, 2, "top(k, x)"),
        "tseries": (2, 4, 'tseries(x, 1s), tseries(x, 1s, slots) or tseries(x, 1s, slots, "avg")'),
    }
)
assert AGGREGATION_USES.keys() == AGGREGATIONS

#: Probe kinds of other tools → what to write here.
OTHER_KINDS = MappingProxyType(
    {
        "uretprobe": "write uprobe:PATH:SYMBOL:return",
        "kprobe": "probes in the kernel are tracepoint:CATEGORY:NAME and syscall:NAME",
        "kretprobe": "probes in the kernel are tracepoint:CATEGORY:NAME and syscall:NAME",
        "fentry": "probes in the kernel are tracepoint:CATEGORY:NAME and syscall:NAME",
        "fexit": "probes in the kernel are tracepoint:CATEGORY:NAME and syscall:NAME",
        "rawtracepoint": "write tracepoint:CATEGORY:NAME",
        "usdt": "probe the function that the marker is in, by its name",
        "software": "write profile:99hz",
        "hardware": "write profile:99hz",
    }
)

#: Functions, statements and names of other tools → what to write here.
OTHER_WORDS = MappingProxyType(
    {
        "exit": "write stop",
        "ustack": "write stack(n)",
        "kstack": "Go stacks are stack(n); the kernel's are not shown",
        "retval": "write ret",
        "arg0": "arguments have names: args.NAME",
        "arg1": "arguments have names: args.NAME",
        "arg2": "arguments have names: args.NAME",
        "arg3": "arguments have names: args.NAME",
        "sarg0": "arguments have names: args.NAME",
        "reg": "arguments have names: args.NAME",
        "elapsed": "take nsecs at begin and subtract",
        "strlen": "write len(x)",
        "strncmp": "compare Go strings by ==",
        "usym": "write func or caller",
        "probe": "write func",
        "username": "write pid",
        "gid": "write goid for the goroutine",
        "zero": "write clear(@m)",
        "quantize": "write hist(x)",
        "lquantize": "write lhist(x, low, high, step)",
        "else": "else follows the } of an if",
        "while": "write for $i in 0..100 { … }",
        "unroll": "write for $i in 0..100 { … }",
        "return": "put the rest in an else { … }",
        "break": "put a condition in the loop",
        "continue": "put the rest in an if { … }",
        "let": "write $name = value",
        "var": "write $name = value",
        "fmt": 'write printf("…")',
        "println": "write print(x)",
        "echo": "write print(x)",
        "time": "write nsecs",
        "system": "programs are not run from scripts",
        "cat": "files are not read by scripts",
    }
)
