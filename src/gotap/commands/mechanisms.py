"""`--via`: by which mechanism a target is observed, and the machines that do it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gotap.bpf.machine import Machine
from gotap.commands.host import willing_host
from gotap.commands.streams import say
from gotap.errors import GotapError
from gotap.image.function_code import SitesFor
from gotap.probe.binding import Binding
from gotap.probe.fitting import NothingFits, Refused, offsets_of, without_functions, without_operations
from gotap.probe.script.bound import BoundScript

if TYPE_CHECKING:
    from gotap.image.image import Image
    from gotap.inject.hooks import HookMachine
    from gotap.inject.springboards import SpringboardMachine
    from gotap.kernel.features import Features
    from gotap.kernel.machine import KernelMachine

UPROBE, SPRINGBOARD, HOOK, AUTO = "uprobe", "springboard", "hook", "auto"

class UncheckedGo(GotapError):
    """The target's Go is newer than any that jumps were checked with."""


class OtherJumps(GotapError):
    """There are jumps of another gotap where uprobes are wanted."""


def add_via_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--via",
        choices=(UPROBE, SPRINGBOARD, HOOK, AUTO),
        default=UPROBE,
        help="how the target is observed (default: uprobe): springboard and hook write jumps into its code, which "
        "costs it less; hook needs no BPF and no root; auto takes the cheapest that is safe, and says why",
    )
    parser.add_argument(
        "--force", action="store_true", help="write jumps also into programs of a Go newer than gotap was checked with"
    )


class Machines:
    """The machines of one session. Closing it gives back what hooks have taken of their targets."""

    def __init__(self, via: str, purpose: str, *, force: bool = False) -> None:
        """`via`: what the user asked for; `purpose`: watch, trace. HostRefuses: the kernel does not let gotap do it."""
        self.via = via
        self._purpose = purpose
        self._force = force
        self._features: Features | None = None if via in (HOOK, AUTO) else willing_host(purpose)
        self._kernel: KernelMachine | None = None
        self._springboards: SpringboardMachine | None = None
        self._hooks: list[HookMachine] = []
        self._past: Counter[str] = Counter()

    @property
    def mechanisms(self) -> Sequence[str]:
        """What to try, one after the other: the cheapest first."""
        return (HOOK, SPRINGBOARD, UPROBE) if self.via == AUTO else (self.via,)

    @property
    def whole(self) -> bool:
        """Whether a mechanism is to be taken only if it reaches everything: there is another."""
        return self.via == AUTO

    @property
    def kernel(self) -> KernelMachine:
        """Raises HostRefuses."""
        from gotap.kernel.machine import KernelMachine

        if self._kernel is None:
            self._kernel = KernelMachine(self._features or willing_host(self._purpose))
        return self._kernel

    def of(self, mechanism: str, pid: int, image: Image) -> Machine:
        """The machine for one process. Raises what speaks against it."""
        if mechanism == UPROBE:
            return self.kernel
        self._check(image)
        from gotap.inject.sites import Sites

        sites = Sites(image)
        if mechanism == HOOK:
            from gotap.inject.hooks import HookMachine

            hooks = HookMachine(pid, sites)
            self._hooks.append(hooks)
            return hooks
        from gotap.inject.springboards import SpringboardMachine

        if self._springboards is None:
            self._springboards = SpringboardMachine(self.kernel)
        self._springboards.know(pid, sites)
        return self._springboards

    def _check(self, image: Image) -> None:
        from gotap.verdict.conditions.compiler import NEWEST

        found = image.go_version
        if not self._force and (found.major, found.minor) > NEWEST:
            raise UncheckedGo(
                f"built by {found.text}, and jumps were checked with Go {NEWEST[0]}.{NEWEST[1]} at most",
                "--via uprobe is safe with any Go; --force risks that the program crashes, where its compiler or "
                "runtime do what none has done before",
            )

    def look(self) -> None:
        """To be called several times a second."""
        for hooks in self._hooks:
            hooks.look()

    def is_own(self, machine: Machine) -> bool:
        """Whether it is one process's alone."""
        return any(one is machine for one in self._hooks)

    def losses(self) -> dict[str, int]:
        """Hits that no program has seen, by why, of all targets so far."""
        return dict(sum((Counter(one.losses()) for one in self._hooks), self._past))

    def retire(self, machine: Machine) -> None:
        """What it ran is over."""
        for hooks in [one for one in self._hooks if one is machine]:
            self._hooks.remove(hooks)
            self._past.update(hooks.losses())
            hooks.close()
            tell(hooks.notices)

    def close(self) -> None:
        """Says what could not be taken out of processes."""
        for hooks in list(self._hooks):
            self.retire(hooks)
        if self._springboards is not None:
            tell(self._springboards.notices)


def tell(notices: list[str]) -> None:
    if notices:
        say(*notices)
    notices.clear()


def sites_for(mechanism: str) -> SitesFor:
    """What sites programs are to be bound to."""
    return SitesFor.UPROBES if mechanism == UPROBE else SitesFor.LIVE_JUMPS


def fitting_binding(mechanism: str, binding: Binding, image: Image, *, whole: bool) -> Binding:
    """What of it the mechanism can reach; with `whole` all or nothing. Raises NothingFits."""
    refused = _refused(mechanism, binding, image)
    _check_whole(refused, image, whole=whole)
    return without_operations(binding, refused) if refused else binding


def fitting_script(mechanism: str, script: BoundScript, image: Image | None, *, whole: bool) -> BoundScript:
    """The same of a script."""
    if image is None:
        return script
    refused = _refused(mechanism, script, image)
    _check_whole(refused, image, whole=whole)
    return without_functions(script, refused) if refused else script


def _check_whole(refused: Refused, image: Image, *, whole: bool) -> None:
    if refused and whole:
        from gotap.inject.sites import Sites

        offset, why = next(iter(refused.items()))
        more = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
        raise NothingFits(f"{Sites(image).name(offset)} cannot be hooked: {why}{more}", "--via hook leaves it out")


def check_jumps(mechanism: str, bound: Binding | BoundScript, image: Image, pid: int, bias: int) -> None:
    """Raises OtherJumps when uprobes would be put where a gotap has written jumps: that would end the program, since
    the kernel runs the instruction that is in the file and goes on behind it, in the middle of a jump; or the jump's
    last byte, which is the program's own instruction, would become a breakpoint's. Where trampolines run the
    instructions, it would never be met.
    """
    if mechanism != UPROBE:
        return
    from gotap.inject.patches.leftovers import leftovers, written

    for one in leftovers(pid):
        patches = written(pid, one.journal.patches)  # a journal stays where trampolines had to
        patched = {at for patch in patches for at in range(patch.address, patch.moved_end)}
        addresses = {(image.elf.address_of(offset) or 0) + bias for offset in offsets_of(bound)}
        if found := patched & addresses:
            owner = f" (pid {one.owner})" if one.owner is not None else ""
            raise OtherJumps(
                f"a gotap{owner} has jumps in process {pid} where uprobes would go, {min(found):#x} for one",
                f"gotap detach {pid}",
            )


def _refused(mechanism: str, bound: Binding | BoundScript, image: Image) -> Refused:
    """Springboards leave to uprobes what they cannot reach."""
    if mechanism != HOOK:
        return {}
    from gotap.inject.hookable import unhookable
    from gotap.inject.sites import Sites

    return unhookable(Sites(image), offsets_of(bound))
