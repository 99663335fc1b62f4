"""Go's runtime tables in any executable: whether there are any, and what they say, whatever the machine and the format.

A file is Go's when it has a function table's header and a moduledata that points at it. Neither names nor sections
count: programs that were linked with -linkshared have two functions, and editors and debuggers hold the magics.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice

from gotap.image.containers.container import Container
from gotap.image.functions.moduledata import ModuleData, find_moduledata, points_at_table
from gotap.image.functions.pcheader import OLD_MAGICS, PcHeader, find_headers, find_shapes
from gotap.image.functions.pclntab import Function, Pclntab

#: Headers to which a moduledata is looked for, all through the file: the program's own, and those of others it embeds.
_MAX_HEADERS = 32


class GoTables:
    """The tables of one Go module."""

    def __init__(self, container: Container, header: PcHeader, module: ModuleData) -> None:
        self.container = container
        self.header = header
        self.module = module

    @property
    def is_obfuscated(self) -> bool:
        """The table was scrambled (by garble): neither its names nor its functions' places mean anything."""
        return self.header.is_obfuscated

    @cached_property
    def pclntab(self) -> Pclntab:
        """The function table. Raises MalformedPclntab, BadAddress."""
        return Pclntab(
            self.container, self.header, self.module.text, self.module.gofunc, self.module.pclntable[1]
        )

    def functions(self) -> Iterator[Function]:
        """All functions, by address, with size, file and line. Raises MalformedPclntab, BadAddress."""
        return self.pclntab.functions()

    @property
    def names(self) -> tuple[str, ...]:
        """All functions' names, by address."""
        return self.pclntab.names

    def __len__(self) -> int:
        """How many functions have a body."""
        return self.header.nfunc

    @cached_property
    def inlined_calls(self) -> int | None:
        """How many calls were inlined into the functions; None before Go 1.18, whose trees are not read."""
        count = self.pclntab.count_inlined_calls()
        self.container.give_back()  # all functions' tables were looked at
        return count


def read_tables(container: Container) -> GoTables | None:
    """The first table that a moduledata points at, scrambled ones last; None when there is none."""
    for find in (find_headers, find_shapes):
        for header in islice(find(container), _MAX_HEADERS):
            module = find_moduledata(container, header)
            if module is not None:
                return GoTables(container, header, module)
    container.give_back()  # all of it was searched
    return None


def unknown_layout(container: Container) -> bool:
    """Whether a table is pointed at by a moduledata that `read_tables` cannot read: one of a Go yet unknown."""
    headers = islice(find_headers(container), _MAX_HEADERS)
    return any(header.magic not in OLD_MAGICS and points_at_table(container, header) for header in headers)
