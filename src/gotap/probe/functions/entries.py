"""Entry sites of many functions: by their prologues' bytes, else by analysing the code."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gotap.image.code import Cost, EntrySite, FunctionCode
from gotap.image.code.jumps import UnsafePoints, checked_entry
from gotap.image.code.prologue import entry_sites as sites_by_prologue
from gotap.image.function_code import SitesFor
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image

#: Of fewer functions the code is analysed anyhow, for their returns.
_FEW = 8
#: The opcode of a short jbe; the lengths of short and near ones.
_JBE, _SHORT, _NEAR = 0x76, 2, 6


def entry_sites(
    image: Image, functions: Sequence[Function], code: Callable[[Function], FunctionCode]
) -> list[EntrySite | None]:
    """Where calls of each function begin; None where no instruction can carry a probe. Raises NoCode.

    10,000 functions take a tenth of a second, those of Go before 1.21 half a second.
    """
    found = entries_by_prologue(image, functions)
    return [
        site if site is not None else code(function).entry_site()
        for site, function in zip(found, functions, strict=True)
    ]


def entries_by_prologue(
    image: Image, functions: Sequence[Function], sites_for: SitesFor = SitesFor.UPROBES
) -> list[EntrySite | None]:
    """Those that are known by their first bytes; of a few functions none, since their code is analysed anyhow."""
    segment = image.elf.segment_of(functions[0].address) if len(functions) > _FEW else None
    if segment is None or not all(_inside(one, segment.vaddr, segment.filesz) for one in functions):
        return [None] * len(functions)
    text = memoryview(image.elf.data)[segment.offset : segment.offset + segment.filesz]
    found = sites_by_prologue(
        text, segment.vaddr, [one.address for one in functions], [one.size for one in functions]
    )
    if sites_for is SitesFor.UPROBES:
        return found
    return [
        _for_jump(image, function, site, sites_for) if site is not None else None
        for function, site in zip(functions, found, strict=True)
    ]


def _for_jump(image: Image, function: Function, site: EntrySite, sites_for: SitesFor) -> EntrySite | None:
    """The site behind the stack check, where a jump fits; None: that is left to the analysis."""
    content = image.code(function)
    address = site.address
    if site.edge is not None:  # up to Go 1.20 a uprobe is cheapest at the check's own jump
        address += _SHORT if content[address - function.address] == _JBE else _NEAR
    jump = checked_entry(content, function.address, address, UnsafePoints.of(image.pclntab, function))
    if jump is None or (sites_for is SitesFor.LIVE_JUMPS and not jump.live):
        return None
    return EntrySite(address, Cost.NOP5, site.sp_offset)


def _inside(function: Function, start: int, size: int) -> bool:
    return start <= function.address and function.end <= start + size
