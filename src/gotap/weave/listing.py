"""The packages of a build as the go command sees them: one `go list -deps`, in the user's own environment."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field

from gotap.weave.arguments import CommandLine
from gotap.weave.errors import ListError
from gotap.weave.toolchain import Toolchain

_FIELDS = (
    "ImportPath", "Name", "Dir", "GoFiles", "CgoFiles", "Imports", "ImportMap", "Standard", "ForTest",
    "DepOnly", "Module",
)  # fmt: skip


class Module(Struct, frozen=True, rename="pascal"):
    path: str
    version: str = ""
    dir: str = ""
    main: bool = False
    go_version: str = ""
    go_mod: str = ""
    replace: Module | None = None

    @property
    def is_local(self) -> bool:
        """A folder of the user's, not one of the module cache: the main module, a workspace's, or a replacement."""
        if self.replace is not None:
            return not self.replace.version
        return self.main or not self.version


class Package(Struct, frozen=True, rename="pascal"):
    """What `go list -json` says of a package (`go help list`). Of a test variant (`p [p.test]`) GoFiles has the files
    of the package with those of its tests; `for_test` names the package.
    """

    import_path: str
    name: str = ""
    dir: str = ""
    go_files: tuple[str, ...] = ()
    cgo_files: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    import_map: dict[str, str] = field(default_factory=dict)
    standard: bool = False
    for_test: str = ""
    dep_only: bool = False
    module: Module | None = None

    @property
    def path(self) -> str:
        """The import path as sources have it, without the ` [p.test]` of a test variant."""
        return self.import_path.split(" ", 1)[0]

    @property
    def is_test_main(self) -> bool:
        """The generated program of a test; it has no file of the user's."""
        return self.name == "main" and self.import_path.endswith(".test") and not self.for_test

    def files(self) -> list[str]:
        """Paths of the Go files that are compiled, but for those that the go command generates."""
        names = (*self.go_files, *self.cgo_files)
        return [name if os.path.isabs(name) else os.path.join(self.dir, name) for name in names]


def list_packages(
    toolchain: Toolchain, line: CommandLine, directory: str, flags: Sequence[str] = ()
) -> list[Package]:
    """The packages that a command builds, and all that they depend on, dependencies first. `flags`: beside its
    own. Raises ListError."""
    words = ["list", "-deps", f"-json={','.join(_FIELDS)}", *(["-test"] if line.verb in ("test", "vet") else [])]
    done = subprocess.run(
        [toolchain.go, *words, *line.loading(), *flags, "--", *line.packages],
        cwd=directory,
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode:
        raise ListError(
            f"the packages cannot be loaded:\n{done.stderr.strip()}",
            "the go command says the same without gotap: mend it there first",
        )
    return [msgspec.convert(one, Package, strict=False) for one in _objects(done.stdout)]


def list_closure(toolchain: Toolchain, packages: Sequence[str], tags: str, directory: str) -> set[str]:
    """Import paths of packages of the standard library and all that they import. Raises ListError."""
    words = [toolchain.go, "list", "-deps", *([f"-tags={tags}"] if tags else []), "--", *packages]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise ListError(f"`go list` fails: {done.stderr.strip()}", "check the Go installation")
    return set(done.stdout.split())


def locate(
    toolchain: Toolchain, packages: Collection[str], directory: str, flags: Sequence[str] = ()
) -> dict[str, str]:
    """Folders of packages by import path, of those that the build's modules provide."""
    words = [toolchain.go, "list", "-e", "-find", *flags, "-f={{.ImportPath}}\t{{.Dir}}", "--", *packages]
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, errors="replace")
    found = (line.partition("\t") for line in done.stdout.splitlines())
    return {path: folder for path, _, folder in found if folder}


def _objects(text: str) -> Iterator[Any]:
    """JSON values, one behind the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, at = decoder.raw_decode(text, at)
        yield value
        while at < len(text) and text[at].isspace():
            at += 1
