"""Tortures observed programs at length, and prints the tables of docs/torture.md: `make torture`, as root.

Everything is done by each mechanism: counting under all noises for every build and release, attaching and detaching
under load, dying at every step, hard situations. What this host or this gotap does not have is told as not available.
"""

from __future__ import annotations

import argparse
import functools
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / part) for part in ("src", "tests")]

import gobuild  # noqa: E402  # needs the path
import processes  # noqa: E402

processes.PATIENCE = 300.0  # all this loads a machine for hours

from goservers import serving  # noqa: E402
from torture_cycles import cycles  # noqa: E402
from torture_deaths import Deaths, every_step, of_detaching, of_observing, some_steps  # noqa: E402
from torture_exactness import Exactness, measured  # noqa: E402
from torture_forks import forks  # noqa: E402
from torture_hostile import SITUATIONS  # noqa: E402
from torture_mechanisms import MECHANISMS, Memory, NotAvailable, unavailable  # noqa: E402
from torture_program import BUILDS, RELEASES, torture  # noqa: E402

#: Entries and exits that a round of the program comes to.
_EVENTS_A_ROUND = 88
#: Uprobes are too dear for as many events as the others.
_UPROBES_SHARE = 50

#: After how many cycles or steps it is said where a long part is.
_REPORTED = 50

PARTS = ("exactness", "cycles", "deaths", "situations")


