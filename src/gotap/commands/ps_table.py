"""The list of `gotap ps` as lines that fit the terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.cells import cell_len, set_cell_size

from gotap.commands.inspect_text import version_word
from gotap.commands.judging import Glance
from gotap.errors import GotapError
from gotap.process.errors import NotPermitted
from gotap.sinks.sanitize import printable
from gotap.verdict.model import PLANNED, Answer

_HEAD = ("PID", "NAME", "PROGRAM", "UPROBE", "HOOK", "WHAT IS SEEN, OR WHY NOT")
#: Mechanisms that have a column. Springboards work where both of these do.
_SHOWN = ("uprobe", "hook")
_MARKS = {True: "ok", False: "no", "partly": "~~"}
#: What is worth most comes first: what works, then what works partly, then other Go programs, then the others.
_RANKS = {True: 0, "partly": 1, False: 2}
_NOT_GO, _UNKNOWN = 3, 4
_WIDEST = (10, 24, 24)  # cells of the first three columns


class Row(Struct, frozen=True):
    """One process, as texts that are safe to print. `rank`: lower is told earlier."""

    pid: int
    name: str
    program: str
    marks: tuple[str, ...]  # of each mechanism shown
    why: str
    rank: int


def row(seen: Glance) -> Row:
    facts, answers = seen.file.facts, [seen.mechanisms[name] for name in _SHOWN]
    program = version_word(facts.go) if facts.go is not None else seen.language
    rank = min(_RANKS[one.works] for one in answers) if facts.go is not None else _NOT_GO
    marks = tuple(_MARKS[one.works] for one in answers)
    return Row(seen.pid, printable(seen.name), printable(program), marks, printable(_why(seen)), rank)


def unreadable(pid: int, name: str, error: GotapError) -> Row:
    """The row of a process that could not be read."""
    why = "gotap may not look at it" if isinstance(error, NotPermitted) else str(error)
    return Row(pid, printable(name), "unknown", ("--",) * len(_SHOWN), printable(why), _UNKNOWN)


def _why(seen: Glance) -> str:
    """What is seen by one mechanism or the other, and what keeps each from seeing it."""
    answers, coverage = [seen.mechanisms[name] for name in _SHOWN], seen.file.coverage
    operations = [one.name for one in coverage.bound] if coverage and any(one.works for one in answers) else []
    later = _later(seen.mechanisms) if seen.file.facts.go is None else ""
    reasons = dict.fromkeys(id for one in answers for id in one.because)
    because = [one for one in reasons if one != "not-go" or not later]  # the program's language says so
    return "; ".join(filter(None, (", ".join(operations), ", ".join(because), later)))


def _later(answers: dict[str, Answer]) -> str:
    """The planned mechanisms that nothing rules out."""
    names = [name for name, one in answers.items() if one.because == (PLANNED,)]
    return f"{', '.join(names)} ({PLANNED})" if names else ""


def arranged(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda one: (one.rank, one.pid))


def lines(rows: Sequence[Row], width: int) -> list[str]:
    """The head and a line for each process; 0: as wide as it takes."""
    cells = [_HEAD, *((str(one.pid), one.name, one.program, *one.marks, one.why) for one in rows)]
    widths = [min(max(cell_len(line[at]) for line in cells), widest) for at, widest in enumerate(_WIDEST)]
    widths += [len(name) for name in _HEAD[len(_WIDEST) : -1]]
    return [_line(line, widths, width) for line in cells]


def _line(cells: Sequence[str], widths: Sequence[int], width: int) -> str:
    first = cells[0].rjust(widths[0])
    middle = (set_cell_size(cell, size) for cell, size in zip(cells[1:-1], widths[1:], strict=True))
    text = "  ".join([first, *middle, cells[-1]]).rstrip()
    return set_cell_size(text, width).rstrip() if width and cell_len(text) > width else text
