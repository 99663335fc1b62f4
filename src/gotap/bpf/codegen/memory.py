"""Where a program keeps what it works with: rows of the catalogue's operations, frames of scripts, the stack."""

from __future__ import annotations

from msgspec import Struct

from gotap.bpf.codegen import frame
from gotap.bpf.isa import R10, Reg


class Memory(Struct, frozen=True):
    """Offsets from `base` but where it says otherwise. What is planned stands at offsets from R7."""

    base: Reg
    read: int  # one word read from the process
    pair: int  # an interface read from the process
    key: int  # a text that is compared with a constant
    temporary_base: Reg
    temporaries: int  # and downwards, 8 bytes each
    temporary_count: int
    map_header: int  # of a Go map
    buffer: int  # from R7: a group or bucket of a Go map
    planned: int  # from R7: blocks and words that are computed once
    planned_end: int
    blocks: int  # from R10: small blocks
    blocks_end: int


#: Of the catalogue's programs (gotap.bpf.codegen.frame).
ROW = Memory(
    base=R10,
    read=frame.READ,
    pair=frame.PAIR,
    key=frame.KEY,
    temporary_base=R10,
    temporaries=frame.TEMPORARIES,
    temporary_count=frame.TEMPORARY_COUNT,
    map_header=frame.MAP_HEADER,
    buffer=frame.BUFFER,
    planned=frame.PLANNED,
    planned_end=frame.PLANNED_END,
    blocks=frame.BLOCKS,
    blocks_end=frame.BLOCKS_END,
)
