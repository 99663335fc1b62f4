"""The facts of a program that gc built, taken rule by rule."""

from __future__ import annotations

from itertools import islice
from typing import Any, TypeVar

from gotap.image.containers.container import Container
from gotap.image.errors import ImageError
from gotap.image.facts import build
from gotap.image.facts import linkage as linking
from gotap.image.facts.buildid import gnu_build_id, go_build_id
from gotap.image.facts.buildinfo import BuildInfo
from gotap.image.facts.gofile import GoFile
from gotap.image.facts.model import GoFacts, ModuleFacts, TableFacts
from gotap.image.facts.threadcreate import threadcreate_profile
from gotap.image.facts.told import Evidence, Told
from gotap.image.facts.version import VersionFacts, read_version
from gotap.image.facts.woven import woven
from gotap.image.functions.names import Names
from gotap.image.functions.pclntab import Function, Pclntab
from gotap.image.functions.tables import GoTables

T = TypeVar("T")

#: The package's half of plugin.Open, and the runtime's: a runtime that the linker left whole has its own in any case,
#: a program without cgo has the other, which then does nothing.
_PLUGIN_FUNCTIONS = ("plugin.open", "plugin.lastmoduleinit")


class GoReader:
    """One program of gc. `tables` is None when there is no function table, `packer` empty for an ordinary file.

    `no_table` says what is wrong with the table.
    """

    def __init__(
        self,
        container: Container,
        tables: GoTables | None,
        info: BuildInfo | None,
        *,
        packer: str = "",
        no_table: str = "",
    ) -> None:
        self._no_table = no_table
        self._container, self._tables, self._info = container, tables, info
        #: Why most facts of a packed file cannot be told; else empty.
        self._hidden = f"packed by {packer}: what the file shows is its unpacker" if packer else ""
        self._packer = packer
        self._found: dict[str, Any] = {}
        self._evidence = Evidence()

    def read(self, evidence: Evidence) -> GoFacts:
        """All facts; their evidence goes into `evidence`, with `go.` before the keys."""
        compiler = "function table and moduledata of gc" if self._tables else "Go's build info or build ID: gc's"
        self._take("compiler", Told("gc", compiler))
        self._take_version()
        self._take_modules()
        if not self._hidden:
            file, lookups = go_file(self._container, self._tables, self._info, self._no_table)
            self._take_linking(file)
            for rule in (build.race, build.msan, build.asan, build.cover, build.vendored, build.trimpath):
                self._take(rule.__name__, rule(file))
            self._take("fips", build.fips(file))
            self._take("plugin_capable", _plugin_capable(file))
            self._take("threadcreate_profile", threadcreate_profile(file, lookups))
            self._take("woven", woven(file))
            for key, told in stripping(self._container).items():
                self._take(key, told)
        self._take("packed", Told(self._packer or None, self._hidden or "no mark of a packer (UPX)"))
        self._take_tables()
        for key in GoFacts.__struct_fields__:
            if key not in self._found:
                self._evidence[key] = self._hidden
        evidence.update({f"go.{key}": text for key, text in self._evidence.items()})
        return GoFacts(**self._found)

    def _take(self, key: str, told: Told[T]) -> T:
        self._found[key] = value = self._evidence.take(key, told)
        return value

    def _take_version(self) -> None:
        since = self._tables.module.layout if self._tables is not None else None
        version = VersionFacts(evidence=self._hidden)
        if not self._hidden:
            version = read_version(self._container, self._info, since)
        self._take("version", Told(version.number, version.evidence))
        self._take("version_text", Told(version.text, version.evidence))
        self._take("version_source", Told(version.source, version.evidence))
        experiments = ", ".join(version.experiments) or "neither the version nor GOEXPERIMENT names one"
        self._take("experiments", Told(version.experiments, experiments))
        self._take("toolchain", Told(version.suffix, version.suffix or "the version has no suffix of a distributor"))

    def _take_modules(self) -> None:
        info = self._info
        if info is None:
            missing = self._hidden or "there is no build info"
            self._take("module", Told(None, missing))
            self._take("package", Told(None, missing))
            self._take("settings", Told({}, missing))
            return
        nothing = "the build info does not name it: built without modules, or before Go 1.18"
        if info.main is None:
            self._take("module", Told(None, nothing))
        else:
            line = f"build info: mod {info.main.path} {info.main.version}".rstrip()
            self._take("module", Told(ModuleFacts(info.main.path, info.main.version), line))
        self._take("package", Told(info.path or None, f"build info: path {info.path}" if info.path else nothing))
        self._take("settings", Told(dict(info.settings), f"build info: {len(info.settings)} build settings"))

    def _take_linking(self, file: GoFile) -> None:
        mode = self._take("build_mode", linking.build_mode(file))
        by = self._take("linker", linking.linker(file))
        linked = self._take("linkage", linking.linkage(file, mode))
        name, inside = linking.libc(file, linked, by)
        self._take("libc", name)
        self._take("libc_inside", inside)
        self._take("cgo", linking.cgo(file, by))
        self._take("linkshared", linking.linkshared(file))

    def _take_tables(self) -> None:
        tables = self._tables
        self._take("obfuscated", self._obfuscated())
        if tables is None:
            why = self._hidden or self._no_table
            for key in ("pclntab", "functions", "inlined_calls"):
                self._take(key, Told(None, why))
            return
        header, module = tables.header, tables.module
        size = max((module.epclntab or sum(module.pclntable)) - header.address, 0)
        table = TableFacts(header.format, header.address, size)
        self._take("pclntab", Told(table, f"Go's function table at {header.address:#x}, {size} bytes"))
        self._take("functions", Told(len(tables), "the function table's count"))
        self._take("inlined_calls", _inlined_calls(tables))

    def _obfuscated(self) -> Told[bool | None]:
        if self._tables is None:
            return Told(None, self._hidden or self._no_table)
        header = self._tables.header
        if header.is_obfuscated:
            return Told(True, f"the function table's magic is {header.magic:#010x}, which no Go writes: garble does")
        return Told(False, f"the function table has the magic of Go {header.format}")


