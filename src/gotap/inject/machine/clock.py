"""The clock of hooks: CLOCK_MONOTONIC from the time stamp counter, as the kernel's bpf_ktime_get_ns tells it.

Programs multiply the TSC by a rate that gotap sets and corrects every second, so that it follows what NTP does to the
kernel's clock. A correction never steps: the new line begins where the old one is, and meets the kernel's clock a
second later, so that times of one thread only ever grow. Two records take turns, and one store says which holds
(Header.CLOCK), so that a gotap that dies in between leaves a clock that goes on.

Where the TSC is no clock (it stops, its rate changes, or the kernel has found it wrong and does not list it as a clock
source) programs ask the vDSO, which takes 10 to 30 ns more.
"""

from __future__ import annotations

import ctypes
import struct
import time
from collections.abc import Callable

from gotap.inject.machine.errors import MachineError
from gotap.inject.machine.layout import Clock, Header
from gotap.inject.machine.region import Region

#: Seconds between corrections, in which half of what the clock is off is to be made up for.
PERIOD = 1.0
#: Seconds that the rate is measured at first.
_FIRST = 0.01
#: The most by which a correction changes the rate, relative: NTP changes the kernel's by 500 ppm at most.
_MOST = 2e-3
#: New lines go through a point so many ticks ago, so that a thread that read the TSC before they held sees no negative
#: distance.
_BEFORE = 1 << 34
_FRACTION = 1 << 32
_TRIES = 20

_SOURCES = "/sys/devices/system/clocksource/clocksource0/available_clocksource"
_AT_SYSINFO_EHDR = 33


def tsc_is_clock() -> bool:
    """Whether the TSC goes on at one rate, on all CPUs, as far as the kernel knows."""
    try:
        with open(_SOURCES) as file:
            listed = "tsc" in file.read().split()
        with open("/proc/cpuinfo") as file:
            flags = next((line.split(":")[1].split() for line in file if line.startswith("flags")), [])
    except OSError:
        return False
    return listed and {"constant_tsc", "nonstop_tsc"} <= set(flags)


class HookClock:
    """Sets the clock of a region, and keeps it right by `tune`."""

    def __init__(self, region: Region, ticks: Callable[[], int]) -> None:
        """`ticks`: the TSC now. Takes ten milliseconds, in which the rate is measured."""
        self._region = region
        self._ticks = ticks
        self._number = 0
        first = self._look()
        time.sleep(_FIRST)
        self._last = second = self._look()
        self._line = (second[0], second[1], (second[1] - first[1]) / (second[0] - first[0]))
        self._set()

    def _look(self) -> tuple[int, int]:
        """(TSC, ns) of one moment: between two looks at the TSC, the nearest of several."""
        best: tuple[int, int, int] | None = None
        for _ in range(_TRIES):
            before, now, after = self._ticks(), time.monotonic_ns(), self._ticks()
            if best is None or after - before < best[0]:
                best = after - before, before + (after - before) // 2, now
        assert best is not None
        return best[1], best[2]

    def tune(self) -> None:
        """To be called now and then; does something once a second."""
        now = self._look()
        tick, ns = self._last
        if now[1] - ns < PERIOD * 1e9:
            return
        true_rate = (now[1] - ns) / (now[0] - tick)
        told = self.at(now[0])
        span = PERIOD * 1e9 / true_rate  # ticks of a second
        rate = true_rate + (now[1] - told) / span / 2
        rate = min(max(rate, true_rate * (1 - _MOST)), true_rate * (1 + _MOST))
        self._line = now[0], told, rate
        self._last = now
        self._set()

    def at(self, tick: int) -> int:
        """What the clock tells at that value of the TSC."""
        start, ns, rate = self._line
        return ns + round((tick - start) * rate)

    def _set(self) -> None:
        tick, ns, rate = self._line
        multiplier = round(rate * _FRACTION)
        before = min(_BEFORE, tick)
        at = Header.CLOCK_RECORDS + (self._number + 1 & 1) * Clock.SIZE
        for field, value in ((Clock.TSC0, tick - before), (Clock.NS, ns - (before * multiplier >> 32)),
                             (Clock.MULT, multiplier)):  # fmt: skip
            self._region.write_u64(at + field, value & (1 << 64) - 1)
        self._number += 1
        self._region.write_u64(Header.CLOCK, self._number)


def vdso_clock(base: int) -> int:
    """Address of the vDSO's clock_gettime where that is mapped at `base`; it is the same in all 64-bit processes.

    MachineError: this kernel has none.
    """
    own = ctypes.CDLL(None).getauxval
    own.restype, own.argtypes = ctypes.c_ulong, (ctypes.c_ulong,)
    start = own(_AT_SYSINFO_EHDR)
    if not start or not base:
        raise MachineError("the processor's time stamp counter is no clock here, and there is no vDSO to ask",
                           "use --via uprobe")  # fmt: skip
    return base + _symbol(start, b"__vdso_clock_gettime")


def _symbol(start: int, name: bytes) -> int:
    """Offset of a function in the vDSO that gotap itself has mapped at `start` (ELF64, with DT_HASH or DT_GNU_HASH)."""
    header = ctypes.string_at(start, 64)
    (program_offset,), (size, count) = struct.unpack_from("<Q", header, 32), struct.unpack_from("<HH", header, 54)
    dynamic: dict[int, int] = {}
    for index in range(count):
        kind, _, _, address, _, _, length, _ = struct.unpack("<IIQQQQQQ", ctypes.string_at(
            start + program_offset + index * size, 56))  # fmt: skip
        if kind == 2:  # PT_DYNAMIC
            dynamic = dict(struct.iter_unpack("<QQ", ctypes.string_at(start + address, length)))
    strings, symbols = start + dynamic[5], start + dynamic[6]  # DT_STRTAB, DT_SYMTAB, which comes before it
    for at in range(symbols, strings if strings > symbols else symbols + 24 * 64, 24):
        offset, _, _, _, value, _ = struct.unpack("<IBBHQQ", ctypes.string_at(at, 24))
        if value and ctypes.string_at(strings + offset) == name:
            return int(value)
    raise MachineError("the vDSO has no clock_gettime", "use --via uprobe")
