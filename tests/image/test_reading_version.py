"""Which Go built a program: as the build info says it, and without build info."""

from __future__ import annotations

from pathlib import Path

import pytest

from gobuild import NEWEST, OLDEST, build, every_version
from gotap.image.containers.container import read_container
from gotap.image.facts.model import GoFacts
from gotap.image.facts.reading import read_facts


def facts_of(content: bytes) -> GoFacts:
    found = read_facts(read_container(content)).go
    assert found is not None
    return found


def scrubbed(path: Path) -> bytes:
    """The program without build info, as some distributors ship theirs."""
    content = path.read_bytes()
    at = content.index(b"\xff Go buildinf:")
    return content[:at] + bytes(64) + content[at + 64 :]


@pytest.mark.parametrize("go", every_version())
def test_without_build_info_a_text_in_the_data_tells(go: str) -> None:
    found = facts_of(scrubbed(build("hello", go, mode="stripped")))
    assert (found.version, found.version_text, found.version_source) == (go, f"go{go}", "data")


@pytest.mark.parametrize("go", every_version())
def test_without_any_text_the_tables_tell_the_first_release_of_their_form(go: str) -> None:
    content = scrubbed(build("hello", go, mode="stripped")).replace(f"go{go}".encode(), b"?" * len(f"go{go}"))
    found = facts_of(content)
    minor = int(go.split(".")[1])
    expected = max(first for first in (18, 20, 26, 27) if first <= minor)
    assert (found.version, found.version_text, found.version_source) == (f"1.{expected}", None, "tables")


def test_texts_of_other_releases_do_not_count() -> None:
    """A build tool holds the texts of many releases, some of them more often than its own."""
    content = scrubbed(build("hello", NEWEST, mode="stripped"))
    at = content.index(b"\xff Go build") if b"\xff Go build" in content else content.index(bytes(64), 4096)
    foreign = b"go1.21.3\0" * 5
    found = facts_of(content[:at] + foreign + content[at + len(foreign) :])
    assert (found.version, found.version_source) == (NEWEST, "data")


FORMS = {
    "go1.21.9 X:a": ("1.21.9", ("a",), None),
    "go1.26.8-X:a,b": ("1.26.8", ("a", "b"), None),
    "go1.2.9 (Red Hat)": ("1.2.9", (), "Red Hat"),
    "go1.27-devel_0ab": ("1.27-devel", (), None),
    "go1.27rc2": ("1.27rc2", (), None),
    "go1.27.4+": ("1.27.4", (), "+"),
    "devel +5a18e796": (None, (), None),
}


@pytest.mark.parametrize("text", FORMS)
def test_odd_forms_in_the_build_info(text: str) -> None:
    """The text is put where a longer one was, which only works as the version stands in front of the modules."""
    content = build("hello", NEWEST).read_bytes()
    blob = content.index(b"\xff Go buildinf:") + 32
    assert content[blob : blob + 1 + len(f"go{NEWEST}")] == bytes([len(f"go{NEWEST}")]) + f"go{NEWEST}".encode()
    version = text.encode()
    modules = content[blob + 1 + len(f"go{NEWEST}") :][:512]
    length = modules[0] & 0x7F | (modules[1] & 0x7F) << 7
    patched = bytes([len(version)]) + version + modules[: 2 + length]
    found = facts_of(content[:blob] + patched + content[blob + len(patched) :])
    assert (found.version, found.experiments, found.toolchain) == FORMS[text]
    assert (found.version_text, found.version_source) == (text, "buildinfo")


@pytest.mark.parametrize(("go", "experiment"), [("1.24.13", "noswissmap"), (OLDEST, "heapminimum512kib")])
def test_experiments(go: str, experiment: str) -> None:
    found = facts_of(build("hello", go, experiment=experiment).read_bytes())
    assert found.experiments == (experiment,)
    assert found.version == go
