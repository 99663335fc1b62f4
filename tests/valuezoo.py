"""A running tests/programs/valuezoo: where its values are, and what the program itself says of them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from msgspec import Struct

from gobuild import build
from gotap.image.image import Image
from gotap.image.types.gotypes import Type
from gotap.image.types.rtype import RuntimeTypes
from gotap.probe.catalogue import runtime
from gotap.probe.functions.closures import Closures
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.signatures import Signatures
from gotap.probe.script.limits import Limits
from gotap.probe.sources import types_of
from gotap.probe.typing import Types
from gotap.process.memory import Memory as ProcessMemory
from gotap.process.proc import Process
from gotap.signals.values import Context, LiveMemory, loaded_range
from processes import running

#: Enough for every specimen.
WIDE = Limits(text=1 << 16, elements=1 << 12, depth=16)


class Specimen(Struct, frozen=True, rename="pascal"):
    """`type`: its descriptor's address in the process; `json`: None and the like as Python has them."""

    name: str
    address: int
    type: int
    text: str
    json: Any


class Zoo(Struct, dict=True):
    image: Image
    bias: int
    memory: LiveMemory
    descriptors: RuntimeTypes
    types: Types
    specimens: list[Specimen]
    pid: int
    stdin: IO[str]

    @cached_property
    def closures(self) -> Closures:
        return Closures(Signatures(Functions(self.image), self.types))

    def context(self, limits: Limits = WIDE, **options: Any) -> Context:
        usual: dict[str, Any] = {
            "types": self.types,
            "functions": self.image.pclntab,
            "captures": self.closures.captured,
            "bias": self.bias,
            "limits": limits,
            "loaded": loaded_range(self.image.elf),
            "lasting": self.memory,
        }
        return Context(self.descriptors, self.image.go_version, **usual | options)

    def named(self, name: str) -> Specimen:
        return next(one for one in self.specimens if one.name == name)

    def type(self, specimen: Specimen) -> Type:
        """By the runtime's metadata."""
        return self.descriptors.at(specimen.type - self.bias)

    def root(self, specimen: Specimen) -> bytes:
        return self.memory.prefix(specimen.address, self.type(specimen).size)


@contextmanager
def running_zoo(go: str, mode: str = "plain", experiment: str = "") -> Iterator[Zoo]:
    path = build("valuezoo", go, mode=mode, experiment=experiment)
    with running(str(path)) as child:
        assert child.stdout is not None
        told = json.loads(child.stdout.readline(), parse_constant=_refused)
        with ProcessMemory(Process(child.pid)) as memory:
            yield _zoo(path, told, child, memory)


def _zoo(path: Path, told: list[dict[str, Any]], child: subprocess.Popen[str], memory: ProcessMemory) -> Zoo:
    image = Image.open(path)
    types = types_of(image, runtime())
    assert isinstance(types.descriptors, RuntimeTypes)
    specimens = [Specimen(one["Name"], one["Address"], one["Type"], one["Text"], one["JSON"]) for one in told]
    assert child.stdin is not None
    maps = Path(f"/proc/{child.pid}/maps").read_text().splitlines()
    bias = min(int(line.split("-")[0], 16) for line in maps if line.endswith(str(path))) - image.elf.load_base()
    return Zoo(image, bias, LiveMemory(memory), types.descriptors, types, specimens, child.pid, child.stdin)


def _refused(text: str) -> None:
    raise ValueError(f"{text} is no JSON")
