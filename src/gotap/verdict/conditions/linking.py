"""Linking and C library.

None of it but -linkshared limits gotap, which needs no library inside the process.
"""

from __future__ import annotations

import shlex

from gotap.image.facts.model import GoFacts
from gotap.verdict.conditions.rules import NO_CODE, evidence, of_linux_go, seen
from gotap.verdict.filling import rebuild
from gotap.verdict.model import RULES_OUT, Condition, Situation

_EXTERNAL = rebuild(
    environment={"CGO_ENABLED": "1"}, linker_without=("-linkmode",), linker_flags="-linkmode=external"
)
_SHARED_LIBC = rebuild(environment={"CGO_ENABLED": "1"}, linker_without=("-extldflags",))
_GLIBC = rebuild(environment={"CGO_ENABLED": "1", "CC": "gcc"}, linker_without=("-extldflags", "-linkmode"))
_MUSL_EXTERNAL = rebuild(
    environment={"CGO_ENABLED": "1", "CC": "musl-gcc"}, linker_without=("-linkmode",),
    linker_flags="-linkmode=external",
)  # fmt: skip


def is_static(situation: Situation, go: GoFacts) -> bool:
    return situation.facts.os == "linux" and go.linkage == "static"


def _linkshared(situation: Situation, go: GoFacts) -> str | None:
    if go.linkshared or go.build_mode == "shared":
        return evidence(situation, "go.linkshared", "Go's own packages are in shared libraries")
    return None


def _pie_without_libc(situation: Situation, go: GoFacts) -> str | None:
    facts = situation.facts
    if go.build_mode != "pie" or not facts.interpreter or facts.needed:
        return None
    return f"interpreter {facts.interpreter}, and no library needed"


def _static(situation: Situation, go: GoFacts) -> str | None:
    if not is_static(situation, go):
        return None
    return evidence(situation, "go.linkage", "neither interpreter nor needed libraries")


def _static_cgo(situation: Situation, go: GoFacts) -> str | None:
    if not is_static(situation, go) or not go.libc_inside:
        return None
    return evidence(situation, "go.libc_inside", f"{go.libc or 'a C library'} is inside the file")


def _static_parent(situation: Situation, go: GoFacts) -> str | None:
    parent = situation.process.parent if situation.process else None
    if not is_static(situation, go) or parent is None or not parent.static:
        return None
    return seen(situation, "parent", f"its parent {parent.name} ({parent.pid}) is static too")


def _parent_restart(situation: Situation, go: GoFacts) -> str | None:
    parent = situation.process.parent if situation.process else None
    if not is_static(situation, go) or parent is None or parent.pid <= 1:
        return None
    return f"its parent is {parent.name} ({parent.pid})"


def _static_entrypoint(situation: Situation, go: GoFacts) -> str | None:
    process = situation.process
    if not is_static(situation, go) or process is None or process.namespace_pid != 1:
        return None
    return seen(situation, "namespace_pid", "pid 1 of its pid namespace")


def _cgo_disabled(situation: Situation, go: GoFacts) -> str | None:
    return "build setting CGO_ENABLED=0" if go.settings.get("CGO_ENABLED") == "0" else None


def _is_musl(go: GoFacts) -> bool:
    return go.libc == "musl"


def _musl_internal(situation: Situation, go: GoFacts) -> str | None:
    if not _is_musl(go) or go.linkage != "dynamic" or go.linker != "internal":
        return None
    libc = evidence(situation, "go.libc", f"interpreter {situation.facts.interpreter}")
    return f"{libc}; {evidence(situation, 'go.linker', 'internal linker')}"


def _musl_dynamic(situation: Situation, go: GoFacts) -> str | None:
    if not _is_musl(go) or go.linkage != "dynamic":
        return None
    return evidence(situation, "go.libc", f"interpreter {situation.facts.interpreter}")


def _musl_static(situation: Situation, go: GoFacts) -> str | None:
    if not _is_musl(go) or not is_static(situation, go):
        return None
    return evidence(situation, "go.libc", "musl is inside the file")


def _any_musl(situation: Situation, go: GoFacts) -> str | None:
    return evidence(situation, "go.libc", "its C library is musl") if _is_musl(go) else None


