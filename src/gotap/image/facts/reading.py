"""Everything that an executable file says about itself, each fact with its evidence."""

from __future__ import annotations

import os
from typing import NamedTuple

from gotap.image.containers.container import Container, open_container
from gotap.image.facts import linkage as linking
from gotap.image.facts.buildid import go_build_id
from gotap.image.facts.buildinfo import BuildInfo, read_build_info
from gotap.image.facts.go_program import GoReader, stripping
from gotap.image.facts.gofile import GoFile
from gotap.image.facts.language import language_of
from gotap.image.facts.model import Facts, GoFacts
from gotap.image.facts.other_compilers import OtherGo, other_compiler
from gotap.image.facts.packers import go_text, packer
from gotap.image.facts.told import Evidence, Told
from gotap.image.functions.tables import GoTables, read_tables, unknown_layout

_BUILD_INFO_SECTIONS = (".go.buildinfo", "__DATA,__go_buildinfo")


class Reading(NamedTuple):
    """Facts, and the function table that they were read from, for who reads on; None where there is none."""

    facts: Facts
    tables: GoTables | None


def read_facts(source: str | os.PathLike[str] | Container, name: str = "") -> Facts:
    """The facts of an executable, given by path or opened; `name` is what messages call a path.

    Raises UnreadableFile, NotExecutable (which says what the file is instead), TruncatedFile, MalformedFile, BadAddress
    (what the headers point at is not there), ChangedFile.
    """
    return read(open_container(source, name) if isinstance(source, str | os.PathLike) else source).facts


def read(container: Container) -> Reading:
    """The facts of an executable that is open. Raises as `read_facts`, short of opening."""
    evidence = Evidence()
    packed = packer(container)
    tables = read_tables(container) if packed.value is None else None
    if packed.value is None:
        go, language = _read_plain(container, tables, evidence)
    else:
        go, language = _read_packed(container, packed.value, evidence)
    facts = Facts(
        format=container.format,
        os=container.os,
        arch=container.arch,
        bits=container.bits,
        big_endian=container.big_endian,
        language=evidence.take("language", language),
        go=go,
        packed=evidence.take("packed", packed),
        interpreter=container.interpreter,
        needed=tuple(container.needed),
        evidence=evidence,
    )
    _tell_format(facts)
    container.check_unchanged()
    container.give_back()
    return Reading(facts, tables)


def _tell_format(facts: Facts) -> None:
    order = "big" if facts.big_endian else "little"
    starts = {"elf": "it begins with \\x7fELF", "pe": "it begins with MZ and has a PE header"}
    header = f"the {facts.format} header"
    facts.evidence.update(
        format=starts.get(facts.format, "it begins with a magic of Mach-O"),
        os=f"{header}: {facts.os}",
        arch=f"{header}: {facts.arch}",
        bits=f"{header}: {facts.bits} bits",
        big_endian=f"{header}: {order}-endian",
        interpreter=f"named by the file: {facts.interpreter}" if facts.interpreter else "the file names no loader",
        needed=f"needs {', '.join(facts.needed)}" if facts.needed else "it asks for no libraries",
    )


def _read_plain(
    container: Container, tables: GoTables | None, evidence: Evidence
) -> tuple[GoFacts | None, Told[str]]:
    """The Go facts, None for another language, and the language."""
    info = read_build_info(container)
    if tables is not None:
        seen = f"Go's function table at {tables.header.address:#x}, to which the runtime's moduledata points"
        return GoReader(container, tables, info).read(evidence), Told("go", seen)
    if (other := other_compiler(container)) is not None:
        return _of_other(container, other, evidence), Told("go", f"{other.compiler.value}: {other.compiler.evidence}")
    if (sign := _sign_of_go(container, info)) is not None:
        missing = "no function table to which a moduledata points"
        if unknown_layout(container):
            missing = "the moduledata that points to its function table has a layout that is not known yet"
        return GoReader(container, None, info, no_table=missing).read(evidence), Told("go", f"{sign}; {missing}")
    return None, language_of(container)


def _sign_of_go(container: Container, info: BuildInfo | None) -> str | None:
    """What shows that a program without a function table is Go's. A build info alone may be another program's data."""
    if found := go_build_id(container):
        return f"Go build ID {found}"
    if info is not None and any(name in container.sections for name in _BUILD_INFO_SECTIONS):
        return f"build info of {info.version_text}"
    return None


def _read_packed(container: Container, name: str, evidence: Evidence) -> tuple[GoFacts | None, Told[str]]:
    if (text := go_text(container)) is None:
        return None, Told("generic", f"packed by {name}, so that nothing of its language shows")
    go = GoReader(container, None, None, packer=name).read(evidence)
    return go, Told("go", f'packed by {name}; the text "{text.strip()}" shows through')


def _of_other(container: Container, other: OtherGo, evidence: Evidence) -> GoFacts:
    """gccgo or TinyGo: C-like programs, of which only the file's own form is told."""
    compiler = evidence.take("go.compiler", other.compiler)
    text = evidence.take("go.version_text", other.version)
    evidence["go.version_source"] = other.version.evidence
    evidence["go.version"] = f"{compiler}'s versions are not Go's"
    evidence["go.linker"] = f"{compiler} uses the C compiler's linker"
    file = GoFile(container=container, why_no_names=f"{compiler} makes no function table")
    linked = evidence.take("go.linkage", linking.linkage(file, None))
    name, inside = linking.libc(file, linked, "external")
    facts = GoFacts(
        compiler=compiler,
        version_text=text,
        version_source=other.source,
        linker="external",
        linkage=linked,
        libc=evidence.take("go.libc", name),
        libc_inside=evidence.take("go.libc_inside", inside),
        **{key: evidence.take("go." + key, told) for key, told in stripping(container).items()},
    )
    for key in GoFacts.__struct_fields__:
        evidence.setdefault("go." + key, file.why_no_names)
    return facts