def go_file(
    container: Container, tables: GoTables | None, info: BuildInfo | None, no_table: str = ""
) -> tuple[GoFile, list[int]]:
    """What the rules look at, and the addresses of runtime/pprof.Lookup's bodies."""
    if tables is None:
        why = no_table
    elif tables.is_obfuscated:
        why = "the function table is scrambled"
    else:
        try:
            return _named(container, tables.pclntab, info)
        except ImageError as error:
            why = f"the function table is broken: {error}"
    return GoFile(container=container, info=info, why_no_names=why), []


def _named(container: Container, table: Pclntab, info: BuildInfo | None) -> tuple[GoFile, list[int]]:
    entry, source = table.function_at(container.entry), _a_source(table)
    vendored = None
    if info is None:
        # GOROOT/src/vendor is the standard library's own.
        vendored = next((path for path in table.files if "/vendor/" in path and "/src/vendor/" not in path), None)
    file = GoFile(
        container=container,
        info=info,
        names=Names(table.name_table),
        entry_name=entry.name if entry is not None and entry.address == container.entry else None,
        source=(source.name, source.file) if source is not None else None,
        vendored_source=vendored,
    )
    return file, [function.address for function in table.find_all("runtime/pprof.Lookup")]


def _a_source(table: Pclntab) -> Function | None:
    """A function with a source file: runtime.main, which plugins and programs linked with -linkshared lack."""
    found = table.find("runtime.main")
    if found is not None and found.file:
        return found
    return next((one for one in islice(table.functions(), 64) if one.file and not one.is_autogenerated), None)


def stripping(container: Container) -> dict[str, Told[Any]]:
    """What is left, part by part, since each may go alone; and what identifies the file."""
    table, symtab, dwarf = bool(container.sections), container.has_symtab, container.has_dwarf
    gone = "" if table else ", since there is no section table"
    go_id, gnu_id = go_build_id(container), gnu_build_id(container)
    what = f"Go's build ID {go_id}" if go_id else f"GNU's build ID {gnu_id}" if gnu_id else "no build ID of Go or GNU"
    return {
        "symtab": Told(symtab, "a symbol table" if symtab else "no symbol table" + gone),
        "dwarf": Told(dwarf, "DWARF sections" if dwarf else "no section .debug_info" + gone),
        "section_table": Told(table, f"{len(container.sections)} sections" if table else "no section table"),
        "build_id": Told(go_id or gnu_id or None, what),
    }


def _plugin_capable(file: GoFile) -> Told[bool | None]:
    if not file.names:
        return Told(None, file.why_no_names)
    missing = [name for name in _PLUGIN_FUNCTIONS if name not in file.names]
    if missing:
        return Told(False, f"no {missing[0]} among the functions")
    return Told(True, f"functions {' and '.join(_PLUGIN_FUNCTIONS)}")


def _inlined_calls(tables: GoTables) -> Told[int | None]:
    if tables.is_obfuscated:
        return Told(None, "the function table is scrambled")
    try:
        count = tables.inlined_calls
    except ImageError as error:
        return Told(None, f"the inline trees are broken: {error}")
    return Told(count, "the functions' inline trees" if count is not None else "trees before Go 1.18 are not read")
