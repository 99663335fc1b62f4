"""What a Go program was built with: instrumentation, FIPS, vendoring, trimmed paths.

The build info says most of it, but not all builds have one: -trimpath removes -ldflags from it (go.dev/issue/52372),
Go < 1.18 writes no settings, distributors scrub it. What the function names show holds without it.
Function names read in Go 1.18, 1.21, 1.24, 1.26 and 1.27.
"""

from __future__ import annotations

from gotap.image.facts.gofile import GoFile
from gotap.image.facts.told import Told

_ON = "true"
#: Functions that only such a build has: assembly of the runtime that build tags choose. Their callers in Go are in
#: every runtime that the linker left whole. Tests that `go test` built without -cover have `testing.coverReport`.
_RACE = ("runtime.racefuncenter",)
_MSAN = ("runtime.domsanread",)
_ASAN = ("runtime.doasanread",)
_COVER = ("internal/coverage/cfile.InitHook", "runtime/coverage.initHook",
          "internal/coverage/encodecounter.NewCoverageDataWriter", "testing.RegisterCover")  # fmt: skip
#: GOEXPERIMENT of the toolchains of golang-fips and Microsoft → who does the cryptography.
_CRYPTO_EXPERIMENTS = {
    "boringcrypto": "boringcrypto", "opensslcrypto": "openssl", "strictfipsruntime": "openssl", "cngcrypto": "cng",
    "darwincrypto": "darwin",
}  # fmt: skip
#: Where those toolchains keep their bindings to OpenSSL, in function names.
_OPENSSL = ("github.com/golang-fips/openssl", "github.com/microsoft/go-crypto-openssl")
_FIPS_SNAPSHOT = rb"\0crypto/internal/fips140/(v\d+\.\d+\.\d+[^/.]*)/"


def race(file: GoFile) -> Told[bool | None]:
    return _instrumented(file, "-race", _RACE)


def msan(file: GoFile) -> Told[bool | None]:
    return _instrumented(file, "-msan", _MSAN)


def asan(file: GoFile) -> Told[bool | None]:
    return _instrumented(file, "-asan", _ASAN)


def cover(file: GoFile) -> Told[bool | None]:
    """`-cover` is in the build info from Go 1.22 at the latest (not in 1.21.13's)."""
    return _instrumented(file, "-cover", _COVER)


def _instrumented(file: GoFile, setting: str, functions: tuple[str, ...]) -> Told[bool | None]:
    if file.settings.get(setting) == _ON:
        return Told(True, f"build info: {setting}=true")
    if (name := file.names.first_of(functions)) is not None:
        return Told(True, f"function {name}")
    if not file.names:
        if file.settings:
            return Told(False, f"build info without {setting}")
        return Told(None, f"no build settings, and {file.why_no_names}")
    return Told(False, f"no {functions[0]} among the functions" + (", nor the setting" if file.settings else ""))


def fips(file: GoFile) -> Told[str | None]:
    """Which FIPS 140 cryptography it was built for; None with evidence for the ordinary one.

    GOFIPS140=latest changes no function name, and the section `.go.fipsinfo` is in every program since Go 1.24.
    """
    version = file.info.version_text if file.info is not None else ""
    experiments = file.settings.get("GOEXPERIMENT", "") + "," + version.partition("X:")[2]
    for experiment, who in _CRYPTO_EXPERIMENTS.items():
        if experiment in experiments.split(","):
            return Told(who, f"build info: GOEXPERIMENT={experiment}")
    if "systemcrypto" in experiments.split(","):
        who = {"windows": "cng", "darwin": "darwin"}.get(file.container.os, "openssl")
        return Told(who, "build info: GOEXPERIMENT=systemcrypto")
    if (name := file.names.with_part(*_OPENSSL)) is not None:
        return Told("openssl", f"function {name}")
    if (name := file.names.with_part("_goboringcrypto_")) is not None:
        return Told("boringcrypto", f"function {name}")
    module = file.settings.get("GOFIPS140", "off")
    if module != "off":
        return Told("native", f"build info: GOFIPS140={module}")
    if (found := file.names.matching(_FIPS_SNAPSHOT)) is not None:
        return Told("native", f"functions of the frozen module {found[1].decode()}")
    if not file.names and not file.settings:
        return Told(None, f"cannot be told: no build settings, and {file.why_no_names}")
    return Told(None, "neither a setting nor functions of another cryptography than Go's ordinary one")


def vendored(file: GoFile) -> Told[bool | None]:
    """At least one module came from a vendor directory; `-mod=vendor` itself is not recorded.

    cmd/go/internal/load: a dependency has no sum only with -mod=vendor or when a directory replaces it.
    Function names hold the vendor directory only when built without modules; the standard library's own begin with
    `vendor/`. File names hold it unless they were trimmed.
    """
    for module in file.info.deps if file.info is not None else ():
        if not module.sum and module.replace is None and module.version.startswith("v"):
            return Told(True, f"build info: {module.path} {module.version} has no checksum")
    if (name := file.names.with_part("/vendor/")) is not None:
        return Told(True, f"function {name}")
    if file.vendored_source is not None:
        return Told(True, f"source file {file.vendored_source}")
    if file.info is not None and file.info.path:
        return Told(False, "every module of the build info has its checksum or a replacement")
    if file.names:
        return Told(False, "no vendor directory in the names of functions and files")
    return Told(None, f"no build info, and {file.why_no_names}")


def trimpath(file: GoFile) -> Told[bool | None]:
    """Whether file names are without directories."""
    if file.source is not None:
        function, path = file.source
        absolute = path.startswith("/") or path[1:3] in (":/", ":\\")
        return Told(not absolute, f"{function} is in {path}")
    if (value := file.settings.get("-trimpath")) is not None:
        return Told(value == _ON, f"build info: -trimpath={value}")
    return Told(None, file.why_no_names or "no function names its source file")
