"""Executables of a few kilobytes: a tiny Go program (`tiny_go`) in ELF, PE and Mach-O, thin and fat.

Every part that a reader looks at is there once: notes, relocations, needed libraries, symbols, sections, debug
information. `Tiny.fields` are the places of all numbers that were written.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import NamedTuple

from tiny_bytes import Bytes
from tiny_dwarf import debug_sections
from tiny_go import Program, Recipe, buffers, make_program

#: Room for a format's headers in front of the code.
HEADER = 0x400
_BASE = 0x400000
#: Recipe's word size and byte order → ELF machine and its relocation `base + addend`.
_MACHINES = {(64, False): (62, 8), (32, False): (3, 8), (64, True): (22, 12), (32, True): (20, 22)}


class Tiny(NamedTuple):
    """`order`: "little" or "big". `name` says format, word size and release."""

    name: str
    content: bytes
    fields: tuple[tuple[int, int], ...]
    order: str


def all_images() -> list[Tiny]:
    """Each table format in ELF; each word size and byte order; the other formats with the newest and the oldest."""
    releases = ((1, 5), (1, 16), (1, 18), (1, 20), (1, 26), (1, 27))
    images = [make_elf(Recipe(release)) for release in releases]
    images += [make_elf(Recipe((1, 20), 32)), make_elf(Recipe((1, 26), 64, True, 2)), make_elf(Recipe((1, 5), 32))]
    images += [make_elf(Recipe((1, 16), 32, True, 4)), make_elf(Recipe((1, 27)), relocated=True)]
    images += [make_elf(Recipe((1, 20), magic=0x12345678)), make_elf(Recipe((1, 16), 32), relocated=True)]
    images += [make_pe(Recipe((1, 26))), make_pe(Recipe((1, 5), 32))]
    images += [make_macho(Recipe((1, 27))), make_macho(Recipe((1, 20)), chained=True), make_macho(Recipe((1, 16), 32))]
    return [*images, make_fat([make_macho(Recipe((1, 26))), make_macho(Recipe((1, 18), 64, True))])]


#: What stands in the data of programs that are not Go's, or of other compilers than gc.
_MARKS = {"rust": b"/rustc/1.80.0/", "tinygo": b"panic: runtime error at ", "gccgo": b"go1.20 gccgo (D 12.2) 12.2",
          "nodejs": b"NODE_REPL_EXTERNAL_MODULE", "c/c++": b"GCC: (Debian 12) 12.2", "generic": b"nothing"}  # fmt: skip
_PYTHON = b" threadcreate PYTHONSTARTUP"


def other_programs() -> list[Tiny]:
    """The same without Go's tables and notes, with the mark of another language or compiler, and one packed by UPX."""
    tiny = make_elf(Recipe((1, 26)))
    content = tiny.content
    for text in (b"\xf1\xff\xff\xff\0\0\1\x08", b" Go buildinf:", b"Go build ID", b"Go\0\0tiny/id"):
        assert text in content
        content = content.replace(text, b"x" * len(text))
    others = []
    for name, mark in _MARKS.items():
        marked = content.replace(_PYTHON, mark.ljust(len(_PYTHON), b"\0"))
        if name == "tinygo":
            marked = marked.replace(b"\0main.main\0runtime.types\0", b"\0tinygo_longjmp\0xxxxxxxx\0")
        if name == "gccgo":
            marked = marked.replace(b"libc.so.6", b"libgo.so\0")
        if name not in ("c/c++", "gccgo"):
            marked = marked.replace(b"libc.so.6", b"libx.so.6")
        others.append(tiny._replace(name=name, content=marked))
    no_sections = tiny.content[:40] + bytes(8) + tiny.content[48:]
    packed = no_sections[: HEADER - 64] + b"UPX!" + no_sections[HEADER - 60 :]
    return [*others, tiny._replace(name="upx", content=packed)]


def _pieces(program: Program) -> tuple[Bytes, ...]:
    return program.text, program.rodata, program.data


# -- ELF --------------------------------------------------------------------------------------------------------


