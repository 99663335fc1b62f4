"""Situations that are hard for whoever attaches: each must come to a correct attachment or to a clear refusal.

Either way the target goes on working, and its text and mappings are afterwards as they were.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gobuild
from cli import Gotap, started, text_is_original
from processes import eventually
from sandbox import NOBODY
from torture_cgroups import frozen, own_memory
from torture_exactness import compared, script
from torture_mechanisms import Memory, told, via
from torture_program import FUNCTIONS, Torture, torture


@dataclass(frozen=True, slots=True)
class Outcome:
    """`attached`: with counts that are exact, unless `told` says other. Else gotap refused; `said` is what it said."""

    attached: bool
    said: str
    told: str = "exact"


#: Microseconds that each worker rests behind a round: these tests are about what happens, not about how much.
PAUSE = 2000

calm = functools.partial(torture, noises=("stacks",), pause=PAUSE)


def _nothing() -> None:
    pass


def _tracing(target: Torture, mechanism: str) -> tuple[str, ...]:
    options = (*via(mechanism), "--json", "--max-overhead", "off")
    return "trace", "-p", str(target.pid), *options, script("static", mechanism)


def is_attached(tracing: Gotap) -> bool:
    """Waits until gotap has attached; False when it has ended instead."""

    def look() -> bool:
        return "gotap: attached" in tracing.err or tracing.process.poll() is not None

    eventually(look, "an attachment or a refusal")
    return tracing.process.poll() is None or "gotap: attached" in tracing.err


def refusal(tracing: Gotap) -> Outcome:
    """Of a gotap that has ended: it must have failed with words."""
    done = tracing.finish()
    assert done.code in (1, 2), f"exit code {done.code}: {done.err}"
    said = told(done)
    assert said, "a refusal without a word"
    return Outcome(False, said)


def counted(target: Torture, mechanism: str, tracing: Gotap, rounds: int = 60) -> Outcome:
    """The target makes some rounds, gotap ends by itself, and what it counted is compared."""
    was = target.order("measure", rounds)
    done = tracing.finish()
    assert done.code == 0, done.err
    found = compared(was, done, "static", mechanism, Counter())
    assert found.exact, f"{found.wrong}\n{done.err}"
    return Outcome(True, done.err.splitlines()[-1])


def attempt(
    target: Torture,
    mechanism: str,
    *,
    prefix: Sequence[str] = (),
    attached: Callable[[], object] = _nothing,
    refused: Callable[[], object] = _nothing,
) -> Outcome:
    """Attaches, does `attached`, compares what is counted, detaches; or is refused and does `refused`."""
    before = Memory.of(target.pid)
    with started(*_tracing(target, mechanism), prefix=prefix) as tracing:
        if is_attached(tracing):
            attached()
            outcome = counted(target, mechanism, tracing)
        else:
            outcome = refusal(tracing)
            refused()
    unharmed(target, before)
    return outcome


def unharmed(target: Torture, before: Memory) -> None:
    target.works()
    left = before.differences(Memory.of(target.pid))
    assert not left, f"left: {left}"


# -- other observers --------------------------------------------------------------------------------------------------


def two_gotaps(mechanism: str) -> Outcome:
    """Two that do the same at the same time; the first goes first."""
    return _beside(mechanism, mechanism)


def uprobe_first(mechanism: str) -> Outcome:
    """The kernel has a uprobe at every site already."""
    return _beside("uprobe", mechanism)


def uprobe_later(mechanism: str) -> Outcome:
    """Uprobes are to come to sites that are patched."""
    return _beside(mechanism, "uprobe")


def _beside(first: str, second: str) -> Outcome:
    """The outcome is the second's; the first, which goes first, must be right in any case."""
    with calm() as target:
        before = Memory.of(target.pid)
        with started(*_tracing(target, first)) as one:
            one.wait_for("gotap: attached")
            with started(*_tracing(target, second)) as other:
                outcome = None if is_attached(other) else refusal(other)
                was = target.order("measure", 60)  # both end at its end
                for tracing, by in ((one, first), (other, second)) if outcome is None else ((one, first),):
                    done = tracing.finish()
                    assert done.code == 0, done.err
                    found = compared(was, done, "static", by, Counter())
                    assert found.exact, f"{found.wrong}\n{done.err}"
                    outcome = outcome or (Outcome(True, done.err.splitlines()[-1]) if tracing is other else None)
        unharmed(target, before)
        assert outcome is not None
        return outcome


