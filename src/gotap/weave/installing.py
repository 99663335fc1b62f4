"""The go command for packages at versions, which are woven as if their module were built by itself.

What the module has is looked at in a workspace of gotap's (see `versions`). Where nothing but the standard library is
woven, the go command does the rest as it always does, with another GOROOT; else it builds in that workspace, since it
takes no overlay of modules otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from gotap.weave.arguments import ELSEWHERE, CommandLine, Flag
from gotap.weave.building import command
from gotap.weave.errors import NotComposable
from gotap.weave.plan import plan
from gotap.weave.toolchain import find_toolchain
from gotap.weave.versions import resolve, version_of


def versioned_command(words: Sequence[str], line: CommandLine, directory: str) -> tuple[list[str], dict[str, str]]:
    """Words and environment: the user's own where the go command refuses to build, which it tells best itself, and
    where nothing is woven. Raises what `plan` and `resolve` do."""
    found = resolve(line, directory)
    if not found.programs:
        return [find_toolchain(directory).go, *words], dict(os.environ)
    flags = (Flag("mod", "readonly", ("-mod=readonly",)), *(one for one in line.flags if one.name not in ELSEWHERE))
    own = CommandLine(line.verb, flags, found.programs, line.rest)
    with _environment(found.environment):
        planned = plan(own, found.folder)
    if planned.goroot is None:
        return command(planned, words, line)
    # The toolchain is chosen: with its name and `+auto` in GOTOOLCHAIN the go command would leave the tree for another.
    settings = {"GOTOOLCHAIN": "local"} if "GOTOOLCHAIN" in found.environment else {}
    if not planned.alternate.files and all(one.standard for one in planned.files):
        asked, count = version_of(line), len(words) - len(line.rest)
        exact = {one: f"{one.removesuffix(f'@{asked}')}@{found.version}" for one in line.packages}
        return command(planned, [*(exact.get(one, one) for one in words[:count]), *line.rest], line, settings)
    if not found.steady:
        raise NotComposable(
            f"{', '.join(line.packages)} cannot be woven with {planned.toolchain.version}: GODEBUG would be another",
            "take Go 1.23 or newer",
        )
    named = [word for flag in flags for word in flag.words]
    settings["GOWORK"] = found.environment["GOWORK"]
    return command(planned, [line.verb, *named, *found.programs, *line.rest], own, settings)


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Go commands that are asked about the module see it."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
