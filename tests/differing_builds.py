"""What is built of a module, woven and plain: checks that say what is wrong, or nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from differing import Suite, go

Check = Callable[[Suite, Path, Mapping[str, str]], str]

#: How many lines of a difference are told.
_LINES = 12


def coverage(suite: Suite, place: Path, settings: Mapping[str, str]) -> str:
    """Profiles tell what was covered; how often would differ from run to run."""
    profiles = []
    for name, woven in (("plain", False), ("again", False), ("woven", True)):
        path = place.parent / f"{name}.profile"
        words = ["test", "-count=1", "-covermode=set", f"-coverprofile={path}", *suite.flags, *suite.packages]
        go(words, place, settings, woven=woven)
        profiles.append(path.read_text() if path.exists() else "")
    plain, again, woven_one = profiles
    if not plain:
        return "there is no profile"
    unsteady = set(plain.splitlines()) ^ set(again.splitlines())
    changed = {line.rsplit(" ", 1)[0] for line in unsteady}
    return _difference(*(_without(text, changed) for text in (plain, woven_one)))


def vet(suite: Suite, place: Path, settings: Mapping[str, str]) -> str:
    told = [go(["vet", *suite.packages], place, settings, woven=woven) for woven in (False, True)]
    return _difference(*(f"{code}\n{out}{_sorted(err)}" for code, out, err in told))


def plain_again(suite: Suite, place: Path, settings: Mapping[str, str]) -> str:
    """A plain build after a woven one has the bytes that one had before."""
    before = _built(suite, place, settings, "before", woven=False)
    woven = _built(suite, place, settings, "woven", woven=True)
    after = _built(suite, place, settings, "after", woven=False)
    if before != after:
        return "it has other bytes"
    return "the woven build has nothing woven" if woven == before else ""


def rebuilt(suite: Suite, place: Path, settings: Mapping[str, str]) -> str:
    """With an empty build cache."""
    one = _built(suite, place, settings, "one", woven=True)
    fresh = {**settings, "GOCACHE": str(place.parent / "gocache")}
    return "" if _built(suite, place, fresh, "two", woven=True) == one else "it has other bytes"


def nothing_to_do(suite: Suite, place: Path, settings: Mapping[str, str]) -> str:
    """A second build runs no tool."""
    go(["build", *suite.packages], place, settings, woven=True)
    code, _, err = go(["build", "-x", *suite.packages], place, settings, woven=True)
    ran = re.findall(r"/(compile|asm|link|cgo) -", err)
    return f"exit code {code}: {err}" if code else f"{len(ran)} tools are run, such as {ran[0]}" if ran else ""


BUILDS: Mapping[str, Check] = {
    "equal coverage": coverage,
    "equal vet": vet,
    "a second build does nothing": nothing_to_do,
    "a plain build is what it was": plain_again,
    "equal when built anew": rebuilt,
}


def _built(suite: Suite, place: Path, settings: Mapping[str, str], name: str, *, woven: bool) -> bytes:
    """The test program of the module's first package that has tests: all of what is linked is in it."""
    path = place.parent / f"{name}.test"
    _, listed, _ = go(["list", "-f", "{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}", *suite.packages],
                      place, settings, woven=False)  # fmt: skip
    code, out, err = go(["test", "-c", "-o", str(path), listed.split()[0]], place, settings, woven=woven)
    if code:
        raise RuntimeError(f"{suite.name} does not build: {out}{err}")
    return path.read_bytes()


def _sorted(text: str) -> str:
    """Packages are vetted in no order."""
    return "".join(sorted(text.splitlines(keepends=True)))


def _without(profile: str, changed: set[str]) -> str:
    return "".join(line for line in profile.splitlines(keepends=True) if line.rsplit(" ", 1)[0] not in changed)


def _difference(plain: str, woven: str) -> str:
    lines = difflib.unified_diff(plain.splitlines(), woven.splitlines(), "plain", "woven", lineterm="", n=0)
    return "\n".join(list(lines)[:_LINES])
