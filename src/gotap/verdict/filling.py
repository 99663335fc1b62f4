"""Names of the target for messages and remedies, and the build command that made it, changed in one respect."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping

from gotap.verdict.model import Situation

#: What stands for a name that is not known, in capitals as in usage texts.
_UNKNOWN_FILE = "PROGRAM"
#: Build settings that are flags of `go build` with a value, and those that are switches (`-race=true`).
_VALUED = ("-tags", "-gcflags", "-asmflags", "-gccgoflags", "-ldflags")
_SWITCHES = ("-race", "-msan", "-asan", "-cover", "-trimpath", "-linkshared")
#: Settings that are environment variables, kept when they are not what Go takes by itself.
_VARIABLES = ("GOEXPERIMENT", "GOFIPS140")
#: Linker flags that take the next word as value when there is no `=`.
_LINKER_VALUED = frozenset({"-extldflags", "-linkmode", "-extld", "-X", "-B", "-r", "-I", "-buildid"})


def names(situation: Situation) -> dict[str, str]:
    """What {braces} in texts stand for. Not quoted: see `filled`."""
    facts, process = situation.facts, situation.process
    go = facts.go
    file = situation.file or (process.exe if process and process.exe else "") or _UNKNOWN_FILE
    found = {
        "file": file,
        "name": os.path.basename(file),
        "os": facts.os or "unknown",
        "arch": facts.arch or "unknown",
        "language": facts.language,
        "version": (go.version_text or go.version or "an unknown version") if go else "",
        "compiler": go.compiler if go else "",
        "interpreter": facts.interpreter or "",
        "pid": str(process.pid) if process else "PID",
        "tracer": str(process.tracer) if process and process.tracer else "PID",
        "parent": f"{process.parent.name} ({process.parent.pid})" if process and process.parent else "its parent",
        "container": process.container.id if process and process.container else "CONTAINER",
    }
    for feature, (why, remedy) in (situation.host.missing if situation.host else {}).items():
        found |= {f"{feature}_why": why, f"{feature}_remedy": remedy}
    return found


def filled(text: str, situation: Situation, *, quote: bool = False) -> str:
    """The text with {braces} replaced; `quote` makes each value one word of a shell's command."""
    values = names(situation)
    return re.sub(r"\{(\w+)\}", lambda m: shlex.quote(values[m[1]]) if quote else values[m[1]], text)


# -- building anew ------------------------------------------------------------------------------------------------


def rebuild(
    *,
    without: Iterable[str] = (),
    linker_without: Iterable[str] = (),
    linker_flags: str = "",
    flags: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    then: str = "",
) -> Callable[[Situation], str]:
    """A remedy: the `go build` that made the file, as far as its settings tell, with the changes.

    `without` and `linker_without` name flags of `go build` and of -ldflags to leave out; `environment` overrides, an
    empty value takes a variable away; `then` is joined by `&&`. To be typed where the module is.
    """
    dropped, linker_dropped, added = frozenset(without), frozenset(linker_without), tuple(flags)

    def command(situation: Situation) -> str:
        go = situation.facts.go
        settings = go.settings if go else {}
        words = [f"{name}={shlex.quote(value)}" for name, value in _environment(situation, environment or {}).items()]
        words += ["go", "build"]
        mode = settings.get("-buildmode", "exe")
        if mode not in ("exe", "default") and "-buildmode" not in dropped:
            words.append(f"-buildmode={mode}")
        words += [name for name in _SWITCHES if settings.get(name) == "true" and name not in dropped]
        for name in _VALUED:
            value = settings.get(name, "")
            if name == "-ldflags":
                value = _linker_flags(value, linker_dropped, linker_flags)
            if value and name not in dropped:
                words.append(shlex.quote(f"{name}={value}"))
        words += [*added, "-o", shlex.quote(names(situation)["name"]), package(situation)]
        return " ".join(words) + (f" && {filled(then, situation, quote=True)}" if then else "")

    return command


def package(situation: Situation) -> str:
    """The main package, as `go build` takes it; `.` when it was built from files or is not known."""
    path = situation.facts.go.package if situation.facts.go else None
    return shlex.quote(path) if path and path != "command-line-arguments" else "."


def toolchain(version: str) -> dict[str, str]:
    """The variable that has `go` (1.21 and later) take that release, which it downloads."""
    return {"GOTOOLCHAIN": f"go{version}"}


def _environment(situation: Situation, changes: Mapping[str, str]) -> dict[str, str]:
    facts = situation.facts
    settings = facts.go.settings if facts.go else {}
    found = {name: settings[name] for name in _VARIABLES if settings.get(name)}
    if settings.get("CGO_ENABLED") == "0":
        found["CGO_ENABLED"] = "0"
    if facts.os and facts.os != "linux":
        found["GOOS"] = facts.os
    if facts.arch and facts.arch != "amd64":
        found["GOARCH"] = facts.arch
    return {name: value for name, value in {**found, **changes}.items() if value}


def _linker_flags(text: str, dropped: frozenset[str], added: str) -> str:
    try:
        words = iter(shlex.split(text))
    except ValueError:  # not what the go command would have accepted
        return added
    kept: list[str] = []
    for word in words:
        name, separator, _ = word.replace("--", "-", 1).partition("=")
        value = [next(words, "")] if name in _LINKER_VALUED and not separator else []
        if name not in dropped:
            kept += [word, *value]
    return " ".join(filter(None, [" ".join(map(shlex.quote, kept)), added]))
