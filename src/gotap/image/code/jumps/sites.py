"""Jump sites: for an address, the best stretch of code around it that a jump can take the place of."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from iced_x86 import FlowControl, Mnemonic

from ..function import FunctionCode
from ..model import Cost
from .displaced import Displaced
from .model import Fit, JumpSite, NoJump, fit_of
from .unsafepoints import UnsafePoints
from .windows import JUMP, Stretches, Window

#: Instructions between the end of an epilogue's first one and its return, at most: pop, nop.
_EPILOGUE = 3

_IN_THE_WAY = NoJump("the jump of another probe is in the way")

#: Bytes that two jumps and what they move can take, so that one may be in the way of the other.
_NEAR = 64


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
        """The best site for an event before the instruction at `address`.

        Better are those that can be patched live, then those whose trampolines may be anywhere near, then such as move
        no call, then such as overwrite one instruction alone, then such as move little.
        """
        index = self._event(address)
        if isinstance(index, NoJump):
            return index
        window = self._stretches.best(index, puns=self._puns)
        if isinstance(window, str):
            return NoJump(window)
        return self._site(index, window, self._with_return(window, self._code.graph.end))

    def spread(self, addresses: Iterable[int]) -> dict[int, JumpSite | NoJump]:
        """Sites for several events, none of which is in the way of another, also not of those that find no room.

        These may be observed by a uprobe: no jump overwrites or skips the instruction.
        """
        wanted = sorted(set(addresses))
        choices = {address: self._choices(address) for address in wanted}
        best = self._chosen(wanted, wanted, choices)
        failed = {address for address in wanted if best[address] is _IN_THE_WAY}
        if failed:  # they come first now
            others = [address for address in wanted if address not in failed]
            again = self._chosen([*sorted(failed), *others], wanted, choices)
            if sum(one is _IN_THE_WAY for one in again.values()) < len(failed):
                best = again
        return {address: best[address] for address in wanted}

    def _event(self, address: int) -> int | NoJump:
        """The index of the instruction, if an event can happen there."""
        index = self._code.graph.index_of(address)
        if index is None:
            return NoJump(f"no instruction begins at {address:#x}")
        if self._stretches.unsafe.foreign:
            return NoJump("it is no Go code")
        if self._stretches.keeps_below_sp(index):
            return NoJump("the code there keeps data below the stack pointer")
        return index

    # -- several events in one function ----------------------------------------------------------------------------

    def _choices(self, address: int) -> list[Window] | NoJump:
        """All windows for the event, the best first."""
        index = self._event(address)
        if isinstance(index, NoJump):
            return index
        found = list(self._stretches.around(index, puns=self._puns))
        windows = sorted((one for one in found if isinstance(one, Window)), key=lambda one: one.rank)
        return windows or NoJump(next(one for one in found if isinstance(one, str)))

    def _chosen(
        self, order: Sequence[int], wanted: Sequence[int], choices: dict[int, list[Window] | NoJump]
    ) -> dict[int, JumpSite | NoJump]:
        """For each event, in this order, the best site that is in nobody's way; `wanted`: all of them, ascending."""
        taken: list[tuple[int, int]] = []
        chosen: dict[int, JumpSite | NoJump] = {}
        instructions = self._code.graph.instructions
        for address in order:
            choice = choices[address]
            chosen[address] = choice if isinstance(choice, NoJump) else _IN_THE_WAY
            if isinstance(choice, NoJump):
                continue
            behind = bisect_left(wanted, address + 1)
            limit = wanted[behind] if behind < len(wanted) else self._code.graph.end
            for window in choice:
                last = self._with_return(window, limit)
                start = instructions[window.first].ip
                end = max(instructions[last - 1].next_ip, start + max(JUMP, window.length))  # a pun's byte, too
                if _is_free(start, end, address, wanted, taken):
                    insort(taken, (start, end))
                    chosen[address] = self._site(self._index_of(address), window, last)
                    break
        return chosen

    def _index_of(self, address: int) -> int:
        index = self._code.graph.index_of(address)
        assert index is not None
        return index

    # -- the site ------------------------------------------------------------------------------------------------

    def _site(self, index: int, window: Window, last: int) -> JumpSite:
        """The site by which the instructions up to `last` − 1 run in the trampoline."""
        instructions = self._code.graph.instructions
        address = instructions[index].ip
        start = instructions[window.first].ip
        end = instructions[last - 1].next_ip
        leaves = last > index and instructions[last - 1].flow_control not in (
            FlowControl.NEXT,
            FlowControl.CONDITIONAL_BRANCH,
        )
        return JumpSite(
            address,
            start,
            window.length,
            Displaced(start, self._code.bytes_at(start, address - start)),
            Displaced(address, self._code.bytes_at(address, max(0, end - address))),
            None if leaves else end,
            window.pun,
            not window.reason_not_live,
            window.reason_not_live,
            self._stretches.scratch(index),
            self._nosplit,
        )

    def _with_return(self, window: Window, limit: int) -> int:
        """Up to where the trampoline goes: if a return follows at once, it needs no jump back. Not beyond `limit`."""
        instructions = self._code.graph.instructions
        for i in range(window.last, min(window.last + _EPILOGUE, len(instructions))):
            if instructions[i - 1].flow_control != FlowControl.NEXT or instructions[i].next_ip > limit:
                break
            if instructions[i].flow_control == FlowControl.RETURN:
                return i + 1
            if instructions[i].mnemonic not in (Mnemonic.POP, Mnemonic.NOP):
                break
        return window.last


def _is_free(start: int, end: int, address: int, wanted: Sequence[int], taken: Sequence[tuple[int, int]]) -> bool:
    """Whether no other event is at an instruction in [start, end), and no other site has taken a part of that."""
    inside = wanted[bisect_left(wanted, start) : bisect_left(wanted, end)]
    if any(one != address for one in inside):
        return False
    following = bisect_left(taken, (start, 0))
    if following < len(taken) and taken[following][0] < end:
        return False
    return following == 0 or taken[following - 1][1] <= start


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
    fits, the cost is a uprobe's; so it is where a jump would be in the way of the function's entry, in small functions.
    `live`: jumps must fit while goroutines exist.
    """
    sites = JumpSites(code, unsafe)

    def usable(site: JumpSite | NoJump) -> bool:
        return isinstance(site, JumpSite) and (site.live or not live)

    def alone(address: int) -> Cost:
        return Cost.NOP5 if usable(sites.at(address)) else max(code.cost_at(address), Cost.EMULATED)

    entry = code.priced(alone).entry_site()
    first = entry.address if entry is not None and usable(sites.at(entry.address)) else None

    def cost(address: int) -> Cost:
        found = alone(address)
        if found is not Cost.NOP5 or first is None or not first < address < first + _NEAR:
            return found
        both = sites.spread((first, address)).values()
        return found if all(usable(one) for one in both) else max(code.cost_at(address), Cost.EMULATED)

    return code.priced(cost)


def fits(code: FunctionCode, address: int, unsafe: UnsafePoints) -> Fit:
    """Which mechanisms an event at that address can have, besides a uprobe."""
    return fit_of(jump_site(code, address, unsafe))
