"""A bound script: everything a mechanism and the output need, for one binary (or for none, when no probe is Go's)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal

from msgspec import Struct, field

from gotap.image.code import Cost
from gotap.image.types.gotypes import Type
from gotap.probe import ir
from gotap.probe.places import BoundSite
from gotap.probe.record import Column, Layout
from gotap.probe.script.routine import Routine
from gotap.probe.script.stackwords import StackWords
from gotap.probe.shapes import Shapes


class PartKind(Enum):
    """What a key part, a map's value or a printed word is, so that the output can write it."""

    INT = "int"  # signed
    UINT = "uint"
    BOOL = "bool"
    TEXT = "text"
    DURATION = "duration"  # nanoseconds
    TIME = "time"  # CLOCK_MONOTONIC nanoseconds
    TYPE = "type"  # unrelocated address of a type descriptor
    CODE = "code"  # address in the process: a function's name
    SITE = "site"  # a site's number, to be written as `facet` says
    STACK = "stack"  # addresses in the process
    BYTES = "bytes"  # written in hex: trace ids
    VALUE = "value"  # a Go value with what it leads to: of events only
    CONSTANT = "constant"  # known beforehand: `constant`


class Part(Struct, frozen=True):
    """One part of a map's key, or an argument of printf.

    `size`: bytes it takes in a key: 8 for words, 8 (length) + the limit for texts, 8 a frame for stacks.
    `facet` of SITE and CODE: which of its texts is meant. `column` of event arguments. `type` of VALUE: Go's type name.
    """

    kind: PartKind
    size: int = 8
    facet: Literal["func", "pkg", "file", "line", "address"] = "func"
    column: Column | None = None
    type: str = ""
    constant: str | int | bool | None = None
    reason: str = ""  # why it is not available, when that is known beforehand
    go_type: Type | None = None  # of VALUE
    names: tuple[str, ...] = ()  # of UINT: what its numbers are called
    gaps: tuple[tuple[int, int, str], ...] = ()  # of VALUE: offset, size, and why those bytes are not there


class MapKind(Enum):
    VALUE = "value"
    COUNT = "count"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    STATS = "stats"
    HIST = "hist"
    LHIST = "lhist"
    QUANTILE = "quantile"
    TOP = "top"
    TSERIES = "tseries"


#: What a time series shows of the values in each interval; the first is the default.
SERIES = ("sum", "avg", "min", "max", "count")


class MapSpec(Struct, frozen=True):
    """A script's map. `keys`: as the user wrote them; what aggregates by bucket has one more part, `bucket`.

    `name` is with the @. `parameters`: lhist (low, high, step), top (k,), tseries (interval in ns, slots, index in
    SERIES), hist (bits,). `bucket`: of lhist ir.Linear, of hist and quantile ir.LogLinear (bits 5 for quantile), signed
    if the value is, of top the text or word that is counted, of tseries nsecs / interval.
    `value`: of VALUE maps what is stored, of the others what is aggregated (for its unit and sign).
    """

    number: int
    name: str
    kind: MapKind
    keys: tuple[Part, ...]
    value: Part
    bucket: Part | None = None
    parameters: tuple[int, ...] = ()
    entries: int = 4096


class EventKind(Enum):
    CALL = "call"  # a call, or a firing of another probe without a block
    PRINTF = "printf"
    PRINT = "print"
    MAP = "map"  # print(@m)
    CLEARED = "cleared"  # an epoch of a map has ended: nobody will ask for it
    STOP = "stop"


class EventSpec(Struct, frozen=True):
    """What an event is: `arguments` of printf and print in their order; of a call the named `args` and `results`."""

    kind: EventKind
    probe: str  # as the user wrote it
    format: str = ""
    arguments: tuple[Part, ...] = ()
    args: tuple[tuple[str, Part], ...] = ()
    results: tuple[tuple[str, Part], ...] = ()
    stack: Part | None = None
    map: int | None = None
    dictionary: Column | None = None  # of a generic function: the address that `instances` names
    instances: tuple[tuple[int, str], ...] = ()  # unrelocated address of a dictionary, name: `main.Map[int,string]`
    goid: Part | None = None  # of the goroutine that it is about, where that is not the running one
    func: Part | None = None  # the function that it is about, where that is not the site's


class SiteInfo(Struct, frozen=True):
    """What is said of a site: the function (the inlined one, at an inlined copy), and where it stands in the source."""

    function: str
    package: str
    file: str
    line: int
    address: int  # unrelocated
    inlined_into: str = ""


class Origin(Struct, frozen=True):
    """Where a routine runs when it is not at sites of the target: begin, end, interval, profile, tracepoint, …"""

    kind: Literal["begin", "end", "interval", "profile", "tracepoint", "syscall", "uprobe"]
    nanoseconds: int = 0
    hertz: int = 0
    category: str = ""
    name: str = ""
    path: str = ""
    file_offset: int = 0
    returns: bool = False
    cookie: int = 0
    is_go: bool = False  # of uprobe: a Go program's function, which takes no arguments as C's do


class BoundRoutine(Struct, frozen=True):
    """One routine and where it runs: at `sites` of the target, each with a cookie (index of BoundScript.sites), or at
    an `origin`. `probe` is what the user wrote; drops and hits are counted by it.
    """

    probe: str
    number: int  # of the user's probe, in the order of the script
    routine: Routine
    sites: tuple[tuple[BoundSite, int], ...] = ()
    origin: Origin | None = None
    cost: Cost = Cost.EMULATED


class BoundScript(Struct):
    """`goid`, `stack_high`: words of the running goroutine, None where no probe is in a Go program.

    `locals`, `own`: how many slots of each; `own_texts`: which of the latter hold texts.
    `shapes`: what the deep capture works from; None when no value is captured.
    """

    routines: list[BoundRoutine]
    maps: list[MapSpec]
    layouts: dict[int, Layout]
    events: Mapping[tuple[int, int], EventSpec]  # by layout number and event
    sites: list[SiteInfo]
    notices: list[str] = field(default_factory=list)
    goid: ir.Word | None = None
    stack_high: ir.Word | None = None
    stack_words: StackWords | None = None  # None: stacks end where the runtime changes stacks
    locals: int = 0
    own: int = 0
    own_texts: frozenset[int] = frozenset()
    frame_size: int = 1024  # bytes of the largest record
    shapes: Shapes | None = None
    uses_traces: bool = False  # traceid or spanid: the server operation of net/http is attached too
