"""The Go grammar of types, as text → syntax: what a declaration or a type's name is made of.

The type part of the Go specification without type parameters. Names may carry a whole import path
(`net/http.Request`), as in DWARF; an unqualified one belongs to the package the text is read in.
"""

from __future__ import annotations

import re

from msgspec import Struct

from gotap.errors import GotapError

#: Types of the universe → reflect's name.
UNIVERSE = {
    **{f"{kind}{bits}": f"{kind}{bits}" for kind in ("int", "uint") for bits in ("", 8, 16, 32, 64)},
    **{name: name for name in ("bool", "string", "error", "uintptr", "unsafe.Pointer")},
    **{name: name for name in ("float32", "float64", "complex64", "complex128")},
    "byte": "uint8",
    "rune": "int32",
    "any": "interface {}",
}

_TOKEN = re.compile(
    r"""[^\S\n]*(?://[^\n]*)?(?:(?P<newline>\n)|(?P<mark><-|\.\.\.|[\[\](){}*,;])
    |(?P<name>\w[\w%~-]*(?:[./][\w%~-]+)*)|(?P<tag>`[^`]*`|"(?:[^"\\]|\\.)*")|(?P<end>\Z))""",
    re.VERBOSE,
)

#: Types within types; Python's stack holds twice as many.
_MAX_DEPTH = 100


class TypeSyntaxError(GotapError):
    """Text that is no Go type or type declaration of the kind this reads."""


class TypeSyntax(Struct, frozen=True):
    """One type. `name` is its text as the linker writes it; `form` tells which of the other fields hold.

    form: `name`, `*`, `[]`, `[n]`, `map`, `chan`, `func`, `struct` or `interface`.
    """

    form: str
    name: str
    elem: TypeSyntax | None = None
    key: TypeSyntax | None = None
    count: int = 0
    fields: tuple[FieldSyntax, ...] = ()
    methods: int = 0


class FieldSyntax(Struct, frozen=True):
    name: str
    type: TypeSyntax
    embedded: bool = False


def parse_type(text: str, package: str = "") -> TypeSyntax:
    """The type that a text denotes inside a package. Raises TypeSyntaxError."""
    parser = _Parser(text, package)
    type_ = parser.type()
    parser.end()
    return type_


def parse_declarations(text: str, package: str) -> dict[str, TypeSyntax]:
    """`type a struct { … }; type b uint8` → full name → type. Raises TypeSyntaxError."""
    parser = _Parser(text, package)
    declared = {}
    while not parser.at_end():
        parser.expect("type")
        name = parser.name()
        declared[parser.qualified(name)] = parser.type()
        parser.separator("")
    return declared


