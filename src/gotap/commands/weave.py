"""What `gotap go build` would compile in, without building: which rule matches where, and the changed text.

  gotap weave --list ./...             each rule with its places, and those that match nothing with the reason
  gotap weave --diff ./...             the changed text as a unified diff
  gotap weave --explain FILE:LINE      what is woven at a line, and by which rule

After the options come the words of `go build`: flags and packages. Paths are relative to the current directory; what
lies outside of it is named by its package. Nothing is written but gotap's cache.
Exit code: 0, also when nothing is woven; 1 when a rule cannot be applied or the packages cannot be loaded.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.weave.plan import File, Plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "gotap weave (--list | --diff | --explain FILE:LINE) [FLAG …] [PACKAGE …]"
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="rules with their places, and those that match nothing")
    what.add_argument("--diff", action="store_true", help="the changed text as a unified diff")
    what.add_argument("--explain", metavar="FILE:LINE", help="what is woven at that line")
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def arranged(words: list[str]) -> list[str]:
    """`--` in front of the first word that is not gotap's own: flags of `go build` may come first."""
    at = 0
    while at < len(words) and (words[at] in ("--list", "--diff", "-h", "--help") or words[at].startswith("--explain")):
        at += 2 if words[at] == "--explain" else 1
    return words if words[at : at + 1] == ["--"] else [*words[:at], *(["--"] if at < len(words) else []), *words[at:]]


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.main import OK, USAGE
    from gotap.commands.streams import say
    from gotap.weave.arguments import parse
    from gotap.weave.plan import plan

    place = None
    if arguments.explain is not None:
        place = re.fullmatch(r"(.+):(\d+)", arguments.explain)
        if place is None:
            say(f"--explain {arguments.explain}: that is no FILE:LINE", "as in --explain main.go:12")
            return USAGE
    words = arguments.words[1:] if arguments.words[:1] == ["--"] else arguments.words
    line = parse(["build", *words])
    directory = os.path.join(os.getcwd(), line.value("C") or "")
    found = plan(line, directory)
    if arguments.diff:
        lines = _diff(found)
    elif place is not None:
        lines = _explained(found, os.path.realpath(place[1]), int(place[2]))
    else:
        lines = _listed(found)
    for text in lines:
        print(text)
    return OK


def _name(path: str, package: str) -> str:
    """As people see a file: from the current directory, or by its package."""
    own = os.path.relpath(os.path.realpath(path), os.path.realpath(os.getcwd()))
    return own if not own.startswith("..") else f"{package}/{os.path.basename(path)}"


def _diff(found: Plan) -> Iterator[str]:
    for one in found.files:
        name = _name(one.path, one.package)
        before, after = (text.decode(errors="replace").splitlines() for text in (one.before, one.after))
        yield from difflib.unified_diff(before, after, f"a/{name}", f"b/{name}", lineterm="")


def _listed(found: Plan) -> Iterator[str]:
    places: dict[str, list[str]] = {}
    for match in found.matches:
        at = f"{_name(match.file, match.package)}:{match.line}:{match.column}"
        places.setdefault(match.aspect, []).append(f"  {at}  {match.what}")
    reasons = {one.aspect: one.reason for one in found.unmatched}
    for aspect in found.rules.aspects:
        yield f"{aspect.id}  ({_name(aspect.file, 'gotap')}:{aspect.line})"
        if aspect.id in places:
            yield from dict.fromkeys(places[aspect.id])
        else:
            yield f"  nowhere: {reasons.get(aspect.id, 'nothing else is woven')}"


def _explained(found: Plan, path: str, number: int) -> Iterator[str]:
    rules = {one.id: one for one in found.rules.aspects}
    matches = [one for one in found.matches if one.line == number and os.path.realpath(one.file) == path]
    for match in matches:
        rule = rules[match.aspect]
        yield f"{match.aspect}  ({_name(rule.file, 'gotap')}:{rule.line}): {match.what}"
    if not matches:
        yield f"nothing is woven at {os.path.relpath(path)}:{number}"
        return
    file = next((one for one in found.files if os.path.realpath(one.path) == path), None)
    if file is not None:
        yield from _woven(file, number)


def _woven(file: File, number: int) -> Iterator[str]:
    """The line before and after. Text that was put in has no line of its own, so lines count as they did."""
    before, after = file.before.decode(errors="replace").splitlines(), file.after.decode(errors="replace").splitlines()
    if len(before) == len(after):
        yield f"- {before[number - 1]}"
        yield f"+ {after[number - 1]}"
