"""Test suites of real modules, run plain and woven, and in which tests the two differ.

An outcome is what `go test -json` says last of a test (cmd/test2json): pass, fail or skip; UNTOLD, when the test binary
ended before the test did. A package's own outcome goes by the test "".
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

UNTOLD = "untold"

_SOURCES = Path(__file__).parent.parent / "src"
#: How often tests that differ are run again, and how much of what they print is kept, in bytes.
_AGAIN, _KEPT = 3, 6000
#: Longest run of one suite, in seconds.
_PATIENCE = 3000
#: Of the tests of one package: what waits for ever is told by its stacks.
_TIMEOUT = "-timeout=5m"
#: Some subtests have addresses or times in their names.
_VARYING = re.compile(r"0x[0-9a-f]{6,}|time\.Date\([^()]*\)")

Test = tuple[str, str]


@dataclass(frozen=True)
class Suite:
    """`module`: as `go mod download` takes it, "" for the standard library; `packages`: patterns, from the module."""

    name: str
    packages: tuple[str, ...]
    module: str = ""
    flags: tuple[str, ...] = ()


@dataclass
class Run:
    """What one `go test` told: outcomes, and the output of each test; `said`: what belongs to none."""

    outcomes: dict[Test, Counter[str]] = field(default_factory=dict)
    output: dict[Test, str] = field(default_factory=dict)
    said: str = ""

    def outcome(self, test: Test) -> str:
        """The worst of all runs of a test; "" if it has not been run."""
        told = self.outcomes.get(test, Counter())
        return next((one for one in ("fail", UNTOLD, "skip", "pass") if told[one]), "")


@dataclass(frozen=True)
class Again:
    """How often a test failed of _AGAIN times: plain, woven, and woven where requests carry no trace."""

    plain: int
    woven: int
    silent: int


@dataclass(frozen=True)
class Difference:
    """`again`: where the test could be run again."""

    test: Test
    plain: str
    woven: str
    output: str
    again: Again | None = None

    @property
    def by_headers(self) -> bool:
        """The test fails because it compares all that a request carries: woven clients send traceparent."""
        return self.again is not None and self.again.woven > 0 == self.again.silent == self.again.plain


@dataclass(frozen=True)
class Comparison:
    """`same`: tests of one outcome in all runs, by outcome; `unsteady`: those in which plain runs differ."""

    same: Counter[str]
    unsteady: tuple[Test, ...]
    differences: tuple[Difference, ...]
    said: str


def fetch(suite: Suite, folder: Path, environment: Mapping[str, str]) -> Path:
    """Where the suite's tests are run: a copy of its module that can be written, or for the standard library a folder
    that is in no module, so that GODEBUG has the release's own defaults."""
    place = folder / suite.module.replace("/", "_")
    if not suite.module:
        return folder
    if not place.exists():
        words = ["go", "mod", "download", "-json", suite.module]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        found = json.loads(done.stdout or "{}")
        if "Dir" not in found:
            raise RuntimeError(f"{suite.module}: {found.get('Error', done.stderr)}")
        shutil.copytree(found["Dir"], place)
        for path in [place, *place.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)
    return place


def environment(version: str, **more: str) -> dict[str, str]:
    """Without anything that tells woven programs what to do, save `more`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GOTAP_LIBRARIES"))}
    paths = [str(_SOURCES), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "GOTOOLCHAIN": f"go{version}", "PYTHONPATH": os.pathsep.join(paths), **more}


def go(words: Sequence[str], folder: Path, settings: Mapping[str, str], *, woven: bool) -> tuple[int, str, str]:
    """`go …` or `gotap go …`: exit code and both outputs."""
    command = [sys.executable, "-m", "gotap", "go", *words] if woven else ["go", *words]
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, timeout=_PATIENCE, check=False)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def run(suite: Suite, folder: Path, settings: Mapping[str, str], *more: str, woven: bool) -> Run:
    words = ["test", "-json", "-count=1", _TIMEOUT, *suite.flags, *more, *suite.packages]
    _, out, err = go(words, folder, settings, woven=woven)
    return read(out, err)


def read(events: str, said: str) -> Run:
    """The lines of `go test -json`; what is not JSON is what a go command says besides."""
    found = Run(said=said)
    open_tests: set[Test] = set()
    for line in events.splitlines():
        if not line.startswith("{"):
            found.said += line + "\n"
            continue
        event = json.loads(line)
        test = event.get("Package", ""), _VARYING.sub("…", event.get("Test", ""))
        match event["Action"]:
            case "run":
                open_tests.add(test)
            case "output":
                found.output[test] = (found.output.get(test, "") + event["Output"])[-_KEPT:]
            case "build-output":
                found.said += event["Output"]
            case "pass" | "fail" | "skip" as outcome:
                open_tests.discard(test)
                found.outcomes.setdefault(test, Counter())[outcome] += 1
    for test in open_tests:
        found.outcomes.setdefault(test, Counter())[UNTOLD] += 1
    return found


def compare(plain: Sequence[Run], woven: Run) -> Comparison:
    tests = sorted({test for one in (*plain, woven) for test in one.outcomes})
    same: Counter[str] = Counter()
    unsteady = []
    differences = []
    for test in tests:
        told = {one.outcome(test) for one in plain}
        own = woven.outcome(test)
        if told == {own}:
            same[own] += bool(test[1])
        elif len(told) > 1:
            unsteady.append(test)
        else:
            differences.append(Difference(test, told.pop(), own, woven.output.get(test, "")))
    return Comparison(same, tuple(unsteady), tuple(_without_what_follows(differences)), woven.said)


def _without_what_follows(differences: Iterable[Difference]) -> Iterable[Difference]:
    """A package fails because a test of it does, and a test because a subtest does: the innermost ones tell it."""
    every = list(differences)
    for one in every:
        package, test = one.test
        below = f"{test}/" if test else ""
        inside = (other.test[1] for other in every if other.test[0] == package and other is not one)
        if not any(other.startswith(below) for other in inside):
            yield one


def examined(suite: Suite, folder: Path, settings: Mapping[str, str], plain: int = 2) -> Comparison:
    """So many times plain, once woven; what differs is run again in both."""
    place = fetch(suite, folder, settings)
    plain_runs = [run(suite, place, settings, woven=False) for _ in range(plain)]
    found = compare(plain_runs, run(suite, place, settings, woven=True))
    chosen = {one.test for one in found.differences if one.test[1]}
    if not chosen:
        return found
    tops = sorted({re.escape(test.partition("/")[0]) for _, test in chosen})
    flags = tuple(flag for flag in suite.flags if not flag.startswith("-run"))
    again = Suite(suite.name, tuple(sorted({package for package, _ in chosen})), suite.module, flags)
    words = f"-run=^({'|'.join(tops)})$", f"-count={_AGAIN}"
    silent = {**settings, "OTEL_PROPAGATORS": "none"}
    ways = (settings, False), (settings, True), (silent, True)
    runs = [run(again, place, variables, *words, woven=woven) for variables, woven in ways]
    told = tuple(
        replace(one, again=Again(*(_failures(each, one.test) for each in runs))) if one.test in chosen else one
        for one in found.differences
    )
    return replace(found, differences=told)


def _failures(run: Run, test: Test) -> int:
    told = run.outcomes.get(test, Counter())
    return told["fail"] + told[UNTOLD]
