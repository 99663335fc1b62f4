"""What binding works with, and what it makes: shared by the binders of each kind of probe."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import cached_property

from msgspec import Struct, field

from gotap.errors import GotapError
from gotap.image.function_code import SitesFor
from gotap.image.image import Image
from gotap.probe.compiler import Compiler
from gotap.probe.functions.matching import Functions
from gotap.probe.places import BoundSite, Places
from gotap.probe.record import Layout
from gotap.probe.script.binding.points import GoPoints
from gotap.probe.script.bound import BoundRoutine, Origin
from gotap.probe.script.compiling.frames import FrameBuilder
from gotap.probe.script.compiling.globals import Globals
from gotap.probe.script.language import tree
from gotap.probe.script.language.source import ScriptError, error_at
from gotap.probe.script.routine import Routine, Unwound
from gotap.probe.shapes import Shapes
from gotap.probe.typing import Types

#: Records are no longer than this: offsets in them have 16 bits.
LARGEST_RECORD = 32760

#: Sites with their cookies.
Sites = Sequence[tuple[BoundSite, int]]


class NothingFound(ScriptError):
    """A pattern that means nothing in this program."""


class NeedsProgram(GotapError):
    """A script with probes in a Go program, and no program."""


class Context(Struct, dict=True):
    """`image` None: no probe may be Go's. `most_probes`: sites that one pattern may have."""

    shared: Globals
    compiler: Compiler
    types: Types
    most_probes: int
    image: Image | None = None
    shapes: Shapes | None = None
    known_functions: Functions | None = None
    sites_for: SitesFor = SitesFor.UPROBES
    routines: list[BoundRoutine] = field(default_factory=list)
    layouts: dict[int, Layout] = field(default_factory=dict)
    unwound: list[Unwound] = field(default_factory=list)  # calls that may end without returning
    frames: list[FrameBuilder] = field(default_factory=list)
    locals: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @cached_property
    def points(self) -> GoPoints:
        image = self.program
        return GoPoints(image, Places(image, self.types, self.sites_for))

    @cached_property
    def functions(self) -> Functions:
        return self.known_functions or Functions(self.program)

    @property
    def program(self) -> Image:
        if self.image is None:
            raise NeedsProgram("the script probes a Go program, and none is named", "name it: -p PID, or -c COMMAND")
        return self.image

    def error(self, at: int, message: str, remedy: str = "") -> ScriptError:
        return error_at(self.shared.script, at, message, remedy)

    def frame(self, name: str) -> FrameBuilder:
        made = FrameBuilder(self.shared, self.shapes, next(self.numbers), name)
        self.frames.append(made)
        return made

    def layout(self, frame: FrameBuilder) -> Layout:
        """The frame's layout, when nothing more is to be captured into it."""
        layout = self.layouts[frame.number] = frame.layout(LARGEST_RECORD)
        return layout

    def add(
        self, probe: tree.Probe, number: int, routine: Routine, sites: Sites = (), origin: Origin | None = None
    ) -> None:
        self.routines.append(BoundRoutine(probe.text, number, routine, tuple(sites), origin))

    def record_size(self) -> int:
        """Bytes of the largest record."""
        size = 256
        for frame in self.frames:
            layout = self.layouts.get(frame.number)
            if layout is not None:
                texts = sum(column.limit + 8 for column in layout.columns)
                values = self.shared.limits.total if frame.has_values else 0
                size = max(size, min(layout.heap_offset + texts + values, LARGEST_RECORD))
        return -(-size // 8) * 8
