"""What the kernel compiled a program to."""

from __future__ import annotations

import ctypes
import struct

from gotap.kernel import syscalls
from gotap.kernel.bpf import Program


def machine_code(program: Program) -> bytes:
    """What the kernel compiled (struct bpf_prog_info jited_prog_insns); empty where it does not show it."""
    size = 1 << 17
    code, info = ctypes.create_string_buffer(size), bytearray(224)
    struct.pack_into("<I", info, 16, size)
    struct.pack_into("<Q", info, 24, ctypes.addressof(code))
    answer = (ctypes.c_char * 224).from_buffer(info)
    syscalls.bpf(
        syscalls.Command.OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", program.fd, 224, ctypes.addressof(answer))
    )
    length, shown = struct.unpack_from("<I", answer.raw, 16)[0], struct.unpack_from("<Q", answer.raw, 24)[0]
    return code.raw[:length] if shown else b""


def has_private_stack(program: Program) -> bool:
    """Whether it makes R9, which stands for no BPF register, the address of a stack of the CPU's: add %gs:…, %r9."""
    return b"\x65\x4c\x03\x0c\x25" in machine_code(program)
