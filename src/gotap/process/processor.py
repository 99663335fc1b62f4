"""What the processor and the kernel let programs do, by the auxiliary vector that the kernel gives to each."""

from __future__ import annotations

from gotap.process.proc import read_file

#: AT_HWCAP2, and its bit for RDFSBASE (arch/x86/include/uapi/asm/hwcap2.h, Linux ≥ 5.9).
_AT_HWCAP2, _FSGSBASE = 26, 1 << 1


def has_fsgsbase() -> bool:
    """Whether programs may read the base of FS by an instruction (RDFSBASE). Raises OSError."""
    content = read_file("/proc/self/auxv")
    words = [int.from_bytes(content[at : at + 8], "little") for at in range(0, len(content), 8)]
    return bool(dict(zip(words[::2], words[1::2], strict=False)).get(_AT_HWCAP2, 0) & _FSGSBASE)
