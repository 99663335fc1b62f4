"""When the target executes a program: noted in the kernel at once, which wakes the ring's reader.

The tracepoint sched:sched_process_exec fires when the new program is in place and has not run yet (fs/exec.c,
exec_binprm, Linux 5.15 to 6.18), in the thread that goes on as the process's only one.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Self

from gotap.bpf.asm import R0, R1, R2, R3, R6, R7, R10, Assembler, Helper
from gotap.bpf.code import Code
from gotap.bpf.enums import ProgramType
from gotap.bpf.isa import RingFlags
from gotap.bpf.machine import HasFeatures
from gotap.kernel.bpf import Map, MapType, Program
from gotap.kernel.errors import KernelError
from gotap.kernel.origins import attach_origin
from gotap.kernel.ring import Ring
from gotap.probe.script.bound import Origin

#: Of so many executions in a row the times are known; a power of two.
_KEPT = 64
#: The map's only value: how many there were, then the time of each, in turns.
_VALUE_SIZE = 8 + 8 * _KEPT


class Executions:
    """Watches one process until it is closed. Raises KernelError where the kernel does not let it."""

    def __init__(self, tgid: int, ring: Ring, features: HasFeatures) -> None:
        """`tgid`: in the initial pid namespace. `ring`: whose reader is woken."""
        self._seen = 0
        with contextlib.ExitStack() as undo:
            self._map = undo.enter_context(Map.create(MapType.ARRAY, 4, _VALUE_SIZE, 1, name="gotap_execs"))
            code = program(tgid).bytes({"execs": self._map.fd, "ring": ring.fd})
            with Program.load(code, ProgramType.TRACEPOINT, "gotap_execs") as loaded:
                origin = Origin("tracepoint", category="sched", name="sched_process_exec")
                link = attach_origin(loaded, origin, pid=0, features=features, user_only=False)
                undo.callback(link.close)
            self._undo = undo.pop_all()

    def new(self) -> list[float]:
        """When programs were executed since this was called last: seconds, as of time.monotonic(), in their order."""
        value = self._map.lookup(bytes(4))
        if value is None:
            return []
        (count,) = struct.unpack_from("<Q", value)
        times = struct.unpack_from(f"<{_KEPT}Q", value, 8)
        first, self._seen = max(self._seen, count - _KEPT), count
        return [times[number % _KEPT] / 1e9 for number in range(first, count)]

    def close(self) -> None:
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def watch_executions(tgid: int | None, ring: Ring, features: HasFeatures) -> Executions | None:
    """None where it cannot be: gotap lives in a pid namespace of its own, or without tracefs."""
    if tgid is None:
        return None
    with contextlib.suppress(KernelError):
        return Executions(tgid, ring, features)
    return None


def program(tgid: int) -> Code:
    """Notes the time, and wakes the reader by a record that is discarded. One thread of a process at a time is here."""
    asm = Assembler()
    asm.call(Helper.GET_CURRENT_PID_TGID)
    asm.rsh(R0, 32)
    asm.jne(R0, tgid, "end")
    asm.store(R10, -4, 0, 4)
    asm.ld_map(R1, "execs")
    asm.mov(R2, R10)
    asm.add(R2, -4)
    asm.call(Helper.MAP_LOOKUP)
    asm.jeq(R0, 0, "end")
    asm.mov(R6, R0)
    asm.call(Helper.KTIME_GET_NS)
    asm.load(R1, R6)
    asm.mov(R7, R1)
    asm.and_(R7, _KEPT - 1)
    asm.lsh(R7, 3)
    asm.add(R7, R6)
    asm.store(R7, 8, R0)
    asm.add(R1, 1)
    asm.store(R6, 0, R1)
    asm.ld_map(R1, "ring")
    asm.mov(R2, 8)
    asm.mov(R3, 0)
    asm.call(Helper.RINGBUF_RESERVE)
    asm.jeq(R0, 0, "end")  # full: the reader is at work
    asm.mov(R1, R0)
    asm.mov(R2, int(RingFlags.FORCE_WAKEUP))
    asm.call(Helper.RINGBUF_DISCARD)
    asm.label("end")
    asm.mov(R0, 0)
    asm.exit_()
    return asm.finish()
