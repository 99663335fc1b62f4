"""What the file holds, and what was taken out of it."""

from __future__ import annotations

from gotap.verdict.conditions.rules import NO_CODE, evidence, flag
from gotap.verdict.filling import rebuild
from gotap.verdict.model import Condition, Situation


def _packed(situation: Situation) -> str | None:
    """Whether the program is Go's cannot be told of a packed file."""
    facts = situation.facts
    packer = facts.packed or (facts.go.packed if facts.go else None)
    return evidence(situation, "packed", f"packed by {packer}") if packer else None


CONDITIONS = (
    Condition(
        id="packed",
        holds=_packed,
        effects=NO_CODE,
        message="its code is not in the file, where gotap looks for functions, but unpacked into memory, where the "
        "kernel sets no probes",
        remedy="upx -d {file}",
    ),
    Condition(
        id="obfuscated",
        holds=flag("obfuscated", "its function table is scrambled"),
        effects=NO_CODE,
        message="Go, obfuscated; functions not addressable",
        remedy=rebuild(),
    ),
    Condition(
        id="no-section-table",
        holds=flag("section_table", "the file has no section table", wanted=False),
        message="without section table; gotap finds Go's tables by the program headers",
        remedy=rebuild(),
    ),
    Condition(
        id="stripped",
        holds=flag("symtab", "no symbol table", wanted=False),
        message="without symbol table; gotap uses Go's own function table, which survives stripping",
        remedy=rebuild(linker_without=("-s", "-w")),
        vendor="Older documentation: a symbol table is required; newer: monitored when the tenant's switch for "
        "stripped binaries is on",
    ),
    Condition(
        id="vendored",
        holds=flag("vendored", "modules from a vendor directory"),
        message="third-party packages come from a vendor directory; their functions are found all the same",
        remedy=rebuild(flags=("-mod=mod",)),
        vendor="Vendored third-party packages, such as gRPC, are not monitored",
    ),
    Condition(
        id="plugin-capable",
        holds=flag("plugin_capable", "it holds the plugin package's functions"),
        message="it can load plugins; as long as it has loaded none, nothing is different",
        vendor="Deep monitoring is disabled once a plugin is actually loaded",
    ),
    Condition(
        id="threadcreate-profile",
        holds=flag("threadcreate_profile", "it serves or writes the threadcreate profile"),
        message="it serves or writes the threadcreate profile, whose stacks Go leaves empty; spans do not use it",
        vendor="The threadcreate profile has empty stacks",
    ),
)
