"""What runs programs: the kernel, or machine code inside the target. `observe` works with either through these.

A machine makes maps and rings, loads programs that refer to them by name, and puts programs on places of an executable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from gotap.bpf.enums import MapType, ProgramType, Update

if TYPE_CHECKING:  # what only asks the kernel what it can do comes without them
    import numpy as np
    from numpy.typing import NDArray

    from gotap.bpf.code import Code
    from gotap.image.code import Cost
    from gotap.probe.script.bound import Origin

#: (file offset of the instruction, cookie that the program gets from GET_ATTACH_COOKIE)
Site = tuple[int, int]

#: What is done again and again while something else takes long.
Meanwhile = Callable[[], None] | None


class Executable(Struct, frozen=True):
    """A process to attach to. `path` leads to the very file the process runs, as /proc/PID/exe does."""

    pid: int  # as gotap sees it
    tgid: int | None  # in the initial pid namespace, None when gotap runs in another one
    path: str
    bias: int


class ProgramStats(Struct, frozen=True):
    """Since load, while statistics were switched on; `missed` runs were refused by the recursion guard."""

    run_time_ns: int
    runs: int
    missed: int


class Source(Struct, frozen=True):
    """A program to be loaded. `maps`: by the names it refers to."""

    code: Code
    maps: Mapping[str, Map]
    kind: ProgramType = ProgramType.KPROBE


class Attachable(Struct, frozen=True):
    """A loaded program, and where it is to go: to sites of the target, or to where its origin says.

    `begins`: what it sees begin needs the ends that others see: it fires only when those are in place.
    """

    program: Program
    sites: Sequence[Site] = ()
    origin: Origin | None = None
    begins: bool = False


class HasFeatures(Protocol):
    """What a machine can do, by the ids of `gotap doctor`."""

    def has(self, feature: str) -> bool: ...


class Map(Protocol):
    """Keys and values are bytes of exactly the map's sizes; a per-CPU value is one value per CPU of the machine, each
    rounded up to 8 bytes, one after the other."""

    kind: MapType
    key_size: int
    value_size: int
    max_entries: int
    name: str

    def lookup(self, key: bytes) -> bytes | None: ...

    def lookup_sum(self, key: bytes) -> NDArray[np.uint64] | None:
        """The value as 64-bit words, summed over the CPUs."""
        ...

    def update(self, key: bytes, value: bytes, mode: Update = Update.ANY) -> bool:
        """False when `mode` forbids it: the key is there (NOEXIST) or is not (EXIST)."""
        ...

    def delete(self, key: bytes) -> bool:
        """False when the key was not there."""
        ...

    def keys(self) -> Iterator[bytes]: ...

    def entries(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """All keys (n, key_size) and values (n, bytes)."""
        ...

    def items(self) -> Iterator[tuple[bytes, bytes]]: ...

    def memory(self) -> int:
        """Bytes it takes."""
        ...

    def close(self) -> None: ...


class Ring(Protocol):
    """Records out, in columns: see gotap.kernel.ring."""

    size: int

    @property
    def map(self) -> Map: ...

    @property
    def read_bytes(self) -> int: ...

    @property
    def written_bytes(self) -> int: ...

    def fileno(self) -> int: ...

    def waiting(self) -> int: ...

    def wait(self, timeout: float) -> bool: ...

    def read(self) -> list[NDArray[np.uint8]]: ...

    def read_placed(self) -> list[tuple[NDArray[np.uint8], NDArray[np.int64]]]: ...

    def memory(self) -> int: ...

    def close(self) -> None: ...


class Program(Protocol):
    def stats(self) -> ProgramStats: ...

    def close(self) -> None: ...


class Link(Protocol):
    """Holds a program in its places until the machine closes it."""

    @property
    def sites(self) -> int: ...


class Machine(Protocol):
    """Runs programs of one session; whoever makes it closes it, after maps, rings and links are closed."""

    @property
    def features(self) -> HasFeatures: ...

    @property
    def inside(self) -> bool:
        """Programs run within their target, so that none need ask which process it is."""
        ...

    @property
    def unmeasured(self) -> float:
        """ns that a program's run is taken to last where nobody measures it."""
        ...

    @property
    def cpus(self) -> int:
        """How many values a per-CPU value is."""
        ...

    def make_map(self, kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = ""
                 ) -> Map: ...  # fmt: skip

    def make_array(self, name: str, rows: NDArray[np.void] | NDArray[np.uint64]) -> Map:
        """An array that holds these rows, one element at least. Rows are a multiple of 8 bytes, as elements are."""
        ...

    @property
    def own_frames(self) -> bool:
        """Each thread has a frame of its own in what `make_frames` makes: a lookup finds it, whatever the key."""
        ...

    def make_frames(self, size: int, count: int, name: str) -> Map:
        """An array of frames of so many bytes, which programs at work take; as many as `count` or as threads need."""
        ...

    def make_ring(self, size: int, name: str = "ring") -> Ring:
        """`size`: bytes, a power of two and whole pages."""
        ...

    def load(self, sources: Iterable[Source], meanwhile: Meanwhile = None) -> list[Program]:
        """Loads programs, in that order; when one cannot be loaded none stays."""
        ...

    def attach(self, executable: Executable | None, wanted: Sequence[Attachable], *, user_only: bool = False
               ) -> list[Link]:  # fmt: skip
        """Puts programs in their places, in that order: all or none. At one instruction, what went in last runs first.

        `user_only`: a profile does not fire while a CPU is in the kernel.
        """
        ...

    def detach(self, links: Sequence[Link], meanwhile: Meanwhile = None) -> None:
        """Takes programs out of their places; the target's code is as it was there when this returns."""
        ...

    def losses(self) -> Mapping[str, int]:
        """Hits that no program has seen, by why."""
        ...

    def run(self, program: Program) -> None:
        """Runs a program that is attached to nothing, once."""
        ...

    def set_program(self, map: Map, index: int, program: Program) -> None:
        """Where tail calls by this number go; the map keeps the program."""
        ...

    def measuring(self) -> AbstractContextManager[bool]:
        """While it is open `Program.stats` measures: whether it can."""
        ...

    def trap_cost(self, cost: Cost) -> float:
        """ns that a hit of such a site takes besides its program."""
        ...
