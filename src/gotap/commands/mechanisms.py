"""`--via`: by which mechanism a target is observed, and the machines that do it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gotap.bpf.machine import Machine
from gotap.image.function_code import SitesFor

if TYPE_CHECKING:
    from gotap.image.image import Image
    from gotap.inject.springboards import SpringboardMachine
    from gotap.kernel.features import Features

UPROBE, SPRINGBOARD = "uprobe", "springboard"


def add_via_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--via",
        choices=(UPROBE, SPRINGBOARD),
        default=UPROBE,
        help="how the target is observed (default: uprobe): springboard writes jumps into its code, "
        "which costs it less",
    )


class Machines:
    """The machines of one session."""

    def __init__(self, via: str, features: Features) -> None:
        """`via`: what the user asked for; `features`: of the kernel."""
        self.via = via
        self._features = features
        self._kernel: Machine | None = None
        self._springboards: SpringboardMachine | None = None

    @property
    def sites_for(self) -> SitesFor:
        """What sites programs are to be bound to."""
        return SitesFor.UPROBES if self.via == UPROBE else SitesFor.LIVE_JUMPS

    @property
    def kernel(self) -> Machine:
        from gotap.kernel.machine import KernelMachine

        if self._kernel is None:
            self._kernel = KernelMachine(self._features)
        return self._kernel

    def of(self, pid: int, image: Image) -> Machine:
        """The machine for one process."""
        if self.via == UPROBE:
            return self.kernel
        from gotap.inject.sites import Sites
        from gotap.inject.springboards import SpringboardMachine

        if self._springboards is None:
            self._springboards = SpringboardMachine(self.kernel)
        self._springboards.know(pid, Sites(image))
        return self._springboards

    def notices(self) -> list[str]:
        """What is to be told, once: what could not be taken out of processes."""
        if self._springboards is None:
            return []
        told, self._springboards.notices = self._springboards.notices, []
        return told
