"""Identifiers, import paths, qualified names and types of Go, as far as they can be judged without Go."""

from __future__ import annotations

import re
from typing import NoReturn

from gotap.weave.rules.errors import InvalidGoName
from gotap.weave.rules.nodes import Node

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
_MODIFIER = re.compile(r"\*|\[\d*\]|<-\s*chan\s+|chan\s*<-\s*|chan\s+")

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
    """A type: names, pointers, slices, arrays, channels, maps, `interface{}` (which becomes `any`); no spare spaces."""
    return _Type(node, what).parse()


class _Type:
    """One type's text, parsed from the left; what is not understood is an error at its node."""

    def __init__(self, node: Node, what: str) -> None:
        self.node, self.what = node, what
        self.text = node.text(what).strip()

    def parse(self) -> str:
        parsed, rest = self.type(self.text)
        if rest:
            self.fail()
        return parsed

    def fail(self) -> NoReturn:
        self.node.fail(InvalidGoName, f"{self.what} {self.text!r} is no type", _TYPE_REMEDY)

    def type(self, text: str) -> tuple[str, str]:
        """The type that `text` begins with, and what follows it."""
        modifier = _MODIFIER.match(text)
        if modifier:
            inner, rest = self.type(text[modifier.end() :].lstrip())
            word = " ".join(modifier.group().replace("<-", " <- ").split()).replace("<- chan", "<-chan")
            word = word.replace("chan <-", "chan<-")
            return word + (" " if "chan" in word else "") + inner, rest
        if text.startswith("map["):
            key, rest = self.type(text[4:].lstrip())
            if not rest.startswith("]"):
                self.fail()
            value, rest = self.type(rest[1:].lstrip())
            return f"map[{key}]{value}", rest
        empty = re.match(r"interface\s*\{\s*\}", text)
        if empty:
            return "any", text[empty.end() :]
        return self.named(text)

    def named(self, text: str) -> tuple[str, str]:
        end = text.find("]")  # of a map's key
        name, rest = (text, "") if end < 0 else (text[:end].rstrip(), text[end:])
        path, dot, last = name.rpartition(".")
        if not is_identifier(last) or (dot and not is_import_path(path)):
            self.fail()
        return name, rest
