"""Expressions: Go operands as text → syntax tree. One grammar for the catalogue and for scripts.

An expression is Go as it would stand inside the probed function: selectors with automatic dereference, index, slice,
type assertion, arithmetic, comparison, logic, with Go's precedence and literals. To Go's operands come durations
(`100ms`) and, in scripts, `$name`, `@name[key, …]` and `self.name`. Calls are limited to a list of functions.

`at` of a node is the index of the character where an error about it points: of what has an operator the operator, of a
selector the field's name, of an index the bracket, of an assertion the type, of anything else its first character. -1:
it was not read from a text. Nodes that differ in nothing else are equal.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from msgspec import Struct

from gotap.errors import GotapError
from gotap.probe import literals
from gotap.probe.lexer import Lexer, shown

#: Functions that the catalogue's expressions may call: least and most arguments, how they are written. `len` is Go's;
#: `typeof` is the dynamic type of an interface value; `unwrap` follows the catalogue's list of error wrappers to the
#: innermost error.
BUILTINS = MappingProxyType({"len": (1, 1, "len(x)"), "typeof": (1, 1, "typeof(x)"), "unwrap": (1, 1, "unwrap(err)")})

#: How deep a tree may be, and what is nested in a script: whoever walks over it may recurse.
MOST_LEVELS = 100
#: How many keys, arguments and the like stand in one pair of brackets.
MOST_LISTED = 64


class ExpressionError(GotapError):
    """An expression that cannot be read or does not type-check."""


class Node(Struct, frozen=True, kw_only=True, eq=False):
    """What all expressions have. Equality and hash leave `at` out."""

    at: int = -1

    def _parts(self) -> Iterator[object]:
        return (getattr(self, name) for name in self.__struct_fields__ if name != "at")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Node) or type(self) is not type(other):
            return NotImplemented
        # True == 1 == 1.0, and yet they are different literals.
        pairs = zip(self._parts(), other._parts(), strict=True)
        return all(type(mine) is type(its) and mine == its for mine, its in pairs)

    def __hash__(self) -> int:
        return hash((type(self), *self._parts()))


class Name(Node, frozen=True, eq=False):
    name: str


class Local(Node, frozen=True, eq=False):
    """`$name`: a variable of one firing of a probe; `name` is without the $."""

    name: str


class Own(Node, frozen=True, eq=False):
    """`self.name`: a variable of the goroutine."""

    name: str


class MapValue(Node, frozen=True, eq=False):
    """`@name[key, …]`; `name` is without the @ and may be empty. Without keys: `@name`."""

    name: str
    keys: tuple[Expression, ...] = ()


class Literal(Node, frozen=True, eq=False):
    """An integer, a float, a string (as bytes), a bool, or nil (None).

    `unit`: "duration" of integers that are nanoseconds, "rune" of those written as 'x'.
    """

    value: int | float | bytes | bool | None
    unit: typing.Literal["", "duration", "rune"] = ""


class Select(Node, frozen=True, eq=False):
    operand: Expression
    field: str


class Index(Node, frozen=True, eq=False):
    operand: Expression
    index: Expression


class Slice(Node, frozen=True, eq=False):
    """`operand[low:high]`; what is left out is None."""

    operand: Expression
    low: Expression | None
    high: Expression | None


class Assert(Node, frozen=True, eq=False):
    """`operand.(type)`; the type is text, resolved against the package's imports by the compiler."""

    operand: Expression
    type: str


class Call(Node, frozen=True, eq=False):
    function: str
    arguments: tuple[Expression, ...]


class Unary(Node, frozen=True, eq=False):
    operator: str  # "!", "*" or "-"
    operand: Expression


class Binary(Node, frozen=True, eq=False):
    operator: str  # of _PRECEDENCE
    left: Expression
    right: Expression


Expression = (
    Name | Local | Own | MapValue | Literal | Select | Index | Slice | Assert | Call | Unary | Binary
)  # fmt: skip

#: Go's, loosest first (Go specification, "Operator precedence"; &^ is left out).
_PRECEDENCE = {
    "||": 1, "&&": 2,
    "==": 3, "!=": 3, "<": 3, "<=": 3, ">": 3, ">=": 3,
    "+": 4, "-": 4, "|": 4, "^": 4,
    "*": 5, "/": 5, "%": 5, "<<": 5, ">>": 5, "&": 5,
}  # fmt: skip
_COMPARISON = 3
#: What other languages write → what to write here.
_HINTS = {
    "=": "compare by ==", "?": "write if x { … } else { … }", "and": "write &&", "or": "write ||", "not": "write !",
}  # fmt: skip
_CONSTANTS: dict[str, bool | None] = {"nil": None, "true": True, "false": False}


