"""Tell what this host allows gotap to do, one line per feature, each with the remedy when it is missing.

  ok  there
  no  missing, and nothing can be watched without it
  --  missing, and gotap does without it: the line tells what is lost
  ..  could not be tried, because something that is missing comes first

Everything is found by trying it on a page of gotap's own; no other process is touched.
Exit code 0 when processes can be watched, 1 when not.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gotap.kernel.findings import Feature, Features


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object: `watchable`, and `features`: a list of {id, name, ok, needed, tried, detail, remedy}",
    )


def run(args: argparse.Namespace) -> int:
    from gotap.commands.streams import say, show
    from gotap.kernel import features

    found = features.probe()
    show(as_json(found) if args.json else as_text(found))
    if not args.json:
        say(_verdict(found))
    return 0 if found.watchable else 1


def as_json(found: Features) -> str:
    import msgspec

    return msgspec.json.encode({"watchable": found.watchable, "features": list(found)}).decode()


def as_text(found: Features) -> str:
    """What was tried, line by line, each remedy once, where it is first needed; then, in one line, what was not."""
    tried = [one for one in found if one.tried]
    width = max(len(one.name) for one in tried)
    lines, told = [], {""}
    for one in tried:
        lines.append(f"{mark(one)}  {one.name:<{width}}  {one.detail}")
        if not one.ok and one.remedy not in told:
            told.add(one.remedy)
            lines.append(f"    {'':<{width}}  → {one.remedy}")
    untried: dict[str, int] = {}
    for one in found:
        if not one.tried:
            untried[one.detail] = untried.get(one.detail, 0) + 1
    lines += [f"..  {f'{count} more':<{width}}  {why}" for why, count in untried.items()]
    return "\n".join(lines)


def mark(one: Feature) -> str:
    """Two characters that need no colour."""
    return "ok" if one.ok else "no" if one.needed else "--"


def _verdict(found: Features) -> str:
    if found.watchable:
        return "this host lets gotap watch processes"
    missing = ", ".join(one.name for one in found.missing())
    return f"this host does not let gotap watch processes: {missing}"
