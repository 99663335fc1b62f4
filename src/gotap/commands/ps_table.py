"""The list of `gotap ps` as lines that fit the terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.cells import cell_len, set_cell_size

from gotap.commands.inspect_text import version_word
from gotap.commands.judging import Judged
from gotap.sinks.sanitize import printable
from gotap.verdict.model import PLANNED, Answer, Situation, Verdict

_HEAD = ("PID", "NAME", "PROGRAM", "UPROBE", "WHAT IS SEEN, OR WHY NOTHING")
_MARKS = {True: "ok", False: "no", "partly": "~~"}
#: What is worth most comes first: what works, then what works partly, then other Go programs, then the others.
_RANKS = {True: 0, "partly": 1, False: 2}
_UNKNOWN = 9
_WIDEST = (10, 24, 24)  # cells of the first three columns


class Row(Struct, frozen=True):
    """One process, as texts that are safe to print. `rank`: lower is told earlier."""

    pid: int
    name: str
    program: str
    mark: str
    why: str
    rank: int


def row(judged: Judged, name: str) -> Row:
    """`name` for a process that could not be read."""
    pid, situation, verdict = judged.pid or 0, judged.situation, judged.verdict
    if situation is None or verdict is None:
        why = str(judged.error) if judged.error else "could not be read"
        return Row(pid, printable(name), "unknown", "--", printable(why), _UNKNOWN)
    answer = verdict.mechanisms["uprobe"]
    named = situation.process.name if situation.process else name
    rank = _RANKS[answer.works] if situation.facts.go is not None else _UNKNOWN - 1
    mark = _MARKS[answer.works]
    return Row(pid, printable(named), printable(_program(situation)), mark, printable(_why(situation, verdict)), rank)


def _program(situation: Situation) -> str:
    facts = situation.facts
    return version_word(facts.go) if facts.go is not None else facts.language


def _why(situation: Situation, verdict: Verdict) -> str:
    answer = verdict.mechanisms["uprobe"]
    seen = [one.name for one in situation.coverage.bound] if situation.coverage and answer.works else []
    because = [one for one in answer.because if one != "not-go"]  # the program's language says so
    later = _later(verdict.mechanisms) if situation.facts.go is None else ""
    return "; ".join(filter(None, (", ".join(seen), ", ".join(because), later)))


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
