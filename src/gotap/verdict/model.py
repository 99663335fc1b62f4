"""What a verdict is made from and of: pure data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Literal

from msgspec import Struct, field

from gotap.image.facts.model import Facts
from gotap.process.surroundings import Surroundings

#: In the order in which they are shown.
MECHANISMS = ("uprobe", "springboard", "hook", "weave", "network")
#: Those that are in the tree; the others are false because of `planned`.
BUILT = frozenset({"uprobe", "springboard", "hook", "weave"})

#: What a condition does to a mechanism. What it does not name it leaves alone.
RULES_OUT, LIMITS, LEAVES_ALONE = "rules out", "limits", "none"

#: Reasons of an answer that are no conditions: the mechanism is not in the tree yet; the target could not be read.
PLANNED, UNREADABLE = "planned", "unreadable"


class Host(Struct, frozen=True, kw_only=True):
    """What the host's kernel allows, told by who may ask it. `missing`: id of a feature → (why, remedy).

    `lockdown` "none", "integrity", "confidentiality" or None; `bpf`, `uprobes`: they can be used by this gotap.
    `fsgsbase`: programs may read the base of FS, as hooks must. `command`: how sudo finds gotap.
    """

    bpf: bool
    uprobes: bool
    privileged: bool
    lockdown: str | None = None
    fsgsbase: bool = True
    missing: dict[str, tuple[str, str]] = field(default_factory=dict)
    command: str = "gotap"


class SiteCoverage(Struct, frozen=True):
    """One probe site. `cost`: "nop5", "emulated" or "single-step"; `edge`: only one direction of a jump counts."""

    address: int
    cost: str
    probe: str
    edge: bool = False


class JumpCoverage(Struct, frozen=True):
    """One site as springboards and hooks have it: of a probe they may take other sites than uprobes do.

    `springboard`, `hook`: whether it can be one while the program runs; `reason`: why it cannot be both. `cost`: of the
    uprobe that is there instead of a springboard.
    """

    address: int
    cost: str
    probe: str
    springboard: bool
    hook: bool
    reason: str = ""


class OperationCoverage(Struct, frozen=True, kw_only=True):
    """One operation of the catalogue in one binary. It binds when it has sites.

    `present`: the binary holds a function that begins it. `reason`: why it does not bind, empty if it does.
    `inlined`: functions of the catalogue that have copies, or no body left → where. `left_out`: parts of the
    catalogue that this binary has no use for → why, which is as it should be for most of them. `jumps`: its sites for
    springboards and hooks; `unhooked`: why hooks cannot watch it, empty if they can. `woven`: the packages that it is
    woven into, by which the program tells of it itself; then it has no sites.
    """

    library: str
    name: str
    present: bool
    sites: tuple[SiteCoverage, ...] = ()
    reason: str = ""
    inlined: dict[str, str] = field(default_factory=dict)
    left_out: tuple[tuple[str, str], ...] = ()
    jumps: tuple[JumpCoverage, ...] = ()
    unhooked: str = ""
    woven: tuple[str, ...] = ()

    @property
    def by_cost(self) -> dict[str, int]:
        """How many sites there are of each cost class."""
        return dict(sorted(Counter(site.cost for site in self.sites).items()))


class Coverage(Struct, frozen=True, kw_only=True):
    """Which catalogue operations bind. `refused`: why none could be tried, when the function table cannot be used.

    `unwatched`: what no operation of the binary can have, with the reason, such as the creation of goroutines.
    `unhooked`: the same where hooks are concerned. `versions`: library → its version in the binary, as far as it is
    known.
    """

    operations: tuple[OperationCoverage, ...] = ()
    unwatched: tuple[tuple[str, str], ...] = ()
    unhooked: tuple[tuple[str, str], ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    refused: str = ""

    @property
    def bound(self) -> list[OperationCoverage]:
        return [one for one in self.operations if one.sites]

    @property
    def hooked(self) -> list[OperationCoverage]:
        """What hooks can watch."""
        return [one for one in self.bound if not one.unhooked]

    @property
    def woven(self) -> list[OperationCoverage]:
        """What the program tells of itself."""
        return [one for one in self.operations if one.woven]

    @property
    def missing(self) -> dict[str, str]:
        """What is in the binary and does not bind all the same → why."""
        return {one.name: one.reason for one in self.operations if one.present and not one.sites and not one.woven}


class Situation(Struct, frozen=True, kw_only=True):
    """All that is known of one target. What was not looked at is None, and no condition holds because of it.

    `file`: the executable's path as a person would type it, for remedies. `inert`: a woven program that tells nothing,
    since its variables say so.
    """

    facts: Facts
    file: str = ""
    process: Surroundings | None = None
    host: Host | None = None
    coverage: Coverage | None = None
    inert: bool = False


class Condition(Struct, frozen=True, kw_only=True):
    """A rule. `holds` gives the evidence, one line, or None.

    `effects`: mechanism → RULES_OUT or LIMITS, in gotap. `remedy` is a command to type that ends the condition or
    gets around it, empty where there is none; {braces} in `message` and in a `remedy` that is a text are filled from
    the situation (`gotap.verdict.filling`). `vendor`: what the commercial agent's documentation says of the case,
    empty for gotap's own conditions.
    """

    id: str
    holds: Callable[[Situation], str | None]
    message: str
    remedy: str | Callable[[Situation], str] = ""
    effects: dict[str, str] = field(default_factory=dict)
    vendor: str = ""


class Finding(Struct, frozen=True, kw_only=True):
    """A condition that holds. `mechanisms`: mechanism → "rules out", "limits" or "none", for every mechanism.

    `remedy` is a command to type, or empty; `vendor` as in `Condition`.
    """

    id: str
    evidence: str
    message: str
    remedy: str
    mechanisms: dict[str, str]
    vendor: str = ""

    @property
    def matters(self) -> bool:
        """Whether it rules out or limits a mechanism that is in the tree."""
        return any(self.mechanisms[one] != LEAVES_ALONE for one in BUILT)


class Answer(Struct, frozen=True):
    """For one mechanism: true, false or "partly", and why: ids of conditions, "planned", "unreadable"."""

    works: bool | Literal["partly"]
    because: tuple[str, ...] = ()


class Verdict(Struct, frozen=True, kw_only=True):
    mechanisms: dict[str, Answer]
    conditions: tuple[Finding, ...]
