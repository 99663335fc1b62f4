"""Where in one executable jumps into trampolines can go, for the places that probes were bound to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gotap.errors import GotapError
from gotap.image.code import FunctionCode
from gotap.image.code.jumps import Fit, JumpSite, NoJump, UnsafePoints, checked_entry, fit_of, jump_sites
from gotap.image.errors import ImageError
from gotap.image.function_code import FunctionCodes, function_code
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image

#: Functions that a child of fork(2) runs before it executes a program: memory is shared or copied there, and what its
#: thread has is its parent's (syscall/exec_linux.go, Go 1.18–1.27).
_CHILD = ("syscall.forkAndExecInChild", "syscall.rawVforkSyscall", "syscall.runtime_AfterFork",
          "runtime.syscall_runtime_AfterFork")  # fmt: skip

Jumps = Mapping[int, JumpSite | NoJump]


class Sites:
    """Answers for file offsets, as probes have them. Code is analysed when it is asked for, and not kept here; `codes`
    keeps it for others, too.
    """

    def __init__(self, image: Image, codes: FunctionCodes | None = None) -> None:
        self.image = image
        self._codes = codes

    @property
    def addresses(self) -> tuple[int, int]:
        """The lowest address of the image, and the one behind its highest."""
        segments = self.image.elf.loads
        return min(one.vaddr for one in segments), max(one.vaddr + one.memsz for one in segments)

    def at(self, offsets: Iterable[int]) -> dict[int, JumpSite | NoJump]:
        """A site for each offset, none of which is in the way of another, or why there is none."""
        found: dict[int, JumpSite | NoJump] = {}
        by_function: dict[int, tuple[Function, dict[int, int]]] = {}
        for offset in offsets:
            address = self.image.elf.address_of(offset)
            function = None if address is None else self.image.pclntab.function_at(address)
            if address is None or function is None:
                found[offset] = NoJump("it is in no Go function")
            elif why := _why_none_in(function):
                found[offset] = NoJump(why)
            else:
                by_function.setdefault(function.address, (function, {}))[1][address] = offset
        for function, wanted in by_function.values():
            for address, site in self._in(function, wanted).items():
                found[wanted[address]] = site
        return found

    def fits(self, offsets: Iterable[int]) -> dict[int, Fit]:
        """Which mechanisms events there can have, besides a uprobe."""
        return {offset: fit_of(site) for offset, site in self.at(offsets).items()}

    def fits_in(self, function: Function, code: FunctionCode, addresses: Collection[int]) -> dict[int, Fit]:
        """The same by addresses in one function whose code was analysed already."""
        if why := _why_none_in(function):
            return dict.fromkeys(addresses, fit_of(NoJump(why)))
        sites = jump_sites(code, addresses, UnsafePoints.of(self.image.pclntab, function))
        return {address: fit_of(site) for address, site in sites.items()}

    def name(self, offset: int) -> str:
        """The function there, and how far in it: `main.handle+0x1f`."""
        address = self.image.elf.address_of(offset)
        function = None if address is None else self.image.pclntab.function_at(address)
        if address is None or function is None:
            return f"offset {offset:#x}"
        return f"{function.name}+{address - function.address:#x}"

    def _in(self, function: Function, addresses: Collection[int]) -> dict[int, JumpSite | NoJump]:
        try:
            unsafe = UnsafePoints.of(self.image.pclntab, function)
            if len(addresses) == 1:  # of thousands of functions often nothing but the entry is asked for
                (address,) = addresses
                entry = checked_entry(self.image.code(function), function.address, address, unsafe)
                if entry is not None:
                    return {address: entry}
            code = function_code(self.image, function) if self._codes is None else self._codes.of(function)
            return jump_sites(code, addresses, unsafe)
        except (ImageError, GotapError) as error:
            return dict.fromkeys(addresses, NoJump(f"the code of {function.name} could not be understood: {error}"))


def _why_none_in(function: Function) -> str:
    """Why no jump may be in a function at all; empty: they may."""
    if function.name.startswith(_CHILD):
        return f"{function.name} also runs in children, before they execute a program"
    return ""
