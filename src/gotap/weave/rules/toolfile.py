"""Tool files: Go files with build tag `tools` whose imports name the packages that hold rules.

They import by the blank name, so that `go mod tidy` keeps the modules in go.mod. Where go.mod is not to name them, a
version behind the import says which module version an alternate go.mod takes: `_ "example.com/rules" // v1.2.3`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from gotap.weave.rules.errors import InvalidToolFile, UnreadableRules
from gotap.weave.rules.gonames import is_import_path

NAMES = ("gotap.tool.go", "orchestrion.tool.go")

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r]+)|(?P<newline>\n)|(?P<line>//[^\n]*)|(?P<block>/\*.*?\*/)"""
    r"""|(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`)|(?P<word>\w+)|(?P<mark>[.;()])""",
    re.DOTALL,
)
_VERSION = re.compile(r"//\s*(v\d+\.\d+\.\d+[\w.+-]*)(?=\s|$)")

_REMEDY = "Write `//go:build tools`, a package clause, and `import ( _ \"import/path\" … )`"


class ToolImport(Struct, frozen=True):
    """`version`: of the module, from the comment behind the import; empty if it names none."""

    path: str
    version: str
    file: str
    line: int


class _Token(Struct, frozen=True):
    kind: str
    text: str
    line: int


def read_tool_file(file: str) -> tuple[ToolImport, ...]:
    """The file's imports in their order. InvalidToolFile, UnreadableRules."""
    try:
        with open(file, encoding="utf-8-sig") as stream:
            text = stream.read()
    except OSError as error:
        remedy = "Check the path and its permissions"
        raise UnreadableRules(file, 0, f"cannot be read: {error.strerror}", remedy) from error
    except UnicodeDecodeError as error:
        raise UnreadableRules(file, 0, "is not UTF-8", "Save the file as UTF-8") from error
    return tuple(_Imports(file, text).read())


class _Imports:
    """The head of a Go file: package clause, then import declarations, up to the first other declaration."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.versions: dict[int, str] = {}
        self.tokens = list(self.scan(text))
        self.position = 0

    def scan(self, text: str) -> Iterator[_Token]:
        """Tokens without space and comments, up to the first character that no import has."""
        position, line = 0, 1
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                yield _Token("other", text[position], line)
                return
            kind, position = match.lastgroup or "", match.end()
            version = _VERSION.match(match.group()) if kind == "line" else None
            if version:
                self.versions[line] = version.group(1)
            if kind in ("string", "word", "mark"):
                yield _Token(kind, match.group(), line)
            line += match.group().count("\n")

    def next(self) -> _Token:
        if self.position == len(self.tokens):
            return _Token("end", "the end of the file", self.tokens[-1].line if self.tokens else 1)
        self.position += 1
        return self.tokens[self.position - 1]

    def skip(self, mark: str) -> bool:
        """Passes the mark if it comes next."""
        found = self.position < len(self.tokens) and self.tokens[self.position].text == mark
        self.position += found
        return found

    def fail(self, token: _Token, expected: str) -> InvalidToolFile:
        return InvalidToolFile(self.file, token.line, f"{expected} is expected, not {token.text}", _REMEDY)

    def read(self) -> Iterator[ToolImport]:
        token = self.next()
        if token.text != "package":
            raise self.fail(token, "a package clause")
        token = self.next()
        if token.kind != "word":
            raise self.fail(token, "the package's name")
        self.skip(";")
        while self.skip("import"):
            if not self.skip("("):
                yield self.one()
                self.skip(";")
                continue
            while not self.skip(")"):
                yield self.one()
                self.skip(";")
            self.skip(";")

    def one(self) -> ToolImport:
        token = self.next()
        if token.kind == "word" or token.text == ".":
            token = self.next()
        path = token.text[1:-1]
        if token.kind != "string" or not is_import_path(path):
            raise self.fail(token, "an import path in quotes")
        return ToolImport(path, self.versions.get(token.line, ""), self.file, token.line)
