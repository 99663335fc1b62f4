"""What decoding gives. A bool, an integer, a float, a complex number and a whole UTF-8 string are Python's own.

Everything is plain data: neither memory nor types are needed to write a value.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Nil(Struct, frozen=True):
    """A nil; `text` is how Go's %v writes it, which tells a nil slice or map from a nil pointer."""

    text: Literal["<nil>", "[]", "map[]"] = "<nil>"


class Unavailable(Struct, frozen=True):
    """What cannot be told, and why."""

    why: str


#: Of damaged types: structures within themselves.
TOO_DEEP = Unavailable("nested too deeply")


class Cycle(Struct, frozen=True):
    """A pointer back to a value that it lies in."""


class Text(Struct, frozen=True):
    """A string that is cut or no UTF-8; `length`: its full length in bytes."""

    content: bytes
    length: int


class Bytes(Struct, frozen=True):
    """A []byte, cut where `length` is more than there is of its content."""

    content: bytes
    length: int


class Elements(Struct, frozen=True):
    """A slice or an array, cut where `length` is more than there are items."""

    items: list[Value]
    length: int


class Mapping(Struct, frozen=True):
    """A map's entries as they were found, cut where `length` is more than there are."""

    entries: list[tuple[Value, Value]]
    length: int


class Record(Struct, frozen=True):
    """A struct: its fields in their order, embedded ones under the name of their type."""

    names: tuple[str, ...]
    values: list[Value]

    def get(self, name: str) -> Value:
        """A field by name; Unavailable where there is none."""
        if name in self.names:
            return self.values[self.names.index(name)]
        return Unavailable(f"no field {name}")


class Pointer(Struct, frozen=True):
    target: Value


class Interface(Struct, frozen=True):
    """`type`: full name of the dynamic type; `message`: what Error() says, where that can be told."""

    type: str
    value: Value
    message: str | None = None


class Told(Struct, frozen=True):
    """A value whose own method Error or String says what it is."""

    value: Value
    text: str


class Function(Struct, frozen=True):
    """`captured`: None where nothing is."""

    name: str
    captured: Record | Unavailable | None = None


class Channel(Struct, frozen=True):
    length: int
    capacity: int
    closed: bool


class Address(Struct, frozen=True):
    """An unsafe.Pointer."""

    value: int


class Duration(Struct, frozen=True):
    nanoseconds: int


class Time(Struct, frozen=True):
    """An instant: seconds since January 1st of the year 1, UTC, and nanoseconds; `offset`: seconds east of UTC.

    `zone` is the offset's abbreviation, perhaps empty. `monotonic`: nanoseconds since the process started, if it has
    them.
    """

    seconds: int
    nanoseconds: int
    offset: int = 0
    zone: str = "UTC"
    monotonic: int | None = None


class ContextLink(Struct, frozen=True):
    """One context of a chain. `key` and `value` of those made by WithValue; `cancelled`: None where it cannot be."""

    type: str
    key: Value | None = None
    value: Value | None = None
    deadline: Value | None = None
    cancelled: bool | None = None
    error: str | None = None


class ContextChain(Struct, frozen=True):
    """A context.Context: the links from itself to the root. `deadline` is what its Deadline method gives."""

    links: list[ContextLink]
    deadline: Value | None = None
    rest: Unavailable | None = None  # why the chain ends before its root


Value = (
    bool
    | int
    | float
    | complex
    | str
    | Nil
    | Unavailable
    | Cycle
    | Text
    | Bytes
    | Elements
    | Mapping
    | Record
    | Pointer
    | Interface
    | Told
    | Function
    | Channel
    | Address
    | Duration
    | Time
    | ContextChain
)