def _shell(situation: Situation) -> str:
    """The program started by a dynamically linked parent."""
    words = situation.process.command_line if situation.process else ()
    return f"/bin/sh -c {shlex.quote(shlex.join(words))}" if words else ""


CONDITIONS = (
    Condition(
        id="linkshared",
        holds=of_linux_go(_linkshared),
        effects={**NO_CODE, "weave": RULES_OUT},
        message="built with -linkshared: Go's packages are in other files, and gotap watches executables only; it will "
        "see it at its sockets, by the network mechanism",
        remedy=rebuild(without=("-linkshared",)),
        vendor="Rejected: -linkshared and -buildmode=shared",
    ),
    Condition(
        id="pie-without-libc",
        holds=of_linux_go(_pie_without_libc),
        message="a PIE with an interpreter and without a C library; gotap needs none",
        remedy=rebuild(without=("-buildmode",), flags=("-buildmode=exe",)),
        vendor="Rejected: -buildmode=pie with CGO_ENABLED=0; drop pie, or build with "
        "-ldflags=-linkmode=external -buildmode=pie",
    ),
    Condition(
        id="static",
        holds=of_linux_go(_static),
        message="statically linked; gotap needs no dynamic linker",
        remedy=_EXTERNAL,
        vendor="Up to OneAgent 1.201 dynamic linking is required; later static binaries are supported if enabled",
    ),
    Condition(
        id="static-cgo",
        holds=of_linux_go(_static_cgo),
        message="a C library is linked into the program; gotap brings none that could conflict with it",
        remedy=_SHARED_LIBC,
        vendor="Rejected: a linked-in libc may conflict with the agent's",
    ),
    Condition(
        id="static-parent",
        holds=of_linux_go(_static_parent),
        message="static, and started by {parent}, which is static too; gotap comes from outside, not by the parent",
        remedy=_shell,
        vendor="A static program's parent must be dynamically linked: start it by /bin/sh -c",
    ),
    Condition(
        id="parent-restart",
        holds=of_linux_go(_parent_restart),
        message="static, and its parent {parent} runs already; gotap needs neither of the two restarted",
        remedy="gotap attach {pid}",
        vendor="The parent must be restarted after monitoring of static programs is enabled",
    ),
    Condition(
        id="static-entrypoint",
        holds=of_linux_go(_static_entrypoint),
        message="static, and the first process of its container; gotap needs no shell and no init before it",
        remedy="gotap attach {pid}",
        vendor="Cloud-native full stack does not support a static entry point: a shell or tini must start it",
    ),
    Condition(
        id="cgo-disabled",
        holds=of_linux_go(_cgo_disabled),
        message="built with CGO_ENABLED=0; gotap needs no C in the program",
        remedy=rebuild(environment={"CGO_ENABLED": "1"}),
        vendor="Up to OneAgent 1.201 rejected where dynamic linking is needed",
    ),
    Condition(
        id="musl-internal-linker",
        holds=of_linux_go(_musl_internal),
        message='"Monitoring of Go musl binaries built with Go internal linker is not supported" is what another '
        "agent says of it, since it loads a library into the process; gotap does not, and watches it",
        remedy=_MUSL_EXTERNAL,
        vendor="Rejected: Monitoring of Go musl binaries built with Go internal linker is not supported; build with "
        "-ldflags=-linkmode=external",
    ),
    Condition(
        id="musl-dynamic",
        holds=of_linux_go(_musl_dynamic),
        message="dynamically linked against musl; gotap does not care which C library there is",
        remedy=_GLIBC,
        vendor="A dynamic musl binary must be linked by the system linker: -ldflags '-linkmode external'",
    ),
    Condition(
        id="musl-static",
        holds=of_linux_go(_musl_static),
        message="musl is linked into the program; gotap does not care which C library there is",
        remedy=_GLIBC,
        vendor="A static musl binary need not be linked by the system linker",
    ),
    Condition(
        id="no-musl-toolchain",
        holds=of_linux_go(_any_musl),
        message="a musl build, for which the Go project ships no toolchain; to gotap Go's tables are all the same",
        remedy=_GLIBC,
        vendor="golang.org ships no musl toolchain: build in a golang:VERSION-alpine image",
    ),
)
