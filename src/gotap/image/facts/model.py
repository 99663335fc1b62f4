"""What an executable file says about itself: pure data, read by `gotap.image.facts.reading`.

A value that could not be told is None, and `evidence` says why; a value that was told has its evidence there too.
"""

from __future__ import annotations

from msgspec import Struct, field


class ModuleFacts(Struct, frozen=True):
    """The main module. `version` is `(devel)` or empty when the build did not know it."""

    path: str
    version: str = ""


class TableFacts(Struct, frozen=True):
    """The function table: `format` is the Go release that introduced it ("1.2", "1.16", "1.18", "1.20")."""

    format: str
    address: int
    size: int


class WovenOperation(Struct, frozen=True):
    """An operation of the catalogue, and a package that it is woven into."""

    operation: str
    package: str


class WovenFacts(Struct, frozen=True):
    """What `gotap go build` left in a program. `version`: of gotap; `catalogue`: of its catalogue
    (gotap.probe.edition); None where the program does not tell."""

    version: str | None
    catalogue: str | None
    operations: tuple[WovenOperation, ...] = ()


class GoFacts(Struct, frozen=True, kw_only=True):
    """Facts that only a Go program has; documented key by key in docs/inspect.md, whose JSON has the same names.

    compiler        "gc", "gccgo" or "tinygo"
    version         as a release number ("1.26.8", "1.27rc1", "1.28-devel"); version_text as it stands in the file
    version_source  "buildinfo", "data" (a text among the program's constants), "tables" (the layout's first release),
                    "dwarf" or "symbols"
    fips            "boringcrypto", "native" (GOFIPS140), "openssl", "cng" (Windows) or "darwin" (macOS)
    build_mode      "exe", "pie", "c-shared", "c-archive", "plugin" or "shared"
    linker          "internal" (Go's) or "external"; linkage "static" or "dynamic"
    libc            "glibc", "musl", "bionic", "uclibc", "libSystem" (macOS), "msvcrt", "ucrt" (Windows), elsewhere the
                    library's file name; None for none; libc_inside: linked into the file
    linkshared      Go's own libraries are separate files (`-linkshared`)
    vendored        at least one module came from a vendor directory; trimpath: file names without directories
    packed          the packer's name ("upx")
    functions       how many bodies the table has; inlined_calls: how many calls were inlined into them
    package         the main package's import path; toolchain: a vendor's suffix of the version ("Red Hat 1.22.9-1")
    plugin_capable  it can load plugins; threadcreate_profile: it serves or writes the profile of that name
    build_id        Go's build ID, else GNU's in hex
    woven           what `gotap go build` left in it; None for a program that was built without
    """

    compiler: str
    version: str | None = None
    version_text: str | None = None
    version_source: str | None = None
    experiments: tuple[str, ...] = ()
    fips: str | None = None
    module: ModuleFacts | None = None
    package: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    build_mode: str | None = None
    linker: str | None = None
    linkage: str | None = None
    libc: str | None = None
    libc_inside: bool | None = None
    cgo: bool | None = None
    race: bool | None = None
    msan: bool | None = None
    asan: bool | None = None
    cover: bool | None = None
    vendored: bool | None = None
    trimpath: bool | None = None
    symtab: bool | None = None
    dwarf: bool | None = None
    section_table: bool | None = None
    packed: str | None = None
    obfuscated: bool | None = None
    pclntab: TableFacts | None = None
    functions: int | None = None
    inlined_calls: int | None = None
    linkshared: bool | None = None
    plugin_capable: bool | None = None
    threadcreate_profile: bool | None = None
    toolchain: str | None = None
    build_id: str | None = None
    woven: WovenFacts | None = None


class Facts(Struct, frozen=True, kw_only=True):
    """One file. `os` and `arch` in Go's words (GOOS, GOARCH), others as their format names them; `bits` 32 or 64.

    `language` is "go", "go proxy" (Go without an observable library; told only by who knows the catalogue), "java",
    "dotnet", "python", "ruby", "nodejs", "php", "rust", "c/c++" or "generic".
    `packed`: the packer's name ("upx") of a file whose code is compressed, so that it may be anything.
    `evidence` maps a key ("language", "go.linker", …) to one line of text; a key whose value is None has the reason.
    """

    format: str
    os: str | None
    arch: str | None
    bits: int | None
    big_endian: bool | None
    language: str
    go: GoFacts | None = None
    packed: str | None = None
    interpreter: str | None = None
    needed: tuple[str, ...] = ()
    evidence: dict[str, str] = field(default_factory=dict)
