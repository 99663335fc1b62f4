"""How programs about calls go to each other: one that finds open calls deeper than its own goes to the unwinder, which
ends them and goes back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from gotap.kernel.attach import HasFeatures
from gotap.kernel.bpf import Map, Program
from gotap.kernel.code import Code
from gotap.kernel.syscalls import MapType, ProgramType
from gotap.kernel.tracing.origins import load_type
from gotap.kernel.tracing.programs import Loaded
from gotap.probe.script.routine import Enter, Leave, Unwind


class Unwinders:
    """The program array of one attachment; closing it lets go of the unwinder."""

    def __init__(self, programs: int) -> None:
        """`programs`: how many are loaded; a program's number is its place among them."""
        self.map = Map.create(MapType.PROG_ARRAY, 4, 4, 1 + programs, name="gotap_unwinders")

    def fill(
        self,
        loaded: Sequence[Loaded],
        unwinder: Code | None,
        descriptors: Callable[[ProgramType], Mapping[str, int]],
        features: HasFeatures,
    ) -> None:
        """Before anything is attached. Programs in the array live as long as it does, whoever lets go of them."""
        for number, one in enumerate(loaded):
            if isinstance(one.part.routine.routine, Enter | Leave | Unwind):
                self._put(1 + number, one.program)
        if unwinder is None:
            return
        kind, purpose = ProgramType.KPROBE, load_type(None, features)
        code = unwinder.bytes(descriptors(kind))
        with Program.load(code, kind, "gotap_unwinder", subprograms=unwinder.subprograms, attach_type=purpose) as made:
            self._put(0, made)

    def _put(self, index: int, program: Program) -> None:
        self.map.update(struct.pack("<I", index), struct.pack("<I", program.fd))

    def close(self) -> None:
        self.map.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self.close()