def make_elf(recipe: Recipe, relocated: bool = False) -> Tiny:
    """`relocated`: a PIE whose words are zero and whose values stand in RELA entries (REL with 32 bits)."""
    base = 0 if relocated else _BASE
    program = make_program(recipe, base + HEADER)
    machine, relative = _MACHINES[recipe.bits, recipe.big_endian]
    new = buffers(recipe)
    extra = new(program.data.here)
    places = _elf_extra(extra, recipe, program, relative, relocated)
    header = new(base)
    tail = new(extra.here)
    shoff, count = _elf_sections(tail, base, recipe, program)
    header.raw(b"\x7fELF" + bytes((2 if recipe.bits == 64 else 1, 2 if recipe.big_endian else 1, 1, 0)) + bytes(8))
    header.number(2, 3 if relocated else 2, machine)
    header.number(4, 1)
    header.word(program.entry, 64 if recipe.bits == 64 else 52, shoff - base)
    header.number(4, 0)
    wide = recipe.bits == 64
    header.number(2, 64 if wide else 52, 56 if wide else 32, 3 + len(places), 64 if wide else 40, count, count - 1)
    ends = program.text.here, program.rodata.here, extra.here
    segments = [(1, 5, base, ends[0]), (1, 4, ends[0], ends[1]), (1, 6, ends[1], ends[2])]
    for type_, flags, low, high in [*segments, *((type_, 4, low, high) for type_, (low, high) in places.items())]:
        header.number(4, type_)
        if wide:
            header.number(4, flags)
        header.word(low - base, low, low, high - low, high - low)
        if not wide:
            header.number(4, flags)
        header.word(8)
    header.raw(bytes(HEADER - len(header.data)))
    for piece in (*_pieces(program), extra, tail):
        header.append(piece)
    if relocated and recipe.bits == 64:
        for offset, _ in header.pointers:
            header.set(offset, 8, 0)
    form = f"elf{recipe.bits}{'be' if recipe.big_endian else ''}{'-pie' if relocated else ''}"
    return _tiny(form + ("-garbled" if recipe.magic else ""), recipe, header)


def _elf_extra(
    out: Bytes, recipe: Recipe, program: Program, relative: int, relocated: bool
) -> dict[int, tuple[int, int]]:
    """Interpreter, notes, relocations and the dynamic section: program header's type → where it is."""
    interpreter = out.raw(b"/lib64/ld-linux-x86-64.so.2\0")
    places = {3: (interpreter, out.here)} if relocated else {}
    notes = out.align(4)
    for owner, type_, content in ((b"Go\0\0", 4, b"tiny/id\0"), (b"GNU\0", 3, bytes(range(8)))):
        out.number(4, len(owner.rstrip(b"\0")) + 1, len(content), type_)
        out.raw(owner + content)
    places[4] = notes, out.here
    strings = out.raw(b"\0libc.so.6\0")
    relocations = out.align(8)
    if relocated:
        for piece in _pieces(program):
            for offset, value in piece.pointers:
                out.word(piece.base + offset, relative)
                if recipe.bits == 64:
                    out.word(value)
    size, dynamic = out.here - relocations, out.align(8)
    table = ((7, relocations), (8, size)) if recipe.bits == 64 else ((17, relocations), (18, size))
    for tag, value in ((1, 1), (5, strings), *table, (0x6FFFFFFB, 0x08000000 * relocated), (0, 0)):
        out.word(tag, value)
    places[2] = dynamic, out.here
    return places


def _elf_sections(out: Bytes, base: int, recipe: Recipe, program: Program) -> tuple[int, int]:
    """Symbols, debug information (one section compressed) and the section table: its address, and how many."""
    wide = recipe.bits == 64
    symbol_names = b"\0main.main\0runtime.types\0"
    parts: dict[str, tuple[int, int, bytes]] = {".strtab": (3, 0, symbol_names)}
    symbols = Bytes(0, recipe.bits, recipe.big_endian)
    for name_at, value in ((0, 0), (1, program.entry), (11, program.runtime_types)):
        symbols.number(4, name_at)
        if wide:
            symbols.number(1, 0x12, 0)
            symbols.number(2, bool(name_at))
            symbols.word(value, 16)
        else:
            symbols.word(value, 16)
            symbols.number(1, 0x12, 0)
            symbols.number(2, bool(name_at))
    parts[".symtab"] = 2, 0, bytes(symbols.data)
    if wide and not recipe.big_endian:
        for name, content in debug_sections(5 if recipe.release >= (1, 26) else 4).items():
            parts[name] = 1, 0, content
        plain = parts[".debug_abbrev"][2]
        header = Bytes(0, recipe.bits, recipe.big_endian)
        header.number(4, 1, 0)
        header.word(len(plain), 1)
        parts[".debug_abbrev"] = 1, 0x800, bytes(header.data) + zlib.compress(plain)
    rows = [(0, 0, 0, 0, 0)]
    names = b"\0"
    for name, (type_, flags, content) in parts.items():
        rows.append((len(names), type_, flags, out.raw(content) - base, len(content)))
        names += name.encode() + b"\0"
    rows.append((len(names), 3, 0, out.here - base, len(names) + 10))
    out.raw(names + b".shstrtab\0")
    table = out.align(8)
    for name_at, type_, flags, offset, size in rows:
        out.number(4, name_at, type_)
        out.word(flags, 0, offset, size)
        out.number(4, 0, 0)
        out.word(1, 0)
    return table, len(rows)