class _Parser:
    def __init__(self, text: str, package: str) -> None:
        self.text = text
        self.package = package
        self.at = 0
        self.depth = 0
        self.tokens = self._tokenize()

    def _tokenize(self) -> list[str]:
        tokens: list[str] = []
        at = 0
        while True:
            match = _TOKEN.match(self.text, at)
            if match is None:
                raise self._error(f"{self.text[at : at + 20]!r} is no part of a type")
            if match["end"] is not None:
                return tokens
            if match["newline"]:  # ends a line's last field, as in Go
                if tokens and (tokens[-1] in (")", "]", "}") or _is_word(tokens[-1])):
                    tokens.append(";")
            else:
                tokens.append(match[0].strip())
            at = match.end()

    # -- tokens -------------------------------------------------------------------------------------------------

    @property
    def next(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, token: str) -> bool:
        if self.next == token:
            self.at += 1
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise self._error(f"expected {token!r} before {self.next or 'the end'!r}")

    def name(self) -> str:
        token = self.next
        if not _is_word(token) or token[0] in '`"':
            raise self._error(f"expected a name before {token or 'the end'!r}")
        self.at += 1
        return token

    def separator(self, closing: str) -> None:
        """A semicolon, needed unless the list ends here."""
        if not self.take(";") and self.next != closing:
            raise self._error(f"expected ';' before {self.next!r}")
        while self.take(";"):
            pass

    def at_end(self) -> bool:
        while self.take(";"):
            pass
        return self.at >= len(self.tokens)

    def end(self) -> None:
        if not self.at_end():
            raise self._error(f"unexpected {self.next!r} behind the type")

    def qualified(self, name: str) -> str:
        if name in UNIVERSE:
            return UNIVERSE[name]
        return name if "." in name or not self.package else f"{self.package}.{name}"

    def _error(self, why: str) -> TypeSyntaxError:
        return TypeSyntaxError(f"cannot read the Go type {self.text!r}: {why}")

    # -- types --------------------------------------------------------------------------------------------------

    def type(self) -> TypeSyntax:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error("it is nested too deeply")
        found = self._type()
        self.depth -= 1
        return found

    def _type(self) -> TypeSyntax:
        if self.take("("):
            inner = self.type()
            self.expect(")")
            return inner
        if self.take("*"):
            elem = self.type()
            return TypeSyntax("*", f"*{elem.name}", elem)
        if self.take("["):
            return self._array_or_slice()
        if self.take("<-"):
            self.expect("chan")
            return self._channel("<-chan ")
        match self.next:
            case "map":
                self.at += 1
                return self._map()
            case "chan":
                self.at += 1
                return self._channel("chan<- " if self.take("<-") else "chan ")
            case "func":
                self.at += 1
                return TypeSyntax("func", "func" + self._signature())
            case "struct":
                self.at += 1
                return self._struct()
            case "interface":
                self.at += 1
                return self._interface()
        name = self.name()
        if name == "any":
            return TypeSyntax("interface", "interface {}")
        return TypeSyntax("name", self.qualified(name))

    def _array_or_slice(self) -> TypeSyntax:
        if self.take("]"):
            elem = self.type()
            return TypeSyntax("[]", f"[]{elem.name}", elem)
        length = self.name()
        self.expect("]")
        elem = self.type()
        try:
            count = int(length, 0)
        except ValueError:
            raise self._error(f"the array's length {length!r} is no number") from None
        return TypeSyntax("[n]", f"[{count}]{elem.name}", elem, count=count)

    def _map(self) -> TypeSyntax:
        self.expect("[")
        key = self.type()
        self.expect("]")
        elem = self.type()
        return TypeSyntax("map", f"map[{key.name}]{elem.name}", elem, key)

    def _channel(self, prefix: str) -> TypeSyntax:
        elem = self.type()
        nested = prefix == "chan " and elem.name.startswith("<-chan ")
        return TypeSyntax("chan", prefix + (f"({elem.name})" if nested else elem.name), elem)

    def _struct(self) -> TypeSyntax:
        self.expect("{")
        fields: list[FieldSyntax] = []
        while not self.take("}"):
            fields += self._field()
            if self.next[:1] in ("`", '"') and self.next:
                self.at += 1  # a tag
            self.separator("}")
        texts = (f"{field.type.name}" if field.embedded else f"{field.name} {field.type.name}" for field in fields)
        return TypeSyntax("struct", f"struct {{ {'; '.join(texts)} }}" if fields else "struct {}", fields=tuple(fields))

    def _field(self) -> list[FieldSyntax]:
        """One line of a struct: `a, b T`, `T`, `*T`."""
        embedded_pointer = self.next == "*"
        first = self.type()
        if embedded_pointer or self.next in (";", "}") or self.next[:1] in ("`", '"'):
            named = first.elem if embedded_pointer and first.elem is not None else first
            if named.form != "name":
                raise self._error("only a named type can be embedded")
            return [FieldSyntax(named.name.rpartition(".")[2], first, embedded=True)]
        self.at -= 1
        names = [self.name()]
        while self.take(","):
            names.append(self.name())
        type_ = self.type()
        return [FieldSyntax(name, type_) for name in names]

    def _interface(self) -> TypeSyntax:
        self.expect("{")
        methods = []
        while not self.take("}"):
            methods.append(self.name() + (self._signature() if self.next == "(" else ""))
            self.separator("}")
        name = f"interface {{ {'; '.join(methods)} }}" if methods else "interface {}"
        return TypeSyntax("interface", name, methods=len(methods))

    def _signature(self) -> str:
        """Parameters and results, as text without their names."""
        text = f"({', '.join(self._parameters())})"
        if self.next == "(":
            results = self._parameters()
            return f"{text} {results[0]}" if len(results) == 1 else f"{text} ({', '.join(results)})"
        if self.next in ("", ";", "}", ")", ",", "]"):
            return text
        return f"{text} {self.type().name}"

    def _parameters(self) -> list[str]:
        self.expect("(")
        entries: list[tuple[str, str]] = []  # what stands first, and the type behind it
        while not self.take(")"):
            first = self._variadic()
            second = self._variadic() if self.next not in (",", ")") else ""
            entries.append((first, second))
            if not self.take(",") and self.next != ")":
                raise self._error(f"expected ',' before {self.next!r}")
        if not any(second for _, second in entries):
            return [first for first, _ in entries]
        types: list[str] = []
        for _, second in reversed(entries):  # in `a, b T` the type stands with the last name
            if not (second or types):
                raise self._error("the last parameter has no type")
            types.append(second or types[-1])
        return types[::-1]

    def _variadic(self) -> str:
        return ("..." if self.take("...") else "") + self.type().name


def _is_word(token: str) -> bool:
    return bool(token) and (token[0].isalnum() or token[0] in '_`"')
