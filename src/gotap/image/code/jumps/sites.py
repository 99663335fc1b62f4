"""Jump sites: for an address, the best stretch of code around it that a jump can take the place of."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from iced_x86 import FlowControl, Mnemonic

from ..function import FunctionCode
from ..model import Cost
from .displaced import Displaced
from .model import Fit, JumpSite, NoJump
from .unsafepoints import UnsafePoints
from .windows import Stretches, Window

#: Instructions between the end of an epilogue's first one and its return, at most: pop, nop.
_EPILOGUE = 3


class JumpSites:
    """The jump sites of one function. To ask for several, this is cheaper than `jump_site`.

    `puns`: whether a jump may end in a byte that stays; then trampolines must lie where that byte leads.
    """

    def __init__(self, code: FunctionCode, unsafe: UnsafePoints, *, puns: bool = True) -> None:
        self._code = code
        self._puns = puns
        self._stretches = Stretches(code, unsafe)
        self._nosplit = not any(block.restart for block in code.graph.blocks)

    def at(self, address: int) -> JumpSite | NoJump:
        """The best site for an event before the instruction at `address`."""
        found = self.all_at(address)
        return found if isinstance(found, NoJump) else found[0]

    def all_at(self, address: int) -> list[JumpSite] | NoJump:
        """All of them, the best first: those that can be patched live; of these such as move no call, and little."""
        graph = self._code.graph
        index = graph.index_of(address)
        if index is None:
            return NoJump(f"no instruction begins at {address:#x}")
        if self._stretches.keeps_below_sp(index):
            return NoJump("the code there keeps data below the stack pointer")
        windows, reason = self._stretches.around(index, self._puns)
        if not windows:
            return NoJump(reason)
        return [self._site(index, window) for window in sorted(windows, key=lambda one: one.rank)]

    def spread(self, addresses: Iterable[int]) -> dict[int, JumpSite | NoJump]:
        """Sites for several events, none of which is in the way of another, also not of those that find no room.

        These may be observed by a uprobe: no jump overwrites or skips the instruction.
        """
        wanted = sorted(set(addresses))
        choices = {address: self.all_at(address) for address in wanted}
        best = _chosen(wanted, choices)
        failed = [address for address in wanted if isinstance(best[address], NoJump)]
        if failed:  # those that found no room come first now
            again = _chosen([*failed, *(address for address in wanted if address not in failed)], choices)
            if sum(isinstance(one, NoJump) for one in again.values()) < len(failed):
                best = again
        return {address: best[address] for address in wanted}

    def _site(self, index: int, window: Window) -> JumpSite:
        instructions = self._code.graph.instructions
        address = instructions[index].ip
        start = instructions[window.first].ip
        last = self._with_return(window)
        end = instructions[last - 1].next_ip
        before = Displaced(start, self._code.bytes_at(start, address - start))
        after = Displaced(address, self._code.bytes_at(address, max(0, end - address)))
        return JumpSite(
            address,
            start,
            window.length,
            before,
            after,
            None if after.leaves else end,
            window.pun,
            not window.reason_not_live,
            window.reason_not_live,
            self._stretches.scratch(index),
            self._nosplit,
        )

    def _with_return(self, window: Window) -> int:
        """Up to where the trampoline goes: if a return follows at once, it needs no jump back."""
        instructions = self._code.graph.instructions
        for i in range(window.last, min(window.last + _EPILOGUE, len(instructions))):
            if instructions[i - 1].flow_control != FlowControl.NEXT:
                break
            if instructions[i].flow_control == FlowControl.RETURN:
                return i + 1
            if instructions[i].mnemonic not in (Mnemonic.POP, Mnemonic.NOP):
                break
        return window.last


def _chosen(order: Collection[int], choices: dict[int, list[JumpSite] | NoJump]) -> dict[int, JumpSite | NoJump]:
    taken: list[JumpSite] = []
    chosen: dict[int, JumpSite | NoJump] = {}
    for address in order:
        choice = choices[address]
        if isinstance(choice, NoJump):
            chosen[address] = choice
            continue
        free = [site for site in choice if not _in_the_way(site, order, taken)]
        if free:
            taken.append(free[0])
            chosen[address] = free[0]
        else:
            chosen[address] = NoJump("the jump of another probe is in the way")
    return chosen


def _in_the_way(site: JumpSite, addresses: Collection[int], taken: Collection[JumpSite]) -> bool:
    """Whether a site overlaps another, or the trampoline runs an instruction at which another event is."""
    if any(site.start <= address < site.moved_end for address in addresses if address != site.address):
        return True
    return any(site.start < other.moved_end and other.start < site.moved_end for other in taken)


def jump_site(code: FunctionCode, address: int, unsafe: UnsafePoints, *, puns: bool = True) -> JumpSite | NoJump:
    """Where a jump can be placed for an event before the instruction at `address`, or why nowhere."""
    return JumpSites(code, unsafe, puns=puns).at(address)


def jump_sites(
    code: FunctionCode, addresses: Iterable[int], unsafe: UnsafePoints, *, puns: bool = True
) -> dict[int, JumpSite | NoJump]:
    """The same for several events in one function, none of which is in the way of another, by address."""
    return JumpSites(code, unsafe, puns=puns).spread(addresses)


def jumpable(code: FunctionCode, unsafe: UnsafePoints, *, live: bool = True) -> FunctionCode:
    """The same code, of which sites are chosen by where jumps fit: those places are the cheapest (NOP5).

    Uprobes prefer conditional jumps, which fire for both directions; jumps rather take the return itself. Where none
    fits, the cost is a uprobe's. `live`: jumps must fit while goroutines exist.
    """
    sites = JumpSites(code, unsafe)

    def cost(address: int) -> Cost:
        site = sites.at(address)
        if isinstance(site, JumpSite) and (site.live or not live):
            return Cost.NOP5
        return max(code.cost_at(address), Cost.EMULATED)

    return code.priced(cost)


def fits(code: FunctionCode, address: int, unsafe: UnsafePoints) -> Fit:
    """Which mechanisms an event at that address can have, besides a uprobe."""
    site = jump_site(code, address, unsafe)
    if isinstance(site, NoJump):
        return Fit(False, False, False, site.reason)
    return Fit(True, True, site.live, site.reason_not_live)
