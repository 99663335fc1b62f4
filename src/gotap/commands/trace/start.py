"""From options to a session: script, target, what the host allows, outputs; and its orderly end."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from gotap.bpf.machine import Machine
from gotap.commands.descriptors import raise_limit, set_limit
from gotap.commands.ends import Limits, Signals, noted_signals
from gotap.commands.main import FAILED, OK
from gotap.commands.mechanisms import AUTO, HOOK, UPROBE, Machines, check_jumps, fitting_script, sites_for
from gotap.commands.memory import give_back, keep_for_batches, keep_loaded
from gotap.commands.streams import say
from gotap.commands.trace.maps import read_map
from gotap.commands.trace.names import NoNames, ProgramNames
from gotap.commands.trace.options import UsageError, destinations, limits
from gotap.commands.trace.outputs import open_outputs
from gotap.commands.trace.script import needs_program, read_script
from gotap.commands.trace.session import BEGINNING, TraceSession
from gotap.commands.trace.subject import Subject, start, the_process
from gotap.commands.trace.summary import again, costs, summary
from gotap.errors import GotapError
from gotap.image.image import Image
from gotap.kernel.executions import Executions, watch_executions
from gotap.kernel.pool import Pool
from gotap.kernel.ring import Ring as KernelRing
from gotap.observe.tracing.governor import Governor
from gotap.observe.tracing.tracer import Tracer
from gotap.probe.script.binding.binder import Options, bind_script
from gotap.probe.script.bound import BoundScript, Origin
from gotap.probe.script.language import tree
from gotap.probe.script.language.source import ScriptError
from gotap.process.errors import gone
from gotap.process.launch import Program
from gotap.signals.clock import Clock
from gotap.sinks.summary import counted

if TYPE_CHECKING:
    from gotap.commands.trace.graph import Graph
    from gotap.commands.trace.servers import Servers
    from gotap.probe.script.tracepoint import FieldInfo
    from gotap.signals.batch import Resource

#: Seconds between two looks at what the target executes.
_LOOK = 0.25


def trace(arguments: argparse.Namespace) -> int:
    """Traces until the end, and returns the exit code. Raises GotapError when tracing is not possible."""
    script = read_script(arguments)
    if arguments.pid is None and arguments.command is None and needs_program(script):
        raise UsageError(
            "the script probes a Go program, and none is named", "name it: -p PID, or -c 'COMMAND' to start one"
        )
    keep_loaded()
    machines = Machines(arguments.via, "trace", force=arguments.force)
    limit = raise_limit()
    with ExitStack() as stack:
        signals = stack.enter_context(noted_signals())
        pid, program = None, None
        if arguments.command is not None:
            json = "json" in destinations(arguments)
            program = stack.enter_context(start(arguments.command, stdout_taken=json))
            set_limit(program.pid, limit)
            pid = program.pid
        elif arguments.pid is not None:
            pid = the_process(arguments.pid)
        subject = None if pid is None else stack.enter_context(Subject(pid, program))
        stack.callback(machines.close)
        tracing = _Tracing(arguments, script, machines, signals, subject)
        try:
            return tracing.run()
        finally:
            if program is not None and not tracing.released:
                program.send(signal.SIGKILL)  # it has not begun, and nobody would see what it does


class _Tracing:
    """One run of a script."""

    def __init__(self, arguments: argparse.Namespace, script: tree.Script, machines: Machines, signals: Signals,
                 subject: Subject | None) -> None:  # fmt: skip
        self.arguments = arguments
        self.script = script
        self.machines = machines
        self.signals = signals
        self.subject = subject
        self.image: Image | None = None
        self.released = False  # what -c started may run
        self.lost = False  # the target has become another program
        self.next_look = 0.0
        self.executions: Executions | None = None
        self.executed: list[float] = []  # when the target executed what is not traced yet
        self.attached_at = 0.0
        self.tidied = False
        self.governor: Governor | None = None
        self.graph: Graph | None = None
        self._machine: Machine | None = None
        self.mechanism = UPROBE
        self.why: list[str] = []  # not by a cheaper one
        self.servers: Servers | None = None

    def run(self) -> int:
        """By the first mechanism that can: with --via auto there are several."""
        *first, last = self.machines.mechanisms if self.subject is not None else (UPROBE,)
        for self.mechanism in first:
            try:
                return self.run_by()
            except (ScriptError, UsageError):
                raise
            except GotapError as error:
                if self.attached_at:
                    raise
                self.why.append(f"not by {self.mechanism}: {error}")
                self.give_up()
        self.mechanism = last
        return self.run_by()

    def give_up(self) -> None:
        """The mechanism that was tried is out."""
        if self._machine is not None:
            self.machines.retire(self._machine)
        self._machine = self.governor = self.servers = None

    def run_by(self) -> int:
        bound = self.bind()
        if lines := [*bound.notices, *costs(bound, self.mechanism)]:
            say(*lines)
        names = self.names(bound)
        give_back()
        with ExitStack() as stack:
            outputs = open_outputs(self.arguments, self.signals, self.resource, self.graph)
            for output in outputs:
                stack.callback(output.close, 0.0)
            self.servers = self.watch_servers(bound, stack)
            tracer = Tracer(
                self.machine(),
                bound,
                thinning=self.arguments.max_overhead is not None,
                servers=None if self.servers is None else self.servers.open(),
            )
            stack.callback(tracer.close)
            if self.arguments.max_overhead is not None:
                self.governor = stack.enter_context(Governor(tracer, self.arguments.max_overhead))
            clock = Clock()
            session = TraceSession(
                script=bound,
                kernel=tracer,
                names=names,
                outputs=outputs,
                limits=Limits(self.arguments.duration, self.arguments.count),
                signals=self.signals,
                read_map=lambda number, epoch: read_map(tracer, names, clock, number, epoch),
                clock=clock,
            )
            if self.graph is not None:
                session.counts = self.graph.counts()
            return self.trace(session, tracer, names)

    def machine(self) -> Machine:
        """What runs the script's programs."""
        if self._machine is None:
            if self.subject is None or self.image is None:
                self._machine = self.machines.kernel
            else:
                self._machine = self.machines.of(self.mechanism, self.subject.pid, self.image)
        return self._machine

    def watch_servers(self, bound: BoundScript, stack: ExitStack) -> Servers | None:
        """What traceid and spanid are looked up in; None: the script asks for neither."""
        if not bound.uses_traces or self.image is None or self.subject is None:
            return None
        from gotap.commands.trace.servers import Servers

        servers = stack.enter_context(Servers(self.image, self.machine(), sites_for(self.mechanism)))
        servers.attach(self.subject.executable(self.image.elf.entry))
        return servers

    def bind(self) -> BoundScript:
        """The script for this target. Raises ScriptError, and what speaks against the target."""
        subject = self.subject
        if subject is not None:
            try:
                self.image = subject.image()
            except GotapError:  # not Go, not even ELF: no matter if nothing of it is probed
                if needs_program(self.script):
                    raise
        script = self.with_calls() if self.arguments.graph else self.script
        options = Options(
            limits(self.arguments),
            most_probes=self.arguments.max_probes,
            lenient=self.arguments.tool is not None,
            tracepoints=_tracepoint_fields,
            symbols=self.c_function,
            functions=self.graph.functions if self.graph is not None else None,
            sites_for=sites_for(self.mechanism),
        )
        bound = bind_script(script, self.image, options)
        bound = fitting_script(self.mechanism, bound, self.image, whole=self.machines.whole)
        if self.image is not None:
            self.image.elf.check_unchanged()  # else sites might be those of another program
            self.image.elf.give_back()
        return bound

    def with_calls(self) -> tree.Script:
        """The script of --graph."""
        from gotap.commands.trace.graph import graph

        if self.image is None:
            raise UsageError("--graph shows calls of a Go program", "name one: -p PID, or -c 'COMMAND'")
        self.graph = graph(self.script, self.image, self.arguments.within)
        if self.graph.notices:
            say(*self.graph.notices)
        return self.graph.script

    def c_function(self, spec: tree.Uprobe) -> Origin:
        """What uprobe:PATH:SYMBOL means to the target, or to gotap where there is none."""
        from gotap.process.symbols import find_symbol

        process = self.subject.process if self.subject is not None else None
        found = find_symbol(spec.path, spec.symbol, offset=spec.offset, returns=spec.returns, process=process)
        return Origin(
            "uprobe",
            path=found.path,
            name=spec.symbol,
            file_offset=found.file_offset,
            returns=spec.returns,
            is_go=found.is_go,
        )

    def names(self, bound: BoundScript) -> NoNames:
        subject, image = self.subject, self.image
        if subject is None or image is None:
            return NoNames(bound.sites)
        bias = subject.process.load_bias(image.elf.entry)
        return ProgramNames(image, bound.sites, bias=bias, limits=limits(self.arguments), process=subject.process)

    def trace(self, session: TraceSession, tracer: Tracer, names: NoNames) -> int:
        """Attaches, moves events until the end, detaches, tells what was."""
        sites = self.attach(tracer)
        self.announce(tracer, sites)
        self.attached_at = time.monotonic()
        if self.subject is not None and isinstance(tracer.ring, KernelRing):
            self.executions = watch_executions(self.subject.process.initial_tgid, tracer.ring, tracer.machine.features)
        session.ticks.append(lambda: self.follow(session, tracer, names))
        session.ticks += [self.tidy, self.machines.look]
        if self.governor is not None:
            session.ticks.append(self.govern)
        if self.servers is not None:
            session.ticks.append(self.servers.drop)
        program = self.subject.program if self.subject is not None else None
        try:
            if program is not None:
                self.released = True
                program.release()
            session.run(lambda: self.ended, *([self.subject.process] if self.subject is not None else []))
        finally:
            with self.unwatched():
                tracer.detach(session.keep_up)
        session.finish()
        losses = session.close()
        say(*summary(session, tracer.counts(), losses, time.monotonic() - self.attached_at,
                     self.machines.losses()))  # fmt: skip
        if program is not None:
            return self.end(program)
        return OK if session.outputs else FAILED

    def resource(self) -> Resource:
        """Who exported signals are about: the target, or the host where there is none."""
        from gotap.commands.targets import resource_of
        from gotap.signals.batch import Resource
        from gotap.sinks.environment import Environment

        own = Environment(dict(os.environ))
        if self.subject is None:
            return Resource({"service.name": "gotap", "host.name": socket.gethostname()})
        go_version = self.image.go_version.text if self.image is not None else ""
        return resource_of(self.subject.process, go_version, own)

    def attach(self, tracer: Tracer) -> int:
        """How many sites."""
        subject, image = self.subject, self.image
        try:
            executable = None if subject is None else subject.executable(image.elf.entry if image is not None else 0)
            if executable is not None and image is not None:
                check_jumps(self.mechanism, tracer.script, image, executable.pid, executable.bias)
            return tracer.attach(executable)
        except GotapError:
            if subject is not None and not subject.is_alive():  # of an end everything fails, in many words
                raise gone(subject.pid) from None
            raise

    def announce(self, tracer: Tracer, sites: int) -> None:
        """The line that scripts wait for: all probes are in place."""
        where = "" if self.subject is None else f" to PID {self.subject.pid} ({self.subject.name})"
        probes = sum(number > 0 for number in tracer.names)
        by = "; ".join([f" by {self.mechanism}", *self.why]) if self.machines.via == AUTO else ""
        say(f"attached{where}: {counted(probes, 'probe')}, {counted(sites, 'site')}{by}")
        keep_for_batches()

    def tidy(self) -> None:
        """Gives memory back, once: what began has shown its first events by now."""
        if not self.tidied and time.monotonic() - self.attached_at > BEGINNING:
            self.tidied = True
            give_back()

    def govern(self) -> None:
        """Keeps probes below their budget, and says what was done for that."""
        assert self.governor is not None
        if texts := self.governor.look(time.monotonic()):
            say(*texts)

    @property
    def ended(self) -> bool:
        """Whether the target has ended, or become what the script was not bound to."""
        return self.lost or (self.subject is not None and not self.subject.is_alive())

    def follow(self, session: TraceSession, tracer: Tracer, names: NoNames) -> None:
        """When the target executes a program: goes on if it is the same file."""
        subject, now = self.subject, time.monotonic()
        if subject is None or self.ended:
            return
        self.note_executions()
        if not self.executed and now < self.next_look:
            return
        unchanged, self.next_look = self.next_look - _LOOK, now + _LOOK
        if not subject.has_become_another():
            return
        self.executed = self.executed or [unchanged]
        tracer.detach(session.keep_up)
        session.drain()
        if self.mechanism == HOOK and subject.is_alive():
            say(f"{subject.pid} executed a program: what hooks had put into the one before is gone, and tracing ends")
            self.executed.clear()
            self.lost = True
            return
        if not subject.runs_same_file():
            if subject.is_alive():
                say(f"{subject.pid} executed another program ({subject.current_name()}): tracing ends")
                self.executed.clear()
            self.lost = True
            return
        try:
            self.renew(subject, tracer, names)
        except GotapError:
            if subject.is_alive():
                raise
        else:
            say(again(subject.pid, self.executed, time.monotonic()))
            self.executed.clear()

    def note_executions(self) -> None:
        if self.executions is not None:
            self.executed += self.executions.new()

    @contextmanager
    def unwatched(self) -> Iterator[None]:
        """Nobody waits for the target's executions any more; tells of those that came too fast. To give a tracepoint
        back takes a tenth of a second, in which other things can be done.
        """
        self.note_executions()
        if self.executed and self.subject is not None:
            say(f"{self.subject.pid} executed a program {counted(len(self.executed), 'more time')}, of which nothing "
                "was seen")  # fmt: skip
        if self.executions is None:
            yield
            return
        with Pool(1, "gotap-close") as pool:
            call = pool.start(self.executions.close)
            yield
            call.result()

    def renew(self, subject: Subject, tracer: Tracer, names: NoNames) -> None:
        """Attaches to what the target executes now."""
        subject.renew()
        if self.image is not None:
            executable = subject.executable(self.image.elf.entry)
            if isinstance(names, ProgramNames):
                names.moved(executable.bias)
            if self.servers is not None:
                self.servers.attach(executable)
                tracer.servers = self.servers.open()
        self.attach(tracer)

    def end(self, program: Program) -> int:
        """The end of what -c has started, with its exit code. A limit ends it; a signal is passed on; a second one
        leaves it."""
        received = self.signals.received
        if self.signals.leave:
            return OK
        if received:
            program.pass_on(received.pop(0))
        elif program.poll() is None and not self.lost:
            program.send(signal.SIGTERM)
        while (code := program.poll()) is None:
            self.signals.wait(program)
            if self.signals.leave:
                return OK
            if received:
                return 128 + received[-1]
        return code


def _tracepoint_fields(category: str, name: str) -> Mapping[str, FieldInfo]:
    from gotap.kernel.tracefs import tracepoint_fields

    return tracepoint_fields(category, name)