# -- PE ---------------------------------------------------------------------------------------------------------


def make_pe(recipe: Recipe) -> Tiny:
    """PE32+ or PE32 with an import directory and a COFF symbol table."""
    program = make_program(recipe, _BASE + HEADER)
    wide = recipe.bits == 64
    extra = Bytes(program.data.here, recipe.bits)
    library = extra.raw(b"kernel32.dll\0")
    imports = extra.align(4)
    extra.number(4, 0, 0, 0, library - _BASE, 0, 0, 0, 0, 0, 0)
    tail = Bytes(extra.here)
    strings = b"\4\0\0\0runtime.long_name\0"
    for name, value in ((b"main\0\0\0\0", 16), (b"\0\0\0\0\4\0\0\0", 32)):
        tail.raw(name)
        tail.number(4, value)
        tail.number(2, 1, 0)
        tail.number(1, 2, 0)
    symbols = extra.here - _BASE
    tail.raw(strings)
    header = Bytes(_BASE, recipe.bits)
    header.raw(b"MZ".ljust(0x3C, b"\0"))
    header.number(4, 0x80)
    header.raw(bytes(0x40) + b"PE\0\0")
    header.number(2, 0x8664 if wide else 0x14C, 3)
    header.number(4, 0, symbols, 2)
    header.number(2, (112 if wide else 96) + 16 * 8, 0x22)
    header.number(2, 0x20B if wide else 0x10B, 0)
    header.number(4, 0, 0, 0, program.entry - _BASE, 0x1000, *([] if wide else [0]))
    header.word(_BASE)
    header.number(4, 0x1000, 0x200, 0, 0, 0, 0, 0x10000, HEADER, 0)
    header.number(2, 3, 0x8160)
    header.word(0, 0, 0, 0)
    header.number(4, 0, 16, 0, 0, imports - _BASE, 40, *(0,) * 28)
    pieces = (
        (b".text", program.text, program.text.here, 0x60000020),
        (b".rdata", program.rodata, program.rodata.here, 0x40000040),
        (b".data", program.data, extra.here, 0xC0000040),
    )
    for name, piece, end, flags in pieces:
        header.raw(name.ljust(8, b"\0"))
        header.number(4, end - piece.base, piece.base - _BASE, end - piece.base, piece.base - _BASE, 0, 0, 0, flags)
    header.raw(bytes(HEADER - len(header.data)))
    for piece in (*_pieces(program), extra, tail):
        header.append(piece)
    return _tiny(f"pe{recipe.bits}", recipe, header)


# -- Mach-O -----------------------------------------------------------------------------------------------------


