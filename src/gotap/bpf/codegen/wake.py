"""When the ring's reader is woken: not by each record, which would cost more than the record, but by how full it is."""

from __future__ import annotations

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.memory import ROW, Memory
from gotap.bpf.isa import R0, R1, R2, R3, R4, Helper, RingFlags

#: The reader is woken whenever so many more bytes wait for it; a power of two.
WAKE_BYTES = 1 << 19

_AVAILABLE = 0  # BPF_RB_AVAIL_DATA: bytes between the two positions (kernel/bpf/ringbuf.c, bpf_ringbuf_query)
_HEADER = 8  # BPF_RINGBUF_HDR_SZ


def wake_flags(asm: Assembler, memory: Memory = ROW) -> None:
    """R4: the flags for a record of R3 bytes, which wakes the reader if it carries the fill over a multiple.

    Two CPUs that look at the same time may both miss that they are over it; the next multiple is not far. R0, R1 and R2
    are lost, R3 stays.
    """
    quiet = asm.new_label("quiet")
    asm.store(memory.base, memory.read, R3)
    asm.ld_map(R1, frame.RING)
    asm.mov(R2, _AVAILABLE)
    asm.call(Helper.RINGBUF_QUERY)
    asm.load(R3, memory.base, memory.read)
    asm.mov(R1, R0)
    asm.add(R1, R3)
    asm.add(R1, _HEADER)
    asm.xor(R1, R0)
    asm.mov(R4, int(RingFlags.NO_WAKEUP))
    asm.jlt(R1, WAKE_BYTES, quiet)
    asm.mov(R4, int(RingFlags.FORCE_WAKEUP))
    asm.label(quiet)
