"""Go's text/template, as far as it can be judged without Go: actions that end, blocks that close, names that exist.

Syntax: package text/template/parse, lex.go and parse.go (Go 1.21 to 1.27). What is not judged here (arguments of
functions, undefined variables, the Go source that comes out) the Go side judges, at the same line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

from gotap.weave.rules.errors import InvalidTemplate, suggestion
from gotap.weave.rules.nodes import Node

#: What `.` offers at the top of a template.
ROOT = frozenset(["AST", "Function", "DirectiveArgs"])

#: What `.Function` offers. QualifiedName is gotap's own: `pkg.Func`, `pkg.(*T).Method`.
FUNCTION = frozenset(
    ["Argument", "ArgumentOfType", "ArgumentThatImplements", "FinalResultImplements", "LastResultThatImplements",
     "Name", "QualifiedName", "Receiver", "Result", "ResultOfType", "ResultThatImplements"]
)  # fmt: skip

_OPENING = frozenset(["if", "range", "with", "block", "define"])
_WORDS = _OPENING | frozenset(["else", "end", "break", "continue", "template", "true", "false", "nil"])
_FUNCTIONS = frozenset(
    ["and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
     "println", "slice", "urlquery", "Version"]
)  # fmt: skip
_TOKEN = re.compile(
    r"""(?P<string>"(?:\\.|[^"\\\n])*"|`[^`]*`|'(?:\\.|[^'\\\n])*')|(?P<chain>\$?\w*(?:\.\w+)+)|(?P<variable>\$\w*)"""
    r"""|(?P<number>[0-9][\w.+-]*)|(?P<word>\w+)|(?P<other>.)""",
    re.DOTALL,
)


class _Action(NamedTuple):
    line: int
    tokens: tuple[tuple[str, str], ...]  # kind (a group of _TOKEN) and text


class _Open(NamedTuple):
    word: str
    line: int


def check_template(node: Node, text: str, line: int) -> None:
    """InvalidTemplate, at the line of the template (whose first line is `line`) that is wrong."""
    _Check(node.file, text, line).run()


class _Check:
    def __init__(self, file: str, text: str, line: int) -> None:
        self.file, self.text, self.line = file, text, line
        self.open: list[_Open] = []

    def run(self) -> None:
        for action in self.actions():
            self.nesting(action)
            self.names(action)
        if self.open:
            word, line = self.open[-1]
            self.fail(line, f"`{{{{{word}}}}}` is never closed", "Add `{{end}}`")

    def fail(self, line: int, message: str, remedy: str) -> NoReturn:
        raise InvalidTemplate(self.file, line, f"template: {message}", remedy)

    def actions(self) -> Iterator[_Action]:
        """What stands between `{{` and `}}`; comments and empty trims are none."""
        position = 0
        while (start := self.text.find("{{", position)) >= 0:
            line = self.line + self.text.count("\n", 0, start)
            comment = re.compile(r"\{\{(-\s)?\s*/\*.*?\*/\s*(\s-)?\}\}", re.DOTALL).match(self.text, start)
            if comment:
                position = comment.end()
                continue
            tokens: list[tuple[str, str]] = []
            position = start + 2
            while not self.text.startswith("}}", position):
                token = _TOKEN.match(self.text, position)
                if token is None:
                    self.fail(line, "`{{` is never closed", "Add `}}`")
                if token.lastgroup == "other" and token.group() in "\"'`":
                    self.fail(line, "a string in `{{…}}` is never closed", "Close it before the `}}`")
                tokens.append((token.lastgroup or "", token.group()))
                position = token.end()
            position += 2
            yield _Action(line, tuple(tokens))

    def nesting(self, action: _Action) -> None:
        word = self.first_word(action)
        if word in _OPENING:
            self.open.append(_Open(word, action.line))
        elif word == "end":
            if not self.open:
                self.fail(action.line, "`{{end}}` closes nothing", "Remove it")
            self.open.pop()
        elif word == "else" and not self.open:
            self.fail(action.line, "`{{else}}` stands outside of if, with and range", "Remove it")
        elif word in ("break", "continue") and not any(block.word == "range" for block in self.open):
            self.fail(action.line, f"`{{{{{word}}}}}` stands outside of range", "Remove it")

    @staticmethod
    def first_word(action: _Action) -> str:
        """The word that the action begins with, behind a trim mark; empty if it begins with something else."""
        for kind, text in action.tokens:
            if kind != "other" or not (text.isspace() or text == "-"):
                return text if kind == "word" else ""
        return ""

    def names(self, action: _Action) -> None:
        """Fields of the root and of `.Function`, and functions; what `.` is inside of with and range is not known."""
        moved = any(block.word in ("with", "range", "define") for block in self.open)
        before = ""
        for kind, text in action.tokens:
            of_result, before = before == ")", text  # `(index $list 0).Key`: a field of what the call gave
            if kind == "word" and text not in _WORDS | _FUNCTIONS:
                self.fail(action.line, f"there is no function {text!r}", suggestion(text, _FUNCTIONS))
            if kind != "chain" or of_result:
                continue
            root, *fields = text.split(".")
            if root not in ("", "$") or (root == "" and moved):
                continue
            if fields[0] not in ROOT:
                self.fail(action.line, f"the node at hand has no {fields[0]!r}", suggestion(fields[0], ROOT))
            if fields[0] == "Function" and len(fields) > 1 and fields[1] not in FUNCTION:
                self.fail(action.line, f"a function has no {fields[1]!r}", suggestion(fields[1], FUNCTION))