def make_macho(recipe: Recipe, chained: bool = False) -> Tiny:
    """With symbols, a library, a loader and, where `chained`, pointers as chained fixups of the newer linkers."""
    base = 0x100000000 if recipe.bits == 64 else 0x1000
    program = make_program(recipe, base + HEADER)
    wide = recipe.bits == 64
    new = buffers(recipe)
    tail = new(program.data.here)
    if chained:
        _chain(program, base)
    fixups = tail.here
    tail.number(4, 0, 28, 0, 0, 0, 0, 0)  # dyld_chained_fixups_header
    tail.number(4, 3, 0, 0, 16)  # dyld_chained_starts_in_image
    tail.number(4, 24)
    tail.number(2, 0x1000, 6)
    tail.number(8, 0)
    tail.number(4, 0)
    tail.number(2, 1, program.data.pointers[0][0] if program.data.pointers else 0xFFFF)
    end_of_fixups, symbols = tail.here, tail.align(8)
    strings = b"\0_main\0_other\0"
    for name, value in ((1, program.entry), (7, program.entry + 16)):
        tail.number(4, name)
        tail.number(1, 0x0F, 1)
        tail.number(2, 0)
        tail.word(value)
    names = tail.raw(strings)
    commands = [_macho_segment(new, program, index, base, wide) for index in range(3)]
    commands.append(_command(new, 2, (symbols - base, 2, names - base, len(strings))))
    commands.append(_command(new, 0xC, (24, 0, 0, 0), b"/usr/lib/libSystem.B.dylib\0\0\0\0\0\0"))
    commands.append(_command(new, 0xE, (12,), b"/usr/lib/dyld\0\0\0"))
    commands.append(_command(new, 0x32, (1, 0, 0, 0)))
    if wide:
        commands.append(_command(new, 0x80000028, (program.entry - base, 0, 0, 0)))
    if chained:
        commands.append(_command(new, 0x80000034, (fixups - base, end_of_fixups - fixups)))
    header = new(base)
    cpu = {(64, False): 0x01000007, (32, False): 7, (64, True): 0x01000012}[recipe.bits, recipe.big_endian]
    header.number(4, 0xFEEDFACF if wide else 0xFEEDFACE, cpu, 3, 2, len(commands))
    header.number(4, sum(len(command.data) for command in commands), 0x200000, *([0] if wide else []))
    for command in commands:
        header.append(command)
    header.raw(bytes(HEADER - len(header.data)))
    for piece in (*_pieces(program), tail):
        header.append(piece)
    return _tiny(f"macho{recipe.bits}{'-chained' if chained else ''}", recipe, header)


def _chain(program: Program, base: int) -> None:
    """DYLD_CHAINED_PTR_64_OFFSET: the target's offset, and in bits 51 on the distance to the next in 4 bytes."""
    places = program.data.pointers
    for (offset, value), (following, _) in zip(places, [*places[1:], places[-1]], strict=True):
        program.data.set(offset, 8, value - base | (following - offset) // 4 << 51)


def _command(new: Callable[[int], Bytes], number: int, fields: tuple[int, ...], text: bytes = b"") -> Bytes:
    command = new(0)
    command.number(4, number, 8 + 4 * len(fields) + len(text), *fields)
    command.raw(text)
    return command


def _macho_segment(new: Callable[[int], Bytes], program: Program, index: int, base: int, wide: bool) -> Bytes:
    piece = _pieces(program)[index]
    name = (b"__TEXT", b"__DATA_CONST", b"__DATA")[index].ljust(16, b"\0")
    low, rights = (base, 5) if index == 0 else (piece.base, 3)
    command = new(0)
    command.number(4, 0x19 if wide else 1, (72 + 80) if wide else (56 + 68))
    command.raw(name)
    command.word(low, piece.here - low, low - base, piece.here - low)
    command.number(4, rights, rights, 1, 0)
    command.raw((b"__text", b"__rodata", b"__data")[index].ljust(16, b"\0") + name)
    command.word(piece.base, len(piece.data))
    command.number(4, piece.base - base, 4, 0, 0, 0, 0, 0, *([0] if wide else []))
    return command


def make_fat(slices: list[Tiny]) -> Tiny:
    out = Bytes(0, 32, True)
    out.number(4, 0xCAFEBABE, len(slices))
    at, ends = 0x100, []
    for image in slices:
        cpu = int.from_bytes(image.content[4:8], image.order)  # type: ignore[arg-type]
        out.number(4, cpu, 3, at, len(image.content), 8)
        ends.append(at)
        at += (len(image.content) + 15) // 16 * 16
    for image, start in zip(slices, ends, strict=True):
        out.raw(bytes(start - len(out.data)))
        out.fields += [(start + offset, size) for offset, size in image.fields]
        out.raw(image.content)
    return Tiny("macho-fat", bytes(out.data), tuple(out.fields), "little")


def _tiny(form: str, recipe: Recipe, out: Bytes) -> Tiny:
    release = ".".join(map(str, recipe.release))
    return Tiny(f"{form}-go{release}", bytes(out.data), tuple(out.fields), out.order)
