"""In-process hooks as a machine: programs are machine code inside the target, maps and ring are memory shared with it.

Nothing here asks the kernel for more than ptrace(2): no BPF, no uprobes, no privilege over one's own processes. The
same instructions that the kernel would be given are translated (gotap.inject.x86) and call helpers of gotap's own
(gotap.inject.machine); stubs in trampolines call them (gotap.inject.trampolines.hook).
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from msgspec import Struct, field

from gotap.bpf import machine
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.enums import MapType, ProgramType
from gotap.bpf.machine import Attachable, Executable, Meanwhile, ProgramStats, Source
from gotap.errors import GotapError
from gotap.image.code import Cost
from gotap.image.code.jumps import JumpTooFar
from gotap.inject.hookable import HookRefused, divided
from gotap.inject.machine.helpers import build_helpers
from gotap.inject.machine.inlines import inlines
from gotap.inject.machine.layout import STRIPES, Header, Slot
from gotap.inject.machine.maps import HookMap
from gotap.inject.machine.ring import HookRing, RingMap
from gotap.inject.patches.applying import apply
from gotap.inject.patches.file import TrampolineFile, map_trampolines
from gotap.inject.patches.journal import BusyBytes, Mechanism
from gotap.inject.patches.patch import Patch, jump_patch
from gotap.inject.patches.taking import notices, take_back, take_out
from gotap.inject.sharing import HostProgram, Shared
from gotap.inject.sites import Sites
from gotap.inject.tracee.grip import is_held
from gotap.inject.tracee.refusals import check_untraced
from gotap.inject.trampolines import hook
from gotap.inject.trampolines.hook import HookCode
from gotap.inject.trampolines.slots import Slots
from gotap.inject.trampolines.windows import Range, plan
from gotap.inject.x86.translator import TAIL_ENTRY, MapPlace, Untranslatable, translate
from gotap.process.errors import ProcessGone
from gotap.process.proc import Process

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_JUMP = 5
#: Seconds between two looks.
_PERIOD = 0.4
#: ns of a stub, measured by bench/hooks.py; of a program's run, which nobody measures.
_STUB, _RUN = 12.0, 40.0
#: Slots that have frames of their own, at most.
_MOST_FRAMES = 1024
#: Of a new row the scratch behind the record's first part is written before it is looked at.
_BROUGHT = {f"gotap_{frame.ROWS}": frame.FIRST_PART}
#: Goroutines keep theirs, and may be many at once.
_READY = {f"gotap_{script_frame.HEADS}": script_frame.READY_HEADS}
#: How many refused sites an error names.
_NAMED = 3
#: Programs that run here and now, by gotap itself.
_ON_DEMAND = ProgramType.RAW_TRACEPOINT


class _AllFeatures:
    """What generated programs ask the kernel for is all there."""

    def has(self, feature: str) -> bool:
        return True


class HookProgram(Struct, frozen=True):
    """Machine code in the target."""

    address: int

    def stats(self) -> ProgramStats:
        """Nobody measures it."""
        return ProgramStats(0, 0, 0)

    def close(self) -> None:
        """Its memory goes with the machine's: threads may still be in it."""


class Placement(Struct):
    """How one attaching went: hooked sites, the longest stop of the target (ns)."""

    hooks: int = 0
    stop: int = 0


class _Stub(Struct):
    """One hooked site. `record`: address of its record; `programs`: elements of its list, None where there is none;
    `refused`: somebody else's code is there.
    """

    record: int
    patch: Patch
    put: _Put
    programs: list[HookProgram | None]
    refused: bool = False


class _Put(Struct):
    """What one attaching has put into the process."""

    file: TrampolineFile
    nothing: int  # address of a program that does nothing
    stubs: dict[int, _Stub] = field(default_factory=dict)  # by file offset


class HookLink(Struct):
    """`elements`: (site, number in its list)."""

    sites: int
    elements: list[tuple[int, int]] = field(default_factory=list)


