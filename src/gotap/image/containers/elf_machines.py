"""ELF's machines in Go's words, and their relocations that fill a whole word.

Sources: cmd/internal/sys and cmd/link/internal/*/asm.go of Go 1.27; each machine's psABI.
"""

from __future__ import annotations

EM_386, EM_MIPS, EM_PPC64, EM_S390, EM_ARM, EM_X86_64, EM_AARCH64 = 3, 8, 21, 22, 40, 62, 183
EM_RISCV, EM_LOONGARCH = 243, 258

_GOARCH = {EM_386: "386", EM_ARM: "arm", EM_X86_64: "amd64", EM_AARCH64: "arm64", EM_S390: "s390x", 18: "sparc32plus",
           43: "sparc64", 2: "sparc", 20: "ppc", 50: "ia64", 247: "bpf"}  # fmt: skip
#: Relocation types `base + addend`.
RELATIVE = {EM_386: 8, EM_ARM: 23, EM_X86_64: 8, EM_AARCH64: 1027, EM_PPC64: 22, EM_S390: 12, EM_RISCV: 3,
            EM_LOONGARCH: 3}  # fmt: skip
#: Relocation types `symbol + addend`.
ABSOLUTE = {EM_386: 1, EM_ARM: 2, EM_X86_64: 1, EM_AARCH64: 257, EM_PPC64: 38, EM_S390: 22, EM_RISCV: 2,
            EM_LOONGARCH: 2}  # fmt: skip

#: e_ident[EI_OSABI] → GOOS; 0 (System V) says nothing, and Go writes it for Linux.
_OSABI = {2: "netbsd", 3: "linux", 6: "solaris", 9: "freebsd", 12: "openbsd"}
#: Owner of a note → GOOS.
_NOTES = {b"NetBSD": "netbsd", b"OpenBSD": "openbsd", b"FreeBSD": "freebsd", b"DragonFly": "dragonfly",
          b"Android": "android"}  # fmt: skip
#: How the dynamic loader's path begins → GOOS.
_LOADERS = (("/system/bin/linker", "android"), ("/usr/lib/amd64/ld.so", "solaris"), ("/lib/amd64/ld.so", "solaris"),
            ("/usr/libexec/ld.so", "openbsd"), ("/libexec/ld.elf_so", "netbsd"), ("/usr/libexec/ld.elf_so", "netbsd"),
            ("/libexec/ld-elf.so", "freebsd"), ("/usr/libexec/ld-elf.so", "dragonfly"))  # fmt: skip


def goarch(machine: int, bits: int, big_endian: bool) -> str:
    """The GOARCH ("amd64", "mips64le", …), or "machine N" for one that neither Go nor this table knows."""
    if machine == EM_MIPS:
        return f"mips{'64' if bits == 64 else ''}{'' if big_endian else 'le'}"
    if machine == EM_PPC64:
        return "ppc64" if big_endian else "ppc64le"
    if machine == EM_RISCV:
        return f"riscv{'64' if bits == 64 else ''}"
    if machine == EM_LOONGARCH:
        return f"loong{'64' if bits == 64 else '32'}"
    return _GOARCH.get(machine, f"machine {machine}")


def goos(osabi: int, owners: set[bytes], interpreter: str) -> str:
    """The GOOS by e_ident[EI_OSABI], the owners of the notes and the loader's path; Linux leaves no mark."""
    for owner, name in _NOTES.items():
        if owner in owners:
            return name
    by_loader = next((name for start, name in _LOADERS if interpreter.startswith(start)), None)
    return by_loader or _OSABI.get(osabi, "linux")
