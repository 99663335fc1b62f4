"""Checks the documentation against the code and against itself; `make lint` runs it. No network.

What it finds is printed as `FILE:LINE: what`; exit code 1 if there is anything.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import generate

from gotap.commands.main import COMMANDS

ROOT = Path(__file__).resolve().parent.parent

#: Never in a tracked file: paths of one machine, hosts of package registries.
FORBIDDEN = re.compile(
    r"(?<![\w.$}~])/(?:work|root|home/\w+)/"
    r"|\b(?:pypi\.org|pythonhosted\.org|proxy\.golang\.org|sum\.golang\.org|deb\.debian\.org|registry\.npmjs\.org)\b"
)

#: Where files are looked for when git is not there to tell what is tracked.
_IGNORED = {".git", ".venv", "build", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}

_LINK = re.compile(r"(?<!\\)!?\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
_FENCE = re.compile(r"^\s*(```|~~~)")


def main() -> int:
    problems = [*links(), *generated(), *variables(), *rooms(), *commands(), *forbidden(tracked())]
    print("\n".join(problems) or f"docs: {len(pages())} pages in order")
    return 1 if problems else 0


@cache
def pages() -> list[Path]:
    """The documents that readers see."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@cache
def lines(path: Path) -> list[tuple[int, str, bool]]:
    """(number, text, inside a fenced block) of each line."""
    found = []
    inside = False
    for number, text in enumerate(path.read_text().splitlines(), 1):
        fence = bool(_FENCE.match(text))
        found.append((number, text, inside or fence))
        inside ^= fence
    return found


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines outside fenced blocks, without what stands in backticks."""
    for number, text, inside in lines(path):
        if not inside:
            yield number, re.sub(r"`[^`]*`", "", text)


# Links


def links() -> Iterator[str]:
    """Relative links whose file or anchor does not exist."""
    for page in pages():
        for number, text in prose(page):
            for target in _LINK.findall(text):
                if re.match(r"[a-z]+:", target):
                    continue
                problem = _broken(page, target)
                if problem:
                    yield f"{place(page, number)}: {problem}"


def _broken(page: Path, target: str) -> str:
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.exists():
        return f"link to {name}, which does not exist"
    if not path.is_relative_to(ROOT):
        return f"link to {name}, which is outside the repository"
    if anchor and anchor not in anchors(path):
        return f"link to #{anchor}, which is no heading of {path.relative_to(ROOT)}"
    return ""


@cache
def anchors(path: Path) -> set[str]:
    """Anchors of the headings, made as GitHub makes them."""
    found: dict[str, int] = {}
    for _, text, inside in lines(path):
        heading = re.match(r"#{1,6}\s+(.*)", text)
        if inside or not heading:
            continue
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "").strip().lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        if count:
            found[f"{slug}-{count}"] = 1
    return set(found)


# Against the code


def generated() -> Iterator[str]:
    for path, text in (
        (generate.REFERENCE, generate.reference()),
        (generate.CONDITIONS, generate.conditions()),
        (generate.INSPECT_SCHEMA, generate.inspect_schema()),
    ):
        if not path.exists() or path.read_text() != text:
            yield f"{place(path, 1)}: not what the code says; run `make docs`"


def variables() -> Iterator[str]:
    """docs/otlp.md has a table row for each variable that gotap reads, and for no other; and so of woven programs."""
    page = ROOT / "docs" / "otlp.md"
    told: dict[str, int] = {}
    differs: dict[str, int] = {}  # of woven programs, where they do not do as gotap does
    table = told
    for number, text, inside in lines(page):
        if text == "## Woven programs":
            table = differs
        if not inside and text.startswith("|"):
            table |= dict.fromkeys(re.findall(r"`(OTEL_\w+)`", text.split("|")[1]), number)
    woven = woven_variables()
    for name in sorted(woven - set(told) - set(differs)):
        yield f"{place(page, 1)}: does not tell of {name}, which woven programs read"
    for name in sorted(set(differs) - woven):
        yield f"{place(page, differs[name])}: tells of {name}, which woven programs do not read"
    read = set(generate.variable_names())
    common = {name: re.sub(r"(OTEL_EXPORTER_OTLP_)(TRACES|METRICS)_", r"\1", name) for name in read}
    for name in sorted({common[name] if common[name] in read else name for name in read} - set(told)):
        yield f"{place(page, 1)}: does not tell of {name}, which gotap reads"
    for name in sorted(set(told) - read):
        yield f"{place(page, told[name])}: tells of {name}, which gotap does not read"


def woven_variables() -> set[str]:
    """Those that the runtime of woven programs names; of the ones for each signal, the name without it."""
    runtime = ROOT / "src" / "gotap" / "weave" / "runtime" / "gotaprt"
    text = "".join(path.read_text() for path in sorted(runtime.glob("*.go")))
    names = set(re.findall(r'"(OTEL_[A-Z_]+[A-Z])"', text))
    prefixed = {f"OTEL_EXPORTER_OTLP_{name}" for name in ("ENDPOINT", "PROTOCOL", "HEADERS", "TIMEOUT", "COMPRESSION")}
    return {re.sub(r"_OTLP_METRICS_(?=COMPRESSION)", "_OTLP_", name) for name in names} | prefixed


def rooms() -> Iterator[str]:
    """docs/architecture.md names exactly the packages under src/gotap, each by a table row that begins with it."""
    source = ROOT / "src" / "gotap"
    packages = {str(path.parent.relative_to(source)) for path in source.glob("*/**/__init__.py")}
    page = ROOT / "docs" / "architecture.md"
    named = {
        match[1]: number for number, text, _ in lines(page) if (match := re.match(r"\| `([\w/]+)/` \|", text))
    }
    for name in sorted(packages - set(named)):
        yield f"{place(page, 1)}: does not name the package {name}/"
    for name in sorted(set(named) - packages):
        yield f"{place(page, named[name])}: names {name}/, which is no package under src/gotap"


def commands() -> Iterator[str]:
    """Commands in fenced blocks and in backticks that do not exist: `gotap …` with its options, and `make …`."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in pages():
        for number, text, inside in lines(page):
            for command in _commands_in(text, inside):
                problem = _unknown(command, targets)
                if problem:
                    yield f"{place(page, number)}: {problem}"


