"""Expressions + types → intermediate form.

A compiled value is either a set of words (arguments, results, kept words) or a place in memory; selecting, indexing and
asserting only compute offsets and conditions, and loads are made when a word is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from gotap.image.types.gotypes import Field, Kind, Type
from gotap.probe import expression as tree
from gotap.probe import ir
from gotap.probe.catalogue import Choice
from gotap.probe.signature import qualify
from gotap.probe.typing import BOOL, EMPTY_INTERFACE, INT, UINT, WORD, Types, UnknownType, pointer_shaped
from gotap.probe.value import TYPE, Value, find_field, part, text_of

#: runtime.itab: the dynamic type's address (Go 1.18–1.27, runtime/iface.go and internal/abi.ITab).
_ITABTYPE = 8


class Scope(Struct):
    """What an expression may name: arguments, results, kept words; the package it stands in."""

    names: Mapping[str, Callable[[], Value]]
    package: str
    imports: Mapping[str, str]


class Compiler(Struct):
    """Compiles expressions for one binary. `unwrap`: error wrapper type name → field that holds the inner error."""

    types: Types
    maps: Callable[[Type], ir.BucketLayout | ir.SwissLayout]
    unwrap: Mapping[str, str] = field(default_factory=dict)

    def alternative(self, choice: Choice, scope: Scope) -> tuple[ir.Alternative, Type]:
        """One way to get a value, with the conditions under which it holds."""
        conditions: list[ir.Word] = []
        one = ExpressionCompiler(self, scope, conditions)
        if choice.when is not None:
            conditions.append(one.truth(choice.when))
        value = one.value(choice.value)
        text = text_of(value)
        if text is not None:
            return ir.Alternative(tuple(conditions), text), value.type
        return ir.Alternative(tuple(conditions), one.scalar(value)), value.type

    def value(self, expression: tree.Expression, scope: Scope) -> tuple[tuple[ir.Word, ...], Value]:
        """A value of any shape with its conditions."""
        conditions: list[ir.Word] = []
        value = ExpressionCompiler(self, scope, conditions).value(expression)
        return tuple(conditions), value

    def wrappers(self) -> tuple[tuple[int, int], ...]:
        """The error wrappers that this binary holds: (type address, offset of the inner error behind the data word)."""
        found = []
        for name, field_name in self.unwrap.items():
            address = self.types.address(name)
            structure = self.types.find(name.removeprefix("*")) if address is not None else None
            if address is None or structure is None:
                continue
            inner = next((one for one in structure.fields if one.name == field_name), None)
            if inner is not None:
                found.append((address, inner.offset))
        return tuple(found)


class ExpressionCompiler(Struct):
    """One expression in one scope; `conditions` collects what must hold for it to have a value."""

    compiler: Compiler
    scope: Scope
    conditions: list[ir.Word]

    def value(self, node: tree.Expression) -> Value:
        match node:
            case tree.Name(name):
                return self.name(name)
            case tree.Literal(constant):
                return self.literal(constant)
            case tree.Select(operand, field_name):
                return self.select(self.value(operand), field_name)
            case tree.Index(operand, index):
                return self.index(self.value(operand), index)
            case tree.Assert(operand, text):
                return self.assertion(self.value(operand), text)
            case tree.Call(function, (argument,)):
                return self.call(function, self.value(argument))
            case tree.Unary("*", operand):
                return self.dereference(self.value(operand))
            case tree.Unary("-", operand):
                value = self.value(operand)
                _check_whole("-", value.type)
                return Value(value.type, {0: ir.Subtract(ir.Const(0), self.scalar(value))})
            case tree.Unary("!", operand):
                return Value(BOOL, {0: ir.Not(self.truth(operand))})
            case tree.Binary(operator, left, right):
                return self.binary(operator, left, right)
            case _:
                raise tree.ExpressionError(
                    "slices and a script's variables are not possible here", "write a Go operand or a comparison"
                )

    def name(self, name: str) -> Value:
        if name in self.scope.names:
            return self.scope.names[name]()
        if name == "g":
            pointer = self.compiler.types.resolve("*runtime.g")
            return Value(pointer, {0: ir.Goroutine()})
        known = ", ".join(sorted(self.scope.names)) or "none"
        raise tree.ExpressionError(f"`{name}` is not known here", f"known names: {known}, g")

    def literal(self, constant: float | bytes | bool | None) -> Value:
        if isinstance(constant, float):
            raise tree.ExpressionError(f"{constant} is a floating-point number", "only whole numbers can be read")
        if isinstance(constant, bytes):
            raise tree.ExpressionError("a text constant stands only in comparisons and map keys", "compare it with ==")
        return Value(BOOL if isinstance(constant, bool) else INT, {0: ir.Const(int(constant or 0))})

    def scalar(self, value: Value) -> ir.Word:
        """The value as one word; ExpressionError for values of several words."""
        if value.type.kind in (Kind.FLOAT, Kind.COMPLEX):
            raise tree.ExpressionError(f"{value.type.name} is a floating-point type", "only whole numbers can be read")
        if value.type.size > 8:
            raise tree.ExpressionError(f"a value of type {value.type.name} is not one word", "select a part of it")
        if value.type.kind is Kind.STRUCT and value.words is None:
            raise tree.ExpressionError(f"a {value.type.name} is not one word", "select a field")
        return value.word(0, value.type.size, value.type.kind is Kind.INT)

    def dereference(self, value: Value) -> Value:
        if value.type.kind is not Kind.POINTER or value.type.elem is None:
            raise tree.ExpressionError(f"{value.type.name} is not a pointer", "remove the *")
        return Value(value.type.elem.get(), None, value.word(0), 0, value.promised)

    def select(self, value: Value, name: str) -> Value:
        structure = self.dereference(value) if value.type.kind is Kind.POINTER else value
        path = find_field(structure.type, name)
        if path is None:
            raise UnknownType(f"{structure.type.name} has no field {name} in this binary", "another Go version has it")
        for step in path:
            if structure.type.kind is Kind.POINTER:
                structure = self.dereference(structure)
            structure = part(structure, step)
        return structure

    def index(self, value: Value, index: tree.Expression) -> Value:
        if value.type.kind is Kind.POINTER:
            value = self.dereference(value)
        if not isinstance(index, tree.Literal) or isinstance(index.value, bool | float | None):
            return self.element(value, self.value(index))
        constant = index.value
        if value.type.kind is Kind.MAP:
            return self.map_element(value, constant)
        if isinstance(constant, bytes):
            raise tree.ExpressionError(f"{value.type.name} is not a map", "index it by a number")
        if value.type.kind is Kind.ARRAY and value.type.elem is not None and constant < value.type.count:
            elem = value.type.elem.get()
            return part(value, Field(str(constant), constant * elem.size, value.type.elem))
        if value.type.kind not in (Kind.SLICE, Kind.STRING):
            raise tree.ExpressionError(f"{value.type.name} cannot be indexed by {constant}", "select a field")
        elem = value.type.elem.get() if value.type.elem is not None else self.compiler.types.resolve("uint8")
        self.conditions.append(ir.Compare(">", value.word(8), ir.Const(constant), True))
        return Value(elem, None, value.word(0), constant * elem.size, value.promised)

    def element(self, value: Value, index: Value) -> Value:
        """The element of a slice, string or array in memory at an index that is calculated."""
        _check_whole("an index", index.type)
        if value.type.kind in (Kind.SLICE, Kind.STRING):
            length, start = value.word(8), value.word(0)
        elif value.type.kind is Kind.ARRAY and value.base is not None:
            length = ir.Const(value.type.count)
            start = ir.Add(value.base, ir.Const(value.offset))
        else:
            raise tree.ExpressionError(
                f"{value.type.name} cannot be indexed by what is calculated", "write a constant index"
            )
        elem = value.type.elem.get() if value.type.elem is not None else self.compiler.types.resolve("uint8")
        at = self.scalar(index)
        self.conditions.append(ir.Compare("<", at, length, False))  # unsigned: negative ones are out of range too
        base = ir.Add(start, ir.Arithmetic("*", at, ir.Const(elem.size), False))
        return Value(elem, None, base, 0, promised=False)

    def map_element(self, value: Value, key: int | bytes) -> Value:
        assert value.type.key is not None
        assert value.type.elem is not None
        if not isinstance(key, bytes) or value.type.key.get().kind is not Kind.STRING:
            raise tree.ExpressionError(
                f"the keys of {value.type.name} are not texts", "only text keys can be looked up"
            )
        layout = self.compiler.maps(value.type)
        return Value(value.type.elem.get(), None, ir.MapElement(value.word(0), layout, key), 0, value.promised)

    def dynamic_type(self, value: Value) -> ir.Word:
        if value.type.kind is not Kind.INTERFACE:
            raise tree.ExpressionError(
                f"{value.type.name} is not an interface", "assert or take typeof of interfaces only"
            )
        word = value.word(0)
        return word if value.type.empty else ir.Load(word, _ITABTYPE, 8, False, value.promised)

    def assertion(self, value: Value, text: str) -> Value:
        name = qualify(text, self.scope.package, self.scope.imports)
        address = self.compiler.types.address(name)
        if address is None:
            raise UnknownType(
                f"no value of type {name} can be in an interface here", "the program does not use that type so"
            )
        type = self.compiler.types.resolve(name)
        self.conditions.append(ir.Compare("==", self.dynamic_type(value), ir.StaticAddress(address), False))
        data = value.word(8)
        if pointer_shaped(type):
            return Value(type, {0: data}, promised=value.promised)
        return Value(type, None, data, 0, value.promised)

    def call(self, function: str, value: Value) -> Value:
        if function == "typeof":
            return Value(TYPE, {0: self.dynamic_type(value)})
        if function == "unwrap":
            type, data = self.dynamic_type(value), value.word(8)
            wrappers = self.compiler.wrappers()
            parts = {8 * part: ir.Unwrapped(type, data, wrappers, part) for part in (0, 1)}
            return Value(EMPTY_INTERFACE, parts, promised=value.promised)
        if value.type.kind in (Kind.STRING, Kind.SLICE):
            return Value(INT, {0: value.word(8, 8, True)})
        if value.type.kind is Kind.ARRAY:
            return Value(INT, {0: ir.Const(value.type.count)})
        if value.type.kind in (Kind.MAP, Kind.CHAN):
            # hmap.count, maps.Map.used, hchan.qcount: the first word. Of nil it is absent, where Go says 0.
            return Value(INT, {0: ir.Load(value.word(0), 0, 8, True, value.promised)})
        raise tree.ExpressionError(
            f"{value.type.name} has no len", "take len of strings, slices, arrays, maps, channels"
        )

    def binary(self, operator: str, left: tree.Expression, right: tree.Expression) -> Value:
        if operator in ARITHMETIC:
            return self.arithmetic(operator, self.value(left), self.value(right))
        if operator in ("&&", "||"):
            logic = ir.Logic("&&" if operator == "&&" else "||", self.truth(left), self.truth(right))
            return Value(BOOL, {0: logic})
        if isinstance(left, tree.Literal) and not isinstance(right, tree.Literal):
            left, right, operator = right, left, MIRRORED[operator]
        value = self.value(left)
        if isinstance(right, tree.Literal) and isinstance(right.value, bytes):
            return Value(BOOL, {0: self.text_comparison(operator, value, right.value)})
        if isinstance(right, tree.Literal):
            second: ir.Word = self.constant(operator, value.type, right.value)
        else:
            other = self.value(right)
            if (texts := (text_of(value), text_of(other))) != (None, None):
                return Value(BOOL, {0: self.texts_comparison(operator, value, other, texts)})
            _check_comparable(operator, value.type, other.type)
            second = self.scalar(other)
        first = value.word(0, min(value.type.size, 8), value.type.kind is Kind.INT)
        return Value(BOOL, {0: ir.Compare(operator, first, second, value.type.kind is Kind.INT)})

    def constant(self, operator: str, type: Type, constant: float | bytes | bool | None) -> ir.Const:
        """The right side of a comparison with a value of that type; ExpressionError where Go would refuse it."""
        equality = operator in ("==", "!=")
        if constant is None:
            fits = type.kind in _NILABLE and equality
        elif isinstance(constant, bool):
            fits = type.kind is Kind.BOOL and equality
        else:
            bits = 8 * type.size - (type.kind is Kind.INT)
            least = -(1 << bits) if type.kind is Kind.INT else 0
            fits = type.kind in _WHOLE and isinstance(constant, int) and least <= constant < 1 << bits
        if not fits:
            text = "nil" if constant is None else str(constant).lower()
            raise tree.ExpressionError(
                f"{type.name} cannot be compared with {text} by {operator}",
                "compare whole numbers with numbers, truth values with true, pointers with nil",
            )
        return ir.Const(int(constant or 0))

    def truth(self, node: tree.Expression) -> ir.Word:
        value = self.value(node)
        if value.type.kind is not Kind.BOOL:
            raise tree.ExpressionError(f"{value.type.name} is neither true nor false", "compare it with something")
        return self.scalar(value)

    def text_comparison(self, operator: str, value: Value, constant: bytes) -> ir.Word:
        text = text_of(value)
        if text is None or operator not in ("==", "!="):
            raise tree.ExpressionError(
                f"{value.type.name} cannot be compared with a text by {operator}", "use == or !="
            )
        equals: ir.Word
        if isinstance(text, ir.Text) and len(constant) <= _SHORT_TEXT:
            equals = ir.TextEquals(text, constant)
        else:
            equals = ir.TextsEqual(text, ir.ConstText(constant))
        return equals if operator == "==" else ir.Not(equals)

    def texts_comparison(
        self, operator: str, left: Value, right: Value, texts: tuple[ir.AnyText | None, ir.AnyText | None]
    ) -> ir.Word:
        if texts[0] is None or texts[1] is None or operator not in ("==", "!="):
            raise tree.ExpressionError(
                f"{left.type.name} cannot be compared with {right.type.name} by {operator}",
                "compare texts with texts, by == or !=",
            )
        equals = ir.TextsEqual(texts[0], texts[1])
        return equals if operator == "==" else ir.Not(equals)

    def arithmetic(self, operator: str, left: Value, right: Value) -> Value:
        """64 bits wide, whatever the operands' sizes; of the left operand's type, unless that is a constant."""
        for one in (left, right):
            _check_whole(operator, one.type)
        type = right.type if left.type is INT and right.type is not INT and operator not in ("<<", ">>") else left.type
        if type.size < WORD:
            type = INT if type.kind is Kind.INT else UINT
        first, second = self.scalar(left), self.scalar(right)
        word: ir.Word
        if operator == "+":
            word = ir.Add(first, second)
        elif operator == "-":
            word = ir.Subtract(first, second)
        else:
            word = ir.Arithmetic(operator, first, second, type.kind is Kind.INT)  # type: ignore[arg-type]
        return Value(type, {0: word})


_WHOLE = (Kind.INT, Kind.UINT)
ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"})
#: Constants of up to this many bytes are compared on the stack.
_SHORT_TEXT = 64
_NILABLE = (
    Kind.POINTER, Kind.UNSAFE_POINTER, Kind.MAP, Kind.CHAN, Kind.FUNC, Kind.SLICE, Kind.INTERFACE,
)  # fmt: skip
#: Kinds of one word whose values are equal when the words are.
_ONE_WORD = (*_WHOLE, Kind.BOOL, Kind.POINTER, Kind.UNSAFE_POINTER, Kind.CHAN)
MIRRORED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _check_comparable(operator: str, left: Type, right: Type) -> None:
    """Two values of the same kind and size, which are one word; only whole numbers have an order."""
    kinds = _ONE_WORD if operator in ("==", "!=") else _WHOLE
    if left.kind is not right.kind or left.size != right.size or left.kind not in kinds:
        raise tree.ExpressionError(
            f"{left.name} cannot be compared with {right.name} by {operator}",
            "compare values of the same type: whole numbers, or by == and != truth values and pointers",
        )


def _check_whole(operator: str, type: Type) -> None:
    if type.kind not in _WHOLE:
        raise tree.ExpressionError(f"{operator} does not work on {type.name}", "calculate with whole numbers")
