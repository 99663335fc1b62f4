"""Damage to a seed, decided by a random generator alone, so that a number brings any input back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x20, 0x2F, 0x0A, 0x1B, 0x28, 0x29)
_MOST_DAMAGES = 4
#: An input stays within this factor and number of bytes of its seed's length: long inputs cost time and find no more.
_MOST_GROWTH = 2, 256


class Seed(NamedTuple):
    """A well-formed input. `fields`: (offset, size) of numbers in it; `order`: "little" or "big"."""

    name: str
    content: bytes
    fields: Sequence[tuple[int, int]] = ()
    order: str = "little"


def mutated(random: Random, seeds: Sequence[Seed]) -> bytes:
    """One to four damages to one of the seeds."""
    seed = seeds[random.randrange(len(seeds))]
    out = bytearray(seed.content)
    for _ in range(1 + random.randrange(_MOST_DAMAGES)):
        if not out:
            break
        if seed.fields and random.random() < 0.5:
            _set_field(random, out, seed)
        elif random.random() < 0.05:
            _splice(random, out, seeds[random.randrange(len(seeds))].content)
        else:
            _DAMAGES[random.randrange(len(_DAMAGES))](random, out)
    return bytes(out[: _MOST_GROWTH[0] * len(seed.content) + _MOST_GROWTH[1]])


def _set_field(random: Random, out: bytearray, seed: Seed) -> None:
    at, size = seed.fields[random.randrange(len(seed.fields))]
    if at + size <= len(out):
        _write(out, at, size, seed.order, _value(random, out, at, size, seed.order))


def _value(random: Random, out: bytearray, at: int, size: int, order: str) -> int:
    """A number that is likely to matter: a limit, one near the file's size, or one near what stands there."""
    kind = random.randrange(6)
    top = 1 << 8 * size
    if kind == 0:
        return random.choice((0, 1, top - 1, top - 2, top >> 1, (top >> 1) - 1, top >> 4, top >> 2))
    if kind == 1:
        return len(out) + random.randint(-16, 16)
    if kind == 2:
        return random.randrange(len(out) + 1)
    if kind == 3:
        return 1 << random.randrange(8 * size)
    if kind == 4:
        return random.getrandbits(8 * size)
    old = int.from_bytes(out[at : at + size], order)  # type: ignore[arg-type]
    return old + random.choice((-8, -4, -2, -1, 1, 2, 4, 8, 16, 256, 4096, old))


def _write(out: bytearray, at: int, size: int, order: str, value: int) -> None:
    out[at : at + size] = (value & (1 << 8 * size) - 1).to_bytes(size, order)  # type: ignore[arg-type]


def _flip(random: Random, out: bytearray) -> None:
    out[random.randrange(len(out))] ^= 1 << random.randrange(8)


def _set_byte(random: Random, out: bytearray) -> None:
    out[random.randrange(len(out))] = random.choice(_BYTES)


def _random_byte(random: Random, out: bytearray) -> None:
    out[random.randrange(len(out))] = random.randrange(256)


def _set_word(random: Random, out: bytearray) -> None:
    size = random.choice((2, 4, 8))
    at = random.randrange(len(out))
    if random.random() < 0.75:
        at -= at % size
    if at + size <= len(out):
        order = random.choice(("little", "big"))
        _write(out, at, size, order, _value(random, out, at, size, order))


def _truncate(random: Random, out: bytearray) -> None:
    del out[random.randrange(len(out)) :]


def _block(random: Random, out: bytearray) -> tuple[int, int]:
    start = random.randrange(len(out))
    return start, min(start + (1 << random.randrange(9)), len(out))


def _copy(random: Random, out: bytearray) -> None:
    start, end = _block(random, out)
    at = random.randrange(len(out))
    out[at : at + end - start] = out[start:end]


def _insert(random: Random, out: bytearray) -> None:
    start, end = _block(random, out)
    at = random.randrange(len(out))
    out[at:at] = out[start:end]


def _remove(random: Random, out: bytearray) -> None:
    start, end = _block(random, out)
    del out[start:end]


def _repeat(random: Random, out: bytearray) -> None:
    start, end = _block(random, out)
    out[end:end] = out[start : min(end, start + 32)] * random.randrange(1, 9)


def _fill(random: Random, out: bytearray) -> None:
    start, end = _block(random, out)
    out[start:end] = bytes((random.choice((0, 0xFF, 0x80, 0x41)),)) * (end - start)


def _splice(random: Random, out: bytearray, other: bytes) -> None:
    """The rest from another seed."""
    at = random.randrange(len(out))
    out[at:] = other[min(at, len(other)) :] if random.random() < 0.5 else other[random.randrange(len(other) or 1) :]


_DAMAGES: tuple[Callable[[Random, bytearray], None], ...] = (
    _flip, _flip, _flip, _set_byte, _set_byte, _random_byte, _set_word, _set_word, _truncate, _copy, _insert, _remove,
    _repeat, _fill,
)  # fmt: skip