def bpftrace_later(mechanism: str) -> Outcome:
    """Another tool, which knows nothing of gotap, puts uprobes on the first instructions of patched functions.

    The kernel then runs the file's instruction, and at the end writes the file's byte: those sites are lost to gotap.
    """
    if shutil.which("bpftrace") is None:
        raise gobuild.MissingTool("bpftrace is not installed (Debian package bpftrace)")
    functions = [name for name in FUNCTIONS if name.count(".") == 1 and name != "main.generic"]
    with calm() as target:
        before = Memory.of(target.pid)
        with started(*_tracing(target, mechanism)) as tracing:
            if not is_attached(tracing):
                return refusal(tracing)
            patched = Memory.of(target.pid)
            probes = ", ".join(f"uprobe:{target.executable}:{name}" for name in functions)
            words = ["bpftrace", "-p", str(target.pid), "-e", f"{probes} {{ @ = count(); }}"]
            with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as other:
                try:
                    eventually(lambda: patched.differences(Memory.of(target.pid)), "bpftrace's uprobes")
                    target.works()
                finally:
                    other.send_signal(signal.SIGINT)
            target.works()
            tracing.send(signal.SIGINT)
            done = tracing.finish()
        assert done.code == 0, done.err
        unharmed(target, before)
        lost = "" if mechanism == "uprobe" else "; calls at sites that the other one took over are not seen"
        return Outcome(True, done.err.splitlines()[-1], f"unharmed{lost}")


#: Seizes the threads of the process argv[1], says so, and passes on their signals until it is killed.
_TRACER = """
import ctypes, os, sys
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
SEIZE, CONT, WALL = 0x4206, 7, 0x40000000
for thread in os.listdir(f"/proc/{sys.argv[1]}/task"):
    if ptrace(SEIZE, int(thread), None, None):
        raise OSError(ctypes.get_errno(), "PTRACE_SEIZE")
print("seized", flush=True)
while True:
    thread, status = os.waitpid(-1, WALL)
    if os.WIFSTOPPED(status):
        ptrace(CONT, thread, None, 0 if status >> 16 else os.WSTOPSIG(status))
"""


def debugger(mechanism: str) -> Outcome:
    """A debugger holds the threads."""
    with (
        calm() as target,
        subprocess.Popen([sys.executable, "-c", _TRACER, str(target.pid)], stdout=subprocess.PIPE, text=True) as tracer,
    ):
        assert tracer.stdout is not None
        assert tracer.stdout.readline() == "seized\n"
        try:
            return attempt(target, mechanism)
        finally:
            tracer.kill()


# -- what the target does ---------------------------------------------------------------------------------------------


def executes_itself(mechanism: str) -> Outcome:
    """The target executes itself while it is observed: the new program is left alone, and gotap ends or goes on."""
    with calm() as target, started(*_tracing(target, mechanism)) as tracing:
        if not is_attached(tracing):
            return refusal(tracing)
        assert target.order("exec") == "execs"
        assert target.process.stdout is not None
        assert target.process.stdout.readline() == "ready\n", target.fate()
        done = tracing.finish(signal.SIGINT)
        assert done.code == 0, done.err
        target.works()
        assert text_is_original(target.pid)
        return Outcome(True, done.err.splitlines()[-1])


def executes_itself_meanwhile(mechanism: str) -> Outcome:
    """The target executes itself again and again while gotap attaches."""
    with calm() as target, started(*_tracing(target, mechanism)) as tracing:

        def come_to_something() -> bool:
            assert target.order("exec") == "execs"
            assert target.process.stdout is not None
            assert target.process.stdout.readline() == "ready\n", target.fate()
            target.order("load", PAUSE)
            return "gotap: attached" in tracing.err or tracing.process.poll() is not None

        eventually(come_to_something, "an attachment or a refusal")
        if is_attached(tracing):
            done = tracing.finish(signal.SIGINT)
            assert done.code in (0, 1), done.err
            outcome = Outcome(True, done.err.splitlines()[-1])
        else:
            outcome = refusal(tracing)
        target.works()
        assert text_is_original(target.pid)
        return outcome


