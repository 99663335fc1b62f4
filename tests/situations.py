"""Hand-made situations for tests of the verdict: a plain Go program, changed in what a test is about."""

from __future__ import annotations

from typing import Any

from gotap.image.facts.model import Facts, GoFacts, ModuleFacts
from gotap.process.surroundings import Surroundings
from gotap.verdict.model import Coverage, Host, JumpCoverage, OperationCoverage, SiteCoverage, Situation

SERVER = OperationCoverage(
    library="net/http", name="http.server", present=True,
    sites=(SiteCoverage(0x1000, "emulated", "http.server begin"),
           SiteCoverage(0x1010, "single-step", "http.server end")),
    jumps=(JumpCoverage(0x1000, "nop5", "http.server begin", springboard=True, hook=True),
           JumpCoverage(0x1018, "nop5", "http.server end", springboard=True, hook=True)),
)  # fmt: skip
CLIENT = OperationCoverage(
    library="net/http", name="http.client", present=False,
    reason="net/http.(*Transport).roundTrip is not in this binary",
)  # fmt: skip
COVERED = Coverage(operations=(SERVER, CLIENT), versions={"net/http": "1.26.8"})
ALLOWING = Host(bpf=True, uprobes=True, privileged=True, lockdown="none")


def go(**changes: Any) -> GoFacts:
    """A dynamically linked program of Go 1.26 for glibc, with cgo."""
    plain: dict[str, Any] = {
        "compiler": "gc", "version": "1.26.8", "version_text": "go1.26.8", "version_source": "buildinfo",
        "module": ModuleFacts("example.com/shop", "(devel)"), "package": "example.com/shop/cmd/server",
        "settings": {"CGO_ENABLED": "1"}, "build_mode": "exe", "linker": "internal", "linkage": "dynamic",
        "libc": "glibc", "libc_inside": False, "cgo": True, "race": False, "msan": False, "asan": False,
        "cover": False, "vendored": False, "trimpath": False, "symtab": True, "dwarf": True, "section_table": True,
        "obfuscated": False, "functions": 7125, "linkshared": False, "plugin_capable": False,
        "threadcreate_profile": False,
    }  # fmt: skip
    return GoFacts(**{**plain, **changes})


def facts(go_facts: GoFacts | None = None, **changes: Any) -> Facts:
    plain: dict[str, Any] = {
        "format": "elf", "os": "linux", "arch": "amd64", "bits": 64, "big_endian": False, "language": "go",
        "go": go_facts or go(), "interpreter": "/lib64/ld-linux-x86-64.so.2", "needed": ("libc.so.6",),
    }  # fmt: skip
    return Facts(**{**plain, **changes})


def situation(go_facts: GoFacts | None = None, **changes: Any) -> Situation:
    """A file on which everything is well; `changes` are of the situation."""
    return Situation(**{"facts": facts(go_facts), "file": "/srv/server", "coverage": COVERED, **changes})


def process(**changes: Any) -> Surroundings:
    plain: dict[str, Any] = {
        "pid": 4711, "name": "server", "exe": "/srv/server", "exe_state": "file",
        "command_line": ("./server", "-p", "80"), "namespace_pid": 4711, "entry_point": False,
        "ptrace_allowed": True, "seccomp": 0, "go_run": False, "plugin_loaded": False,
    }  # fmt: skip
    return Surroundings(**{**plain, **changes})


def running(go_facts: GoFacts | None = None, *, host: Host = ALLOWING, **changes: Any) -> Situation:
    """A process of that program; `changes` are of its surroundings."""
    return situation(go_facts, process=process(**changes), host=host)
