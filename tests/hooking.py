"""Jumps, springboards and hooks put into running Go programs by gotap.inject, without the machinery around it.

Hooks run a program that counts: the site's cookie is the address of its counter. It destroys whatever a program may, so
that what the stub does not bring back is noticed.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gotap.image.code.jumps import JumpSite, NoJump, UnsafePoints, jump_sites
from gotap.image.function_code import SitesFor, function_code
from gotap.image.image import Image
from gotap.inject.machine.layout import Header, Slot
from gotap.inject.machine.region import Region
from gotap.inject.patches.applying import Outcome, apply
from gotap.inject.patches.file import TrampolineFile, map_trampolines
from gotap.inject.patches.journal import Area, BusyBytes, Mechanism
from gotap.inject.patches.patch import Patch, jump_patch, why_not
from gotap.inject.tracee import MAP_SHARED, PROT_READ, PROT_WRITE, calling, close, memfd_create, mmap
from gotap.inject.trampolines.hook import HookCode, hook_refusal
from gotap.inject.trampolines.slots import Slots
from gotap.inject.trampolines.springboard import springboard, springboard_jump
from gotap.inject.trampolines.windows import NOTHING, PAGE, Jump, Plan, Range, Shared, Window, plan
from gotap.inject.x86.assembler import Assembler
from gotap.inject.x86.operands import (
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    RAX,
    RBP,
    RBX,
    RCX,
    RDI,
    RDX,
    RSI,
    mem,
    qword,
)  # fmt: skip
from gotap.process.proc import Process

_LOST = (RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R13, R14, R15)
_REGION = 16 << 20


def counting_program() -> bytes:
    """Adds 1 to the word that the cookie leads to, and destroys all registers that it may, and the flags."""
    a = Assembler()
    a.mov(RAX, mem(R12, Slot.COOKIE))
    a.lock().inc(qword(RAX))
    for register in _LOST:
        a.mov(register, 0x0DEAD0DEAD0DEAD0)
    a.mov(RAX, -1)
    a.add(RAX, 1)
    a.ret()
    return a.finish()


@dataclass
class Sites:
    """Where the events of some functions of an executable are: at the entry and the returns of each, if they can be."""

    path: Path
    image: Image = field(init=False)
    entries: dict[str, JumpSite] = field(default_factory=dict)
    returns: dict[str, list[JumpSite]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.image = Image.open(self.path)

    def find(self, names: Iterable[str], *, returns: bool = True) -> Sites:
        wanted = set(names)
        for function in self.image.pclntab.functions():
            if function.name in wanted:
                code = function_code(self.image, function, sites_for=SitesFor.LIVE_JUMPS)
                entry = code.entry_site()
                assert entry is not None, function.name
                if entry.edge is not None:  # what happens there depends on a condition, which our program does not know
                    self.refused[function.name] = "one direction of a jump"
                    continue
                ends = [site.address for site in code.return_sites()] if returns else []
                sites = jump_sites(code, [entry.address, *ends], UnsafePoints.of(self.image.pclntab, function))
                self._note(function.name, entry.address, sites)
        return self

    def _note(self, name: str, entry: int, sites: dict[int, JumpSite | NoJump]) -> None:
        for address, site in sites.items():
            if isinstance(site, NoJump):
                self.refused[f"{name} {address:#x}"] = site.reason
            elif why_not(site.start, site.pun):
                self.refused[f"{name} {address:#x}"] = why_not(site.start, site.pun)
            elif address == entry:
                self.entries[name] = site
            else:
                self.returns.setdefault(name, []).append(site)

    def all(self) -> list[JumpSite]:
        return [*self.entries.values(), *(site for sites in self.returns.values() for site in sites)]

    def span(self, bias: int) -> Range:
        loads = self.image.elf.loads
        return Range(min(one.vaddr for one in loads) + bias, max(one.vaddr + one.memsz for one in loads) + bias)


@dataclass
class Put:
    """What has been put into a process."""

    pid: int
    file: TrampolineFile
    patches: dict[int, Patch]
    windows: Sequence[Window]
    slots: Slots | None = None
    region: Region | None = None
    counters: dict[int, int] = field(default_factory=dict)  # offset in the region by site
    nops: dict[int, int] = field(default_factory=dict)  # offset of a springboard's nop in the file by site

    def apply(self) -> Outcome:
        return apply(self.pid, list(self.patches.values()), self.file)

    def counts(self) -> dict[int, int]:
        """How often each site fired, by its address."""
        assert self.region is not None
        return {site: self.region.read_u64(offset) for site, offset in self.counters.items()}

    def close(self) -> None:
        self.file.close()
        if self.region is not None:
            self.region.close()


def bias_of(pid: int, image: Image) -> int:
    with Process(pid) as process:
        return process.load_bias(image.elf.entry)


def planned(pid: int, span: Range, jumps: Sequence[Jump], shared: Shared = NOTHING) -> Plan:
    with Process(pid) as process:
        return plan(process.mappings(), span, jumps, shared)


def put_springboards(pid: int, found: Sites, sites: Sequence[JumpSite]) -> Put:
    """Springboards without uprobes; nothing leads there before `apply`."""
    bias = bias_of(pid, found.image)
    made = planned(pid, found.span(bias), [springboard_jump(site, bias) for site in sites])
    nops: dict[int, int] = {}
    contents: dict[int, bytes] = {}
    patches: dict[int, Patch] = {}
    for site, place in zip(sites, made.places, strict=True):
        assert place is not None, made.why
        stub = springboard(site, place.code, bias)
        contents[place.code], nops[site.address] = stub.code, place.code + stub.nop
        patches[site.address] = patch_of(found, site, place.target, bias)
    file = map_trampolines(pid, Mechanism.SPRINGBOARD, made.all_windows, contents | made.jumps, list(patches.values()))
    return Put(pid, file, patches, made.windows, nops={site: file.offset(nop) for site, nop in nops.items()})


def patch_of(found: Sites, site: JumpSite, stub: int, bias: int) -> Patch:
    return jump_patch(
        site.start + bias, found.image.elf.read(site.start, max(5, site.moved_end - site.start)), stub, site.pun
    )


def put_hooks(pid: int, found: Sites, sites: Sequence[JumpSite], *, careful: bool = False) -> Put:
    """Hooks that count. `careful`: as if at no site a register were free."""
    sites = [hooked(site, careful) for site in sites if not hook_refusal(hooked(site, careful))]
    bias = bias_of(pid, found.image)
    region, slots = put_region(pid, len(sites))
    code = HookCode(slots)
    program = counting_program()
    shared = code.shared._replace(code=len(code.common) + 64 + len(program))
    made = planned(pid, found.span(bias), [code.jump(site, bias) for site in sites], shared)
    counters = {site.address: slots.offset + slots.count * Slot.SIZE + 64 * number for number, site in enumerate(sites)}
    contents: dict[int, bytes] = {}
    patches: dict[int, Patch] = {}
    programs: list[int] = []
    for window in made.windows:
        behind = -(-len(code.common) // 16) * 16
        contents[window.address] = code.common.ljust(behind, b"\xcc") + program
        contents[window.data] = code.head
        programs.append(window.address + behind)
    for site, place in zip(sites, made.places, strict=True):
        assert place is not None, made.why
        own = [(programs[place.window], region.address + counters[site.address])]
        stub = code.stub(site, made.windows[place.window], place, own, bias)
        contents[place.code], contents[place.data] = stub.code, stub.data
        patches[site.address] = patch_of(found, site, place.target, bias)
    file = map_trampolines(
        *(pid, Mechanism.HOOK, made.all_windows, contents | made.jumps, list(patches.values())),
        private=code.private,
        areas=[Area(region.address, region.size)],
        busy=BusyBytes(slots.address + Slot.BUSY, slots.count, Slot.SIZE),
    )
    return Put(pid, file, patches, made.windows, slots, region, counters)


def hooked(site: JumpSite, careful: bool) -> JumpSite:
    from msgspec.structs import replace

    return replace(site, scratch=False) if careful else site


def put_region(pid: int, counters: int) -> tuple[Region, Slots]:
    """A region in the process, with room for counters behind the slots."""
    with calling(pid) as caller:
        number = caller(memfd_create("gotap-machine"))
        descriptor = os.open(f"/proc/{pid}/fd/{number}", os.O_RDWR)
        try:
            region = Region.create(descriptor, size=_REGION)
        finally:
            os.close(descriptor)
        region.address = caller(mmap(0, _REGION, PROT_READ | PROT_WRITE, MAP_SHARED, number, 0))
        caller(close(number))
    slots = Slots(region.address, region.read_u64(Header.SLOTS), region.read_u32(Header.SLOT_COUNT))
    region.provide(slots.offset + slots.count * Slot.SIZE, -(-64 * counters // PAGE) * PAGE)
    return region, slots


@contextmanager
def closing(put: Put) -> Iterator[Put]:
    with contextlib.closing(put):
        yield put


def text_of(pid: int, image: Image, bias: int) -> bytes:
    """The process' text."""
    segment = next(one for one in image.elf.loads if one.flags & 1)
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        memory.seek(segment.vaddr + bias)
        return memory.read(segment.filesz)


def words(content: bytes) -> tuple[int, ...]:
    return struct.unpack(f"<{len(content) // 8}Q", content)