class HookMachine:
    """A gotap.bpf.machine.Machine in one process. Raises TraceeError, MachineError where there can be none."""

    def __init__(self, pid: int, sites: Sites) -> None:
        self.pid = pid
        self.features = _AllFeatures()
        self.placements: list[Placement] = []
        self.notices: list[str] = []
        self._sites = sites
        self._stubs: dict[int, _Stub] = {}
        self._maps: list[HookMap] = []
        self._frames: list[HookMap] = []
        self._look_at = 0.0
        self._is_needed = False  # some jump or trampoline of ours could not be taken out
        check_untraced(pid)  # before anything is put into it that could then not be taken out
        self._shared = Shared(pid, heap_stays="arenas" not in sites.image.go_version.experiments)
        self._region, self._host = self._shared.region, self._shared.host
        slots, count = self._region.read_u64(Header.SLOTS), self._region.read_u32(Header.SLOT_COUNT)
        self._slots, self._slot_count = slots, count
        helpers = build_helpers(self._shared.next_code, self._region.address, slots=slots, clock=self._shared.clock)
        self._shared.add_code(helpers.code)
        self._helpers = helpers.addresses
        self._key_sizes: dict[int, int] = {}  # by descriptor
        self._inlines = inlines(helpers, self._region.address, self._key_sizes)
        place = Slots(self._region.address, slots, count)
        self._busy = BusyBytes(place.address + Slot.BUSY, count, Slot.SIZE)
        self._stub_code = HookCode(place)

    inside = True
    unmeasured = _RUN

    @property
    def cpus(self) -> int:
        return STRIPES

    # -- maps -------------------------------------------------------------------------------------------------------

    def make_map(self, kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = ""
                 ) -> HookMap:  # fmt: skip
        made = HookMap(self._host, kind, key_size, value_size, max_entries, name, _BROUGHT.get(name, 0),
                       _READY.get(name, 0))  # fmt: skip
        self._maps.append(made)
        return made

    @property
    def own_frames(self) -> bool:
        """On a slot one program runs at a time. Unless there are many threads: frames take memory."""
        return self._slot_count <= _MOST_FRAMES

    def make_frames(self, size: int, count: int, name: str) -> HookMap:
        if not self.own_frames:
            return self.make_map(MapType.ARRAY, 4, size, count, name=name)
        made = self.make_map(MapType.ARRAY, 4, size, self._slot_count, name=name)
        self._frames.append(made)
        return made

    def make_array(self, name: str, rows: NDArray[np.void] | NDArray[np.uint64]) -> HookMap:
        made = self.make_map(MapType.ARRAY, 4, rows.itemsize, max(1, len(rows)), name=name)
        made.fill(rows)
        return made

    def make_ring(self, size: int, name: str = "ring") -> HookRing:
        return HookRing(self._host, size, name)

    def set_program(self, map: machine.Map, index: int, program: machine.Program) -> None:
        if isinstance(map, HookMap) and isinstance(program, HookProgram):
            map.set_program(index, program.address + TAIL_ENTRY)

    # -- programs ---------------------------------------------------------------------------------------------------

    def load(self, sources: Iterable[Source], meanwhile: Meanwhile = None) -> list[machine.Program]:
        """Raises Untranslatable for what only the kernel can do, NoMemoryError."""
        loaded: list[machine.Program] = []
        for source in sources:
            loaded.append(self._load_here(source) if source.kind is _ON_DEMAND else self._load(source))
            if meanwhile is not None:
                meanwhile()
        return loaded

    def _load(self, source: Source) -> HookProgram:
        if source.kind is not ProgramType.KPROBE:
            raise Untranslatable(None, "profile, tracepoint and syscall probes are the kernel's: hooks have none",
                                 "trace them with --via uprobe or springboard")  # fmt: skip
        maps = {name: self._place(map, self._region.address) for name, map in source.maps.items()}
        at = self._shared.next_code
        self._shared.add_code(translate(source.code, at, maps, self._helpers, self._inlines, Slot.ALONE))
        return HookProgram(at)

    def _load_here(self, source: Source) -> HostProgram:
        maps = {name: self._place(map, None) for name, map in source.maps.items()}
        return HostProgram(self._host, lambda at: translate(source.code, at, maps, self._host.helpers.addresses))

    def _place(self, map: machine.Map, base: int | None) -> MapPlace:
        """Where a map is; `base`: the region's address in the target, None: in gotap."""
        if isinstance(map, RingMap):
            return MapPlace(map.descriptor if base is not None else map.here, kind=MapType.RINGBUF)
        if not isinstance(map, HookMap):
            raise TypeError(f"{map.name} is no map of this machine")
        region = self._region.here if base is None else base
        descriptor = map.here if base is None else map.descriptor
        if not map.is_array:
            if base is not None:
                self._key_sizes[descriptor] = map.key_size
            return MapPlace(descriptor, kind=map.kind)
        slots = region + self._slots if any(map is one for one in self._frames) else 0
        return MapPlace(descriptor, region + map.offset + map.values, map.kind, map.max_entries, map.stride,
                        slots=slots, slot_size=Slot.SIZE)  # fmt: skip

    def run(self, program: machine.Program) -> None:
        if isinstance(program, HostProgram):
            program.run()

    def measuring(self) -> AbstractContextManager[bool]:
        return contextlib.nullcontext(False)

    def trap_cost(self, cost: Cost) -> float:
        return _STUB

    def look(self) -> None:
        """To be called several times a second: the clock, memory that grows, slots of threads that have ended."""
        now = time.monotonic()
        if now < self._look_at:
            return
        self._look_at = now + _PERIOD
        with contextlib.suppress(GotapError):  # it has ended, or become another user's
            self._shared.refresh()
        for map in self._maps:
            map.provide_more()

    def losses(self) -> Mapping[str, int]:
        """Hits that no program has seen, by why."""
        return self._region.counters()

    # -- attaching --------------------------------------------------------------------------------------------------

    def attach(self, executable: Executable | None, wanted: Sequence[Attachable], *, user_only: bool = False
               ) -> list[machine.Link]:  # fmt: skip
        """All jumps at once. Raises HookRefused, TraceeError, PatchError; nothing stays then."""
        for one in wanted:
            if one.origin is not None and one.origin.kind == "uprobe":
                raise Untranslatable(None, "probes of C functions are the kernel's: hooks have none",
                                     "trace them with --via uprobe or springboard")  # fmt: skip
        links = [HookLink(len(one.sites)) for one in wanted]
        if executable is None or not any(one.sites for one in wanted):
            return [*links]
        offsets = dict.fromkeys(offset for one in wanted for offset, _ in one.sites)
        new = [offset for offset in offsets if offset not in self._stubs]
        put = self._prepare(executable, new) if new else None
        placement = Placement(len(offsets))
        try:
            for one, link in zip(wanted, links, strict=True):
                for offset, cookie in one.sites:
                    link.elements.append((offset, self._add(offset, one.program, cookie)))
            if put is not None:
                placement.stop = self._apply(put)
        except BaseException:
            self.detach(links[::-1])
            raise
        self.placements.append(placement)
        return [*links]

    def _prepare(self, executable: Executable, offsets: Iterable[int]) -> _Put:
        """Stubs without programs, to which nothing leads yet."""
        fitting, refused = divided(self._sites.at(offsets), held=is_held(self.pid))
        if refused:
            raise self._refusal(refused)
        bias, code = executable.bias, self._stub_code
        low, high = self._sites.addresses
        with Process(self.pid) as process:
            mappings = process.mappings()
        jumps = [code.jump(site, bias) for site in fitting.values()]
        planned = plan(mappings, Range(low + bias, high + bias), jumps, code.shared)
        contents: dict[int, bytes] = {}
        for window in planned.windows:
            contents |= {window.address: code.common, window.data: code.head}
        patches: dict[int, tuple[Patch, int]] = {}
        for (offset, site), place in zip(fitting.items(), planned.places, strict=True):
            if place is None:
                raise HookRefused(planned.why, "use --via uprobe")
            window = planned.windows[place.window]
            try:
                stub = code.stub(site, window, place, (), bias)
            except JumpTooFar as error:
                raise HookRefused(f"a trampoline cannot reach what its instructions refer to: {error}",
                                  "use --via uprobe") from error  # fmt: skip
            contents |= {place.code: stub.code, place.data: stub.data}
            original = self._sites.image.elf.read(site.start, max(_JUMP, site.moved_end - site.start))
            patches[offset] = jump_patch(site.start + bias, original, place.target, site.pun), place.data
        file = map_trampolines(self.pid, Mechanism.HOOK, planned.all_windows, contents | planned.jumps,
                               [patch for patch, _ in patches.values()], private=code.private,
                               areas=self._shared.areas, busy=self._busy)  # fmt: skip
        nothing = code.nothing(planned.windows[0])
        put = _Put(file, nothing)
        put.stubs = {offset: _Stub(record, patch, put, []) for offset, (patch, record) in patches.items()}
        self._stubs |= put.stubs
        return put

    def _refusal(self, refused: Mapping[int, str]) -> HookRefused:
        named = [f"{self._sites.name(offset)}, since {reason}" for offset, reason in list(refused.items())[:_NAMED]]
        more = f", and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        return HookRefused(f"cannot be hooked: {'; '.join(named)}{more}", "use --via springboard or uprobe")

    def _apply(self, put: _Put) -> int:
        """Writes the jumps; the longest stop (ns)."""
        outcome = apply(self.pid, [stub.patch for stub in put.stubs.values()], put.file)
        if outcome.refused:
            never = {one.patch for one in outcome.refused}
            for stub in put.stubs.values():
                stub.refused = stub.patch in never
            raise HookRefused(f"{len(outcome.refused)} of {len(put.stubs)} jumps cannot be written: the one at "
                              f"{outcome.refused[0].patch.address:#x}, since {outcome.refused[0].reason}",
                              "use --via uprobe")  # fmt: skip
        return max(outcome.stops, default=0)

    def _add(self, offset: int, program: machine.Program, cookie: int) -> int:
        """Puts a program before the others of a site; its number there."""
        assert isinstance(program, HookProgram)
        stub = self._stubs[offset]
        number = len(stub.programs)
        if number >= hook.PROGRAMS:
            raise HookRefused(f"a place has {hook.PROGRAMS} probes already, which is the most that a hook takes",
                              "leave some of them out, or use --via uprobe")  # fmt: skip
        at = hook.element(stub.record, number)
        stub.put.file.write(at, hook.packed(program.address, cookie))
        stub.put.file.write(hook.first_pointer(stub.record), struct.pack("<Q", at))
        stub.programs.append(program)
        return number

    def detach(self, links: Sequence[machine.Link], meanwhile: Meanwhile = None) -> None:
        """Programs first, so that none of these fires when this returns; then jumps that lead to no program."""
        over: dict[int, tuple[_Put, list[Patch]]] = {}
        for link in links:
            if not isinstance(link, HookLink):
                continue
            for offset, number in link.elements:
                stub = self._stubs[offset]
                stub.put.file.write(hook.element(stub.record, number), hook.packed(stub.put.nothing, 0))
                stub.programs[number] = None
                if not any(stub.programs):
                    patches = over.setdefault(id(stub.put), (stub.put, []))[1]
                    patches += [] if stub.refused else [stub.patch]
                    del self._stubs[offset], stub.put.stubs[offset]
            link.elements = []
        for put, patches in over.values():
            self._told(lambda put=put, patches=patches: self._take_back(put, patches))  # type: ignore[misc]

    def _take_back(self, put: _Put, patches: Sequence[Patch]) -> None:
        outcome = take_back(self.pid, put.file, patches)
        self.notices += notices(self.pid, outcome)
        self._is_needed |= bool(outcome.refused)
        if not put.stubs and not outcome.refused:
            if not take_out(self.pid, put.file, self._shared.is_busy):
                self._is_needed = True
                self.notices.append(_kept(self.pid, "a thread is in it"))
            put.file.close()

    def _told(self, act: Callable[[], None]) -> None:
        """What cannot be taken out is told: it does no harm, as long as what it needs stays as well."""
        try:
            act()
        except ProcessGone:
            pass
        except GotapError as error:
            self._is_needed = True
            self.notices.append(_kept(self.pid, str(error)))

    def close(self) -> None:
        """Gives the memory back, unless jumps or trampolines had to stay. All links must have been closed."""
        self._told(self._close)

    def _close(self) -> None:
        if self._is_needed or self._stubs:
            self._shared.leave()
        elif not self._shared.close():
            self.notices.append(_kept(self.pid, "a thread is in it"))


def _kept(pid: int, why: str) -> str:
    return f"memory stays in process {pid}, which does no harm: {why}; `gotap detach {pid}` takes it out later"
