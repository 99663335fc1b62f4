"""A script's maps: made, read by epoch, cleaned of what nobody will ask for any more."""

from __future__ import annotations

import struct
import time
from collections.abc import Collection, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from msgspec import Struct

from gotap.bpf.codegen.aggregation import COUNT, LEAST, MAXIMUM, SUM
from gotap.bpf.codegen.script.keys import EPOCHS, PREFIX, key_parts, key_size
from gotap.bpf.codegen.script.scriptmaps import is_signed, kept, map_name, value_size
from gotap.bpf.enums import MapFlags, MapType
from gotap.bpf.machine import Machine, Map
from gotap.probe.script.bound import MapKind, MapSpec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SIGN = 1 << 63
#: Seconds between two looks for intervals of time series that nobody will ask for any more.
_TIDY_INTERVAL = 1.0
#: How many times as large maps are that a script clears: what was cleared takes room until its events have been read.
#: Maps that have their memory from the start grow less.
_CLEARED_ROOM, _CLEARED_ROOM_PREALLOCATED = 4, 2


class Entry(Struct, frozen=True):
    """What one key holds. `parts`: raw bytes of the key's parts, the bucket last; `target`: number of the process.

    `value`: bytes of a map of values. Of the others count, sum, least and greatest over all CPUs, as far as the map's
    kind keeps them (else 0), signed if its values are.
    """

    target: int
    parts: tuple[bytes, ...]
    value: bytes = b""
    count: int = 0
    sum: int = 0
    least: int = 0
    greatest: int = 0


class Reading(Protocol):
    """How far a ring has been read: bytes since it was made."""

    @property
    def read_bytes(self) -> int: ...

    @property
    def written_bytes(self) -> int: ...


class _Ended(Struct, frozen=True):
    """Events that ask for epochs before `epoch` were written before this place of the ring."""

    epoch: int = 0
    place: int = 0


class ScriptMaps:
    """Owns the maps of one script, whatever it watches."""

    def __init__(self, machine: Machine, specs: Sequence[MapSpec], *, grows: bool, cleared: Collection[int] = ()
                 ) -> None:  # fmt: skip
        """`grows`: maps may take memory as they need it; `cleared`: numbers of the maps that the script clears."""
        self.specs = {spec.number: spec for spec in specs}
        self._maps: dict[str, Map] = {}
        self._tidied = time.monotonic()
        self._cleared = frozenset(cleared)
        self._ended: dict[int, _Ended] = {}  # by map: what is to be given up next
        self._forgotten: dict[int, int] = {}  # map → the epoch before which nothing is left
        room = _CLEARED_ROOM if grows else _CLEARED_ROOM_PREALLOCATED
        lazily = MapFlags.NO_PREALLOC if grows else 0
        try:
            self._maps[EPOCHS] = machine.make_map(MapType.ARRAY, 4, 8 * (max(self.specs, default=0) + 1), 1, 0, EPOCHS)
            for spec in specs:
                kind = MapType.HASH if spec.kind is MapKind.VALUE else MapType.PERCPU_HASH
                entries = spec.entries * (room if spec.number in self._cleared else 1)
                sizes = key_size(spec), value_size(spec), entries
                self._maps[map_name(spec)] = machine.make_map(kind, *sizes, lazily, f"gotap_{map_name(spec)}")
        except BaseException:
            self.close()
            raise

    @property
    def by_name(self) -> dict[str, Map]:
        """As programs refer to them."""
        return dict(self._maps)

    def epoch(self, number: int) -> int:
        """The epoch that what is stored now belongs to."""
        value = self._maps[EPOCHS].lookup(bytes(4))
        assert value is not None
        epoch: int = struct.unpack_from("<I", value, 8 * number)[0]
        return epoch

    def read(self, number: int, epoch: int | None = None) -> list[Entry]:
        """The entries of an epoch, by default of the present one, in no order. While programs write, each entry is what
        it was at some moment of the reading."""
        spec, map = self.specs[number], self._maps[map_name(self.specs[number])]
        keys, values = map.entries()
        wanted = self.epoch(number) if epoch is None else epoch
        chosen = keys[:, :4].copy().view("<u4")[:, 0] == wanted
        heads = [_split(spec, key) for key in _rows(keys[chosen])]
        if spec.kind is MapKind.VALUE:
            return [Entry(*head, value) for head, value in zip(heads, _rows(values[chosen]), strict=True)]
        columns = _merged(spec, values[chosen])
        return [Entry(*head, b"", *row) for head, row in zip(heads, zip(*columns, strict=True), strict=True)]

    def forget(self, number: int, before: int) -> int:
        """Deletes what belongs to epochs other than those from `before` on; how many entries."""
        map = self._maps[map_name(self.specs[number])]
        stale = [key for key in map.keys() if _age(key, before) < 0]  # noqa: SIM118
        return sum(map.delete(key) for key in stale)

    def trim(self, number: int) -> int:
        """Deletes the intervals of a time series that are no longer shown, so that there is room for the next."""
        spec, map = self.specs[number], self._maps[map_name(self.specs[number])]
        if spec.kind is not MapKind.TSERIES:
            return 0
        keys = list(map.keys())
        latest = max((_interval(key) for key in keys), default=0)
        old = [key for key in keys if _interval(key) <= latest - spec.parameters[1]]
        return sum(map.delete(key) for key in old)

    def tidy(self, ring: Reading) -> None:
        """Gives up what nobody will ask for any more. To be called before each reading of the ring, when everything
        that was read before has been dealt with.

        Epochs go as soon as all events have been read that were written while they lasted; intervals of time series
        once a second, however often this is called.
        """
        for number in self._cleared:
            self._forget_ended(number, ring)
        now = time.monotonic()
        if now - self._tidied >= _TIDY_INTERVAL:
            self._tidied = now
            for number in self.specs:
                self.trim(number)

    def _forget_ended(self, number: int, ring: Reading) -> None:
        ended = self._ended.get(number, _Ended())
        if ring.read_bytes < ended.place:
            return
        if ended.epoch != self._forgotten.get(number, 0):
            self.forget(number, ended.epoch)
            self._forgotten[number] = ended.epoch
        epoch = self.epoch(number)  # before the place: what asks for the epoch before was written by then
        self._ended[number] = _Ended(epoch, ring.written_bytes)

    def memory(self) -> int:
        """Bytes of memory."""
        return sum(map.memory() for map in self._maps.values())

    def close(self) -> None:
        for map in self._maps.values():
            map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self.close()