def ends_meanwhile(mechanism: str) -> Outcome:
    """The target is killed while gotap attaches, and while it observes: gotap ends by itself, and says so."""
    outcome = Outcome(True, "")
    for delay in (0.1, 0.3, 0.5):
        with calm() as target, started(*_tracing(target, mechanism)) as tracing:
            with contextlib.suppress(subprocess.TimeoutExpired):
                tracing.process.wait(delay)
            os.kill(target.pid, signal.SIGKILL)
            target.process.wait()
            done = tracing.finish()
            assert done.code in (0, 1), done.err
            assert done.err, "gotap ended without a word"
            outcome = Outcome(done.code == 0, done.err.splitlines()[-1])
    return outcome


def executes_children(mechanism: str) -> Outcome:
    """The target forks, and what it forks executes a program."""
    with calm() as target:
        return attempt(target, mechanism, attached=lambda: target.order("spawn", 3))


def gives_up_rights(mechanism: str) -> Outcome:
    """The target becomes nobody while it is observed."""
    with calm() as target:
        return attempt(target, mechanism, attached=lambda: target.order("setuid", 65534))


def many_threads(mechanism: str) -> Outcome:
    with calm() as target:
        target.order("threads", 200)
        return attempt(target, mechanism, attached=lambda: target.order("threads", 100))


def loads_a_plugin(mechanism: str) -> Outcome:
    """The target loads a plugin while it is observed: its runtime links the module's functions beside the others."""
    host, plugin = gobuild.build("pluginhost"), gobuild.build("pluginpart", flags=("-buildmode=plugin",))
    with subprocess.Popen([host], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            before = Memory.of(child.pid)
            words = ("--json", "plugin.Open:entry { @ = count() }")
            with started("trace", "-p", str(child.pid), *via(mechanism), *words) as tracing:
                attached = is_attached(tracing)
                for _ in range(2):
                    print(plugin, file=child.stdin, flush=True)
                    assert child.stdout.readline() == "42\n"
                if not attached:
                    return refusal(tracing)
                done = tracing.finish(signal.SIGINT)
            assert done.code == 0, done.err
            assert b'"value":2' in done.out, done.out
            left = [one for one in before.differences(Memory.of(child.pid)) if not one.startswith("mapping new")]
            assert left == []
            return Outcome(True, done.err.splitlines()[-1])
        finally:
            child.kill()


# -- what the target stands still by ----------------------------------------------------------------------------------


def stopped(mechanism: str) -> Outcome:
    """SIGSTOP before: it stays stopped until somebody continues it."""
    with calm() as target:
        os.kill(target.pid, signal.SIGSTOP)
        eventually(lambda: _state(target.pid) == "T", "that it stops")

        def go_on() -> None:
            eventually(lambda: _state(target.pid) == "T", "a target that is as stopped as before")
            os.kill(target.pid, signal.SIGCONT)

        return attempt(target, mechanism, attached=go_on, refused=go_on)


def _state(pid: int) -> str:
    """Of the thread that stands for the process; t, in a stop of ptrace, is a stop that passes."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def frozen_by_cgroup(mechanism: str) -> Outcome:
    """As `docker pause` does it. Who waits for such a process waits for ever."""
    with calm() as target:
        before = Memory.of(target.pid)
        with frozen(target.pid), started(*_tracing(target, mechanism)) as tracing:
            outcome = None if is_attached(tracing) else refusal(tracing)
            if outcome is None:
                tracing.send(signal.SIGINT)
                done = tracing.finish()
                assert done.code == 0, done.err
                outcome = Outcome(True, done.err.splitlines()[-1])
        unharmed(target, before)
        return outcome


# -- what the target lives in -----------------------------------------------------------------------------------------


def other_namespaces(mechanism: str) -> Outcome:
    """Its own numbers of processes, and an executable that has no path here."""
    inside = 'mount -t tmpfs none /mnt && cp "$0" /mnt/torture && exec /mnt/torture "$@"'
    prefix = ("unshare", "--pid", "--mount", "--fork", "--mount-proc", "--kill-child", "sh", "-c", inside)
    with calm(prefix=prefix) as target:
        return attempt(target, mechanism)


#: Installs a seccomp filter and executes the rest: argv[1] is `NUMBER ARGUMENT MASK`; where the argument has a bit of
#: the mask the call fails with EPERM. Classic BPF over struct seccomp_data: nr at 0, args[n] at 16 + 8n.
_SECCOMP = """
import ctypes, os, struct, sys
number, argument, mask = (int(word, 0) for word in sys.argv[1].split())
code = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16 + 8 * argument), (0x45, 0, 1, mask),
        (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7FFF0000)]
