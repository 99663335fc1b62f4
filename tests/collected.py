"""A machine that runs nothing: what programs gotap makes for a script or a catalogue, on which maps."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gotap.bpf.code import Code
from gotap.bpf.enums import MapType, Update
from gotap.bpf.machine import Attachable, Executable, HasFeatures, Link, Map, Meanwhile, Program, ProgramStats, Source
from gotap.image.code import Cost


@dataclass
class EmptyMap:
    kind: MapType
    key_size: int
    value_size: int
    max_entries: int
    name: str

    def lookup(self, key: bytes) -> bytes | None:
        return bytes(self.value_size)

    def lookup_sum(self, key: bytes) -> NDArray[np.uint64] | None:
        return np.zeros(self.value_size // 8, np.uint64)

    def update(self, key: bytes, value: bytes, mode: Update = Update.ANY) -> bool:
        return True

    def delete(self, key: bytes) -> bool:
        return False

    def keys(self) -> Iterator[bytes]:
        return iter(())

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(())

    def entries(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        return np.empty((0, self.key_size), np.uint8), np.empty((0, self.value_size), np.uint8)

    def memory(self) -> int:
        return 0

    def close(self) -> None:
        pass


@dataclass
class EmptyRing:
    size: int
    map: Map
    read_bytes: int = 0
    written_bytes: int = 0

    def fileno(self) -> int:
        return -1

    def waiting(self) -> int:
        return 0

    def wait(self, timeout: float) -> bool:
        return False

    def read(self) -> list[NDArray[np.uint8]]:
        return []

    def read_placed(self) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        return []

    def memory(self) -> int:
        return 0

    def close(self) -> None:
        pass


class Idle:
    """A loaded program."""

    def stats(self) -> ProgramStats:
        return ProgramStats(0, 0, 0)

    def close(self) -> None:
        pass


class Everything:
    def has(self, feature: str) -> bool:
        return True


@dataclass
class Attached:
    sites: int


@dataclass
class CollectingMachine:
    """`sources`: what was loaded, in order."""

    features: HasFeatures = field(default_factory=Everything)
    cpus: int = 8
    inside: bool = True
    unmeasured: float = 0.0
    sources: list[Source] = field(default_factory=list)

    def make_map(self, kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = ""
                 ) -> Map:  # fmt: skip
        return EmptyMap(kind, key_size, value_size, max_entries, name)

    own_frames: bool = False

    def make_frames(self, size: int, count: int, name: str) -> Map:
        return self.make_map(MapType.ARRAY, 4, size, count, name=name)

    def make_array(self, name: str, rows: NDArray[np.void] | NDArray[np.uint64]) -> Map:
        return EmptyMap(MapType.ARRAY, 4, rows.itemsize, max(len(rows), 1), name)

    def make_ring(self, size: int, name: str = "ring") -> EmptyRing:
        return EmptyRing(size, EmptyMap(MapType.RINGBUF, 0, 0, size, name))

    def load(self, sources: Iterable[Source], meanwhile: Meanwhile = None) -> list[Program]:
        new = list(sources)
        self.sources += new
        return [Idle() for _ in new]

    def attach(self, executable: Executable | None, wanted: Sequence[Attachable], *, user_only: bool = False
               ) -> list[Link]:  # fmt: skip
        return [Attached(len(one.sites)) for one in wanted]

    def detach(self, links: Sequence[Link], meanwhile: Meanwhile = None) -> None:
        pass

    def run(self, program: Program) -> None:
        pass

    def set_program(self, map: Map, index: int, program: Program) -> None:
        pass

    @contextlib.contextmanager
    def measuring(self) -> Iterator[bool]:
        yield False

    def look(self) -> None:
        pass

    def losses(self) -> dict[str, int]:
        return {}

    def trap_cost(self, cost: Cost) -> float:
        return 0.0

    @property
    def codes(self) -> list[Code]:
        return [source.code for source in self.sources]
