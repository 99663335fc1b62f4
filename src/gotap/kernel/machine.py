"""The kernel as the machine that runs programs: bpf(2), uprobes, tracepoints, clocks."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gotap.bpf import machine
from gotap.bpf.enums import AttachType, MapFlags, MapType, ProgramType
from gotap.bpf.machine import Attachable, Executable, HasFeatures, Meanwhile, Source
from gotap.image.code import Cost
from gotap.kernel import bpf
from gotap.kernel.attach import Link, attach_type, attach_uprobes, close_all
from gotap.kernel.bpf import Map, Program, possible_cpus
from gotap.kernel.errors import KernelError, MapError, errno_text
from gotap.kernel.host import in_virtual_machine
from gotap.kernel.origins import attach_origin
from gotap.kernel.pool import Pool
from gotap.kernel.ring import Ring

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Programs that are verified at once, where there are that many CPUs.
_LOADING = 4
#: Seconds between two calls of what is done meanwhile.
_MEANWHILE = 0.02

#: ns of a trap by the class of the site (gotap.image.code.Cost), as measured on 6.18 in a virtual machine, which a
#: single step leaves twice; on bare metal by the figures of the kernel's patch "uprobes/x86: Add support to optimize
#: uprobes" (July 2025).
_TRAPS = {Cost.NOP5: 350.0, Cost.EMULATED: 600.0}
_SINGLE_STEP, _SINGLE_STEP_IN_VM = 1_000.0, 18_000.0


class KernelMachine:
    """A gotap.bpf.machine.Machine. Nothing outlives this process: descriptors hold everything."""

    def __init__(self, features: HasFeatures) -> None:
        """`features`: what gotap.kernel.features has found."""
        self.features = features

    inside = False
    unmeasured = 800.0

    @property
    def cpus(self) -> int:
        return possible_cpus()

    def make_map(self, kind: MapType, key_size: int, value_size: int, max_entries: int, flags: int = 0, name: str = ""
                 ) -> Map:  # fmt: skip
        """MapError says why not; BpfDeniedError that bpf(2) is not for us."""
        return Map.create(kind, key_size, value_size, max_entries, flags, name)

    own_frames = False  # a program may be preempted by another one, on the thread's or the CPU's

    def make_frames(self, size: int, count: int, name: str) -> Map:
        return self.make_map(MapType.ARRAY, 4, size, count, name=name)

    def make_array(self, name: str, rows: NDArray[np.void] | NDArray[np.uint64]) -> Map:
        """Mapped and filled at once."""
        count = max(1, len(rows))
        made = Map.create(MapType.ARRAY, 4, rows.itemsize, count, MapFlags.MMAPABLE, name)
        try:
            with mmap.mmap(made.fd, count * rows.itemsize, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as memory:
                memory.write(np.ascontiguousarray(rows).view(np.uint8).data)
        except OSError as error:
            made.close()
            number = error.errno or 0
            raise MapError(f"cannot fill BPF map {name}: {errno_text(number)}", errno=number) from error
        return made

    def make_ring(self, size: int, name: str = "ring") -> Ring:
        return Ring.create(size, name)

    def load(self, sources: Iterable[Source], meanwhile: Meanwhile = None) -> list[machine.Program]:
        """Side by side, while the next ones are generated: verifying takes most of the time.

        Raises VerifierError and the like; then none stays loaded.
        """
        made: list[Program] = []

        def load_one(source: Source, fds: Mapping[str, int]) -> Program:
            sites = attach_type(self.features) if source.kind is ProgramType.KPROBE else AttachType.NONE
            program = Program.load(source.code.bytes(fds), source.kind, "gotap", attach_type=sites,
                                   subprograms=source.code.subprograms)  # fmt: skip
            made.append(program)
            return program

        try:
            with Pool(min(_LOADING, os.cpu_count() or 1), "gotap-load") as pool:
                calls = []
                for source in sources:
                    fds = {name: _ours(map).fd for name, map in source.maps.items()}
                    calls.append(pool.start(partial(load_one, source, fds)))
                    if meanwhile is not None:
                        meanwhile()
                if meanwhile is not None:
                    for call in calls:
                        while not call.wait(_MEANWHILE):
                            meanwhile()
            return [call.result() for call in calls]
        except BaseException:
            for program in made:
                program.close()
            raise

    def attach(self, executable: Executable | None, wanted: Sequence[Attachable], *, user_only: bool = False
               ) -> list[machine.Link]:  # fmt: skip
        links: list[Link] = []
        try:
            for one in wanted:
                links.append(self._attach_one(executable, one, user_only))
        except BaseException:
            close_all(links[::-1])
            raise
        return [*links]

    def _attach_one(self, executable: Executable | None, wanted: Attachable, user_only: bool) -> Link:
        program, pid = _program(wanted.program), 0 if executable is None else executable.pid
        if wanted.origin is not None:
            return attach_origin(program, wanted.origin, pid=pid, features=self.features, user_only=user_only)
        if executable is None:
            return Link((), 0)
        return attach_uprobes(program, executable.path, wanted.sites, pid=pid, features=self.features)

    def detach(self, links: Sequence[machine.Link], meanwhile: Meanwhile = None) -> None:
        close_all([link for link in links if isinstance(link, Link)], meanwhile)

    def losses(self) -> Mapping[str, int]:
        """What the recursion guard refuses is in the programs' statistics."""
        return {}

    def run(self, program: machine.Program) -> None:
        """BPF_PROG_TEST_RUN; KernelError when the kernel does not do that."""
        try:
            _program(program).test_run()
        except OSError as error:
            number = error.errno or 0
            raise KernelError(f"this kernel does not run programs on demand ({errno_text(number)})",
                              "begin, end and interval need Linux 5.10 or newer; leave them out", errno=number
                              ) from error  # fmt: skip

    def set_program(self, map: machine.Map, index: int, program: machine.Program) -> None:
        map.update(struct.pack("<I", index), struct.pack("<i", _program(program).fd))

    @contextlib.contextmanager
    def measuring(self) -> Iterator[bool]:
        """By the kernel's statistics, which take CAP_SYS_ADMIN."""
        with contextlib.ExitStack() as stack:
            measures = True
            try:
                stack.enter_context(bpf.enable_stats())
            except KernelError:
                measures = False
            yield measures

    def trap_cost(self, cost: Cost) -> float:
        return trap_cost(cost, virtual=in_virtual_machine())


def trap_cost(cost: Cost, *, virtual: bool) -> float:
    """ns that a hit takes besides its program."""
    return _TRAPS.get(cost, _SINGLE_STEP_IN_VM if virtual else _SINGLE_STEP)


def _ours(map: machine.Map) -> Map:
    if not isinstance(map, Map):
        raise TypeError(f"{map.name} is no map of the kernel")
    return map


def _program(program: machine.Program) -> Program:
    if not isinstance(program, Program):
        raise TypeError("not a program of the kernel")
    return program