filters = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *one) for one in code))
program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(filters)))
libc = ctypes.CDLL(None, use_errno=True)
for arguments in ((38, 1, 0, 0, 0), (22, 2, program, 0, 0)):  # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP, MODE_FILTER
    if libc.prctl(*arguments):
        raise OSError(ctypes.get_errno(), "prctl")
os.execvp(sys.argv[2], sys.argv[2:])
"""


def _filtered(number: int, argument: int, mask: int) -> tuple[str, ...]:
    return sys.executable, "-c", _SECCOMP, f"{number} {argument} {mask}"


def no_executable_memory(mechanism: str) -> Outcome:
    """seccomp refuses mmap with PROT_EXEC."""
    with calm(prefix=_filtered(9, 2, 4)) as target:
        return attempt(target, mechanism)


def no_shared_memory(mechanism: str) -> Outcome:
    """seccomp refuses mmap with MAP_SHARED."""
    with calm(prefix=_filtered(9, 3, 1)) as target:
        return attempt(target, mechanism)


def no_memfd(mechanism: str) -> Outcome:
    """seccomp refuses memfd_create, whatever its flags: the mask is of the address of the name."""
    with calm(prefix=_filtered(319, 0, 0xFFFFFFFF)) as target:
        return attempt(target, mechanism)


#: More than a program of a few functions may need of its own group's memory: pages of text that are copied, tables.
_SPARE = 1 << 20


def no_memory_left(mechanism: str) -> Outcome:
    """The target's cgroup is a megabyte below its limit: what gotap needs must not be charged to it."""
    with own_memory() as (memory, processes):
        joins = ("sh", "-c", f'echo $$ > {processes} && exec "$0" "$@"')
        with calm(noises=(), loaded=False, prefix=joins) as target:
            target.works()
            memory.limit(memory.used() + _SPARE)
            outcome = attempt(target, mechanism)
            assert memory.killed() == 0
            return outcome


# -- who attaches -----------------------------------------------------------------------------------------------------


def stranger(mechanism: str) -> Outcome:
    """gotap runs as another user without any right."""
    with calm() as target:
        outcome = attempt(target, mechanism, prefix=NOBODY)
        assert not outcome.attached, "nobody has attached to a process of root's"
        return outcome


def ordinary_user(mechanism: str) -> Outcome:
    """The target and gotap are one and the same user's, who is not root."""
    with calm(prefix=NOBODY) as target:
        return attempt(target, mechanism, prefix=NOBODY)


SITUATIONS: Mapping[str, Callable[[str], Outcome]] = {
    "two gotaps at once": two_gotaps,
    "uprobes at the sites already": uprobe_first,
    "uprobes at the sites later": uprobe_later,
    "uprobes of bpftrace come and go": bpftrace_later,
    "a debugger attached": debugger,
    "executes itself": executes_itself,
    "executes itself while gotap attaches": executes_itself_meanwhile,
    "ends while gotap attaches": ends_meanwhile,
    "forks and executes children": executes_children,
    "becomes nobody": gives_up_rights,
    "300 more threads": many_threads,
    "loads a plugin": loads_a_plugin,
    "stopped by SIGSTOP": stopped,
    "frozen by its cgroup": frozen_by_cgroup,
    "other pid and mount namespaces": other_namespaces,
    "seccomp: no mmap with PROT_EXEC": no_executable_memory,
    "seccomp: no mmap with MAP_SHARED": no_shared_memory,
    "seccomp: no memfd_create": no_memfd,
    "memory limit reached": no_memory_left,
    "gotap is another user": stranger,
    "gotap and target are an ordinary user": ordinary_user,
}

