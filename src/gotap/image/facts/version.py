"""Which Go built a program, by the best of three sources: build info, a text among the constants, the tables' form."""

from __future__ import annotations

from msgspec import Struct

from gotap.image.containers.container import Container
from gotap.image.facts.buildinfo import BuildInfo, versions_in_data
from gotap.image.facts.goversion import GoVersion
from gotap.image.functions.moduledata import release_after

Release = tuple[int, int]


class VersionFacts(Struct, frozen=True, kw_only=True):
    """`number`, `text`, `source`, `experiments` and `suffix` as in GoFacts (`suffix` is its `toolchain`)."""

    number: str | None = None
    text: str | None = None
    source: str | None = None
    experiments: tuple[str, ...] = ()
    suffix: str | None = None
    evidence: str = ""


def read_version(container: Container, info: BuildInfo | None, since: Release | None) -> VersionFacts:
    """`since` is the moduledata's layout, None when there are no tables."""
    if info is not None:
        return _of(GoVersion.parse(info.version_text), info, "buildinfo", info.version_text, "build info")
    if since is None:
        return VersionFacts(evidence="no build info, and no tables that a version text could be held against")
    if (version := version_in_data(container, since)) is not None:
        return _of(version, None, "data", version.text, "no build info; a text in the data that fits the tables")
    before = release_after(since)
    span = f"Go {since[0]}.{since[1]}" + (f" and later, before {before[0]}.{before[1]}" if before else " and later")
    return VersionFacts(
        number=f"{since[0]}.{since[1]}",
        source="tables",
        evidence=f"neither build info nor version text; the tables have the form of {span}",
    )


def version_in_data(container: Container, since: Release) -> GoVersion | None:
    """The first version text in the data, in the order of `versions_in_data`, that fits the moduledata layout `since`.

    Programs that build Go programs hold the texts of many releases, so what does not fit is passed over.
    """
    before = release_after(since)
    for text in versions_in_data(container):
        version = GoVersion.parse(text)
        if version is not None and version.at_least(*since) and (before is None or not version.at_least(*before)):
            return version
    return None


def _of(version: GoVersion | None, info: BuildInfo | None, source: str, text: str, where: str) -> VersionFacts:
    if version is None:
        # `devel +abcdef` of Go ≤ 1.16: a commit without a number.
        return VersionFacts(text=text, source=source, evidence=f"{where}: {text!r}, which has no release number")
    experiments = version.experiments
    if not experiments and info is not None:
        experiments = tuple(filter(None, info.settings.get("GOEXPERIMENT", "").split(",")))
    return VersionFacts(
        number=version.number, text=text, source=source, experiments=experiments, suffix=version.suffix or None,
        evidence=f"{where}: {text}",
    )  # fmt: skip
