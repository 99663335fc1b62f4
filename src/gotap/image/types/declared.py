"""Go types declared as text, laid out by Go's rules for amd64: for what neither DWARF nor runtime types describe."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Protocol

from gotap.errors import GotapError
from gotap.image.abi import WORD, align, alignment
from gotap.image.facts.goversion import GoVersion
from gotap.image.types.gotypes import Field, Kind, Type, TypeRef, TypeSource
from gotap.image.types.typetext import FieldSyntax, TypeSyntax, TypeSyntaxError, parse_declarations, parse_type

_NUMBER = re.compile(r"(int|uint|float|complex)(8|16|32|64|128)?")
_WORDS = {"*": Kind.POINTER, "map": Kind.MAP, "chan": Kind.CHAN, "func": Kind.FUNC}


class UndeclaredType(GotapError):
    """A declaration uses a type by value that is declared nowhere."""


class Declaration(Protocol):
    """One or more Go type declarations of a package, valid for a range of Go versions."""

    @property
    def package(self) -> str: ...

    @property
    def since(self) -> str:
        """The first Go version it holds for: `1.18`."""
        ...

    @property
    def before(self) -> str:
        """The first Go version it no longer holds for, or empty."""
        ...

    @property
    def text(self) -> str:
        """`type stack struct { lo, hi uintptr }`."""
        ...


class DeclaredTypes:
    """The types that declarations give for one Go version. Raises TypeSyntaxError for text that cannot be read.

    A type that a declaration mentions without declaring it is looked up in `others`; behind a pointer it may be known
    nowhere as long as nobody asks for it. A struct may be declared as far as it is used: its size is then too small.
    """

    def __init__(
        self, declarations: Iterable[Declaration], version: GoVersion, others: TypeSource | None = None
    ) -> None:
        self._others = others
        self._syntax: dict[str, TypeSyntax] = {}
        self._types: dict[str, Type] = {}
        for declaration in declarations:
            if _holds(declaration, version):
                self._syntax |= parse_declarations(declaration.text, declaration.package)

    def lookup(self, name: str) -> Type | None:
        """The declared type of that name, or a universe's or composite type of declared parts; None otherwise."""
        if name in self._syntax:
            return self._named(name)
        try:
            return self._type(parse_type(name))
        except (TypeSyntaxError, UndeclaredType):
            return None

    def _named(self, name: str) -> Type:
        type_ = self._types.get(name)
        if type_ is None:
            syntax = self._syntax.get(name)
            if syntax is not None:
                type_ = self._lay_out(name, syntax)
            else:
                type_ = _universe(name) or (self._others.lookup(name) if self._others is not None else None)
            if type_ is None:
                raise UndeclaredType(f"the Go type {name} is used by a declaration but declared nowhere")
            self._types[name] = type_
        return type_

    def _type(self, syntax: TypeSyntax) -> Type:
        return self._named(syntax.name) if syntax.form == "name" else self._lay_out(syntax.name, syntax)

    def _reference(self, syntax: TypeSyntax | None) -> TypeRef:
        assert syntax is not None
        return TypeRef(partial(self._type, syntax))

    def _lay_out(self, name: str, syntax: TypeSyntax) -> Type:
        """The type of that syntax, under the name it was declared by."""
        if syntax.form in _WORDS:
            elem = self._reference(syntax.elem) if syntax.elem is not None else None
            key = self._reference(syntax.key) if syntax.key is not None else None
            return Type(name, _WORDS[syntax.form], WORD, elem=elem, key=key)
        if syntax.form == "[]":
            return Type(name, Kind.SLICE, 3 * WORD, elem=self._reference(syntax.elem))
        if syntax.form == "[n]":
            assert syntax.elem is not None
            elem_type = self._type(syntax.elem)
            return Type(name, Kind.ARRAY, syntax.count * elem_type.size, elem=TypeRef(elem_type), count=syntax.count)
        if syntax.form == "interface":
            return Type(name, Kind.INTERFACE, 2 * WORD, empty=syntax.methods == 0)
        if syntax.form == "struct":
            return self._struct(name, syntax.fields)
        underlying = self._named(syntax.name)
        return Type(
            name,
            underlying.kind,
            underlying.size,
            underlying.fields,
            underlying.elem,
            underlying.key,
            underlying.count,
            underlying.empty,
        )

    def _struct(self, name: str, members: tuple[FieldSyntax, ...]) -> Type:
        """cmd/compile/internal/types/size.go, CalcStructSize: the same in Go 1.18–1.27."""
        fields = []
        end, widest = 0, 1
        for member in members:
            type_ = self._type(member.type)
            step = alignment(type_)
            offset = align(end, step)
            fields.append(Field(member.name, offset, TypeRef(type_), member.embedded))
            end, widest = offset + type_.size, max(widest, step)
        if end and fields[-1].type.get().size == 0:
            end += 1  # so that the address of the last field is inside the struct
        return Type(name, Kind.STRUCT, align(end, widest), tuple(fields))


def mismatches(declared: Type, actual: Type) -> list[str]:
    """What is wrong with a declaration, compared with the type as DWARF has it; empty if nothing.

    Every field that the declaration names must exist at its offset with its kind and size, structs within structs too.
    An integer may stand for anything of its size: a pointer that is not followed, an atomic. Padding (`_`) and what the
    declaration leaves out do not matter.
    """
    return list(_mismatches(declared, actual, declared.name))


def _mismatches(declared: Type, actual: Type, place: str) -> Iterator[str]:
    if declared.kind in (Kind.INT, Kind.UINT):
        if declared.size != actual.size:
            yield f"{place}: {declared.size} bytes declared, {actual.name} has {actual.size}"
        return
    if declared.kind is not actual.kind:
        yield f"{place}: {declared.kind.value} declared, {actual.name} is {actual.kind.value}"
        return
    if declared.kind is Kind.INTERFACE and declared.empty != actual.empty:
        told, true = ("without", "some") if declared.empty else ("with", "none")
        yield f"{place}: declared {told} methods, {actual.name} has {true}"
    if declared.kind is Kind.STRUCT:
        fields = {field.name: field for field in actual.fields}
        for field in declared.fields:
            if field.name == "_":
                continue
            found = fields.get(field.name)
            if found is None:
                yield f"{place}.{field.name}: {actual.name} has no such field"
            elif found.offset != field.offset:
                yield f"{place}.{field.name}: offset {field.offset} declared, is {found.offset}"
            elif found.embedded != field.embedded:
                yield f"{place}.{field.name}: is {'' if found.embedded else 'not '}embedded"
            else:
                yield from _mismatches(field.type.get(), found.type.get(), f"{place}.{field.name}")
    elif declared.size != actual.size:
        yield f"{place}: {declared.size} bytes declared, {actual.name} has {actual.size}"


def _universe(name: str) -> Type | None:
    match = _NUMBER.fullmatch(name)
    if match is not None:
        kind = Kind(match[1])
        return Type(name, kind, int(match[2]) // 8 if match[2] else WORD)
    return {
        "bool": Type("bool", Kind.BOOL, 1),
        "string": Type("string", Kind.STRING, 2 * WORD),
        "uintptr": Type("uintptr", Kind.UINT, WORD),
        "unsafe.Pointer": Type("unsafe.Pointer", Kind.UNSAFE_POINTER, WORD),
        "error": Type("error", Kind.INTERFACE, 2 * WORD),
    }.get(name)


def _holds(declaration: Declaration, version: GoVersion) -> bool:
    if not version.at_least(*_release(declaration.since)):
        return False
    return not declaration.before or not version.at_least(*_release(declaration.before))


def _release(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor)
