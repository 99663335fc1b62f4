"""A script as a syntax tree. Expressions in it are those of the catalogue (gotap.probe.expression).

`at` is where a node stands in `Script.text`, as an index of characters, so that errors can point at it: of an
assignment its operator, of an aggregation its function, of anything else its first character.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gotap.probe.expression import Expression

#: Where in a function a probe sits. "call": body's entry and return together, one event a call.
Point = Literal["call", "entry", "return", "inline", "panic"]
GoroutineEvent = Literal["create", "exit", "park", "ready"]

#: Aggregations, by the name they have in scripts.
AGGREGATIONS = frozenset(
    {"count", "sum", "avg", "min", "max", "stats", "hist", "lhist", "quantile", "top", "tseries"}
)


class Begin(Struct, frozen=True):
    at: int


class End(Struct, frozen=True):
    at: int


class Interval(Struct, frozen=True):
    nanoseconds: int
    at: int


class Profile(Struct, frozen=True):
    """Samples every CPU that runs the target, `hertz` times a second of its CPU time."""

    hertz: int
    at: int


class Function(Struct, frozen=True):
    """`pattern`: a function's name as in the function table; `*` matches anything, except in `(*`."""

    pattern: str
    point: Point
    at: int


class Line(Struct, frozen=True):
    """`file`: the end of a path, whole components (`main.go`, `http/server.go`)."""

    file: str
    line: int
    at: int


class Goroutine(Struct, frozen=True):
    event: GoroutineEvent
    at: int


class Syscall(Struct, frozen=True):
    name: str
    at: int


class Tracepoint(Struct, frozen=True):
    category: str
    name: str
    at: int


class Uprobe(Struct, frozen=True):
    """A function of a program or library that is not Go's, by symbol. `offset`: bytes behind its first instruction."""

    path: str
    symbol: str
    offset: int
    returns: bool
    at: int


Spec = Begin | End | Interval | Profile | Function | Line | Goroutine | Syscall | Tracepoint | Uprobe


class MapTarget(Struct, frozen=True):
    """`@name[keys]`; `name` is without the @, empty for the nameless one."""

    name: str
    keys: tuple[Expression, ...]
    at: int


class LocalTarget(Struct, frozen=True):
    """`$name`."""

    name: str
    at: int


class OwnTarget(Struct, frozen=True):
    """`self.name`: a variable of the goroutine."""

    name: str
    at: int


Target = MapTarget | LocalTarget | OwnTarget


class Assign(Struct, frozen=True):
    """`operator`: "=", "+=" or "-="; `x++` is `x += 1`."""

    target: Target
    operator: str
    value: Expression
    at: int


class Aggregate(Struct, frozen=True):
    """`@m[keys] = hist(latency)`; `function` is one of AGGREGATIONS."""

    target: MapTarget
    function: str
    arguments: tuple[Expression, ...]
    at: int


class Print(Struct, frozen=True):
    """Expressions; a bare `@m` among them (an expression.MapValue without keys) prints the whole map."""

    arguments: tuple[Expression, ...]
    at: int


class Printf(Struct, frozen=True):
    """`format` reads by script.format.parse_format; bytes that are not UTF-8 are surrogates (surrogateescape).

    `format_at`: where its opening quote stands.
    """

    format: str
    arguments: tuple[Expression, ...]
    at: int
    format_at: int = -1


class If(Struct, frozen=True):
    condition: Expression
    then: tuple[Statement, ...]
    otherwise: tuple[Statement, ...]
    at: int


class For(Struct, frozen=True):
    """`for $i in first..limit { … }`; `limit` is excluded."""

    variable: str
    first: Expression
    limit: Expression
    body: tuple[Statement, ...]
    at: int


class Delete(Struct, frozen=True):
    target: MapTarget
    at: int


class Clear(Struct, frozen=True):
    name: str
    at: int


class Stop(Struct, frozen=True):
    at: int


Statement = Assign | Aggregate | Print | Printf | If | For | Delete | Clear | Stop


class Probe(Struct, frozen=True):
    """`block` None: none was written, the probe prints its event. `text`: the specs as written, for the output."""

    specs: tuple[Spec, ...]
    predicate: Expression | None
    block: tuple[Statement, ...] | None
    text: str
    at: int


class Signature(Struct, frozen=True):
    """`sig 'main.f(name string, n int) (string, error)'`. `at`: where the text begins, behind its quote."""

    text: str
    at: int


class Script(Struct, frozen=True):
    """`name`: what errors call it: a file's path, or `script` for one on the command line."""

    probes: tuple[Probe, ...]
    signatures: tuple[Signature, ...]
    text: str
    name: str
