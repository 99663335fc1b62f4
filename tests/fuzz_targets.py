"""What is fuzzed: every parser of bytes that others wrote, with its seeds."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import msgspec
import numpy as np

import fuzz_functions
import fuzz_scripts
import fuzz_symbols
import fuzz_values
from fuzz_mutations import Seed
from fuzz_runner import Target
from gotap.errors import GotapError
from gotap.image.code import FunctionCode, cost_of
from gotap.image.containers.container import read_container
from gotap.image.containers.elf import Elf
from gotap.image.containers.filetype import not_executable
from gotap.image.facts.buildinfo import read_build_info, versions_in_data
from gotap.image.facts.goversion import GoVersion
from gotap.image.facts.language import language_of
from gotap.image.facts.model import Facts
from gotap.image.facts.reading import read_facts
from gotap.image.functions import pccolumns, pcvalue
from gotap.image.functions.tables import read_tables
from gotap.image.image import Image
from gotap.image.types.dwarf import DwarfTypes
from gotap.image.types.gotypes import Type, TypeRef
from gotap.image.types.linkname import escape_type_name, split_map
from gotap.image.types.rtype import RuntimeTypes
from gotap.image.types.typetext import parse_declarations, parse_type
from gotap.process.container import container_of
from gotap.process.facts_cache import FileCache, FileKey
from gotap.process.privileges import read_status
from gotap.process.proc import parse_maps
from gotap.process.stat import container_id, parse_stat, parse_status
from tiny_dwarf import debug_sections
from tiny_images import HEADER, all_images, other_programs

SEEDS = Path(__file__).parent / "fuzzing" / "seeds"
#: How far a walk over types goes, whose graph is cyclic.
_MOST_TYPES = 50


@cache
def all_targets() -> tuple[Target, ...]:
    return (*_of_images(), *_of_code(), *_of_types(), *_of_texts(), *_of_processes(), *fuzz_scripts.targets(),
            *fuzz_values.targets(), *fuzz_functions.targets(), *fuzz_symbols.targets())  # fmt: skip


def target(name: str) -> Target:
    return next(one for one in all_targets() if one.name == name)


def tried(*questions: Callable[[], object]) -> None:
    """Asks each; an error of gotap's to one of them is an answer, and keeps none from the others."""
    for question in questions:
        try:
            question()
        except GotapError:
            continue


# -- executables ------------------------------------------------------------------------------------------------


def _of_images() -> Iterator[Target]:
    seeds = [Seed(*tiny) for tiny in all_images()]
    others = [Seed(*tiny) for tiny in other_programs()]
    starts = (b"!<arch>\n", b"#!/bin/sh -e\n", b"PK\3\4")
    garbage = [Seed(start.decode("latin-1"), start.ljust(64, b"\1")) for start in starts]
    heads = [seed._replace(fields=[field for field in seed.fields if field[0] < HEADER]) for seed in seeds]
    yield Target("headers", heads, _headers, 15)
    yield Target("container", [*seeds, *others, *garbage], _container, 2)
    yield Target("buildinfo", seeds, _build_info, 3)
    yield Target("tables", seeds, _tables)
    yield Target("facts", [*seeds, *others], lambda content: read_facts(read_container(content)))
    amd64 = [seed for seed in seeds if seed.name.startswith("elf64-") and not seed.name.endswith(("1.5", "1.16"))]
    yield Target("image", amd64, _image)
    yield Target("rtype", [seed for seed in amd64 if "garbled" not in seed.name], _runtime_types)
    yield Target("filetype", [Seed("script", b"#! /usr/bin/env -S python3 -u\nprint()\n"), *garbage],
                 lambda content: not_executable(content[:4096], "x"), 10)  # fmt: skip


def _headers(content: bytes) -> None:
    image = read_container(content)
    tried(lambda: image.needed, lambda: (image.os, image.arch, image.is_pie), lambda: list(image.notes()))


def _container(content: bytes) -> None:
    image = read_container(content)
    tried(
        lambda: image.sections, image.symbols, lambda: list(image.notes()), lambda: image.needed,
        lambda: image.interpreter, lambda: (image.is_pie, image.is_library), lambda: image.has_symtab,
        lambda: image.has_dwarf, lambda: (image.os, image.arch, image.format), lambda: language_of(image),
        lambda: list(image.search(b"go")),
    )  # fmt: skip
    for segment in image.loads[:8]:
        end = segment.vaddr + segment.memsz
        for address in (segment.vaddr, segment.vaddr + segment.filesz - 4, end - 8, image.entry):
            tried(partial(image.pointer, address), partial(image.pointers, address, 4), partial(image.cstring, address))
        tried(lambda: list(image.words_pointing_at(segment.vaddr)))  # noqa: B023  # called at once
    if isinstance(image, Elf):
        elf = image
        tried(lambda: elf.dynamic, lambda: elf.relocated, elf.load_base)
        for name in elf.sections:
            tried(partial(elf.section_data, name))


def _build_info(content: bytes) -> None:
    image = read_container(content)
    tried(partial(read_build_info, image), partial(versions_in_data, image))