def main() -> int:
    """Exit status 1 when anything was harmed or miscounted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"which of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--mechanisms", default=",".join(MECHANISMS), help="joined by commas (default: %(default)s)")
    parser.add_argument("--releases", default=",".join(RELEASES), help="of Go (default: %(default)s)")
    parser.add_argument("--builds", default=";".join(BUILDS), help="joined by semicolons (default: %(default)s)")
    many = f"of each mechanism, over all builds; uprobes: 1/{_UPROBES_SHARE} (default: %(default)g)"
    parser.add_argument("--events", type=float, default=1e8, help=many)
    parser.add_argument("--cycles", type=int, default=1000, help="of attaching and detaching (default: %(default)s)")
    parser.add_argument("--some-steps", action="store_true", help="die at a sample of the steps only")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the programs that it has started end with it
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    mechanisms = []
    for mechanism in options.mechanisms.split(","):
        if why := unavailable(mechanism):
            print(f"{mechanism}: not available: {why}", flush=True)
        else:
            mechanisms.append(mechanism)
    table = Table(mechanisms)
    for part in options.parts or PARTS:
        {"exactness": exactness, "cycles": under_load, "deaths": deaths, "situations": situations}[part](table, options)
    return 1 if table.failures else 0


class Table:
    """One at a time, printed as Markdown when it is complete; what goes wrong is a cell, and is remembered."""

    def __init__(self, mechanisms: Sequence[str]) -> None:
        self.mechanisms = mechanisms
        self.failures = 0
        self._rows: list[list[str]] = []

    def row(self, *names: str, cell: Callable[[str], str]) -> None:
        cells = list(names)
        for mechanism in self.mechanisms:
            begin = time.monotonic()
            try:
                said = cell(mechanism)
            except NotAvailable as reason:
                said = f"refused: {reason}"
            except gobuild.MissingTool as reason:
                said = f"not run: {reason}"
            except (AssertionError, gobuild.BuildFailed) as problem:
                self.failures += 1
                print(f"FAILED: {', '.join(names)} by {mechanism}: {problem}", flush=True)
                said = f"FAILED: {str(problem).partition(chr(10))[0][:120]}"
            took = time.monotonic() - begin
            print(f"  {', '.join(names)} by {mechanism}: {said} ({took:.1f} s)", flush=True)
            cells.append(said.replace("|", "\\|").replace("\n", " "))
        self._rows.append(cells)

    def print(self, *heads: str) -> None:
        print("\n| " + " | ".join([*heads, *self.mechanisms]) + " |")
        print("| " + " | ".join(["---"] * (len(heads) + len(self.mechanisms))) + " |")
        for cells in self._rows:
            print("| " + " | ".join(cells) + " |")
        print(flush=True)
        self._rows.clear()


def exactness(table: Table, options: argparse.Namespace) -> None:
    """Events of each build and release."""
    releases, builds = options.releases.split(","), options.builds.split(";")
    events = dict.fromkeys(table.mechanisms, 0)

    def observed(build: str, go: str, mechanism: str) -> str:
        wanted = options.events / (_UPROBES_SHARE if mechanism == "uprobe" else 1) / len(releases) / len(builds)
        with torture(build, go) as target:
            before = Memory.of(target.pid)
            found = measured(target, build, mechanism, max(100, int(wanted / _EVENTS_A_ROUND)))
            target.works()
            left = before.differences(Memory.of(target.pid))
        assert found.exact, f"wrong: {found.wrong}, {found.dropped} dropped"
        assert not left, f"left: {left}"
        events[mechanism] += found.events
        return _told(found)

    for build in builds:
        for go in releases:
            table.row(build, go, cell=lambda mechanism, build=build, go=go: observed(build, go, mechanism))  # type: ignore[misc]
    table.row("all", "", cell=lambda mechanism: f"{events[mechanism]:,}")
    table.print("build", "Go")


def _told(found: Exactness) -> str:
    sites = ", ".join(f"{count} {kind}" for kind, count in sorted(found.sites.items()))
    drops = f", {found.missed:,} missed and {found.dropped:,} told as dropped" if found.missed else ""
    return f"{found.events:,}{drops} ({sites})"


def progress(number: int) -> None:
    """Of what takes long."""
    if number % _REPORTED == 0:
        print(f"    {number:,}", file=sys.stderr, flush=True)


def reported(steps: Iterator[int]) -> Iterator[int]:
    for number in steps:
        yield number
        progress(number)


def under_load(table: Table, options: argparse.Namespace) -> None:
    def observed(mechanism: str) -> str:
        with serving(gobuild.build("httpserver", gobuild.NEWEST)) as server, forks() as gotaps:
            found = cycles(server, gotaps, mechanism, options.cycles, progress)
        assert not found.failed, f"{found.failed} of {found.requests} requests failed"
        assert not found.left, f"left: {found.left}"
        names = f"; {', '.join(found.ours)} stayed" if found.ours else ""
        return f"{found.done:,} cycles, {found.requests:,} requests, none failed{names}"

    table.row("HTTP server", cell=observed)
    table.print("attached and detached")


def deaths(table: Table, options: argparse.Namespace) -> None:
    steps = functools.partial(some_steps, 1.2) if options.some_steps else every_step

    def told(found: Deaths) -> str:
        assert not found.left, f"left: {found.left}"
        return f"died {len(found.died)} times, of {found.steps - 1} steps"

    loaded = functools.partial(torture, noises=("stacks", "profile"), pause=300)  # so that it takes minutes, not hours

    def observing(mechanism: str) -> str:
        with loaded() as target, forks() as gotaps:
            return told(of_observing(target, gotaps, mechanism, reported(steps())))

    def detaching(mechanism: str) -> str:
        with loaded() as target, forks() as gotaps:
            return told(of_detaching(target, gotaps, mechanism, reported(steps())))

    table.row("attach, observe, detach", cell=observing)
    table.row("`gotap detach` of what a killed gotap left", cell=detaching)
    table.print("SIGKILL behind each step")


def situations(table: Table, options: argparse.Namespace) -> None:
    def cell(name: str, mechanism: str) -> str:
        outcome = SITUATIONS[name](mechanism)
        return f"attached, {outcome.told}" if outcome.attached else f"refused: {outcome.said.partition(';')[0]}"

    for name in SITUATIONS:
        table.row(name, cell=lambda mechanism, name=name: cell(name, mechanism))  # type: ignore[misc]
    table.print("the target")


if __name__ == "__main__":
    sys.exit(main())
