"""FILE:LINE → places: one in each function's own code and in each inlined copy that has code of the line."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from gotap.errors import GotapError
from gotap.image.code import Cost, FunctionCode, Site
from gotap.image.errors import ImageError
from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.functions.pclntab import Function
from gotap.image.functions.sourcelines import FileCode, code_of_files, matching_files
from gotap.image.types.dwarf import DwarfError
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.signatures import Signatures

_NEIGHBOURS = 2


class NoSuchLine(GotapError):
    """A line that has no code in this binary, or a file that it does not come from."""


class LinePlace(Struct, frozen=True):
    """Where a line's code begins: in `function`, of the copy `call` if that is not None.

    `exact`: control cannot reach other code of the line there without passing the site. Else the line's code is
    reached in several ways, and the site sees those that pass its first instruction.
    """

    file: str
    line: int
    function: Function
    call: InlinedCall | None
    site: Site
    exact: bool


class Lines:
    """Lines of one binary's source files. `code` gives a function's code, analysed once."""

    def __init__(self, signatures: Signatures, code: Callable[[Function], FunctionCode]) -> None:
        self._signatures = signatures
        self._functions = Functions(signatures.image)
        self._table = signatures.image.pclntab
        self._code = code

    def find(self, path: str, line: int, *, variables: bool = True) -> list[LinePlace]:
        """The places of a line, by address; of all files whose path ends so. Raises NoSuchLine.

        `variables`: locals are to be read there; else a cheaper instruction that is passed as often will do.
        """
        files = matching_files(self._table, path)
        if not files:
            raise self._no_such_file(path)
        parts = list(code_of_files(self._table, files))
        places = [place for part in parts for place in self._places(part, line, variables)]
        if not places:
            raise _no_code(path, line, parts)
        # What the compiler makes of `go f(x)` and `defer f(x)`, woven ones too, has the statement's line once more.
        written = [place for place in places if place.call is not None or not self._is_made(place.function)]
        return sorted(written or places, key=lambda place: place.site.address)

    def _is_made(self, function: Function) -> bool:
        return self._functions.kind_of(function).is_made

    def _places(self, part: FileCode, line: int, variables: bool) -> Iterable[LinePlace]:
        by_copy: dict[int, list[tuple[int, int]]] = {}
        for one in part.ranges:
            if one.line == line:
                by_copy.setdefault(one.inlined, []).append((one.start, one.end))
        if not by_copy:
            return
        code = self._code(part.function)
        calls = {call.index: call for call in self._table.inlined_calls(part.function)} if max(by_copy) >= 0 else {}
        begins = self._statements(part.function, line)
        for index, ranges in by_copy.items():
            found = code.first_of(ranges, begins)
            if found is None:
                continue
            index_of_first, exact = found
            site = code.site_at(index_of_first) if variables else code.cheapest_from(index_of_first)
            if site.cost is not Cost.FORBIDDEN:
                yield LinePlace(part.file, line, part.function, calls.get(index), site, exact)

    def _statements(self, function: Function, line: int) -> frozenset[int]:
        """Addresses where the compiler says that statements of that line begin; none without DWARF."""
        try:
            subprogram, dwarf = self._signatures.subprogram(function), self._signatures.dwarf
            if subprogram is None or dwarf is None:
                return frozenset()
            found = dwarf.statements(subprogram)
        except (DwarfError, ImageError):
            return frozenset()
        return frozenset(at for at, number in found.items() if number == line and function.address <= at < function.end)

    def _no_such_file(self, path: str) -> NoSuchLine:
        import difflib  # for an error alone

        files = {file.rpartition("/")[2]: file for file in self._table.files}
        close = difflib.get_close_matches(path.rpartition("/")[2], files, 3)
        remedy = f"did you mean {' or '.join(f'`{files[one]}`' for one in close)}?" if close else ""
        return NoSuchLine(f"no code of this binary comes from a file {path}", remedy)


def _no_code(path: str, line: int, parts: Sequence[FileCode]) -> NoSuchLine:
    lines = sorted({one.line for part in parts for one in part.ranges})
    if not lines:
        return NoSuchLine(f"no code of {path} is in this binary", "the compiler or the linker left it out")
    at = bisect_left(lines, line)
    near = lines[max(at - _NEIGHBOURS, 0) : at + _NEIGHBOURS]
    listed = ", ".join(map(str, near[:-1])) + (" and " if len(near) > 1 else "") + str(near[-1])
    return NoSuchLine(f"line {line} of {path} has no code in this binary", f"near it, code comes from {listed}")
