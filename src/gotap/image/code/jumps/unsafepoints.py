"""Where in a function no goroutine can be parked: PCDATA_UnsafePoint, by which the runtime decides on preemption.

A goroutine that does not run goes on behind a call, or where a signal has preempted it. The latter happens only where
isAsyncSafePoint (runtime/preempt.go; Go 1.18.10, 1.19.13, 1.20.14, 1.21.13, 1.22.12, 1.23.12, 1.24.13, 1.25.10, 1.26.8,
1.27.4 compared) finds the PC in a Go function that is not assembly, and the value −2 (unsafe) not in the function's
PCDATA_UnsafePoint there. −3 and −4 restart a sequence of instructions, −5 the function; the compiler writes them for
other machines than amd64 (cmd/internal/obj/x86 names no restartable sequence). They are taken for preemptible here.

A PC outside of Go's text is none where goroutines are preempted, in any of these versions: findfunc does not find it.
So no goroutine is ever parked inside a trampoline, and its stack is not scanned or moved while a thread is there.

Also known by the function table: where a function goes on after a recovered panic, `deferreturn` of its record. That
is the call of runtime.deferreturn (cmd/link/internal/ld/pcln.go, computeDeferReturn; the same versions), to which no
jump leads.
"""

from __future__ import annotations

from bisect import bisect_right

from gotap.image.functions.pclntab import Function, Pclntab

#: internal/abi/symtab.go; runtime/symtab.go before Go 1.21
_PCDATA_UNSAFE_POINT = 0
_UNSAFE = -2
_FLAG_ASSEMBLY = 1 << 2


class UnsafePoints:
    """Of one function. Addresses are as in the image; Go ≥ 1.18.

    `assembly`: not written by the compiler. `foreign`: not even Go's: C that Go's own linker has linked in, as the race
    detector is. `recovery`: where a recovered panic goes on, if it can.
    """

    def __init__(
        self,
        address: int,
        rows: list[tuple[int, int, int]],
        *,
        assembly: bool = False,
        foreign: bool = False,
        recovery: int | None = None,
    ) -> None:
        """`rows`: (start, end, value) of PCDATA_UnsafePoint, ascending, offsets from `address`."""
        self.assembly = assembly
        self.foreign = foreign
        self.recovery = recovery
        self._address = address
        self._starts = [start for start, _, _ in rows]
        self._ends = rows[-1][1] if rows else 0
        self._values = [value for _, _, value in rows]

    @classmethod
    def of(cls, pclntab: Pclntab, function: Function) -> UnsafePoints:
        """Raises MalformedPclntab."""
        resumes = pclntab.deferreturn(function)
        return cls(
            function.address,
            pclntab.pcdata(function, _PCDATA_UNSAFE_POINT),
            assembly=bool(pclntab.function_flags[function.index] & _FLAG_ASSEMBLY),
            foreign=not function.file,
            recovery=function.address + resumes if resumes else None,
        )

    def unsafe(self, address: int) -> bool:
        """Whether no goroutine is preempted with that PC."""
        if self.assembly:
            return True
        at = address - self._address
        row = bisect_right(self._starts, at) - 1
        return row >= 0 and at < self._ends and self._values[row] == _UNSAFE
