"""Identifiers, import paths, qualified names and types of Go, as far as they can be judged without Go."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

from gotap.weave.rules.errors import InvalidGoName

if TYPE_CHECKING:
    from gotap.weave.rules.nodes import Node  # with a YAML parser, which most builds do without

_KEYWORDS = frozenset(
    ["break", "case", "chan", "const", "continue", "default", "defer", "else", "fallthrough", "for", "func", "go",
     "goto", "if", "import", "interface", "map", "package", "range", "return", "select", "struct", "switch", "type",
     "var"]
)  # fmt: skip

#: Go's letters are Unicode's and the underscore; Python's \w without digits in front is the same set.
_IDENTIFIER = re.compile(r"[^\W\d]\w*")

#: What the Go specification lets a compiler exclude from import paths (section "Import declarations"), and spaces.
_NOT_IN_PATHS = re.compile(r"[\s!\"#$%&'()*,:;<=>?\[\\\]^`{|}\ufffd\x00-\x1f\x7f]")

_LANGUAGE = re.compile(r"go1\.\d{1,3}")
_MODIFIER = re.compile(r"\*|\[\]|\.\.\.|chan\s+(?!<-)")

_NAME_REMEDY = "Write a Go name, such as `net/http.Get`: the import path in full, a dot, the identifier"
_TYPE_REMEDY = "Write a Go type with its import path in full, such as `*net/http.Request`, `error` or `[]string`"


def is_identifier(text: str) -> bool:
    return _IDENTIFIER.fullmatch(text) is not None and text not in _KEYWORDS


def is_import_path(text: str) -> bool:
    parts = text.split("/")
    return bool(text) and all(parts) and _NOT_IN_PATHS.search(text) is None


def identifier(node: Node, what: str) -> str:
    text = node.text(what)
    if not is_identifier(text):
        node.fail(InvalidGoName, f"{what} {text!r} is no identifier", "Write a Go identifier: letters, digits and `_`")
    return text


def import_path(node: Node, what: str) -> str:
    text = node.text(what)
    if not is_import_path(text):
        node.fail(InvalidGoName, f"{what} {text!r} is no import path", "Write it as in an import, without quotes")
    return text


def qualified_name(node: Node, what: str, *, bare: bool) -> str:
    """`import/path.Name`. `bare`: `Name` alone will do, a builtin or a name of the package at hand."""
    text = node.text(what)
    path, dot, name = text.rpartition(".")
    if not is_identifier(name) or (dot and not is_import_path(path)):
        node.fail(InvalidGoName, f"{what} {text!r} is no qualified name", _NAME_REMEDY)
    if not dot and not bare:
        node.fail(InvalidGoName, f"{what} {text!r} names no package", _NAME_REMEDY)
    return text


def type_name(node: Node, what: str) -> str:
    """A named type without `*`, `[]` and the like."""
    text = node.text(what)
    if text.startswith("*"):
        node.fail(InvalidGoName, f"{what} must not be a pointer and is {text!r}", f"Write {text.lstrip('*')!r}")
    return qualified_name(node, what, bare=True)


def language(node: Node, what: str) -> str:
    text = node.text(what)
    if not _LANGUAGE.fullmatch(text):
        node.fail(InvalidGoName, f"{what} {text!r} is no version of the language", "Write it as `go1.21`")
    return text


def type_text(node: Node, what: str) -> str:
    """A type: names, `*`, `[]`, `...`, `chan`, `map[K]`; `interface{}` becomes `any`; no spare spaces."""
    return _Type(node, what).parse()


class _Type:
    """One type's text, parsed from the left; what is not understood is an error at its node."""

    def __init__(self, node: Node, what: str) -> None:
        self.node, self.what = node, what
        self.text = node.text(what).strip()

    def parse(self) -> str:
        return self.type(self.text)

    def fail(self) -> NoReturn:
        self.node.fail(InvalidGoName, f"{self.what} {self.text!r} is no type that rules know", _TYPE_REMEDY)

    def type(self, text: str) -> str:
        modifier = _MODIFIER.match(text)
        if modifier:
            inner = self.type(text[modifier.end() :].lstrip())
            return "chan " + inner if modifier.group().startswith("chan") else modifier.group() + inner
        if text.startswith("map["):
            key, bracket, value = text[4:].partition("]")
            if not bracket:
                self.fail()
            return f"map[{self.type(key.strip())}]{self.type(value.lstrip())}"
        if re.fullmatch(r"interface\s*\{\s*\}", text):
            return "any"
        path, dot, name = text.rpartition(".")
        if not is_identifier(name) or (dot and not is_import_path(path)):
            self.fail()
        return text
