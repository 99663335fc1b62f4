"""Expressions: Go operands as text → syntax tree.

An expression is Go as it would stand inside the probed function: selectors with automatic dereference, index by a
constant, type assertion, `len`, comparison, `&&`, `||`, `!`. The grammar is the operand part of the Go specification;
calls are limited to BUILTINS.
"""

from __future__ import annotations

import re

from msgspec import Struct

from gotap.errors import GotapError

#: Functions an expression may call. `len` is Go's; `typeof` is the dynamic type of an interface value;
#: `unwrap` follows the catalogue's list of error wrappers to the innermost error.
BUILTINS = frozenset({"len", "typeof", "unwrap"})


class ExpressionError(GotapError):
    """An expression that cannot be read or does not type-check."""


class Name(Struct, frozen=True):
    name: str


class Literal(Struct, frozen=True):
    """An integer, a string (as bytes), a bool, or nil (None)."""

    value: int | bytes | bool | None


class Select(Struct, frozen=True):
    operand: Expression
    field: str


class Index(Struct, frozen=True):
    operand: Expression
    index: Expression


class Assert(Struct, frozen=True):
    """`operand.(type)`; the type is text, resolved against the package's imports by the compiler."""

    operand: Expression
    type: str


class Call(Struct, frozen=True):
    function: str
    argument: Expression


class Unary(Struct, frozen=True):
    operator: str  # "!" or "*"
    operand: Expression


class Binary(Struct, frozen=True):
    operator: str  # == != < <= > >= && ||
    left: Expression
    right: Expression


Expression = Name | Literal | Select | Index | Assert | Call | Unary | Binary

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>0[xX][0-9a-fA-F_]+|\d[\d_]*)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<name>[A-Za-z_]\w*)
    |(?P<operator>&&|\|\||==|!=|<=|>=|[.()\[\]!*<>]))""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"}
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


def parse(text: str) -> Expression:
    """The syntax tree of `text`; ExpressionError names the place otherwise."""
    parser = _Parser(text)
    tree = parser.disjunction()
    parser.expect_end()
    return tree


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.kind = ""
        self.token = ""
        self.start = 0
        self.advance()

    def fail(self, message: str) -> ExpressionError:
        return ExpressionError(
            f"cannot read the expression `{self.text}`: {message} at column {self.start + 1}",
            "write a Go operand, such as req.URL.Path or rw.(*response).status",
        )

    def advance(self) -> None:
        if not self.text[self.position :].strip():
            self.kind, self.token, self.start = "end", "", len(self.text)
            return
        match = _TOKEN.match(self.text, self.position)
        if match is None:
            self.start = self.position
            raise self.fail(f"unexpected `{self.text[self.position :].strip()[0]}`")
        self.kind = match.lastgroup or ""
        self.token = match.group(self.kind)
        self.start = match.start(self.kind)
        self.position = match.end()

    def accept(self, token: str) -> bool:
        if self.kind == "operator" and self.token == token:
            self.advance()
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise self.fail(f"expected `{token}`")

    def expect_end(self) -> None:
        if self.kind != "end":
            raise self.fail(f"unexpected `{self.token}`")

    def disjunction(self) -> Expression:
        left = self.conjunction()
        while self.accept("||"):
            left = Binary("||", left, self.conjunction())
        return left

    def conjunction(self) -> Expression:
        left = self.comparison()
        while self.accept("&&"):
            left = Binary("&&", left, self.comparison())
        return left

    def comparison(self) -> Expression:
        left = self.unary()
        for operator in _COMPARISONS:
            if self.kind == "operator" and self.token == operator:
                self.advance()
                return Binary(operator, left, self.unary())
        return left

    def unary(self) -> Expression:
        for operator in ("!", "*"):
            if self.accept(operator):
                return Unary(operator, self.unary())
        return self.postfix()

    def postfix(self) -> Expression:
        operand = self.primary()
        while True:
            if self.accept("."):
                if self.kind == "operator" and self.token == "(":
                    operand = Assert(operand, self.type_text())
                elif self.kind == "name":
                    operand = Select(operand, self.token)
                    self.advance()
                else:
                    raise self.fail("expected a field name")
            elif self.accept("["):
                operand = Index(operand, self.disjunction())
                self.expect("]")
            else:
                return operand

    def type_text(self) -> str:
        """The raw text between the parentheses of a type assertion."""
        depth, begin = 1, self.position
        for place in range(begin, len(self.text)):
            depth += {"(": 1, ")": -1}.get(self.text[place], 0)
            if depth == 0:
                self.position = place + 1
                self.advance()
                return self.text[begin:place].strip()
        raise self.fail("expected `)`")

    def primary(self) -> Expression:
        kind, token = self.kind, self.token
        if kind == "number":
            try:
                number = int(token, 0)
            except ValueError:
                raise self.fail(f"`{token}` is no number") from None
            self.advance()
            return Literal(number)
        if kind == "string":
            unknown = [escape for escape in re.findall(r"\\(.)", token) if escape not in _ESCAPES]
            if unknown:
                raise self.fail(f"`\\{unknown[0]}` is not an escape that is known here")
            self.advance()
            return Literal(re.sub(r"\\(.)", lambda m: _ESCAPES[m[1]], token[1:-1]).encode())
        if kind == "name":
            self.advance()
            return self.named(token)
        if self.accept("("):
            inner = self.disjunction()
            self.expect(")")
            return inner
        raise self.fail(f"unexpected `{token}`" if token else "something is missing")

    def named(self, token: str) -> Expression:
        constants: dict[str, bool | None] = {"nil": None, "true": True, "false": False}
        if token in constants:
            return Literal(constants[token])
        if self.kind == "operator" and self.token == "(":
            if token not in BUILTINS:
                raise self.fail(
                    f"`{token}` is not a function that an expression may call ({', '.join(sorted(BUILTINS))})"
                )
            self.advance()
            argument = self.disjunction()
            self.expect(")")
            return Call(token, argument)
        return Name(token)
