"""Deep captures of a live Go program's values: decoded from what the kernel copied, they are what the program says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

import gobuild
from deep_capture import FRAME, HEAP, TAIL, column, program, read
from gotap.bpf.codegen.script import deep_memory as memory
from gotap.bpf.codegen.script.deep import DeepSetting
from gotap.bpf.enums import MapType
from gotap.kernel.attach import attach_type, attach_uprobes, close_all
from gotap.kernel.bpf import Map, Program
from gotap.kernel.features import essential
from gotap.kernel.machine import KernelMachine
from gotap.observe.shape_maps import shape_maps
from gotap.probe import ir
from gotap.probe.functions.closures import Closures
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.signatures import Signatures
from gotap.probe.script.limits import Limits
from gotap.probe.script.record import EventFlags
from gotap.probe.script.routine import CaptureValue
from gotap.probe.shapes import Shapes
from gotap.signals.values import ImageMemory, decode, snapshot, to_json
from kernel_access import needs_bpf
from kernel_maps import fds
from processes import eventually
from valuezoo import Specimen, Zoo, running_zoo

pytestmark = [pytest.mark.root, needs_bpf]

LIMITS = Limits(text=2048, elements=256, depth=8)
RECORD = 32760
#: Of maps with more groups than are taken, some entries are missing; of time.Location only the zone in use is taken.
LARGER = frozenset({
    "large map", "map with deleted entries", "map of few left", "growing map", "map that grows to its own size",
    "*time.Location",
})  # fmt: skip
#: Specimens in one record: many of them are large.
TOGETHER = 3


def builds() -> list[object]:
    """Go version, build mode, experiment."""
    always = [(gobuild.OLDEST, "plain", ""), (gobuild.NEWEST, "plain", ""), (gobuild.NEWEST, "pie_stripped", "")]
    others = [(go, "plain", "") for go in gobuild.ALL[1:-1]]
    others += [(gobuild.NEWEST, "plain", "mapsplitgroup"), ("1.24.13", "plain", "noswissmap")]
    return [*always, *(pytest.param(one, marks=pytest.mark.matrix) for one in others)]


@pytest.fixture(scope="module", params=builds(), ids=lambda one: "-".join(filter(None, one)))
def zoo(request: pytest.FixtureRequest) -> Iterator[Zoo]:
    with running_zoo(*request.param) as zoo:
        yield zoo


def captured(zoo: Zoo, stdin: Any, specimens: Sequence[Specimen]) -> dict[int, tuple[bytes, int]]:
    """Address → (record, which of its columns): what programs on the next read of stdin leave."""
    groups = [specimens[at : at + TOGETHER] for at in range(0, len(specimens), TOGETHER)]
    shapes = Shapes(zoo.types, zoo.image, LIMITS)
    values = [
        [
            CaptureValue(column(index), shapes.number(zoo.type(one)), zoo.type(one).size, address=ir.Const(one.address))
            for index, one in enumerate(group)
        ]
        for group in groups
    ]
    dynamic = shapes.dynamic
    setting = DeepSetting(RECORD, -memory.SCRATCH_SIZE, TAIL, -8, LIMITS, zoo.bias, shapes.read_only, dynamic.first,
                          len(dynamic.numbers))  # fmt: skip
    features = essential()
    function = zoo.image.pclntab.find("os.(*File).Read")
    assert function is not None
    site = zoo.image.elf.offset_of(function.address)
    assert site is not None
    with ExitStack() as stack:
        made = shape_maps(KernelMachine(features), shapes.table(), dynamic)
        for one in made.values():
            stack.callback(one.close)
        frames = [stack.enter_context(Map.create(MapType.ARRAY, 4, memory.SCRATCH_SIZE + RECORD + TAIL, 1))
                  for _ in groups]  # fmt: skip
        links = []
        for group, frame in zip(values, frames, strict=True):
            code = program([group], setting)
            loaded = stack.enter_context(
                Program.load(code.bytes(fds({**made, FRAME: frame})), attach_type=attach_type(features),
                             subprograms=code.subprograms)
            )
            links.append(attach_uprobes(loaded, f"/proc/{zoo.pid}/exe", [(site, 0)], pid=zoo.pid, features=features))
        try:
            stdin.write("x")
            stdin.flush()
            records = [eventually(lambda frame=frame: done(frame), "the program's read") for frame in frames]  # type: ignore[misc]
        finally:
            close_all(links)
    return {one.address: (record, index) for group, record in zip(groups, records, strict=True)
            for index, one in enumerate(group)}  # fmt: skip


def done(frame: Map) -> bytes | None:
    """The record, once its program has run."""
    record = (frame.lookup(bytes(4)) or b"")[memory.SCRATCH_SIZE :]
    used = int.from_bytes(record[memory.field("used") : memory.field("used") + 2], "little")
    return record if used > HEAP else None


def comparable(form: Any) -> Any:
    """A JSON form whose maps' entries stand in one order."""
    if isinstance(form, dict):
        plain = {key: comparable(value) for key, value in form.items()}
        if isinstance(plain.get("map"), list):
            plain["map"].sort(key=json.dumps)
        return plain
    return [comparable(one) for one in form] if isinstance(form, list) else form


def test_what_is_copied_is_what_the_program_has(zoo: Zoo) -> None:
    """The same decoder reads the process itself, which stands still: that it reads rightly is tested by itself."""
    found = captured(zoo, zoo.stdin, zoo.specimens)
    here, there = zoo.context(LIMITS), zoo.context(LIMITS)
    wrong, cut = [], []
    for one in zoo.specimens:
        record, index = found[one.address]
        taken = read(record)
        if taken.flags & (EventFlags.HEAP_FULL | EventFlags.DEPTH_CUT):
            cut.append(one.name)
        root = taken.columns[index]
        assert root is not None, one.name
        assert root[1] == zoo.root(one), one.name
        chunks = int.from_bytes(record[memory.field("chunks") : memory.field("chunks") + 2], "little")
        beyond = ImageMemory(zoo.image.elf, zoo.bias)
        heap = snapshot(record, chunks, taken.used, int(taken.flags), LIMITS, beyond) if chunks else beyond
        form = comparable(to_json(decode(zoo.type(one), root[1], heap, here)))
        live = comparable(to_json(decode(zoo.type(one), root[1], zoo.memory, there)))
        if form != live and one.name not in LARGER:
            wrong.append(f"{one.name}: {form} is not {live}")
    assert not cut
    assert not wrong


def test_what_closures_captured(zoo: Zoo) -> None:
    """DWARF tells it from Go 1.23 on: variables shared by reference, texts and numbers."""
    if not zoo.image.has_dwarf or not zoo.image.go_version.at_least(1, 23):
        pytest.skip("nothing tells what this program's closures captured")
    closures = Closures(Signatures(Functions(zoo.image), zoo.types))
    one = zoo.named("closure")
    record, index = captured(zoo, zoo.stdin, [one])[one.address]
    taken = read(record)
    root = taken.columns[index]
    assert root is not None
    chunks = int.from_bytes(record[memory.field("chunks") : memory.field("chunks") + 2], "little")
    heap = snapshot(record, chunks, taken.used, int(taken.flags), LIMITS, ImageMemory(zoo.image.elf, zoo.bias))
    value = decode(zoo.type(one), root[1], heap, zoo.context(LIMITS, captures=closures.captured))
    assert to_json(value) == {"func": "main.counting.func1", "captured": {"total": 6, "label": "n"}}
