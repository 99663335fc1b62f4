"""What woven text needs beside itself: packages that it imports or links, assembly files, language versions."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

from gotap.weave.arguments import CommandLine
from gotap.weave.errors import RuleError
from gotap.weave.helper.protocol import Answer
from gotap.weave.listing import Package, locate
from gotap.weave.runtime import NAME as RUNTIME
from gotap.weave.toolchain import Toolchain, release_of

_LINKS, _ASSEMBLY = "zz_gotap_links.go", "zz_gotap_empty.s"


def check(answer: Answer, packages: Sequence[Package], toolchain: Toolchain, line: CommandLine, directory: str) -> None:
    """Raises RuleError for what the build does not have, naming the rule and what is missing."""
    newest = toolchain.release
    for one in answer.languages:
        if release_of(one.lang) > newest:
            raise RuleError(
                f"{one.aspect}: its text is of {one.lang}, and {toolchain.version} builds {one.package}",
                "build with a newer Go, or take the rule out",
            )
    wanted = {one.path: one.aspect for one in (*answer.imports, *answer.links)}
    have = {one.path for one in packages} | {RUNTIME, "unsafe", "C"}
    if missing := sorted(wanted.keys() - have):
        found = locate(toolchain, missing, directory, line.loading())
        for path in missing:
            if path not in found:
                raise RuleError(
                    f"{wanted[path]}: its text needs the package {path}, which no module of this build has",
                    f"`go get {path}`, or take the rule out",
                )


def new_files(answer: Answer, packages: Mapping[str, Package]) -> Iterator[tuple[Package, str, bytes]]:
    """Packages with paths and contents of files that they get: imports of what is only linked go to every program, and
    functions without a body compile only beside an assembly file."""
    if links := sorted({one.path for one in answer.links}):
        lines = "".join(f'import _ "{path}"\n' for path in links)
        for package in packages.values():
            if package.name == "main" and not package.for_test and not package.standard and package.go_files:
                yield package, os.path.join(package.dir, _LINKS), f"package main\n\n{lines}".encode()
    for name in answer.bodiless:
        yield packages[name], os.path.join(packages[name].dir, _ASSEMBLY), b"// Nothing.\n"