def _commands_in(text: str, inside: bool) -> list[str]:
    candidates = [text.strip().removeprefix("$ ").removeprefix("# ")] if inside else re.findall(r"`([^`]+)`", text)
    starts = ("gotap ", "make ", "sudo gotap ", "sudo make ")
    return [one.removeprefix("sudo ") for one in candidates if one.startswith(starts)]


def _unknown(command: str, targets: set[str]) -> str:
    try:
        words = shlex.split(re.split(r"\s[|>&#]", command)[0])
    except ValueError:
        words = command.split()
    if len(words) < 2:
        return ""
    program, name, *rest = words
    if program == "make":
        unknown = [word for word in [name, *rest] if re.fullmatch(r"[a-z-]+", word) and word not in targets]
        return f"there is no `make {unknown[0]}`" if unknown else ""
    if name.isupper() or name == "…" or name in ("--help", "--version"):
        return ""
    if name not in COMMANDS:
        return f"there is no `gotap {name}`"
    known = generate.options_of(name)
    own = rest[: rest.index("--")] if "--" in rest else rest
    own = [] if name == "go" else own  # whose words are those of another command
    options = [word.partition("=")[0] for word in own if word.startswith("-")]
    return next((f"`gotap {name}` has no option {option}" for option in options if option not in known), "")


# What must not be said


def tracked() -> list[Path]:
    """Files that git tracks; without git, files that are not somebody's cache."""
    try:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return [
            path
            for path in ROOT.rglob("*")
            if path.is_file() and not _IGNORED.intersection(path.parts) and ".egg-info" not in str(path)
        ]
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def forbidden(files: list[Path]) -> Iterator[str]:
    for path in files:
        content = path.read_bytes()
        if b"\0" in content:
            continue  # an image or a sample
        for number, text in enumerate(content.decode(errors="replace").splitlines(), 1):
            if match := FORBIDDEN.search(text):
                yield f"{place(path, number)}: {match[0]} belongs to one machine, not to the project"


if __name__ == "__main__":
    sys.exit(main())
