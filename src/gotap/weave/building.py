"""The go command that builds what was planned: the user's own words, with another GOROOT and an overlay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence

from gotap.weave import covering
from gotap.weave.arguments import CommandLine, quoted, split_goflags
from gotap.weave.edits import named
from gotap.weave.goroot import go_command
from gotap.weave.modules import changes_modules
from gotap.weave.overlay import overlay
from gotap.weave.plan import Plan


def command(
    plan: Plan, words: Sequence[str], line: CommandLine, settings: Mapping[str, str] | None = None
) -> tuple[list[str], dict[str, str]]:
    """Words and environment, in which `settings` are, too. The command is the user's own unless something is woven.
    Raises CacheError."""
    if plan.goroot is None:
        return [plan.toolchain.go, *words], dict(os.environ)
    environment = {**os.environ, **(settings or {})}
    if "GOROOT" in environment:  # else the command finds it by where it is, and the programs it runs do not see it
        environment["GOROOT"] = str(plan.goroot)
    changed = {one.path: named(one.path, one.after) if one.edits else one.after
               for one in plan.files if not one.standard}  # fmt: skip
    changed |= plan.alternate.files
    environment |= plan.alternate.environment
    head, rest = list(words[1 : len(words) - len(line.rest)]), list(line.rest)
    directory = _take(head, "C")
    if changed:
        _take(head, "overlay")
        head.insert(0, f"-overlay={overlay(changed, plan.overlay)}")
        if plan.alternate.files and changes_modules(line, plan.toolchain):
            _take(head, "mod")
            head.insert(0, "-mod=readonly")  # go.mod has all that it is to have, and what an overlay has is not written
        if _covers(plan, line):
            environment |= covering.kept({one.path: one.edits for one in plan.files if one.edits and not one.standard})
    if line.verb == "run" and (running := _as_it_was(plan, line, environment)):
        _take(head, "exec")
        head.insert(0, running)
    return [str(go_command(plan.goroot)), words[0], *directory, *head, *rest], environment


def _as_it_was(plan: Plan, line: CommandLine, environment: Mapping[str, str]) -> str:
    """-exec, by which a program that is run sees the environment as it was before; empty if that is as it was."""
    changed = sorted(name for name, value in environment.items() if os.environ.get(name) != value)
    if not changed:
        return ""
    words = ["env", *(word for name in changed if name not in os.environ for word in ("-u", name))]
    words += [f"{name}={os.environ[name]}" for name in changed if name in os.environ]
    return f"-exec={' '.join(quoted(one) for one in words)} {_own_exec(plan, line)}".rstrip()


def _own_exec(plan: Plan, line: CommandLine) -> str:
    """By which the go command would run the program (`go help run`)."""
    variables = plan.toolchain.variables
    flags = [flag.value for flag in (*split_goflags(variables["GOFLAGS"]), *line.flags) if flag.name == "exec"]
    target = f"{variables['GOOS']}_{variables['GOARCH']}"
    if flags or target == os.path.basename(variables["GOTOOLDIR"]):
        return (flags or [None])[-1] or ""
    return quoted(shutil.which(f"go_{target}_exec") or "")


def _covers(plan: Plan, line: CommandLine) -> bool:
    names = {flag.name for flag in (*line.flags, *split_goflags(plan.toolchain.variables["GOFLAGS"]))}
    return any(name.startswith("cover") for name in names)


def _take(words: list[str], name: str) -> list[str]:
    """The words of a flag with a value, taken out."""
    taken: list[str] = []
    at = 0
    while at < len(words):
        plain = words[at].removeprefix("-").removeprefix("-") if words[at].startswith("-") else ""
        count = 2 if plain == name else 1 if plain.startswith(f"{name}=") else 0
        taken += words[at : at + count]
        del words[at : at + count]
        at += not count
    return taken
