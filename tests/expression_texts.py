"""Expressions for tests: random ones as text, and trees told as tests/programs/goexpressions tells them."""

from __future__ import annotations

from random import Random

from gotap.probe import expression as tree
from gotap.probe.expression import Expression

_ARITHMETIC = ("+", "-", "*", "/", "%", "<<", ">>", "&", "|", "^")
_COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_LEAVES = (
    "a", "req", "é", "true", "nil", "0", "42", "0x2A", "0b101", "0o17", "1_000", "2.5", "1e3", "1.5e-3", "'x'", r"'\n'",
    r"'\u00e9'", '"a b"', r'"\x00\377é\U0001F600\\\""', "`raw\\n`", "18446744073709551615",
)  # fmt: skip
_TYPES = ("*T", "map[string][]int", "func(int) (a, b)", "net.IP")


class Writer:
    """Writes expressions that Go reads too: no two comparisons stand side by side, calls are of len and typeof."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def expression(self, levels: int = 3) -> str:
        return self.chain(("||",), lambda: self.chain(("&&",), lambda: self.comparison(levels), 3), 3)

    def chain(self, operators: tuple[str, ...], operand, most: int) -> str:  # type: ignore[no-untyped-def]
        text = operand()
        for _ in range(self.random.randrange(most) if self.random.random() < 0.5 else 0):
            blank = self.random.choice((" ", "", "  "))
            text += f"{blank}{self.random.choice(operators)} {operand()}"
        return text

    def comparison(self, levels: int) -> str:
        sides = [self.chain(_ARITHMETIC, lambda: self.operand(levels), 4) for _ in range(self.random.choice((1, 1, 2)))]
        return f" {self.random.choice(_COMPARISONS)} ".join(sides)

    def operand(self, levels: int) -> str:
        random = self.random
        text = random.choice(("", "", "", "!", "*", "-", "- ", "-!")) + self.primary(levels - 1)
        for _ in range(random.choice((0, 0, 1, 2))):
            text += self.suffix(levels - 1)
        return text

    def primary(self, levels: int) -> str:
        kind = self.random.randrange(6)
        if levels > 0 and kind == 0:
            return f"({self.expression(levels)})"
        if levels > 0 and kind == 1:
            return f"len({self.expression(levels)})"
        return self.random.choice(_LEAVES)

    def suffix(self, levels: int) -> str:
        kind = self.random.randrange(4 if levels > 0 else 2)
        if kind == 0:
            return f" .({self.random.choice(_TYPES)})"
        if kind == 1:
            return f" .{self.random.choice(('Path', 'x1', '_y'))}"
        if kind == 2:
            return f"[{self.expression(levels)}]"
        low, high = (self.expression(levels) if self.random.random() < 0.6 else "" for _ in range(2))
        return f"[{low}:{high}]"


def told(node: Expression | None) -> str:
    """As told by tests/programs/goexpressions."""
    match node:
        case None:
            return "_"
        case tree.Name(name):
            return name
        case tree.Literal(bytes(text)):
            return f"text:{text.hex()}"
        case tree.Literal(bool(value)):
            return "true" if value else "false"
        case tree.Literal(None):
            return "nil"
        case tree.Literal(float(value)):
            return f"{value:.17g}"
        case tree.Literal(int(value)):
            return str(value)
        case tree.Select(operand, field):
            return f"(. {told(operand)} {field})"
        case tree.Index(operand, index):
            return f"([] {told(operand)} {told(index)})"
        case tree.Slice(operand, low, high):
            return f"([:] {told(operand)} {told(low)} {told(high)})"
        case tree.Assert(operand, type):
            return f"(.() {told(operand)} {type.replace(' ', '')})"
        case tree.Call(function, arguments):
            return f"(call {' '.join([function, *map(told, arguments)])})"
        case tree.Unary(operator, operand):
            return f"({operator} {told(operand)})"
        case tree.Binary(operator, left, right):
            return f"({operator} {told(left)} {told(right)})"
    raise AssertionError(node)