def _tables(content: bytes) -> None:
    tables = read_tables(read_container(content))
    if tables is None or tables.is_obfuscated:
        return
    table = tables.pclntab
    tried(
        lambda: tables.names, lambda: table.files, lambda: tables.inlined_calls, table.pc_tables,
        lambda: table.find_all("main.main"), lambda: table.find_prefix("main."), lambda: table.find("main.apply[...]"),
        lambda: table.where_inlined("main.deeper"),
    )  # fmt: skip
    for index in range(min(len(table), 6)):
        try:
            function = table.function(index)
        except GotapError:
            continue
        tried(
            partial(table.stack_depths, function), partial(table.pcdata, function, 2),
            partial(table.inlined_calls, function), partial(table.line, function.address + 8),
            partial(table.function_at, function.address + 1),
        )  # fmt: skip


def _image(content: bytes) -> None:
    image = Image(Elf(content))
    tried(lambda: image.go_version, lambda: image.build_id, lambda: image.has_dwarf,
          lambda: image.code(image.pclntab.function(0)))  # fmt: skip


def _runtime_types(content: bytes) -> None:
    image = Image(Elf(content))
    _walk(RuntimeTypes(image.elf, image.moduledata, image.go_version))


_TYPE_NAMES = ("int", "*int", "[]int", "main.T", "*main.T", "map[int]string", "map[int]main.T", "map.bucket[int]string",
               "map.group[int]string", "[3]int", "chan int", "func(int) string", "interface { M() }")  # fmt: skip


def _walk(types: RuntimeTypes | DwarfTypes) -> None:
    """Types by name, and what they are made of."""
    left = _MOST_TYPES
    for name in _TYPE_NAMES:
        pending: list[TypeRef | None] = []
        try:
            found = types.lookup(name)
            pending += _parts(found) if found is not None else []
        except GotapError:
            continue
        while pending and left:
            left -= 1
            reference = pending.pop()
            try:
                if reference is not None:
                    pending += _parts(reference.get())
            except GotapError:
                continue


def _parts(type_: Type) -> list[TypeRef | None]:
    return [type_.elem, type_.key, *(field.type for field in type_.fields)]


# -- machine code -----------------------------------------------------------------------------------------------


def _of_code() -> Iterator[Target]:
    """Functions of a program of Go 1.20.14 for amd64, cut: fmt.(*pp).printArg with its switch, os.(*File).Write, …"""
    seeds = [Seed(path.name, path.read_bytes()) for path in sorted((SEEDS / "code").iterdir())]
    yield Target("code", seeds, _code)


def _code(content: bytes) -> None:
    code = FunctionCode(content, 0x401000, read=lambda address, size: content[:size])
    calls = code.call_sites()
    code.entry_site()
    code.late_site()
    code.deferred_calls()
    code.return_sites([0, 8])
    for call in calls[:4]:
        code.words_at(call.address)
        code.after_call(call.address, ["rax"])
    for at in range(min(len(content), 8)):
        cost_of(content[at:])


# -- types and names --------------------------------------------------------------------------------------------


class Sections:
    """Debug sections packed in one input: 16-bit lengths, then the sections. The rest of Elf is not asked for."""

    NAMES = (".debug_info", ".debug_abbrev", ".debug_loc", ".debug_loclists", ".debug_addr", ".debug_str")

    def __init__(self, content: bytes) -> None:
        at = 2 * len(self.NAMES)
        self.sections: dict[str, bytes] = {}
        for index, name in enumerate(self.NAMES):
            size = int.from_bytes(content[2 * index : 2 * index + 2], "little")
            self.sections[name] = content[at : at + size]
            at += size

    @classmethod
    def packed(cls, sections: dict[str, bytes]) -> bytes:
        parts = [sections.get(name, b"") for name in cls.NAMES]
        return b"".join(len(part).to_bytes(2, "little") for part in parts) + b"".join(parts)

    def section_data(self, name: str) -> bytes | None:
        return self.sections.get(name)

    def symbols(self) -> dict[str, tuple[int, int]]:
        return {"runtime.types": (0x400000, 0)}


def _dwarf(content: bytes) -> None:
    types = DwarfTypes(Sections(content))  # type: ignore[arg-type]
    tried(partial(_walk, types), lambda: list(types.functions()), lambda: types.variable_address("main.v"),
          lambda: types.function("main.main"), lambda: types.function("main.inlined"),
          lambda: [types.scopes(one) for name in ("main.main", "main.inlined")
                   if (one := types.subprogram("main", name, 0x401000)) is not None])  # fmt: skip


def _of_types() -> Iterator[Target]:
    seeds = []
    for version in (4, 5):
        seeds.append(Seed(f"dwarf{version}", Sections.packed(debug_sections(version))))
    yield Target("dwarf", seeds, _dwarf, 2)
    texts = ("map[string][]*net/http.Request", "struct { A, B int; *m.T; c chan<- (<-chan int) `tag` }",
             "func(a, b int, c ...string) (n int, err error)", "interface { M(x int) error; N() }", "[16]uint8",
             "map[struct { a [3]int }]func() (func(int))", "*gopkg.in/yaml%2ev3.Node")  # fmt: skip
    yield Target("typetext", [Seed(text, text.encode()) for text in texts], _type_text, 10)
    tables = (b"\2\x20\0", b"\x16\x10\4\x10\0", b"\2\x08\2\x08\3\x10\0", b"\x80\x80\x01\x08\xff\xff\xff\xff\x0f\x01\0")
    yield Target("pcvalue", [Seed(table.hex(), table * 3) for table in tables], _pc_values, 5)


