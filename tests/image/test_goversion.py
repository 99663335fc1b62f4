"""Version strings as they occur in binaries."""

from __future__ import annotations

import pytest

from gotap.image.facts.goversion import GoVersion, Stage

FORMS = [
    ("go1.18", (1, 18, Stage.RELEASE, 0), ()),
    ("go1.26.6", (1, 26, Stage.RELEASE, 6), ()),
    ("go1.27rc1", (1, 27, Stage.RC, 1), ()),
    ("go1.21beta2", (1, 21, Stage.BETA, 2), ()),
    ("go1.25.5 X:jsonv2", (1, 25, Stage.RELEASE, 5), ("jsonv2",)),
    ("go1.26.6-X:jsonv2,synctest", (1, 26, Stage.RELEASE, 6), ("jsonv2", "synctest")),
    ("go1.22.9 (Red Hat 1.22.9-1.el9)", (1, 22, Stage.RELEASE, 9), ()),
    ("go1.18.1b7", (1, 18, Stage.RELEASE, 1), ()),
    ("go1.20.3+", (1, 20, Stage.RELEASE, 3), ()),
    ("devel go1.28-abcdef Tue Nov 3 10:00:00 2026 +0000 X:noswissmap", (1, 28, Stage.DEVEL, 0), ("noswissmap",)),
    ("go1.28-devel_abcdef0123 Tue Nov 3 10:00:00 2026 +0000", (1, 28, Stage.DEVEL, 0), ()),
]


@pytest.mark.parametrize(("text", "numbers", "experiments"), FORMS)
def test_forms(text: str, numbers: tuple[int, int, Stage, int], experiments: tuple[str, ...]) -> None:
    version = GoVersion.parse(text)
    assert version is not None
    assert (version.major, version.minor, version.stage, version.patch) == numbers
    assert version.experiments == experiments
    assert str(version) == text


@pytest.mark.parametrize("text", ["", "1.22", "v1.22.1", "devel +abcdef Tue", "gopher", "go1", "go1."])
def test_texts_without_a_version(text: str) -> None:
    assert GoVersion.parse(text) is None


NUMBERS = {
    "go1.18": ("1.18", ""),
    "go1.21.0": ("1.21.0", ""),
    "go1.26.6-X:jsonv2,synctest": ("1.26.6", ""),
    "go1.27rc1": ("1.27rc1", ""),
    "go1.21beta2": ("1.21beta2", ""),
    "go1.22.9 (Red Hat 1.22.9-1.el9)": ("1.22.9", "Red Hat 1.22.9-1.el9"),
    "go1.22.9 (Red Hat 1.22.9-1.el9) X:strictfipsruntime": ("1.22.9", "Red Hat 1.22.9-1.el9"),
    "go1.18.1b7": ("1.18.1", "b7"),
    "go1.20.3+": ("1.20.3", "+"),
    "go1.23-20240626-RC01 cl/646990413 +5a18e79687 X:boringcrypto": ("1.23", "20240626-RC01 cl/646990413 +5a18e79687"),
    "devel go1.23-abcdef Tue Nov 3 10:00:00 2024 +0000": ("1.23-devel", ""),
    "go1.28-devel_abcdef0123 Tue Nov 3 10:00:00 2026 +0000": ("1.28-devel", ""),
}


@pytest.mark.parametrize("text", NUMBERS)
def test_number_and_what_its_builder_added(text: str) -> None:
    version = GoVersion.parse(text)
    assert version is not None
    assert (version.number, version.suffix) == NUMBERS[text]


def test_order_is_that_of_the_releases() -> None:
    texts = ["go1.9.7", "go1.21beta1", "go1.21rc2", "go1.21rc3", "go1.21.0", "go1.21.13", "devel go1.28-x", "go1.28"]
    versions = [GoVersion.parse(text) for text in texts]
    assert None not in versions
    assert sorted(versions, reverse=True) == versions[::-1]  # type: ignore[type-var]


def test_at_least_counts_previews_as_their_release() -> None:
    preview = GoVersion.parse("go1.27rc1")
    assert preview is not None
    assert preview.at_least(1, 27)
    assert preview.at_least(1, 9)
    assert not preview.at_least(1, 28)
