"""What routines that fire once mean, without BPF: the oracle for their programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gotap.probe import ir
from gotap.probe.record import Column
from gotap.probe.script.bound import MapKind, MapSpec, PartKind
from gotap.probe.script.routine import (
    LOOP_LIMIT,
    OWN_TEXT_LIMIT,
    Branch,
    ClearMap,
    Emit,
    Loop,
    Remove,
    SetLocal,
    SetOwn,
    Statement,
    Store,
    Tally,
    Watch,
)

M64 = (1 << 64) - 1
COMPARED = 512

#: A text: the bytes that are kept, the full length.
Kept = tuple[bytes, int]


class Unreadable(Exception):
    """A word fails."""


@dataclass
class Seen:
    """An event: its number, and its columns that are present."""

    event: int
    columns: dict[str, int | Kept]


@dataclass
class Model:
    """One goroutine's world. `memory`: bytes at an address, None where there are none."""

    memory: Callable[[int, int], bytes | None]
    maps: Mapping[int, MapSpec]
    own_texts: frozenset[int] = frozenset()
    comm: bytes = b""
    locals: dict[int, int] = field(default_factory=dict)
    own: dict[int, int | Kept] = field(default_factory=dict)
    stored: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    tallied: dict[int, dict[bytes, tuple[int, int, int, int]]] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    events: list[Seen] = field(default_factory=list)
    skipped: int = 0  # statements that failed
    cut: int = 0  # loops
    inputs: Mapping[ir.Input, int] = field(default_factory=dict)

    def fire(self, watch: Watch, inputs: Mapping[ir.Input, int]) -> None:
        self.inputs = inputs
        self.locals = {}
        try:
            if not all(self.word(word) for word in watch.when):
                return
        except Unreadable:
            return
        self.run(watch.body)

    # Statements

    def run(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            try:
                self.statement(statement)
            except Unreadable:
                self.skipped += 1

    def statement(self, statement: Statement) -> None:
        match statement:
            case SetLocal(slot, value):
                self.locals[slot] = self.word(value)
            case SetOwn(slot, value, add):
                if isinstance(value, ir.AnyText):
                    self.own[slot] = self.text(value, OWN_TEXT_LIMIT)
                else:
                    before = self.own.get(slot, 0) if add else 0
                    assert isinstance(before, int)
                    self.own[slot] = self.word(value) + before & M64
            case Store():
                self.store(statement)
            case Tally():
                self.tally(statement)
            case Remove(map, keys):
                self.stored.get(map, {}).pop(self.key(map, keys), None)
            case ClearMap(map):
                self.epochs[map] = self.epochs.get(map, 0) + 1
            case Emit(event, captures):
                seen: dict[str, int | Kept] = {}
                for capture in captures:
                    self.capture(capture, seen)
                self.events.append(Seen(event, seen))
            case Branch(when, then, otherwise):
                self.run(then if self.word(when) else otherwise)
            case Loop(slot, first, limit, body):
                start, end = signed(self.word(first)), signed(self.word(limit))
                if end - start > LOOP_LIMIT:
                    self.cut += 1
                for value in range(start, min(end, start + LOOP_LIMIT)):
                    self.locals[slot] = value & M64
                    self.run(body)

    def capture(self, capture: ir.Capture, seen: dict[str, int | Kept]) -> None:
        column: Column = capture.column
        for alternative in capture.alternatives:
            try:
                if not all(self.word(condition) for condition in alternative.conditions):
                    continue
                value = alternative.value
                text = isinstance(value, ir.AnyText)
                seen[column.name] = self.text(value, column.limit) if text else self.word(value)  # type: ignore[arg-type]
            except Unreadable:
                continue
            return

    def store(self, store: Store) -> None:
        limit = self.maps[store.map].value.size - 8
        if isinstance(store.value, ir.AnyText):
            data = packed(self.text(store.value, limit), limit)
        else:
            data = self.word(store.value).to_bytes(8, "little")
        entries = self.stored.setdefault(store.map, {})
        key = self.key(store.map, store.keys)
        if store.add and key in entries:
            data = (int.from_bytes(data, "little") + int.from_bytes(entries[key], "little") & M64).to_bytes(8, "little")
        entries[key] = data

    def tally(self, tally: Tally) -> None:
        spec = self.maps[tally.map]
        value = 1 if spec.kind is MapKind.COUNT else self.word(tally.value)
        number = signed(value) if spec.value.kind is PartKind.INT else value
        entries = self.tallied.setdefault(tally.map, {})
        key = self.key(tally.map, tally.keys)
        count, sum, least, greatest = entries.get(key, (0, 0, number, number))
        entries[key] = count + 1, sum + number, min(least, number), max(greatest, number)

    def key(self, map: int, keys: Sequence[ir.Key]) -> bytes:
        """The key's parts behind the map's epoch."""
        out = self.epochs.get(map, 0).to_bytes(4, "little")
        for part, key in zip(self.maps[map].keys, keys, strict=True):
            assert not isinstance(key, ir.Stack)
            if isinstance(key, ir.AnyText):
                out += packed(self.text(key, part.size - 8), part.size - 8)
            else:
                out += self.word(key).to_bytes(8, "little")
        return out

    # Texts

    def text(self, text: ir.AnyText, limit: int) -> Kept:
        match text:
            case ir.Text(pointer, length):
                size, address = self.word(length), self.word(pointer)
                data = self.memory(address, min(size, limit)) if size else b""
                if data is None:
                    raise Unreadable
                return data, size
            case ir.ConstText(value):
                return value[:limit], len(value)
            case ir.AmbientText():
                return self.comm[:limit], len(self.comm)
            case ir.OwnText(slot):
                value = self.own.get(slot, (b"", 0))
                assert isinstance(value, tuple)
                return value[0][:limit], value[1]
            case ir.StoredText(map, keys):
                data = self.stored.get(map, {}).get(self.key(map, keys))
                if data is None:
                    raise Unreadable
                size = int.from_bytes(data[:8], "little")
                return data[8 : 8 + min(size, limit)], size
            case ir.Chosen(alternatives):
                for alternative in alternatives:
                    try:
                        if all(self.word(condition) for condition in alternative.conditions):
                            return self.text(alternative.value, limit)  # type: ignore[arg-type]
                    except Unreadable:
                        continue
                raise Unreadable
            case _:
                raise NotImplementedError(text)

    def whole(self, text: ir.AnyText) -> bytes:
        """A text that is compared."""
        data, size = self.text(text, COMPARED)
        if size > len(data):
            raise Unreadable
        return data

    # Words

    def word(self, word: ir.Word) -> int:
        match word:
            case ir.Const(value):
                return value & M64
            case ir.Input():
                return self.inputs[word]
            case ir.Load(base, offset, size, is_signed):
                address = self.word(base)
                data = self.memory(address + offset & M64, size) if address else None
                if data is None:
                    raise Unreadable
                return int.from_bytes(data, "little", signed=is_signed) & M64
            case ir.Local(slot):
                return self.locals.get(slot, 0)
            case ir.Own(slot):
                value = self.own.get(slot, 0)
                assert isinstance(value, int)
                return value
            case ir.Stored(map, keys):
                return int.from_bytes(self.stored.get(map, {}).get(self.key(map, keys), b""), "little")
            case ir.TextEquals(text, value):
                if self.word(text.length) != len(value):
                    return 0
                return self.text(text, len(value))[0] == value
            case (
                ir.TextsEqual(ir.Text() as text, ir.ConstText(value))
                | ir.TextsEqual(ir.ConstText(value), ir.Text() as text)
            ):
                if self.word(text.length) != len(value) and len(value) <= 64:
                    return 0  # known without looking at it
                return self.whole(text) == value
            case ir.TextsEqual(left, right):
                return self.whole(left) == self.whole(right)
            case ir.Logic(operator, left, right):
                first = self.word(left)
                if bool(first) == (operator == "||"):
                    return bool(first)
                return bool(self.word(right))
            case ir.Not(operand):
                return not self.word(operand)
            case _:
                return self.calculated(word) & M64

    def calculated(self, word: ir.Word) -> int:
        match word:
            case ir.Add(left, right):
                return self.word(left) + self.word(right)
            case ir.Subtract(left, right):
                return self.word(left) - self.word(right)
            case ir.Compare(operator, left, right, is_signed):
                a, b = self.word(left), self.word(right)
                if is_signed:
                    a, b = signed(a), signed(b)
                return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[operator]
            case ir.Arithmetic(operator, left, right, is_signed):
                return arithmetic(operator, self.word(left), self.word(right), is_signed)
            case ir.Log2(operand):
                return max(self.word(operand).bit_length() - 1, 0)
            case ir.Linear(operand, low, high, step):
                value = signed(self.word(operand))
                if value < low:
                    return 0
                return -(-(high - low) // step) + 1 if value >= high else (value - low) // step + 1
            case ir.LogLinear(operand, bits, is_signed):
                value = self.word(operand)
                if is_signed and signed(value) < 0:
                    return ~log_linear(~value & M64, bits)
                return log_linear(value, bits)
            case _:
                raise NotImplementedError(word)


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def log_linear(value: int, bits: int) -> int:
    if value < 1 << bits:
        return value
    exponent = value.bit_length() - 1
    return (exponent - bits + 1) << bits | value >> exponent - bits & (1 << bits) - 1


def arithmetic(operator: str, left: int, right: int, is_signed: bool) -> int:
    """As Go calculates, but for shifts by negative numbers."""
    count = min(right, 64)
    match operator:
        case "*":
            return left * right
        case "&":
            return left & right
        case "|":
            return left | right
        case "^":
            return left ^ right
        case "<<":
            return left << count
        case ">>":
            return (signed(left) if is_signed else left) >> count
    if right == 0:
        raise Unreadable
    a, b = (signed(left), signed(right)) if is_signed else (left, right)
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return quotient if operator == "/" else a - quotient * b


def packed(text: Kept, limit: int) -> bytes:
    """As keys and values of maps hold texts."""
    return text[1].to_bytes(8, "little") + text[0][:limit].ljust(limit, b"\0")
