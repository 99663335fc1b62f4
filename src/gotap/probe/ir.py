"""The intermediate form: what a probe does, as data, for every backend (BPF, machine code, Go source).

It knows no BPF. Words are 64-bit values; evaluating one may *fail* (nil pointer, unreadable memory, absent key), which
ends the alternative it belongs to. Everything is immutable and hashable, so a backend can find common parts.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gotap.probe.record import Column, Layout

InputRole = Literal["argument", "result", "callee"]


class Const(Struct, frozen=True):
    value: int


class StaticAddress(Struct, frozen=True):
    """An unrelocated address in the binary (a type descriptor, a variable): the load bias is added by the backend."""

    address: int


class Input(Struct, frozen=True):
    """`size` bytes at `offset` of the index-th argument or result of the probed function, or argument of its callee.

    Registers hold small values with undefined upper bits (Go's abi-internal.md), so a backend cuts them to `size`.
    """

    role: InputRole
    index: int
    offset: int
    size: int
    signed: bool


class Goroutine(Struct, frozen=True):
    """Address of the running runtime.g."""


class Kept(Struct, frozen=True):
    """A word that an earlier probe of the same operation left in a KEPT column; fails when it left none."""

    column: Column


class Load(Struct, frozen=True):
    """`size` bytes (1, 2, 4, 8) at `base + offset`, zero- or sign-extended. Fails when base is nil.

    `promised`: Go's types promise that a non-nil base is valid, so that a backend which cannot survive a fault may
    load it too; it must refuse the others.
    """

    base: Word
    offset: int
    size: int
    signed: bool
    promised: bool


class MapElement(Struct, frozen=True):
    """Address of the element that a Go map holds for a constant string key. Fails when the key is absent."""

    map: Word
    layout: BucketLayout | SwissLayout
    key: bytes


class Unwrapped(Struct, frozen=True):
    """One word of an error value after following `wrappers` to the innermost error; `part` 0: type, 1: data.

    `wrappers`: (unrelocated address of the wrapper's dynamic type, offset of its inner error behind the data word).
    """

    type: Word
    data: Word
    wrappers: tuple[tuple[int, int], ...]
    part: int


class Subtract(Struct, frozen=True):
    left: Word
    right: Word


class Add(Struct, frozen=True):
    left: Word
    right: Word


class Compare(Struct, frozen=True):
    """1 or 0. `signed` tells how < and > order."""

    operator: str  # == != < <= > >=
    left: Word
    right: Word
    signed: bool


class TextEquals(Struct, frozen=True):
    """1 when the text equals a constant."""

    text: Text
    value: bytes


class Logic(Struct, frozen=True):
    operator: Literal["&&", "||"]
    left: Word
    right: Word


class Log2(Struct, frozen=True):
    """Number of the word's highest bit, 0 for 0 and 1: the bucket of a power-of-two histogram."""

    operand: Word


class Not(Struct, frozen=True):
    operand: Word


class Arithmetic(Struct, frozen=True):
    """64-bit, wrapping. Division by zero and modulo zero fail. Shifts by 64 or more give 0 (or −1)."""

    operator: Literal["*", "/", "%", "&", "|", "^", "<<", ">>"]
    left: Word
    right: Word
    signed: bool


class Conditional(Struct, frozen=True):
    """`then` where `when` is not 0, else `otherwise`; only the one that is taken may fail."""

    when: Word
    then: Word
    otherwise: Word


class Local(Struct, frozen=True):
    """A routine's local variable; 0 until it is set."""

    slot: int


class Own(Struct, frozen=True):
    """A variable of the running goroutine (routine.SetOwn); 0 until it is set."""

    slot: int


class Stored(Struct, frozen=True):
    """What a script's map holds under the keys; 0 when it holds nothing. Of aggregations: count, or sum where `sum`."""

    map: int
    keys: tuple[Key, ...]
    sum: bool = False


class Ambient(Struct, frozen=True):
    """What the moment is: process and thread ids as gotap sees them, the CPU, CLOCK_MONOTONIC (ns), the site's number,
    the address that the function returns to, that of the probed instruction, how long the call has lasted (ns; of a
    Leave or Unwound only), how it ended (routine.Ended), the SP at the function's entry.
    """

    what: Literal["pid", "tid", "cpu", "nsecs", "site", "caller", "ip", "latency", "ended", "sp"]


class Field(Struct, frozen=True):
    """`size` bytes at `offset` of what the kernel hands to a program at a tracepoint or as registers."""

    offset: int
    size: int
    signed: bool


class Linear(Struct, frozen=True):
    """Bucket of a linear histogram: 0 below `low`, then one for each `step`, the last from `high` on. Signed."""

    operand: Word
    low: int
    high: int
    step: int


class LogLinear(Struct, frozen=True):
    """Bucket number of a histogram with 2^bits buckets for each power of two: below 2^bits the value itself, then
    (e − bits + 1) << bits | the `bits` bits behind the highest, where e is its number.

    `signed`: a negative value v has the bucket ~bucket(~v), so that −1 is alone in bucket −1.
    """

    operand: Word
    bits: int
    signed: bool = False


class TextsEqual(Struct, frozen=True):
    """1 when two texts are the same; those longer than 512 bytes fail."""

    left: AnyText
    right: AnyText


class TraceWord(Struct, frozen=True):
    """Half (0, 1) of the trace id, or span id, of the server request that the goroutine works for; fails if none."""

    what: Literal["traceid", "spanid"]
    half: int = 0


Word = (
    Const
    | StaticAddress
    | Input
    | Goroutine
    | Kept
    | Load
    | MapElement
    | Unwrapped
    | Subtract
    | Add
    | Compare
    | TextEquals
    | Logic
    | Log2
    | Not
    | Arithmetic
    | Conditional
    | Local
    | Own
    | Stored
    | Ambient
    | Field
    | Linear
    | LogLinear
    | TextsEqual
    | TraceWord
)


class Text(Struct, frozen=True):
    """A Go string or byte slice: `length` bytes at `pointer`."""

    pointer: Word
    length: Word


class ConstText(Struct, frozen=True):
    value: bytes


class AmbientText(Struct, frozen=True):
    """The thread's name, 15 bytes at most."""

    what: Literal["comm"]


class KeptText(Struct, frozen=True):
    """A text that an earlier routine of the same call left in a TEXT column of the frame, perhaps cut."""

    column: Column


class OwnText(Struct, frozen=True):
    """A variable of the running goroutine; empty until it is set."""

    slot: int


class StoredText(Struct, frozen=True):
    map: int
    keys: tuple[Key, ...]


class CText(Struct, frozen=True):
    """A text that ends with a zero byte (C), at most `limit` bytes."""

    pointer: Word
    limit: int


class RecordText(Struct, frozen=True):
    """A text in a tracepoint's record: an array of `size` bytes at `offset`, or, `located`, where the word there says
    (offset in the lower half, length in the upper one). Ends at a zero byte.
    """

    offset: int
    size: int
    located: bool


class Chosen(Struct, frozen=True):
    """The text of the first alternative that holds; fails when none does."""

    alternatives: tuple[Alternative, ...]


AnyText = Text | ConstText | AmbientText | KeptText | OwnText | StoredText | CText | RecordText | Chosen


class Stack(Struct, frozen=True):
    """The goroutine's stack, `frames` addresses at most: the probed instruction, then return addresses outwards."""

    frames: int


Key = Word | AnyText | Stack


class BucketLayout(Struct, frozen=True):
    """Go maps up to 1.23 (runtime.hmap, bmap), 8 slots a bucket. Offsets in bytes."""

    b: int  # hmap.B (u8): log2 of the number of buckets
    buckets: int
    old_buckets: int
    keys: int  # in the bucket
    elems: int
    overflow: int
    key_size: int
    elem_size: int


class SwissLayout(Struct, frozen=True):
    """Go maps from 1.24 (internal/runtime/maps), 8 slots a group. Offsets in bytes."""

    directory: int  # Map.dirPtr
    directory_length: int  # Map.dirLen; 0: dirPtr is the only group
    groups: int  # table.groups.data
    length_mask: int  # table.groups.lengthMask
    keys: int  # in the group: offset of the first slot's key
    elems: int  # in the group: offset of the first slot's elem
    key_stride: int
    elem_stride: int
    group_size: int


class Alternative(Struct, frozen=True):
    """A value that holds when every condition is non-zero and nothing fails on the way."""

    conditions: tuple[Word, ...]
    value: Word | AnyText


class Capture(Struct, frozen=True):
    """Stores the first alternative that holds into a column of the open operation; none holds: the column is absent."""

    column: Column
    alternatives: tuple[Alternative, ...]


class ContextWalk(Struct, frozen=True):
    """Follows a context.Context to an operation's own context.

    Every standard context type has its parent as first field (Go 1.18–1.27, but for Go 1.20's timerCtx, which points
    to the cancelCtx that has it), so the walk goes data word → the interface it points to. `checked` holds
    (unrelocated type address, offset of the parent) of the types that may be stepped through: a backend that cannot
    survive a fault compares the dynamic type before each step.

    `interface` is the unrelocated address of context.Context's descriptor: a step is taken only where the first field
    is an interface of just that type, so that a type of the program's own with something else first leads nowhere.
    """

    type: Word  # type word of the interface: itab
    data: Word
    checked: tuple[tuple[int, int], ...]
    steps: int = 64
    interface: int | None = None  # None: the binary does not tell, and the step is taken anyway
    behind: tuple[int, ...] = ()  # types whose first field is a pointer to what begins with the parent


class TraceParent(Struct, frozen=True):
    """Remote parent: the texts of the W3C traceparent and tracestate headers."""

    trace_parent: tuple[Alternative, ...]


class Begin(Struct, frozen=True):
    """Opens an operation. Its end finds it by `key`, or by goroutine where there is none; `by_depth`: and by how deep
    the function's frame stands, when it ends at that function's own return.
    """

    layout: Layout
    captures: tuple[Capture, ...]
    remote: TraceParent | None
    context: ContextWalk | None  # where the parent is looked for; the goroutine comes second
    own_context: Word | None  # data word of the operation's own context: children find the operation by it
    scope: bool  # children on the same goroutine and those it creates find the operation
    by_depth: bool
    key: Word | None = None
    subject: Word | None = None  # a begin below, on the same goroutine and about the same, is the same operation


class Annotate(Struct, frozen=True):
    """Adds columns to the operation that is open on this goroutine or on one that created it.

    `keyed`: the operation is named by a key and found by its scope.
    """

    layout: Layout
    captures: tuple[Capture, ...]
    keyed: bool = False


class End(Struct, frozen=True):
    """Completes the operation and emits its record. Where none is open, nothing happens.

    `certain`: every pass here ends an operation, so one that is not open began before the attach; else it may just be
    that nothing was going on.
    """

    layout: Layout
    outcome: int
    certain: bool
    captures: tuple[Capture, ...]
    scope: bool
    own_context: Word | None  # the kept word by which children found the operation
    by_depth: bool
    key: Word | None = None
    subject: Word | None = None  # the kept word that says what the operation is about
    discard: bool = False  # it turns out to be none: forgotten without a record


class Spawn(Struct, frozen=True):
    """A goroutine was created: the new one inherits the operation that is open on its creator."""

    child: Word  # goid
    creator: tuple[Alternative, ...]  # goid


class Aggregate(Struct, frozen=True):
    """Adds `value` (unsigned) to what is kept under `keys` (four at most) in `table`; a histogram is a count with a
    Log2 among its keys. Nothing is added when a condition is zero or anything fails.
    """

    table: int
    function: Literal["count", "sum", "min", "max"]
    keys: tuple[Word, ...]
    value: Word
    when: tuple[Word, ...] = ()


Action = Begin | Annotate | End | Spawn | Aggregate
