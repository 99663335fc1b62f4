"""One watched process: its executable read and bound, probes in place, records decoded under its name."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from gotap.bpf.machine import Executable, Machine
from gotap.commands.mechanisms import UPROBE, Machines, check_jumps, fitting_binding, sites_for
from gotap.commands.memory import give_back
from gotap.commands.streams import say
from gotap.errors import GotapError
from gotap.image.containers.elf import Elf
from gotap.image.facts.goversion import GoVersion
from gotap.image.functions.moduledata import ModuleData
from gotap.image.image import Image, NotGo
from gotap.image.types.rtype import RuntimeTypes
from gotap.observe.watch import Attachment
from gotap.observe.watchers import Watchers
from gotap.probe.binding import Binding, bind
from gotap.probe.catalogue import libraries, runtime
from gotap.probe.convert import Param
from gotap.probe.sources import types_of
from gotap.process.errors import gone, unreadable
from gotap.process.proc import Execution, Process
from gotap.signals.batch import Resource, Spans
from gotap.signals.clock import Clock
from gotap.signals.decode import Decoder
from gotap.signals.resource import ProcessFacts, process_resource
from gotap.sinks.environment import Environment, service_identity
from gotap.verdict.woven import is_inert, libraries_left, packages


class BecameAnother(GotapError):
    """The process executed another program while it was attached to."""


class NothingToWatch(GotapError):
    """A Go program that holds no library of the catalogue."""


class WatchesItself(NothingToWatch):
    """A woven program, which tells of all that could be watched."""


#: How gotap gets to watch what a program tells of itself.
_UNWOVEN = "started with OTEL_SDK_DISABLED=true it leaves that to gotap"

#: Device, inode and time of a file; the mechanism; whether what is woven into it is inert.
_Key = tuple[int, int, int, str, bool]

#: Executables that stay read and bound when nothing runs them any more, since they may be run again.
_PROGRAMS = 8


class Program(Struct, frozen=True, dict=True):
    """An executable that was read and bound; processes that run the same file share it.

    Of the image it keeps only what names types, so that its tables do not stay in memory.
    """

    elf: Elf
    module: ModuleData
    go_version: GoVersion
    binding: Binding
    woven: tuple[str, ...] = ()  # operations that it tells of itself, which are not bound

    @property
    def image(self) -> Image:
        """Read again: it is wanted for jumps only."""
        return Image(self.elf)

    def type_name(self, address: int) -> str:
        return self._types.name_at(address)

    @cached_property
    def _types(self) -> RuntimeTypes:
        """Read again when the first type is to be named: most records name none."""
        return RuntimeTypes(self.elf, self.module, self.go_version)


class Target(Struct):
    """A process with its probes in place."""

    process: Process
    program: Program
    attachment: Attachment
    resource: Resource
    execution: Execution  # of the program that was attached to
    mechanism: str = UPROBE
    why: tuple[str, ...] = ()  # not by a cheaper one
    decoders: dict[int, Decoder] = field(default_factory=dict)

    @property
    def pid(self) -> int:
        return self.process.pid

    def decode(self, operation: int, rows: NDArray[np.uint8]) -> Spans | None:
        decoder = self.decoders.get(operation)
        return decoder.decode(rows) if decoder is not None else None

    def has_become_another(self) -> bool:
        """Whether the process has executed a program since."""
        try:
            return self.process.execution() != self.execution
        except GotapError:
            return False  # it has ended

    @property
    def rejected(self) -> int:
        """Records that were not understood."""
        return sum(one.rejected for one in self.decoders.values())

    @property
    def broken_texts(self) -> int:
        """Texts that were not understood, and are absent."""
        return sum(one.broken_texts for one in self.decoders.values())


class _Put(Struct, frozen=True):
    """A process with probes: by which mechanism, and why not by a cheaper one."""

    program: Program
    attachment: Attachment
    mechanism: str
    why: tuple[str, ...]


class Targets:
    """Opens targets. `options` override constants of conversions (sensitive keys, known methods)."""

    def __init__(self, watchers: Watchers, machines: Machines, own: Environment, options: Mapping[str, Param]) -> None:
        self.watchers = watchers
        self.machines = machines
        self.own = own
        self.options = options
        self.clock = Clock()
        self._programs: dict[_Key, Program] = {}  # the ones used last, at most _PROGRAMS
        self._told: set[str] = set()  # notices that are told once

    def open(self, pid: int, meanwhile: Callable[[], None] = lambda: None) -> Target:
        """Reads, binds and attaches one process; GotapError says why not.

        `meanwhile` is called now and then: with a large executable this takes a second, in which others are watched.
        """
        process = Process(pid)
        try:
            target = self._attach(process, meanwhile)
        except GotapError as error:
            ended = not process.is_alive()
            process.close()
            raise (gone(pid) if ended else error) from None  # of an end everything fails, in many words
        except BaseException:
            process.close()
            raise
        program = target.program
        for operation in program.binding.bound:
            if operation.output is not None:
                target.decoders[operation.output.layout.operation_id] = Decoder(
                    operation.output,
                    target.resource,
                    type_name=program.type_name,
                    clock=self.clock,
                    options=self.options,
                )
        return target

    def _attach(self, process: Process, meanwhile: Callable[[], None]) -> Target:
        """The executable is opened once, to be read and to be probed: what an exec brings meanwhile is not touched."""
        execution = process.execution()
        try:
            descriptor = os.open(process.exe, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise unreadable(process.pid, "the executable", error) from None
        try:
            put = self._put(process, descriptor, meanwhile)
            resource = resource_of(process, put.program.go_version.text, self.own)
        finally:
            os.close(descriptor)
        attachment = put.attachment
        if process.execution() != execution:
            self.watchers.detach(attachment, meanwhile)
            self.retire(attachment)
            raise BecameAnother(
                f"{process.pid} became another program while it was attached to", "attach to it once more"
            )
        return Target(process, put.program, attachment, resource, execution, put.mechanism, put.why)

    def _put(self, process: Process, descriptor: int, meanwhile: Callable[[], None]) -> _Put:
        """By the first mechanism that can: with --via auto there are several."""
        why: list[str] = []
        *first, last = self.machines.mechanisms
        for mechanism in first:
            try:
                return self._put_by(mechanism, why, process, descriptor, meanwhile)
            except (NothingToWatch, NotGo):
                raise
            except GotapError as error:
                why.append(f"not by {mechanism}: {error}")
        return self._put_by(last, why, process, descriptor, meanwhile)

    def _put_by(
        self, mechanism: str, why: list[str], process: Process, descriptor: int, meanwhile: Callable[[], None]
    ) -> _Put:
        inert = is_inert(process.environment)
        program = self.program(descriptor, process.name, mechanism, meanwhile, inert=inert)
        give_back()  # before the programs are made, which adds to it
        meanwhile()
        if not program.binding.bound and program.woven:
            raise WatchesItself(
                f"{process.name} is woven: it tells of {listed(program.woven)} itself, and nothing else can be watched",
                f"{_UNWOVEN}; `gotap trace` takes it as it is",
            )
        if not program.binding.bound:
            raise NothingToWatch(
                f"{process.name} is a Go program without net/http: there is nothing to watch yet",
                f"`gotap inspect -v {process.pid}` tells what is missing",
            )
        path = f"/proc/self/fd/{descriptor}"
        executable = Executable(process.pid, process.initial_tgid, path, process.load_bias(program.elf.entry))
        check_jumps(mechanism, program.binding, program.image, executable.pid, executable.bias)
        machine = self.machines.of(mechanism, executable.pid, program.image)
        try:
            attachment = self.watchers.attach(machine, executable, program.binding, meanwhile)
            return _Put(program, attachment, mechanism, tuple(why))
        except BaseException:
            self._retire(machine)
            raise

    def retire(self, attachment: Attachment) -> None:
        """Gives back what a detached target had of its own. Its records must have been taken."""
        self._retire(self.watchers.machine_of(attachment))

    def _retire(self, machine: Machine) -> None:
        if self.machines.is_own(machine):
            self.watchers.retire(machine)
            self.machines.retire(machine)

    def program(
        self,
        descriptor: int,
        name: str,
        mechanism: str = UPROBE,
        meanwhile: Callable[[], None] = lambda: None,
        *,
        inert: bool = False,
    ) -> Program:
        """`inert`: a woven program tells nothing in these processes, so all of it is bound."""
        status = os.fstat(descriptor)
        key = (status.st_dev, status.st_ino, status.st_mtime_ns, mechanism, inert)
        known = self._programs.pop(key, None)
        if known is None:
            image = Image.open(f"/proc/self/fd/{descriptor}", name)
            meanwhile()
            types = types_of(image, runtime())
            meanwhile()
            woven = () if inert else image.woven_operations
            binding = bind(image, types, libraries_left(libraries(), woven), runtime(), sites_for(mechanism))
            left = fitting_binding(mechanism, binding, image, whole=self.machines.whole)
            tell_lost(name, binding, left)
            binding = left
            image.elf.check_unchanged()  # else sites might be those of another program
            known = Program(image.elf, image.moduledata, image.go_version, binding, tuple(packages(woven)))
            image.elf.give_back()
        self._programs[key] = known
        while len(self._programs) > _PROGRAMS:  # those that are watched are kept by their targets
            del self._programs[next(iter(self._programs))]
        if known.woven and known.binding.bound:
            itself = f"it tells of {listed(known.woven)} itself, so gotap does not"
            self._tell_once(f"{name} is woven: {itself}; {_UNWOVEN}")
        return known

    def _tell_once(self, notice: str) -> None:
        if notice not in self._told:
            self._told.add(notice)
            say(notice)


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def tell_lost(name: str, binding: Binding, left: Binding) -> None:
    """Says which operations the mechanism cannot watch."""
    kept = {one.operation.name for one in left.bound}
    for one in left.operations:
        if one.operation.name not in kept and any(each.operation is one.operation for each in binding.bound):
            say(f"{name}: {one.operation.name} is not watched: {one.missing[-1].reason}")


def resource_of(process: Process, go_version: str, own: Environment) -> Resource:
    """Who a process's signals are about; says what is wrong with its OTEL_* variables. `own`: those of gotap."""
    theirs, told = Environment(process.environment), len(own.warnings)
    identity = service_identity(theirs, own)
    warnings = [*own.warnings[told:], *(f"{process.pid}: {warning}" for warning in theirs.warnings)]
    if warnings:
        say(*warnings)
    facts = ProcessFacts(
        pid=process.pid,
        executable_path=process.exe_path,
        command_args=process.command_line,
        owner=process.owner,
        go_version=go_version,
        parent_pid=process.parent,
        boot_id=_boot_id(),
        start_time=process.start_time,
        creation_time=process.creation_time,
        container_id=process.container_id,
        host_name=socket.gethostname(),
        host_id=_host_id(),
        machine=platform.machine(),
        os_description=_os_release().get("PRETTY_NAME", ""),
        os_version=_os_release().get("VERSION_ID", ""),
    )
    return process_resource(facts, identity)


@cache
def _boot_id() -> str:
    return _content("/proc/sys/kernel/random/boot_id")


@cache
def _host_id() -> str:
    return _content("/etc/machine-id")


def _content(path: str) -> str:
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


@cache
def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
