"""Springboards as a machine: another machine's uprobes, but on the nops of trampolines that jumps in the text lead to.

A uprobe costs two traps at most instructions; on a nop of five bytes the kernel (6.18) makes a call of it, and before
that emulates it. Sites where no jump fits get an ordinary uprobe, and so do those that somebody else has patched.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from gotap.bpf import machine
from gotap.bpf.enums import MapType
from gotap.bpf.machine import Attachable, Executable, HasFeatures, Machine, Meanwhile, Source
from gotap.errors import GotapError
from gotap.image.code import Cost
from gotap.image.code.jumps import JumpSite, JumpTooFar, NoJump
from gotap.inject.patches.applying import apply
from gotap.inject.patches.file import TrampolineFile, map_trampolines
from gotap.inject.patches.journal import Mechanism
from gotap.inject.patches.patch import Patch, jump_patch, why_not
from gotap.inject.patches.taking import notices, take_back, take_out
from gotap.inject.sites import Sites
from gotap.inject.tracee.grip import is_held
from gotap.inject.trampolines.springboard import springboard, springboard_jump
from gotap.inject.trampolines.windows import Range, plan
from gotap.process.errors import ProcessGone
from gotap.process.memory import Memory
from gotap.process.proc import Process

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_JUMP = 5
_BREAKPOINT = 0xCC


class SpringboardRefused(GotapError):
    """Somebody else has patched the same code."""


class Placement(Struct):
    """How one attaching went: sites by mechanism, why some are no springboards, the longest stop of the target (ns)."""

    springboards: int = 0
    uprobes: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    stop: int = 0


class _Put(Struct):
    """What one attaching has put into a process. `nops`: by file offset of a site, that of its nop. `is_written`: jumps
    may be there.
    """

    pid: int
    file: TrampolineFile
    patches: dict[int, Patch]
    nops: dict[int, int]
    users: Counter[int] = field(default_factory=Counter)  # links by site
    is_written: bool = False


class SpringboardLink(Struct):
    """`inner`: the links of the machine below. `held`: sites that are springboards."""

    inner: list[machine.Link]
    sites: int
    put: _Put | None = None
    held: tuple[int, ...] = ()


class SpringboardMachine:
    """A gotap.bpf.machine.Machine. Which sites a process has must be said before it is attached to: `know`."""

    def __init__(self, inner: Machine) -> None:
        self._inner = inner
        self._known: dict[int, Sites] = {}
        #: Of each attaching, in their order.
        self.placements: list[Placement] = []
        #: What could not be taken out, for the user.
        self.notices: list[str] = []

    def know(self, pid: int, sites: Sites) -> None:
        self._known[pid] = sites

    # -- what the machine below does -------------------------------------------------------------------------------

    @property
    def features(self) -> HasFeatures:
        return self._inner.features

    inside = False

    @property
    def unmeasured(self) -> float:
        return self._inner.unmeasured

    @property
    def cpus(self) -> int:
        return self._inner.cpus

    def make_map(self, kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = ""
                 ) -> machine.Map:  # fmt: skip
        return self._inner.make_map(kind, key_size, value_size, max_entries, flags, name)

    @property
    def own_frames(self) -> bool:
        return self._inner.own_frames

    def make_frames(self, size: int, count: int, name: str) -> machine.Map:
        return self._inner.make_frames(size, count, name)

    def make_array(self, name: str, rows: NDArray[np.void] | NDArray[np.uint64]) -> machine.Map:
        return self._inner.make_array(name, rows)

    def make_ring(self, size: int, name: str = "ring") -> machine.Ring:
        return self._inner.make_ring(size, name)

    def load(self, sources: Iterable[Source], meanwhile: Meanwhile = None) -> list[machine.Program]:
        return self._inner.load(sources, meanwhile)

    def losses(self) -> Mapping[str, int]:
        return self._inner.losses()

    def run(self, program: machine.Program) -> None:
        self._inner.run(program)

    def set_program(self, map: machine.Map, index: int, program: machine.Program) -> None:
        self._inner.set_program(map, index, program)

    def measuring(self) -> AbstractContextManager[bool]:
        return self._inner.measuring()

    def trap_cost(self, cost: Cost) -> float:
        """Most sites are nops."""
        return self._inner.trap_cost(Cost.NOP5)

    # -- attaching -------------------------------------------------------------------------------------------------

    def attach(self, executable: Executable | None, wanted: Sequence[Attachable], *, user_only: bool = False
               ) -> list[machine.Link]:  # fmt: skip
        """Uprobes on the trampolines' nops and, where no jump fits, at ends; then all jumps at once; then what is left.

        Raises TraceeError, PatchError, and what the machine below raises; nothing stays then.
        """
        if executable is None or not any(one.sites for one in wanted):
            return self._inner.attach(executable, wanted, user_only=user_only)
        placement = Placement()
        offsets = dict.fromkeys(offset for one in wanted for offset, _ in one.sites)
        put = self._prepare(executable, offsets, placement)
        links = [SpringboardLink([], len(one.sites), put) for one in wanted]
        step = _Step(self._inner, wanted, links, user_only=user_only)
        try:
            step.attach_origins(executable)
            if put is not None:
                step.attach(replace(executable, path=put.file.path), lambda _: True, put.nops.get)
            step.attach(executable, lambda one: not one.begins, partial(_unless, put))
            refused = self._apply(put, placement)
            step.attach(executable, lambda one: one.begins, partial(_unless, put))
            step.attach(executable, lambda one: not one.begins, lambda offset: offset if offset in refused else None)
        except BaseException:
            self._note_users(put, wanted, links)
            self.detach(links[::-1])
            raise
        self._note_users(put, wanted, links)
        placement.springboards = 0 if put is None else len(put.patches)
        placement.uprobes = len(offsets) - placement.springboards
        self.placements.append(placement)
        return [*links]

    @staticmethod
    def _note_users(put: _Put | None, wanted: Sequence[Attachable], links: Sequence[SpringboardLink]) -> None:
        if put is not None:
            for link, one in zip(links, wanted, strict=True):
                link.held = tuple(offset for offset, _ in one.sites if offset in put.patches)
                put.users.update(link.held)

    def _prepare(self, executable: Executable, offsets: Iterable[int], placement: Placement) -> _Put | None:
        """Trampolines in the process, to which nothing leads yet. None: no site fits one."""
        sites = self._known[executable.pid]
        with Process(executable.pid) as process:
            mappings = process.mappings()
        held = is_held(executable.pid)
        fitting: dict[int, JumpSite] = {}
        for offset, found in sites.at(offsets).items():
            reason = _refusal(found, executable.bias, held=held)
            if reason or isinstance(found, NoJump):
                placement.reasons[reason] += 1
            else:
                fitting[offset] = found
        if not fitting:
            return None
        low, high = sites.addresses
        jumps = [springboard_jump(site, executable.bias) for site in fitting.values()]
        planned = plan(mappings, Range(low + executable.bias, high + executable.bias), jumps)
        contents: dict[int, bytes] = {}
        patches: dict[int, Patch] = {}
        nops: dict[int, int] = {}
        for (offset, site), place in zip(fitting.items(), planned.places, strict=True):
            if place is None:
                placement.reasons[planned.why] += 1
                continue
            try:
                stub = springboard(site, place.code, executable.bias)
            except JumpTooFar:
                placement.reasons["what its instructions refer to is too far from any free address"] += 1
                continue
            contents[place.code] = stub.code
            nops[offset] = place.code + stub.nop
            original = sites.image.elf.read(site.start, max(_JUMP, site.moved_end - site.start))
            patches[offset] = jump_patch(site.start + executable.bias, original, place.target, site.pun)
        if not patches:
            return None
        file = map_trampolines(executable.pid, Mechanism.SPRINGBOARD, planned.all_windows, contents | planned.jumps,
                               [*patches.values()])  # fmt: skip
        return _Put(executable.pid, file, patches, {offset: file.offset(nop) for offset, nop in nops.items()})

    def _apply(self, put: _Put | None, placement: Placement) -> set[int]:
        """Writes the jumps; the sites (file offsets) that did not take one."""
        if put is None:
            return set()
        put.is_written = True
        outcome = apply(put.pid, [*put.patches.values()], put.file)
        placement.stop = max(outcome.stops, default=0)
        refused = set()
        by_patch = {patch: offset for offset, patch in put.patches.items()}
        for one in outcome.refused:
            placement.reasons[one.reason] += 1
            refused.add(by_patch[one.patch])
        for offset in refused:
            del put.patches[offset]
        _check_others(put.pid, [one.patch for one in outcome.refused])
        return refused

    def detach(self, links: Sequence[machine.Link], meanwhile: Meanwhile = None) -> None:
        """The jumps first; then uprobes; at last the trampolines, when no thread is in them. Never raises for what
        cannot be taken out, which does no harm: see `notices`.
        """
        ours = [link for link in links if isinstance(link, SpringboardLink)]
        ended = self._take_back(ours)
        inner = [one for link in ours for one in link.inner]
        inner += [link for link in links if not isinstance(link, SpringboardLink)]
        for link in ours:
            link.inner = []
        self._inner.detach(inner, meanwhile)
        for put in ended:
            self._take_out(put)

    def _take_back(self, links: Sequence[SpringboardLink]) -> list[_Put]:
        """The jumps that no other link uses; what has no jump left."""
        over: dict[int, tuple[_Put, list[Patch]]] = {}
        for link in links:
            if (put := link.put) is None:
                continue
            put.users.subtract(link.held)
            gone = [offset for offset in link.held if put.users[offset] <= 0 and offset in put.patches]
            over.setdefault(id(put), (put, []))[1].extend(put.patches.pop(offset) for offset in gone)
            link.held, link.put = (), None
        for put, patches in over.values():
            try:
                if put.is_written:
                    self.notices += notices(put.pid, take_back(put.pid, put.file, patches))
            except ProcessGone:
                pass
            except GotapError as error:
                self.notices.append(_stays(put.pid, error))
        return [put for put, _ in over.values() if not put.patches]

    def _take_out(self, put: _Put) -> None:
        try:
            if not take_out(put.pid, put.file):
                self.notices.append(f"trampolines stay in process {put.pid}: a thread is in them; "
                                    f"`gotap detach {put.pid}` takes them out later")  # fmt: skip
        except ProcessGone:
            pass
        except GotapError as error:
            self.notices.append(_stays(put.pid, error))
        put.file.close()


class _Step:
    """Attaches parts of what is wanted to the machine below, and notes the links."""

    def __init__(self, inner: Machine, wanted: Sequence[Attachable], links: Sequence[SpringboardLink], *,
                 user_only: bool) -> None:  # fmt: skip
        self._inner, self._wanted, self._links, self._user_only = inner, wanted, links, user_only

    def attach(
        self, executable: Executable, chosen: Callable[[Attachable], bool], place: Callable[[int], int | None]
    ) -> None:
        """Those that are `chosen`, at the sites for which `place` has a file offset; with an origin at once."""
        parts, links = [], []
        for one, link in zip(self._wanted, self._links, strict=True):
            sites = [(at, cookie) for offset, cookie in one.sites if (at := place(offset)) is not None]
            if sites and chosen(one):
                parts.append(replace(one, sites=sites))
                links.append(link)
        made = self._inner.attach(executable, parts, user_only=self._user_only) if parts else []
        for link, inner in zip(links, made, strict=True):
            link.inner.append(inner)

    def attach_origins(self, executable: Executable) -> None:
        for one, link in zip(self._wanted, self._links, strict=True):
            if one.origin is not None:
                link.inner += self._inner.attach(executable, [one], user_only=self._user_only)


def _check_others(pid: int, patches: Sequence[Patch]) -> None:
    """Raises SpringboardRefused when somebody has written more than breakpoints where patches were to go.

    Under a uprobe the kernel runs the instruction that is in the file and goes on behind it: in the middle of a jump
    that is there now, which would end the program.
    """
    with Process(pid) as process, contextlib.closing(Memory(process)) as memory:
        for patch in patches:
            actual = memory.read(patch.address, patch.size) or b""
            changed = [now for now, before in zip(actual, patch.original, strict=False) if now != before]
            if any(byte != _BREAKPOINT for byte in changed):
                raise SpringboardRefused(
                    f"the code at {patch.address:#x} was changed by another agent, or another gotap",
                    f"end that one; `gotap detach {pid}` takes out what a gotap has left",
                )


def _unless(put: _Put | None, offset: int) -> int | None:
    """The site itself, unless it is a springboard."""
    return None if put is not None and offset in put.patches else offset


def _stays(pid: int, error: GotapError) -> str:
    return f"jumps stay in process {pid}, which do no harm: {error}; `gotap detach {pid}` takes them out later"


def _refusal(site: JumpSite | NoJump, bias: int, *, held: bool) -> str:
    """Why a site is no springboard, empty: it can be one. `held`: the program has not begun yet."""
    if isinstance(site, NoJump):
        return site.reason
    if not held and not site.live:
        return site.reason_not_live
    return why_not(site.start + bias, site.pun)
