"""Go's version strings, which are not semantic versions.

Forms seen: `go1.26.6`, `go1.27rc1`, `go1.25.5 X:jsonv2` (Go ≤ 1.25), `go1.26.6-X:jsonv2,synctest` (≥ 1.26,
go.dev/issue/75953), `go1.22.9 (Red Hat 1.22.9-1.el9)`, `go1.18.1b7` (boringcrypto), `go1.20.3+`,
`devel go1.28-abcdef Tue …` (up to Go 1.24), `go1.28-devel_abcdef Tue …` (cmd/dist/build.go of 1.26 and 1.27).
"""

from __future__ import annotations

import re
from enum import IntEnum

from msgspec import Struct

_VERSION = re.compile(
    r"(?P<devel>devel )?go(?P<major>[1-9]\d?)\.(?P<minor>\d{1,3})"
    r"(?:\.(?P<patch>\d{1,3})|(?P<stage>beta|rc)(?P<number>\d{1,2})|(?P<new_devel>-devel)(?![a-z]))?"
)
_EXPERIMENTS = re.compile(r"[ -]X:([\w,]+)")


class Stage(IntEnum):
    """How finished a version is, in the order of a release's life."""

    DEVEL = 0
    BETA = 1
    RC = 2
    RELEASE = 3


class GoVersion(Struct, frozen=True, order=True):
    """A Go version, ordered as releases follow each other; `patch` is the number of a beta or rc for those.

    `experiments` are GOEXPERIMENT's deviations from the default, `noX` for those switched off.
    """

    major: int
    minor: int
    stage: Stage = Stage.RELEASE
    patch: int = 0
    experiments: tuple[str, ...] = ()
    text: str = ""

    @classmethod
    def parse(cls, text: str) -> GoVersion | None:
        """The version that a text starts with, None if it starts with none (`devel +abcdef` of Go ≤ 1.16)."""
        match = _VERSION.match(text)
        if match is None:
            return None
        stage = Stage.DEVEL if match["devel"] or match["new_devel"] else Stage[(match["stage"] or "release").upper()]
        found = _EXPERIMENTS.search(text, match.end())
        experiments = tuple(filter(None, found[1].split(","))) if found else ()
        patch = int(match["patch"] or match["number"] or 0)
        return cls(int(match["major"]), int(match["minor"]), stage, patch, experiments, text)

    def at_least(self, major: int, minor: int) -> bool:
        """Whether it is of that release or later; betas, release candidates and devel count as their release."""
        return (self.major, self.minor) >= (major, minor)

    @property
    def number(self) -> str:
        """Without `go` and what follows the number: "1.26.8", "1.18", "1.27rc1", "1.28-devel"."""
        base = f"{self.major}.{self.minor}"
        if self.stage is Stage.DEVEL:
            return base + "-devel"
        if self.stage is not Stage.RELEASE:
            return f"{base}{self.stage.name.lower()}{self.patch}"
        return f"{base}.{self.patch}" if self.patch or f"{base}.0" in self.text else base

    @property
    def suffix(self) -> str:
        """What whoever built the toolchain added to the number: `Red Hat 1.22.9-1.el9`, `b7`, `+`; else empty."""
        match = _VERSION.match(self.text)
        if match is None or self.stage is Stage.DEVEL:
            return ""
        rest = _EXPERIMENTS.sub("", self.text[match.end() :]).strip(" -")
        return rest[1:-1] if rest.startswith("(") and rest.endswith(")") else rest

    def __str__(self) -> str:
        return self.text or f"go{self.major}.{self.minor}"
