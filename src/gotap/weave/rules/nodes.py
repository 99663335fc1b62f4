"""YAML with positions: nodes that know their file and line and check what they hold.

Scalars are read as YAML 1.2 has them, as the Go side's library does: PyYAML on its own would take a function called
`On` or `Yes` for a truth value. So nodes are composed only, never constructed, and the scalars' texts are judged here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Any, NoReturn

import yaml

from gotap.weave.rules.errors import InvalidRule, NotYaml, UnknownKey, UnreadableRules, WrongShape, suggestion

#: Larger than any file of rules by far; PyYAML holds about a kilobyte per node.
SIZE_LIMIT = 4 << 20

#: Join points and lists that lie in one another; an anchor that contains its own alias would be endless.
DEPTH_LIMIT = 100

#: Values of a file as often as they are read: aliases in aliases make a short file describe any number of them.
VALUE_LIMIT = 100_000

_NULL = frozenset(["", "~", "null", "Null", "NULL"])
_TRUE = frozenset(["true", "True", "TRUE"])
_FALSE = frozenset(["false", "False", "FALSE"])
_INTEGER = re.compile(r"[-+]?[0-9]+")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?\.(inf|nan)")

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's reader where PyYAML was built with it


class _Document:
    """What the nodes of a file share. `values`: how many have been looked at."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.values = 0


class Node:
    """One value of a file. `line` counts from one."""

    def __init__(self, document: _Document, node: yaml.Node, depth: int = 0) -> None:
        self.file = document.file
        self.line: int = node.start_mark.line + 1
        self._document = document
        self._node = node
        self._depth = depth
        document.values += 1
        if depth > DEPTH_LIMIT:
            self.fail(NotYaml, f"values lie more than {DEPTH_LIMIT} deep in one another",
                      "An anchor that contains its own alias never ends; write the value out")  # fmt: skip
        if document.values > VALUE_LIMIT:
            self.fail(NotYaml, f"there are more than {VALUE_LIMIT} values, each counted wherever an alias repeats it",
                      "Split the file, or use fewer aliases")  # fmt: skip

    def fail(self, kind: type[InvalidRule], message: str, remedy: str) -> NoReturn:
        raise kind(self.file, self.line, message, remedy)

    def is_mapping(self) -> bool:
        return isinstance(self._node, yaml.MappingNode)

    def is_list(self) -> bool:
        return isinstance(self._node, yaml.SequenceNode)

    def is_boolean(self) -> bool:
        return self._plain() in _TRUE | _FALSE

    def shape(self) -> str:
        """What this is, in words for a message."""
        if self.is_mapping():
            return "a mapping"
        if self.is_list():
            return "a list"
        plain = self._plain()
        if plain in _NULL:
            return "nothing"
        if self.is_boolean():
            return "a truth value"
        return "a number" if plain is not None and _NUMBER.fullmatch(plain) else "text"

    def mapping(self, what: str, required: Collection[str] = (), optional: Collection[str] = ()) -> dict[str, Node]:
        """The values by key; no key may stand twice, be unknown, or be missing."""
        values = dict(self.pairs(what))
        known = {*required, *optional}
        for key, value in values.items():
            if key not in known:
                value.fail(UnknownKey, f"{what} has no key {key!r}", suggestion(key, known))
        for key in required:
            if key not in values:
                self.fail(WrongShape, f"{what} lacks the key {key!r}", f"Add `{key}:` to it")
        return values

    def pairs(self, what: str) -> Iterator[tuple[str, Node]]:
        """Keys and values of a mapping in the order of the file; merged ones (`<<`) behind its own."""
        if not isinstance(self._node, yaml.MappingNode):
            self.fail(WrongShape, f"{what} must be a mapping and is {self.shape()}", "Write `key: value` lines")
        seen: set[str] = set()
        merged: list[Node] = []
        for key, value in self._node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged.append(self._child(value))
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._child(key).fail(WrongShape, f"a key of {what} is no text", "Write the key as plain text")
            if key.value in seen:
                self._child(key).fail(WrongShape, f"the key {key.value!r} of {what} stands twice", "Remove one of them")
            seen.add(key.value)
            yield key.value, self._child(value)
        for node in merged:
            for source in node.items(what) if node.is_list() else [node]:
                for name, inner in source.pairs(what):
                    if name not in seen:
                        seen.add(name)
                        yield name, inner

    def single(self, what: str, known: Collection[str]) -> tuple[str, Node]:
        """Key and value of a mapping that has one key, which says what it is."""
        pairs = list(self.pairs(what))
        if len(pairs) != 1:
            listed = ", ".join(repr(key) for key, _ in pairs) or "none"
            self.fail(WrongShape, f"{what} must have exactly one key and has {listed}",
                      "Give each its own list entry; combine join points by `all-of` or `one-of`")  # fmt: skip
        key, value = pairs[0]
        if key not in known:
            self.fail(UnknownKey, f"there is no {what} {key!r}", suggestion(key, known))
        return key, value

    def items(self, what: str, least: int = 0) -> list[Node]:
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail(WrongShape, f"{what} must be a list and is {self.shape()}", "Begin every entry with `- `")
        if len(self._node.value) < least:
            self.fail(WrongShape, f"{what} is an empty list", "Add an entry, or remove the key")
        return [self._child(value) for value in self._node.value]

    def text(self, what: str, *, empty: bool = False) -> str:
        """A text; numbers and truth values are none unless they are quoted."""
        shape = self.shape()
        if shape != "text":
            remedy = "Put it into quotes if it is meant as text" if self._plain() else "Write a text"
            self.fail(WrongShape, f"{what} must be text and is {shape}", remedy)
        if not (self._node.value or empty):
            self.fail(WrongShape, f"{what} is empty", "Write a text, or remove the key")
        return str(self._node.value)

    def source(self, what: str) -> tuple[str, int]:
        """A text of Go, where `true` and `1` need no quotes, and the line on which its first line stands."""
        shape = self.shape()
        if shape in ("a mapping", "a list", "nothing") or not self._node.value.strip():
            self.fail(WrongShape, f"{what} must be text of Go and is {'empty' if shape == 'text' else shape}",
                      "Write the Go source behind the key, or on the lines below it after `|-`")  # fmt: skip
        block = isinstance(self._node, yaml.ScalarNode) and self._node.style in ("|", ">")
        return str(self._node.value), self.line + block

    def boolean(self, what: str) -> bool:
        if not self.is_boolean():
            self.fail(WrongShape, f"{what} must be true or false and is {self.shape()}", "Write `true` or `false`")
        return self._plain() in _TRUE

    def integer(self, what: str) -> int:
        plain = self._plain()
        if plain is None or not _INTEGER.fullmatch(plain) or len(plain) > 10:
            self.fail(WrongShape, f"{what} must be a whole number and is {self.shape()}", "Write a number such as 10")
        return int(plain)

    def _plain(self) -> str | None:
        """The text of a scalar without quotes, else None."""
        if isinstance(self._node, yaml.ScalarNode) and not self._node.style:  # None, or "" of libyaml
            return str(self._node.value)
        return None

    def _child(self, node: yaml.Node) -> Node:
        return Node(self._document, node, self._depth + 1)


