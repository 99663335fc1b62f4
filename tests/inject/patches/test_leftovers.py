"""What a gotap leaves in a Go program under load, wherever it dies, and what the next one makes of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import hooking
import tracee_deaths
from gotap.image.code.jumps import JumpSite
from gotap.inject.patches.found import PREFIX
from gotap.inject.patches.journal import Mechanism, Owner
from gotap.inject.patches.leftovers import Life, leftovers, remove
from gotap.inject.tracee.errors import ProgramChanged
from gotap.process.proc import Process
from hooking import Put, Sites, put_hooks, put_springboards
from torture_program import FUNCTIONS, Torture, executable, torture

Putting = Callable[[int, Sites, list[JumpSite]], Put]
#: Every step is tried with --matrix.
STRIDES = pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.matrix)])
MECHANISMS = pytest.mark.parametrize("put", [put_springboards, put_hooks], ids=["springboard", "hook"])


@pytest.fixture(scope="module")
def sites() -> Sites:
    return Sites(executable()).find(FUNCTIONS)


@pytest.fixture(scope="module")
def target() -> Iterator[Torture]:
    with torture() as running:
        yield running


def live(sites: Sites) -> list[JumpSite]:
    return [site for site in sites.all() if site.live]


class Untouched:
    """Text and mappings of a program, to be compared with later."""

    def __init__(self, target: Torture, sites: Sites) -> None:
        self._target, self._sites = target, sites
        self._bias = hooking.bias_of(target.pid, sites.image)
        self._text = self._read()

    def _read(self) -> bytes:
        return hooking.text_of(self._target.pid, self._sites.image, self._bias)

    def check(self) -> None:
        assert ours(self._target.pid) == []
        assert self._read() == self._text
        assert self._target.is_alive()

    @property
    def text_is_as_before(self) -> bool:
        return self._read() == self._text


def ours(pid: int) -> list[str]:
    """Mappings and descriptors of gotap's files in a process."""
    with Process(pid) as process:
        found = [mapping.path for mapping in process.mappings() if mapping.path.startswith(PREFIX)]
    return found + [name for name in descriptors(pid) if name.startswith(PREFIX)]


def descriptors(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(path))
        except OSError:
            continue
    return found


@MECHANISMS
def test_text_and_mappings_are_as_before(target: Torture, sites: Sites, put: Putting) -> None:
    before = Untouched(target, sites)
    with hooking.closing(put(target.pid, sites, live(sites))) as made:
        assert before.text_is_as_before, "nothing is patched yet"
        outcome = made.apply()
        assert (len(outcome.done), outcome.refused) == (len(made.patches), ())
        assert not before.text_is_as_before
        target.works()
        (found,) = leftovers(target.pid)
        assert found.journal.mechanism.name.lower() in found.journal.mechanism.file_name
        assert found.file == made.file.key
        assert (found.life, found.owner) == (Life.ALIVE, os.getpid())
        assert sorted(found.journal.patches, key=lambda one: one.address) == sorted(
            made.patches.values(), key=lambda one: one.address
        )
        removal = remove(target.pid)
        assert (removal.restored, removal.kept, removal.mapped) == (len(made.patches), (), 0)
    before.check()
    target.works()
    assert remove(target.pid).stops == (), "there is nothing left to stop it for"


@STRIDES
@MECHANISMS
def test_gotap_killed_at_every_step_of_attaching(target: Torture, sites: Sites, put: Putting, stride: int) -> None:
    before = Untouched(target, sites)
    some = live(sites)[:4]

    def attach() -> None:
        put(target.pid, sites, some).apply()

    def clean_up() -> None:
        target.works()
        assert all(found.life is Life.DEAD for found in leftovers(target.pid))
        assert remove(target.pid).is_complete
        before.check()

    step = 1
    while not tracee_deaths.survives(step, attach):
        clean_up()
        step += stride
    clean_up()
    assert step > 20