def _age(key: bytes, epoch: int) -> int:
    """How many epochs the key's is behind (negative) or ahead of `epoch`; the number wraps."""
    own: int = struct.unpack_from("<I", key)[0]
    return (own - epoch + 0x80000000 & 0xFFFFFFFF) - 0x80000000


def _interval(key: bytes) -> int:
    """The bucket of a time series, the key's last part."""
    interval: int = struct.unpack_from("<Q", key, len(key) - 8)[0]
    return interval


def _rows(array: NDArray[np.uint8]) -> list[bytes]:
    """The rows of a two-dimensional array of bytes."""
    data, width = array.tobytes(), array.shape[1]
    return [data[at : at + width] for at in range(0, len(data), width)]


def _split(spec: MapSpec, key: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Target and parts of a key."""
    target: int = struct.unpack_from("<I", key, 4)[0]
    parts, at = [], PREFIX
    for part in key_parts(spec):
        parts.append(key[at : at + part.size])
        at += part.size
    return target, tuple(parts)


def _merged(spec: MapSpec, values: NDArray[np.uint8]) -> list[list[int]]:
    """Count, sum, least and greatest of each row, its CPUs together; zeros for what the map does not keep."""
    import numpy as np

    size, signed = value_size(spec), is_signed(spec)
    words = np.ascontiguousarray(values).view(np.uint64).reshape(len(values), values.shape[1] // size, size // 8)
    sign = np.uint64(_SIGN if signed else 0)
    columns = []
    for offset in (COUNT, SUM, LEAST, MAXIMUM):
        if offset not in kept(spec):
            columns.append([0] * len(values))
            continue
        column = words[:, :, offset // 8]
        if offset in (COUNT, SUM):
            found = column.sum(axis=1, dtype=np.uint64)
        else:
            greatest = column.max(axis=1)
            found = (~greatest if offset == LEAST else greatest) ^ sign
        columns.append(found.view(np.int64 if signed and offset != COUNT else np.uint64).tolist())
    return columns
