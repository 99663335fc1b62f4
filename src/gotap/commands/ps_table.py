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

_HEAD = ("PID", "NAME", "PROGRAM", "UPROBE", "WHAT IS SEEN, OR WHY NOTHING")
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
    mark: str
    why: str
    rank: int


def row(seen: Glance) -> Row:
    facts, answer = seen.file.facts, seen.mechanisms["uprobe"]
    program = version_word(facts.go) if facts.go is not None else seen.language
    rank = _RANKS[answer.works] if facts.go is not None else _NOT_GO
    return Row(seen.pid, printable(seen.name), printable(program), _MARKS[answer.works], printable(_why(seen)), rank)


def unreadable(pid: int, name: str, error: GotapError) -> Row:
    """The row of a process that could not be read."""
    why = "gotap may not look at it" if isinstance(error, NotPermitted) else str(error)
    return Row(pid, printable(name), "unknown", "--", printable(why), _UNKNOWN)


def _why(seen: Glance) -> str:
    answer, coverage = seen.mechanisms["uprobe"], seen.file.coverage
    operations = [one.name for one in coverage.bound] if coverage and answer.works else []
    later = _later(seen.mechanisms) if seen.file.facts.go is None else ""
    because = [one for one in answer.because if one != "not-go" or not later]  # the program's language says so
    return "; ".join(filter(None, (", ".join(operations), ", ".join(because), later)))


def _later(answers: dict[str, Answer]) -> str:
    """The planned mechanisms that nothing rules out."""
    names = [name for name, one in answers.items() if one.because == (PLANNED,)]
    return f"{', '.join(names)} ({PLANNED})" if names else ""


def arranged(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda one: (one.rank, one.pid))


def lines(rows: Sequence[Row], width: int) -> list[str]:
    """The head and a line for each process; 0: as wide as it takes."""
    cells = [_HEAD, *((str(one.pid), one.name, one.program, one.mark, one.why) for one in rows)]
    widths = [min(max(cell_len(line[at]) for line in cells), widest) for at, widest in enumerate(_WIDEST)]
    widths.append(len(_HEAD[3]))
    return [_line(line, widths, width) for line in cells]


def _line(cells: Sequence[str], widths: Sequence[int], width: int) -> str:
    first = cells[0].rjust(widths[0])
    middle = (set_cell_size(cell, size) for cell, size in zip(cells[1:-1], widths[1:], strict=True))
    text = "  ".join([first, *middle, cells[-1]]).rstrip()
    return set_cell_size(text, width).rstrip() if width and cell_len(text) > width else text