def compose(file: str) -> Node | None:
    """The file's only document; None when it is empty. UnreadableRules, NotYaml."""
    text = _text(file)
    try:
        _check_depth(file, text)
        root: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = ", ".join(part for part in (error.context, error.problem) if part)
        remedy = "Check indentation, colons and quotes at and above that line"
        raise NotYaml(file, mark.line + 1 if mark else 0, f"is not YAML: {problem}", remedy) from error
    except yaml.YAMLError as error:  # a character that YAML forbids
        raise NotYaml(file, 0, f"is not YAML: {' '.join(str(error).split())}", "Remove that character") from error
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.style and root.value in _NULL):
        return None
    return Node(_Document(file), root)


def _text(file: str) -> str:
    try:
        with open(file, "rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
    except OSError as error:
        remedy = "Check the path and its permissions"
        raise UnreadableRules(file, 0, f"cannot be read: {error.strerror}", remedy) from error
    if len(data) > SIZE_LIMIT:
        remedy = "Split it, and name the parts in `extends:`"
        raise UnreadableRules(file, 0, f"is larger than {SIZE_LIMIT >> 20} MiB", remedy)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise UnreadableRules(file, line, "is not UTF-8", "Save the file as UTF-8") from error


def _check_depth(file: str, text: str) -> None:
    """libyaml's composer calls itself for each level and overflows the C stack; its parser of events does not."""
    depth = 0
    events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT:
            line = event.start_mark.line + 1
            raise NotYaml(file, line, f"values lie more than {DEPTH_LIMIT} deep in one another", "Write them flatter")
