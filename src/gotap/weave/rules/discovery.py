"""Which rules a module asks for: the files next to go.mod, and those of the packages that tool files name.

The order is that of Orchestrion: what a tool file's packages bring, then what a file extends, then its own aspects.
Nothing is read twice, so files and packages may name each other in circles.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from gotap.weave.cache import cache_folder, digest, made
from gotap.weave.rules.errors import MissingRules
from gotap.weave.rules.model import Aspect, decode, encode
from gotap.weave.rules.toolfile import NAMES as TOOL_FILES
from gotap.weave.rules.toolfile import ToolImport, read_tool_file

if TYPE_CHECKING:
    from gotap.weave.rules.reading import Extension

RULE_FILES = ("gotap.yaml", "orchestrion.yml")

#: Import paths, each with its module's version or "" → the folders that hold the packages; those that no module at hand
#: provides are left out.
Locate = Callable[[Mapping[str, str]], Mapping[str, str]]

#: Orchestrion's tool files import the tool itself. It holds no file of rules: what it does by itself is built in.
_BUILT_IN = "github.com/DataDog/orchestrion"

_ASPECTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "aspects")


class Rules(Struct, frozen=True):
    """`files`: all that was read, in that order; they decide over the result. `imports`: those of all tool files."""

    aspects: tuple[Aspect, ...]
    files: tuple[str, ...]
    imports: tuple[ToolImport, ...]


def discover(folder: str, locate: Locate) -> Rules:
    """The rules of the module whose go.mod lies in `folder`, gotap's own excepted. InvalidRule."""
    search = _Search(locate)
    search.package(folder)
    return Rules(tuple(search.aspects), tuple(search.files), tuple(search.imports))


def own_rules() -> Rules:
    """What gotap weaves into every program, in the same vocabulary. What reading them comes to is kept: it takes long.
    Raises CacheError."""
    files = [os.path.join(_ASPECTS, name) for name in sorted(os.listdir(_ASPECTS)) if name.endswith(".yaml")]

    def fill(fresh: Path) -> None:
        from gotap.weave.rules.reading import read_rules

        aspects = [replace(aspect, own=True) for file in files for aspect in read_rules(file).aspects]
        (fresh / "aspects.json").write_bytes(encode(aspects))

    readers = [str(path) for path in sorted(Path(__file__).parent.glob("*.py"))]
    known = digest(*files, *(Path(name).read_bytes() for name in (*files, *readers)))
    folder = made(cache_folder() / "rules" / known[:32], fill)
    return Rules(decode((folder / "aspects.json").read_bytes()), tuple(files), ())


class _Search:
    def __init__(self, locate: Locate) -> None:
        self.locate = locate
        self.aspects: list[Aspect] = []
        self.files: list[str] = []
        self.imports: list[ToolImport] = []
        self.seen: set[str] = set()  # real paths, so that a link does not bring the same rules again

    def package(self, folder: str) -> None:
        """A folder's tool files and files of rules, those that it has."""
        for name in TOOL_FILES:
            self.tool_file(os.path.join(folder, name))
        for name in RULE_FILES:
            path = os.path.join(folder, name)
            if os.path.lexists(path):
                self.rule_file(path)

    def tool_file(self, path: str) -> None:
        if not os.path.lexists(path) or not self.first_visit(path):
            return
        imports = [item for item in read_tool_file(path) if item.path != _BUILT_IN]
        self.imports.extend(imports)
        folders = self.locate({item.path: item.version for item in imports}) if imports else {}
        for item in imports:
            if item.path not in folders:
                raise MissingRules(
                    item.file, item.line, f"no module of this build provides the package {item.path!r}",
                    f"Run `go get {item.path}`, or write its version behind the import: `// v1.2.3`",
                )  # fmt: skip
            self.package(folders[item.path])

    def rule_file(self, path: str) -> None:
        if not self.first_visit(path):
            return
        from gotap.weave.rules.reading import read_rules  # with a YAML parser, which most builds do without
        from gotap.weave.rules.spans import span_aspects

        rules = read_rules(path)
        for extension in rules.extends:
            self.extension(extension)
        self.aspects.extend(rules.aspects)
        self.aspects.extend(span_aspects(rules.spans))

    def extension(self, extension: Extension) -> None:
        if os.path.isdir(extension.path):
            self.package(extension.path)
        elif os.path.lexists(extension.path):
            self.rule_file(extension.path)
        else:
            raise MissingRules(
                extension.file, extension.line, f"`extends` names {extension.path}, which does not exist",
                "Correct the path: it is relative to the folder of the file that names it",
            )  # fmt: skip

    def first_visit(self, path: str) -> bool:
        real = os.path.realpath(path)
        if real in self.seen:
            return False
        self.seen.add(real)
        self.files.append(path)
        return True