@STRIDES
@MECHANISMS
def test_gotap_killed_at_every_step_of_detaching(target: Torture, sites: Sites, put: Putting, stride: int) -> None:
    before = Untouched(target, sites)
    some = live(sites)[:4]

    def attached() -> None:
        put(target.pid, sites, some).apply()

    def detach() -> None:
        assert remove(target.pid).is_complete

    assert tracee_deaths.survives(0, attached)
    step = 1
    while not tracee_deaths.survives(step, detach):
        target.works()
        assert remove(target.pid).is_complete
        before.check()
        assert tracee_deaths.survives(0, attached)
        step += stride
    before.check()
    assert step > 10


def test_two_gotaps_take_out_what_is_their_own(target: Torture, sites: Sites) -> None:
    before = Untouched(target, sites)
    chosen = live(sites)
    with (
        hooking.closing(put_hooks(target.pid, sites, chosen[::2])) as one,
        hooking.closing(put_springboards(target.pid, sites, chosen[1::2])) as other,
    ):
        one.apply()
        other.apply()
        assert {found.journal.mechanism for found in leftovers(target.pid)} == set(Mechanism)
        assert remove(target.pid, {one.file.key}).restored == len(one.patches)
        target.works()
        assert [found.file for found in leftovers(target.pid)] == [other.file.key]
        assert remove(target.pid, {other.file.key}).restored == len(other.patches)
        remove(target.pid)  # the region, which belongs to no journal any more
    before.check()


def test_what_somebody_else_has_written_stays(sites: Sites) -> None:
    with torture(loaded=False, noises=()) as target:  # nobody comes by meanwhile
        check_foreign_bytes(target, sites)


def check_foreign_bytes(target: Torture, sites: Sites) -> None:
    before = Untouched(target, sites)
    with hooking.closing(put_springboards(target.pid, sites, live(sites)[:3])) as made:
        made.apply()
        patch = next(iter(made.patches.values()))
        breakpoint_at(target.pid, patch.address, b"\x90")  # breakpoints are the kernel's, which takes them away again
        removal = remove(target.pid)
        assert removal.restored == 2
        assert [one.patch for one in removal.kept] == [patch]
        assert "somebody else" in removal.kept[0].reason
        assert removal.mapped > 0, "what the jump may lead to must stay"
        breakpoint_at(target.pid, patch.address, patch.new[:1])
        assert remove(target.pid).is_complete
    before.check()


def breakpoint_at(pid: int, address: int, content: bytes) -> None:
    with Path(f"/proc/{pid}/mem").open("r+b", 0) as memory:
        memory.seek(address)
        memory.write(content)


@MECHANISMS
def test_after_execve_there_is_nothing_to_do(sites: Sites, put: Putting) -> None:
    # Without profile: its timer outlives execve, and Go is not there yet to take the signal.
    with (
        torture(loaded=False, noises=("garbage", "stacks")) as target,
        hooking.closing(put(target.pid, sites, live(sites))) as made,
    ):
        made.apply()
        target.order("exec")
        assert target.process.stdout is not None
        assert target.process.stdout.readline() == "ready\n"
        assert ours(target.pid) == []
        assert leftovers(target.pid) == []
        assert remove(target.pid).is_complete
        with pytest.raises(ProgramChanged):
            made.apply()  # the same program again, without trampolines
        target.works()


@MECHANISMS
def test_children_run_on_with_what_they_inherit(target: Torture, sites: Sites, put: Putting) -> None:
    with hooking.closing(put(target.pid, sites, live(sites))) as made:
        made.apply()
        target.order("spawn", 20)
        assert remove(target.pid).is_complete


def test_a_gotap_in_another_pid_namespace(target: Torture, sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gotap.inject.patches.file.this_gotap", lambda: Owner(1, 1, 1))
    with hooking.closing(put_springboards(target.pid, sites, live(sites)[:1])):
        assert [found.life for found in leftovers(target.pid)] == [Life.UNSEEN]
        assert remove(target.pid).is_complete
