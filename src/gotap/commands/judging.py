"""From what a person names to verdicts: files, processes by pid or by name, each read once and judged."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from gotap.errors import GotapError
from gotap.image.errors import ImageError
from gotap.image.facts.model import Facts
from gotap.process.errors import NoSuchName, NotPermitted, ProcessGone, gone, not_permitted
from gotap.process.facts_cache import FileKey, file_key
from gotap.process.language import language_of, needs_mappings
from gotap.process.proc import Process
from gotap.process.surroundings import Surroundings
from gotap.verdict.conditions.compiler import OLDEST, release
from gotap.verdict.judge import judge
from gotap.verdict.model import Answer, Coverage, Host, Situation, Verdict
from gotap.verdict.woven import is_inert, left_to_gotap

if TYPE_CHECKING:
    from gotap.image.containers.container import Container
    from gotap.image.containers.elf import Elf
    from gotap.image.functions.tables import GoTables
    from gotap.kernel.findings import Features
    from gotap.process.reading import Observer


#: Of kernel.yama.ptrace_scope: not even who has the capability may trace.
_NOBODY = 3


class NoSuchTarget(GotapError):
    """Neither a file nor a process of that name."""


class Judged(Struct):
    """What became of one target: a situation and its verdict, or the error that kept it from being read.

    `path` opens the file that was read, for who wants to list parts of it; `pid` of a process.
    """

    target: str
    situation: Situation | None = None
    verdict: Verdict | None = None
    error: GotapError | None = None
    path: str = ""
    pid: int | None = None


class Glance(Struct):
    """One process as a list shows it: no more is read of it than its executable and its language."""

    pid: int
    name: str
    language: str
    file: FileFacts
    mechanisms: dict[str, Answer]


class FileFacts(Struct, frozen=True):
    """What an executable file gave. `coverage`: None when the catalogue was not tried on it."""

    facts: Facts
    coverage: Coverage | None = None

    @property
    def is_woven(self) -> bool:
        return self.facts.go is not None and self.facts.go.woven is not None

    def left(self, inert: bool) -> Coverage | None:
        """The coverage without what the program tells of itself, which is nothing when it is inert."""
        woven = self.facts.go.woven if self.facts.go is not None else None
        if self.coverage is None or woven is None or inert:
            return self.coverage
        return left_to_gotap(self.coverage, woven.operations)


class Judge:
    """Reads and judges targets. What concerns the host is found out when the first process is met, and once.

    `read` gives what is in a file, by its path and by its name for messages.
    """

    def __init__(self, read: Callable[[str, str], FileFacts] | None = None) -> None:
        self._read = read or read_file
        self._known: dict[FileKey, FileFacts] = {}
        self._answers: dict[tuple[FileKey, bool], dict[str, Answer]] = {}

    def targets(self, target: str) -> Iterator[Judged]:
        """One for a pid or a file, one for each process of a name; an error becomes one too."""
        if target.isascii() and target.isdigit():
            yield self.process(target, int(target))
        elif "/" in target or (os.path.lexists(target) and not os.path.isdir(target)):
            yield self.file(target)
        else:
            try:
                yield from self._of_name(target)
            except GotapError as error:
                yield Judged(target, error=error)

    def _of_name(self, name: str) -> Iterator[Judged]:
        """Those that end meanwhile are no longer meant. Raises NoSuchTarget when there are none."""
        found = False
        for pid in _named(name):
            judged = self.process(name, pid)
            if not isinstance(judged.error, ProcessGone):
                found = True
                yield judged
        if not found:
            raise NoSuchTarget(f"all processes named {name!r} have ended", "`gotap ps` lists those that run")

    def file(self, target: str) -> Judged:
        try:
            found = self._read(target, target)
        except GotapError as error:
            return Judged(target, error=error)
        situation = Situation(facts=found.facts, file=target, coverage=found.left(inert=False))
        return Judged(target, situation, judge(situation), path=target)

    def process(self, target: str, pid: int) -> Judged:
        try:
            with Process(pid) as process:  # says so when it is a thread, a kernel thread, or gone
                return self.running(target, process)
        except GotapError as error:
            return Judged(target, error=error, pid=pid)

    def running(self, target: str, process: Process, *, inside: bool = True) -> Judged:
        """Of an open process. Raises GotapError; `inside` as in `Observer.read`."""
        name = process.exe_path
        _, found = self._executable(process, name)
        surroundings = self.observer.read(process, found.facts.language, inside=inside)
        facts = _unpacked(process, found.facts) if inside and found.facts.packed else found.facts
        if facts.go is None and surroundings.language:
            facts = replace(facts, language=surroundings.language)
        inert = found.is_woven and _is_inert(process)
        situation = Situation(
            facts=facts, file=name, process=surroundings, host=self.host, coverage=found.left(inert), inert=inert
        )
        return Judged(target, situation, judge(situation), path=process.exe, pid=process.pid)

    def glance(self, process: Process) -> Glance:
        """Of an open process, what its executable alone tells; judged once for all that run it. Raises GotapError."""
        name = process.exe_path
        key, found = self._executable(process, name)
        language = found.facts.language
        if needs_mappings(language):
            language, _ = language_of(language, name, process.command_line, process.read("maps"))
        inert = found.is_woven and _is_inert(process)
        if found.is_woven:
            found = FileFacts(found.facts, found.left(inert))
        if (key, inert) not in self._answers:
            around = None  # not looked at: that would have to be done for each process
            if self.barred:
                around = Surroundings(pid=process.pid, ptrace_allowed=False, ptrace_denied=self.barred)
            situation = Situation(
                facts=found.facts, file=name, host=self.host, coverage=found.coverage, process=around, inert=inert
            )
            self._answers[key, inert] = judge(situation).mechanisms
        return Glance(process.pid, os.path.basename(name), language, found, self._answers[key, inert])

    def _executable(self, process: Process, name: str) -> tuple[FileKey, FileFacts]:
        """Reads a file once, however many processes run it."""
        try:
            key = file_key(process.exe)
        except PermissionError:
            raise not_permitted(process.pid, "exe") from None
        except OSError:
            raise gone(process.pid) from None
        if key not in self._known:
            try:
                # Facts are kept: their messages name the file in what can be written as UTF-8.
                self._known[key] = self._read(process.exe, os.fsencode(name).decode("utf-8", "replace"))
            except ImageError:
                if not process.is_alive():  # its link is gone, not the file
                    raise gone(process.pid) from None
                raise
        return key, self._known[key]

    @cached_property
    def observer(self) -> Observer:
        from gotap.process.reading import Observer

        return Observer()

    @cached_property
    def barred(self) -> str:
        """Why this gotap may trace no process but its own descendants, empty: it may."""
        from gotap.kernel.host import capabilities
        from gotap.process.privileges import read_ptrace_scope

        scope = read_ptrace_scope()
        if not scope or (scope < _NOBODY and "CAP_SYS_PTRACE" in capabilities()):
            return ""
        return f"kernel.yama.ptrace_scope is {scope}"

    @cached_property
    def host(self) -> Host:
        return read_host()


def _is_inert(process: Process) -> bool:
    """Whether a woven program tells nothing; False where its variables may not be read."""
    try:
        return is_inert(process.environment)
    except NotPermitted:
        return False


def _unpacked(process: Process, packed: Facts) -> Facts:
    """What a packed program is, from its memory; as its file tells it, when its memory may not be read."""
    from gotap.process.unpacked import read_unpacked_facts

    try:
        return read_unpacked_facts(process, packed) or packed
    except NotPermitted:
        return packed


def read_file(path: str, name: str) -> FileFacts:
    """Facts of an executable file, and what of the catalogue is in it. `name` is for messages.

    Raises ImageError, also when the file was changed meanwhile.
    """
    from gotap.image.containers.container import open_container
    from gotap.image.facts.reading import read

    container = open_container(path, name)
    facts, tables = read(container)
    coverage = cover(container, facts, tables)
    container.check_unchanged()
    if coverage is not None and not coverage.refused and not any(one.present for one in coverage.operations):
        facts = replace(facts, language="go proxy")
    return FileFacts(facts, coverage)


def cover(container: Container, facts: Facts, tables: GoTables | None) -> Coverage | None:
    """None for a file that is not probed in any case, for reasons that are conditions of their own."""
    go = facts.go
    if go is None or (facts.format, facts.os, facts.arch, go.compiler) != ("elf", "linux", "amd64", "gc"):
        return None
    line = release(go.version)
    if go.packed or go.obfuscated or go.linkshared or (line is not None and line < OLDEST):
        return None
    from gotap.image.function_code import FunctionCodes
    from gotap.image.image import Image
    from gotap.inject.sites import Sites
    from gotap.probe.catalogue import libraries, runtime
    from gotap.verdict.coverage import coverage_of

    try:
        image = Image(_elf(container), tables)
        codes = FunctionCodes(image)
        return coverage_of(image, libraries(), runtime(), Sites(image, codes).fits, codes)
    except GotapError as error:
        return Coverage(refused=str(error))


def _elf(container: Container) -> Elf:
    from gotap.image.containers.elf import Elf

    assert isinstance(container, Elf)
    return container


def _named(name: str) -> list[int]:
    from gotap.process.find import resolve

    try:
        return resolve(name)
    except NoSuchName as error:
        raise NoSuchTarget(f"there is neither a file nor a running process named {name!r}", error.remedy) from None


def read_host() -> Host:
    """What this host allows this gotap, by trying it."""
    from gotap.kernel import host
    from gotap.kernel.features import essential, lockdown_level

    return host_of(essential(), not (host.missing_capabilities() or host.in_user_namespace()), lockdown_level())


def host_of(features: Features, privileged: bool, lockdown: str | None) -> Host:
    from gotap.kernel.host import command
    from gotap.process.processor import has_fsgsbase

    missing = {one.id: (one.detail, one.remedy) for one in features.missing()}
    return Host(
        bpf=all(one.ok for one in features if one.needed and one.id != "uprobes"),
        uprobes=features.has("uprobes"),
        privileged=privileged or not missing,
        lockdown=lockdown,
        fsgsbase=has_fsgsbase(),
        missing=missing,
        command=command(),
    )