def parse(text: str) -> Expression:
    """Reads an expression that stands by itself. Raises ExpressionError with the place in the text."""

    def fail(at: int, message: str, remedy: str) -> ExpressionError:
        return ExpressionError(
            f"cannot read the expression {shown(text)}: {message} at column {at + 1}",
            remedy or "write a Go operand, such as req.URL.Path or rw.(*response).status",
        )

    parser = ExpressionParser(Lexer(text, fail), BUILTINS)
    parser.lexer.advance()
    expression = parser.expression()
    if parser.lexer.kind != "end":
        raise parser.unexpected()
    return expression


class ExpressionParser:
    """Reads expressions from the words of a lexer, which stands on the first word before, and behind the last after.

    `functions`: those that may be called, as BUILTINS.
    """

    def __init__(self, lexer: Lexer, functions: Mapping[str, tuple[int, int, str]]) -> None:
        self.lexer = lexer
        self.functions = functions
        self.depth = 0
        self._height = 0  # of the tree that was read last

    # -- words --------------------------------------------------------------------------------------------------

    def fail(self, message: str, remedy: str = "", at: int | None = None) -> GotapError:
        return self.lexer.fail(self.lexer.start if at is None else at, message, remedy)

    def unexpected(self) -> GotapError:
        token = self.lexer.token
        if not token:
            return self.fail("something is missing")
        return self.fail(f"unexpected {shown(token)}", self.hint())

    def hint(self) -> str:
        """What to write in place of the word at hand, which other languages have."""
        if self.lexer.text.startswith("->", self.lexer.start - 1):
            return "fields are selected by a dot, also of pointers"
        return _HINTS.get(self.lexer.token, "")

    def at_operator(self, *tokens: str) -> bool:
        return self.lexer.kind == "operator" and self.lexer.token in tokens

    def accept(self, token: str) -> bool:
        if self.at_operator(token):
            self.lexer.advance()
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise self.fail(f"expected `{token}`", self.hint())

    def enter(self) -> None:
        """One level further in; the caller leaves it by `self.depth -= 1`. An error ends the parser anyway."""
        self.depth += 1
        if self.depth > MOST_LEVELS:
            raise self.fail(f"more than {MOST_LEVELS} levels are nested", "split it")

    def grown(self, *heights: int) -> None:
        """The tree that is being built stands on trees of these heights."""
        self._height = 1 + max(heights, default=0)
        if self._height > MOST_LEVELS:
            raise self.fail(f"the expression is more than {MOST_LEVELS} levels deep", "split it")

    # -- grammar ------------------------------------------------------------------------------------------------

    def expression(self, loosest: int = 1) -> Expression:
        """Operators that bind at least as tightly as `loosest`, by precedence climbing."""
        self.enter()
        left = self.unary()
        compared = False
        while self.lexer.kind == "operator":
            operator, at = self.lexer.token, self.lexer.start
            precedence = _PRECEDENCE.get(operator, 0)
            if precedence < max(loosest, 1) or self.ends_before(operator):
                break
            if precedence == _COMPARISON and compared:
                raise self.fail(f"unexpected `{operator}`", "join comparisons by &&")
            compared = precedence == _COMPARISON
            height = self._height
            self.lexer.advance()
            self.skip_line_ends()
            right = self.expression(precedence + 1)
            self.grown(height, self._height)
            left = Binary(operator, left, right, at=at)
        self.depth -= 1
        return left

    def ends_before(self, operator: str) -> bool:
        """Whether this operator is none, but ends the expression."""
        return False

    def skip_line_ends(self) -> None:
        """An expression may go on in the next line behind an operator."""
        while self.lexer.kind == "newline":
            self.lexer.advance()

    def unary(self) -> Expression:
        at = self.lexer.start
        for operator in ("!", "*", "-"):
            if self.accept(operator):
                self.enter()
                operand = self.unary()
                self.depth -= 1
                if operator == "-" and isinstance(operand, Literal) and _is_number(operand.value):
                    return Literal(-operand.value, operand.unit, at=at)
                self.grown(self._height)
                return Unary(operator, operand, at=at)
        return self.postfix()

    def postfix(self) -> Expression:
        operand = self.primary()
        while True:
            height, at = self._height, self.lexer.start
            if self.accept("."):
                operand = self.selected(operand)
            elif self.accept("["):
                operand = self.indexed(operand, at)
            else:
                return operand
            self.grown(height, self._height)

    def selected(self, operand: Expression) -> Expression:
        lexer = self.lexer
        at = lexer.start
        if self.at_operator("("):
            text = self.type_text()
            return Assert(operand, text, at=at + 1)
        if lexer.kind != "name":
            remedy = "results are ret.NAME, those without names ret.~r0, ret.~r1, …" if lexer.kind == "number" else ""
            raise self.fail("expected a field name", remedy)
        name = lexer.token
        lexer.advance()
        if self.at_operator("("):
            raise self.fail("methods cannot be called", "read the fields that the method reads", at)
        return Select(operand, name, at=at)

    def indexed(self, operand: Expression, at: int) -> Expression:
        low = None if self.at_operator(":") else self.expression()
        low_height = self._height
        if not self.accept(":"):
            self.expect("]")
            assert low is not None
            return Index(operand, low, at=at)
        high = None if self.at_operator("]") else self.expression()
        self._height = max(low_height, self._height)
        self.expect("]")
        return Slice(operand, low, high, at=at)

    def type_text(self) -> str:
        """The raw text between the parentheses of a type assertion."""
        lexer = self.lexer
        depth, begin = 1, lexer.position
        for place in range(begin, len(lexer.text)):
            depth += {"(": 1, ")": -1}.get(lexer.text[place], 0)
            if depth == 0:
                lexer.position = place + 1
                lexer.kind = "type"  # the parenthesis was never entered
                lexer.advance()
                return lexer.text[begin:place].strip()
        raise self.fail("expected `)`")

    def primary(self) -> Expression:
        lexer = self.lexer
        kind, token, at = lexer.kind, lexer.token, lexer.start
        self._height = 1
        if kind in ("number", "duration", "text", "rune"):
            literal = self.literal(kind, token, at)
            lexer.advance()
            return literal
        if kind == "name":
            lexer.advance()
            return self.named(token, at)
        if kind == "local":
            lexer.advance()
            return Local(token[1:], at=at)
        if kind == "map":
            lexer.advance()
            keys = self.listed("]", "a key") if self.accept("[") else ()
            return MapValue(token[1:], keys, at=at)
        if self.accept("("):
            inner = self.expression()
            self.expect(")")
            return inner
        raise self.unexpected()

    def literal(self, kind: str, token: str, at: int) -> Literal:
        try:
            if kind == "number":
                return Literal(literals.number(token, shown(token)), at=at)
            if kind == "duration":
                return Literal(literals.duration(token, shown(token)), "duration", at=at)
            if kind == "rune":
                return Literal(literals.rune(token), "rune", at=at)
            return Literal(literals.text(token), at=at)
        except literals.Malformed as error:
            raise self.fail(error.message, error.remedy, at + error.at) from None

    def named(self, name: str, at: int) -> Expression:
        if name in _CONSTANTS:
            return Literal(_CONSTANTS[name], at=at)
        if name.startswith("~"):
            raise self.fail(f"{shown(name)} stands only behind a dot", f"write ret.{name[:20]}", at)
        if name == "self" and self.accept("."):
            return self.own()
        if not self.at_operator("("):
            return Name(name, at=at)
        if name not in self.functions:
            raise self.not_callable(name, at)
        self.lexer.advance()
        arguments = self.listed(")", "an argument")
        self.check_count(name, self.functions[name], arguments, at)
        return Call(name, arguments, at=at)

    def check_count(
        self, name: str, function: tuple[int, int, str], arguments: tuple[Expression, ...], at: int
    ) -> None:
        """Raises an error unless a function, which stands at `at`, has so many arguments as it takes."""
        least, most, use = function
        if not least <= len(arguments) <= most:
            place = arguments[most].at if len(arguments) > most else at
            raise self.fail(f"{name} takes {_arguments(least, most)}, not {len(arguments)}", f"write {use}", place)

    def own(self) -> Own:
        at, name = self.lexer.start, self.lexer.token
        if self.lexer.kind != "name":
            raise self.fail("expected a name", "a variable of the goroutine is written self.NAME")
        self.lexer.advance()
        return Own(name, at=at)

    def not_callable(self, name: str, at: int) -> GotapError:
        known = ", ".join(sorted(self.functions))
        return self.fail(f"{shown(name)} is not a function that an expression may call ({known})", "", at)

    def listed(self, closing: str, what: str) -> tuple[Expression, ...]:
        """Expressions up to the closing bracket, which may follow a comma. A key there must be; arguments need not."""
        found: list[Expression] = []
        height = 0
        while not (self.at_operator(closing) and (found or closing == ")")):
            if len(found) == MOST_LISTED:
                raise self.fail(f"more than {MOST_LISTED} stand in one list", "leave some out")
            if self.lexer.kind == "end":
                raise self.fail(f"expected {what} or `{closing}`")
            found.append(self.expression())
            height = max(height, self._height)
            if not self.accept(","):
                break
        self.expect(closing)
        self.grown(height)
        return tuple(found)


def _arguments(least: int, most: int) -> str:
    if most == 0:
        return "no arguments"
    count = str(least) if least == most else f"{least} to {most}"
    return f"{count} argument{'s' if most > 1 else ''}"


def _is_number(value: object) -> typing.TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
