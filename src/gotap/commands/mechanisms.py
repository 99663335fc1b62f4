"""`--via`: by which mechanism a target is observed, and the machines that do it."""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

from gotap.bpf.machine import Machine
from gotap.commands.host import willing_host
from gotap.commands.streams import say
from gotap.image.function_code import SitesFor

if TYPE_CHECKING:
    from gotap.image.image import Image
    from gotap.inject.hooks import HookMachine
    from gotap.inject.springboards import SpringboardMachine
    from gotap.kernel.features import Features
    from gotap.kernel.machine import KernelMachine

UPROBE, SPRINGBOARD, HOOK = "uprobe", "springboard", "hook"


def add_via_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--via",
        choices=(UPROBE, SPRINGBOARD, HOOK),
        default=UPROBE,
        help="how the target is observed (default: uprobe): springboard and hook write jumps into its code, which "
        "costs it less; hook needs no BPF and no root",
    )


class Machines:
    """The machines of one session. Closing it gives back what hooks have taken of their targets."""

    def __init__(self, via: str, purpose: str) -> None:
        """`via`: what the user asked for; `purpose`: watch, trace. HostRefuses: the kernel does not let gotap do it."""
        self.via = via
        self._features: Features | None = None if via == HOOK else willing_host(purpose)
        self._kernel: KernelMachine | None = None
        self._springboards: SpringboardMachine | None = None
        self._hooks: list[HookMachine] = []
        self._past: Counter[str] = Counter()

    @property
    def sites_for(self) -> SitesFor:
        """What sites programs are to be bound to."""
        return SitesFor.UPROBES if self.via == UPROBE else SitesFor.LIVE_JUMPS

    @property
    def kernel(self) -> KernelMachine:
        from gotap.kernel.machine import KernelMachine

        if self._kernel is None:
            self._kernel = KernelMachine(self._features or willing_host("trace"))
        return self._kernel

    def of(self, pid: int, image: Image) -> Machine:
        """The machine for one process. Raises what speaks against it."""
        if self.via == UPROBE:
            return self.kernel
        from gotap.inject.sites import Sites

        sites = Sites(image)
        if self.via == HOOK:
            from gotap.inject.hooks import HookMachine

            hooks = HookMachine(pid, sites)
            self._hooks.append(hooks)
            return hooks
        from gotap.inject.springboards import SpringboardMachine

        if self._springboards is None:
            self._springboards = SpringboardMachine(self.kernel)
        self._springboards.know(pid, sites)
        return self._springboards

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

    def notices(self) -> list[str]:
        """What is to be told, once: what could not be taken out of processes."""
        told = []
        for one in (self._springboards, *self._hooks):
            if one is not None:
                told += one.notices
                one.notices.clear()
        return told

    def close(self) -> None:
        for hooks in self._hooks:
            hooks.close()


def close_machines(machines: Machines) -> None:
    """Says what could not be taken out of processes."""
    machines.close()
    if notices := machines.notices():
        say(*notices)
