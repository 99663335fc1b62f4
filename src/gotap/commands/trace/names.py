"""What addresses, sites and types of the traced program are called, and what its values' bytes mean."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from gotap.errors import GotapError
from gotap.image.image import Image
from gotap.image.types.rtype import RuntimeTypes
from gotap.probe.catalogue import runtime
from gotap.probe.functions.closures import Closures
from gotap.probe.functions.made import meant_name
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.pattern import plain_name
from gotap.probe.functions.signatures import Signatures
from gotap.probe.script.bound import Part, SiteInfo
from gotap.probe.script.limits import Limits
from gotap.probe.sources import types_of
from gotap.probe.typing import Types
from gotap.process.memory import Memory as ProcessMemory
from gotap.process.proc import Process
from gotap.signals.stacks import Frame, StackFrames
from gotap.signals.values import (
    Context,
    Hole,
    ImageMemory,
    LiveMemory,
    Memory,
    Moments,
    SnapshotMemory,
    Unavailable,
    Value,
    decode,
    loaded_range,
    moments,
)

#: Addresses whose names stay known.
_MOST_NAMES = 1 << 16


class NoNames:
    """Where nothing of a Go program is traced."""

    def __init__(self, sites: Sequence[SiteInfo] = ()) -> None:
        self._sites = sites
        self.bias = 0

    def code(self, address: int) -> str:
        return f"{address:#x}"

    type = code

    def site(self, number: int) -> SiteInfo | None:
        return self._sites[number] if number < len(self._sites) else None

    def stack(self, addresses: Sequence[int]) -> list[Frame]:
        return [Frame(self.code(address), "", 0) for address in addresses]

    def memory(self, record: bytes, start: int, end: int, flags: int) -> Moments:
        return Moments([(0, SnapshotMemory(()))])

    def value(self, part: Part, root: bytes, memory: Memory) -> Value:
        return Unavailable(f"no program describes {part.type}")


class ProgramNames(NoNames):
    """Names of one Go program at one place in memory; what most events do not need is read when it is asked for."""

    def __init__(self, image: Image, sites: Sequence[SiteInfo], *, bias: int, limits: Limits, process: Process) -> None:
        super().__init__(sites)
        self._image = image
        self._limits = limits
        self._process = process
        self._codes: dict[int, str] = {}
        self.moved(bias)

    def moved(self, bias: int) -> None:
        """The same file was loaded anew, so many bytes above its own addresses."""
        self.bias = bias
        self._codes.clear()
        for name in ("_read_only", "_context"):
            self.__dict__.pop(name, None)

    @cached_property
    def _types(self) -> Types:
        return types_of(self._image, runtime())

    @cached_property
    def _functions(self) -> Functions:
        return Functions(self._image)

    @cached_property
    def _closures(self) -> Closures:
        return Closures(Signatures(self._functions, self._types))

    @cached_property
    def _stacks(self) -> StackFrames:
        return StackFrames(self._image.pclntab)

    @cached_property
    def _read_only(self) -> ImageMemory:
        return ImageMemory(self._image.elf, self.bias)

    @cached_property
    def _context(self) -> Context:
        return Context(
            self._descriptors,
            self._image.go_version,
            types=self._types,
            functions=self._image.pclntab,
            bias=self.bias,
            limits=self._limits,
            captures=self._closures.captured,
            loaded=loaded_range(self._image.elf),
            lasting=LiveMemory(ProcessMemory(self._process)),
        )

    @cached_property
    def _descriptors(self) -> RuntimeTypes:
        return RuntimeTypes(self._image.elf, self._image.moduledata, self._image.go_version)

    def code(self, address: int) -> str:
        name = self._codes.get(address)
        if name is None:
            try:
                name = self._function_at(address)
            except GotapError:  # of a damaged table
                name = f"{address:#x}"
            if len(self._codes) < _MOST_NAMES:
                self._codes[address] = name
        return name

    def _function_at(self, address: int) -> str:
        function = self._image.pclntab.function_at(address - self.bias)
        if function is None:
            return f"{address:#x}"
        if function.address == address - self.bias:  # what a goroutine begins with may be made by the compiler
            return meant_name(self._functions, function)
        return plain_name(function.name)

    def type(self, address: int) -> str:
        try:
            return self._descriptors.name_at(address)
        except GotapError:
            return f"type at {address:#x}"

    def stack(self, addresses: Sequence[int]) -> list[Frame]:
        return self._stacks.stack([address - self.bias for address in addresses])

    def memory(self, record: bytes, start: int, end: int, flags: int) -> Moments:
        return moments(record, start, end, flags, self._limits, self._read_only)

    def value(self, part: Part, root: bytes, memory: Memory) -> Value:
        if part.go_type is None:
            return Unavailable(f"the program does not describe {part.type}")
        return decode(part.go_type, root, memory, self._context, [Hole(*gap) for gap in part.gaps])