def _type_text(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    tried(partial(parse_type, text, "main"), partial(parse_declarations, f"type a {text}", "main"))
    escape_type_name(text)
    split_map(text)


def _pc_values(content: bytes) -> None:
    for at in range(0, len(content), 3):
        tried(partial(pcvalue.decode, content, at, 1), partial(pcvalue.first_value, content, at))
    starts = np.arange(0, len(content), 3, dtype=np.int64)
    pccolumns.distinct_values(content, starts, np.append(starts[1:], len(content)))


_VERSIONS = ("go1.26.8", "go1.27rc1", "go1.25.5 X:jsonv2,synctest", "go1.22.9 (Red Hat 1.22.9-1.el9)", "go1.18.1b7",
             "devel go1.28-abcdef Tue Feb 3", "go1.28-devel_abc X:a")  # fmt: skip


def _of_texts() -> Iterator[Target]:
    yield Target("goversion", [Seed(text, text.encode()) for text in _VERSIONS], _version, 10)
    cache_ = _Cache()
    yield Target("facts_cache", [Seed("entry", cache_.entry)], cache_.read, 10)


def _version(content: bytes) -> None:
    version = GoVersion.parse(content.decode("utf-8", "replace"))
    if version is not None:
        _ = version.number, version.suffix, str(version)


class _Cache(FileCache[Facts]):
    """A cache whose every entry is the input: one with the right key and checksum, and with whatever it says."""

    def __init__(self) -> None:
        super().__init__(Facts, "facts", ())
        self.close()
        self._directory = 0  # is not looked at
        self._input = b""
        self._key = FileKey(1, 2, 3, 4, 5)
        tiny = next(iter(all_images()))
        self.entry = self._encoder.encode(read_facts(read_container(tiny.content)))

    def _read(self, name: str) -> bytes:
        return self._input

    def read(self, content: bytes) -> None:
        """Both as an entry's content, with its checksum, and as the whole entry."""
        self._input = content
        self.get(self._key)
        self._input = msgspec.msgpack.encode((self._stamp, self._key, zlib.crc32(content), content))
        self.get(self._key)


# -- /proc ------------------------------------------------------------------------------------------------------

_MAPS = b"""00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon
00651000-00652000 rw-p 00051000 fd:1f 18446744073709551615 /tmp/a b\\012c (deleted)
7f00-7fff00 rw-p 00000000 00:00 0
7ffe0000-7fff0000 rw-p 00000000 00:00 0                    [stack]
"""
_STAT = b"1234 (a) (b\n) S 1 1234 1234 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123456 1000 200 18446744073709551615 1 1\n"
_STATUS = b"""Name:\tx\ty
Umask:\t0022
State:\tS (sleeping)
Tgid:\t7
Pid:\t7
TracerPid:\t0
Uid:\t0\t1\t2\t3
Gid:\t0\t0\t0\t0
NSpid:\t7\t1
CapPrm:\t000001ffffffffff
CapEff:\t000001ffffffffff
NoNewPrivs:\t0
Seccomp:\t2
Seccomp_filters:\t1
"""
_CGROUPS = (
    b"0::/system.slice/docker-" + b"ab" * 32 + b".scope\n",
    b"12:pids:/kubepods/besteffort/pod1/cri-containerd-" + b"0f" * 32 + b".scope/x\n1:name=systemd:/lxc/a b\n0::/\n",
    b"0::/machine.slice/libpod-" + b"12" * 32 + b".scope/container\n",
)
_MOUNTS = b"""36 35 98:0 /var/lib/docker/containers/%s/hosts /etc/hosts rw,noatime master:1 - ext3 /dev/root rw
37 35 0:5 / /proc rw - proc proc rw
""" % (b"ab" * 32)


def _of_processes() -> Iterator[Target]:
    """These are written by the kernel; what is in them of others are names and paths."""
    yield Target("proc_maps", [Seed("maps", _MAPS)], lambda content: list(parse_maps(content)), 10)
    yield Target("proc_stat", [Seed("stat", _STAT)], parse_stat, 10)
    yield Target("proc_status", [Seed("status", _STATUS)], lambda content: read_status(parse_status(content), 7), 8)
    seeds = [Seed(f"cgroup{index}", cgroup) for index, cgroup in enumerate(_CGROUPS)]
    yield Target("proc_cgroup", [*seeds, Seed("mounts", _MOUNTS)], _cgroup, 8)


def _cgroup(content: bytes) -> None:
    text = content.decode("utf-8", "replace")
    container_id(text)
    container_of(text, text)
    container_of("0::/", re.sub("^0::", "36 35 98:0 ", text))
