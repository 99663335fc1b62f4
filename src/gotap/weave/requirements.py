"""Modules that rules need and go.mod lacks: they are put into a go.mod that only this build sees.

Versions come from the tool file, or from what the modules of the build ask for themselves: nothing is ever looked up as
the latest. In a workspace one module's go.mod gets more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from gotap.weave.arguments import CommandLine, split_goflags
from gotap.weave.listed import packages_of
from gotap.weave.listing import Module, Package, locate
from gotap.weave.modcache import is_cached
from gotap.weave.modules import Alternate, changes_modules, go_mod, go_work
from gotap.weave.overlay import overlay
from gotap.weave.resolving import Base, build_list, required, with_packages
from gotap.weave.toolchain import Toolchain, ask
from gotap.weave.versions import is_resolved


class Requirements:
    """Of one build; they grow as rules, and the text that these weave, ask for packages."""

    def __init__(self, toolchain: Toolchain, line: CommandLine, directory: str, own: Mapping[str, str]) -> None:
        """`own`: the user's overlay."""
        self.toolchain, self.line, self.directory, self.own = toolchain, line, directory, own
        self.alternate = Alternate()
        self.packages: Sequence[Package] = ()

    def load(self) -> None:
        """Lists the packages that the command builds. Raises ListError, CacheError."""
        self.packages = packages_of(self.toolchain, self.line, self.directory, self.flags())

    def load_also(self, paths: Collection[str]) -> Sequence[Package]:
        """Packages by import path, and all that they depend on. Raises ListError, CacheError."""
        line = CommandLine("build", self.line.flags, tuple(sorted(paths)), ())
        return packages_of(self.toolchain, line, self.directory, self.flags())

    def flags(self) -> list[str]:
        """What makes the go command see the alternate go.mod."""
        if not self.alternate.files:
            return []
        return [f"-overlay={overlay(self.alternate.files, self.own)}", *self._readonly()]

    def locate(self, versions: Mapping[str, str]) -> Mapping[str, str]:
        """Folders of packages by import path; those that no module at hand has come in the versions given, unless these
        are empty. Raises Unresolved, CacheError, NoGo."""
        found = self._found(versions)
        lacking = {path: version for path, version in versions.items() if version and path not in found}
        if not lacking or self.is_vendored():
            return found
        self._add(lacking)
        return self._found(versions)

    def provide(self, paths: Collection[str]) -> set[str]:
        """Sees to it that packages are of modules that go.mod names. Returns those that no module of the build has.
        Raises Unresolved, CacheError, NoGo."""
        found = self._found(paths)
        if self.is_vendored() or not self._go_mod():
            return set(paths) - found.keys()
        named = {*self._required(), *(one.path for one in self.main_modules())}
        standard = os.path.join(self.toolchain.goroot, "src", "")
        lacking = [one for one in paths if not found.get(one, "").startswith(standard)
                   and not (one in found and module_of(one, named))]  # fmt: skip
        if not lacking:
            return set()
        known = build_list(self.toolchain, self._base())
        versions = {one: known[module] for one in lacking if (module := module_of(one, known))}
        if versions:
            self._add(versions)
        return set(paths) - self._found(paths).keys()

    def is_vendored(self) -> bool:
        """Whether packages come from vendor/: by -mod=vendor, or because it is there (`go help modules`)."""
        flags = (*split_goflags(self.toolchain.variables["GOFLAGS"]), *self.line.flags)
        if modes := [flag.value for flag in flags if flag.name == "mod"]:
            return modes[-1] == "vendor"
        work = go_work(self.toolchain)
        if work and self.toolchain.release < (1, 22):
            return False
        root = os.path.dirname(work or self.toolchain.variables["GOMOD"])
        return os.path.exists(os.path.join(root, "vendor", "modules.txt"))

    def module_named(self, path: str) -> str:
        """The module that a package is of, as far as go.mod tells; empty if it does not."""
        return module_of(path, self._required() if self._go_mod() else ())

    def _found(self, paths: Collection[str]) -> dict[str, str]:
        flags = [*self.line.loading(), *self.flags(), *self._readonly(), "-tags=tools"]
        return locate(self.toolchain, paths, self.directory, flags) if paths else {}

    def folders(self) -> list[str]:
        """Of the modules whose rules count: those of the build's packages, or, if these are all of other modules, the
        one where the command runs; of packages at a version, their own."""
        own = self.toolchain.variables["GOMOD"]
        if is_resolved(own):
            return sorted({one.module.dir for one in self.packages if one.module and one.path in self.line.packages})
        found = {one.dir for one in self.main_modules() if one.dir}
        return sorted(found) or ([os.path.dirname(own)] if own not in ("", os.devnull) else [])

    def _readonly(self) -> list[str]:
        """What keeps the go command from looking for modules by itself and writing them into go.mod."""
        return ["-mod=readonly"] if changes_modules(self.line, self.toolchain) else []

    def main_modules(self) -> list[Module]:
        """Those of the packages that were loaded: one, or a workspace's."""
        found = {one.module.path: one.module for one in self.packages if one.module is not None and one.module.main}
        return [found[path] for path in sorted(found)]

    def _go_mod(self) -> str:
        """The go.mod that is to have more: of a workspace, that of the module where the command runs, or any. Empty if
        there is none."""
        if not go_work(self.toolchain):
            path = go_mod(self.toolchain, self.line, self.directory)
        else:
            own, members = self.toolchain.variables["GOMOD"], [one.go_mod for one in self.main_modules()]
            path = own if own in members or not members else members[0]
        return "" if path == os.devnull else path

    def _content(self, path: str) -> bytes:
        return self.alternate.content(path, self.own)

    def _required(self) -> dict[str, str]:
        return required(self.toolchain, self._content(self._go_mod()))

    def _base(self) -> Base:
        path, work = self._go_mod(), go_work(self.toolchain)
        if not work:
            folder = os.path.dirname(self.toolchain.variables["GOMOD"])
            return Base(folder, self._content(path), self._content(_sum_of(path)))
        described = json.loads(ask(self.toolchain.go, ["work", "edit", "-json", work], os.path.dirname(work)))
        others = {one.path: one.dir for one in self.main_modules() if one.go_mod != path}
        sums = [_sum_of(path), f"{work}.sum", *(os.path.join(folder, "go.sum") for folder in others.values())]
        return Base(
            os.path.dirname(path),
            self._content(path),
            b"".join(dict.fromkeys(line for one in sums for line in self._content(one).splitlines(keepends=True))),
            others,
            [_replacement(one, os.path.dirname(work)) for one in described.get("Replace") or ()],
        )

    def _add(self, versions: Mapping[str, str]) -> None:
        path, base = self._go_mod(), self._base()
        loading = [] if go_work(self.toolchain) else [list(self._patterns())]
        mod, total = with_packages(self.toolchain, base, versions, loading)
        self.alternate = Alternate({**self.alternate.files, path: mod, _sum_of(path): total})
        self.load()

    def _patterns(self) -> Iterator[str]:
        """Packages of modules of the cache that the program has: with more modules they may be of newer versions."""
        yield from sorted(one.path for one in self.packages if not one.for_test and is_cached(one.dir, self.toolchain)
                          and not one.standard)  # fmt: skip


def module_of(path: str, modules: Iterable[str]) -> str:
    """The longest module path that a package's path begins with; empty if there is none."""
    return max((one for one in modules if path == one or path.startswith(f"{one}/")), key=len, default="")


def _sum_of(path: str) -> str:
    """go.sum, which has the name of -modfile (`go help modfile`)."""
    return f"{path.removesuffix('.mod')}.sum"


def _replacement(described: Mapping[str, Mapping[str, str]], folder: str) -> str:
    """One of go.work's, as `go work edit -json` has it, for `go mod edit -replace`; folders are absolute."""
    old, new = described["Old"], described["New"]
    target = f"{new['Path']}@{new['Version']}" if "Version" in new else os.path.join(folder, new["Path"])
    return f"{old['Path']}{'@' + old['Version'] if 'Version' in old else ''}={target}"
