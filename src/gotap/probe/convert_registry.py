"""The registry of conversions, and what a conversion is; see gotap.probe.convert, which holds the whole list."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

from msgspec import Struct

from gotap.errors import GotapError
from gotap.probe.record import Attribute

Value = str | int | bool
Param = str | int | tuple[str, ...]
Convert = Callable[..., Value | None]
_Function = TypeVar("_Function", bound=Convert)

#: Ends the text of an attribute whose value was cut.
ELLIPSIS = "…"


class ConversionError(GotapError):
    """A catalogue names a conversion that does not exist, or gives it inputs or parameters that it does not take."""


class Cut(str):
    """The kept beginning of a text that was longer than what its column keeps."""

    __slots__ = ()


class Result(Enum):
    TEXT = "text"
    INT = "int"
    BOOL = "bool"


class Conversion(Struct, frozen=True):
    """One conversion; `inputs` is the fewest and the most columns it takes.

    `free`: results are texts of which most may be different, so there is no use in numbering them.
    `verbatim`: a text that was not cut stays as it is, unless it is empty.
    `separator`: of texts joined by it, none of them cut or empty, the result is their results joined by it.
    """

    name: str
    function: Convert
    result: Result
    inputs: tuple[int, int]
    params: frozenset[str]
    free: bool
    verbatim: bool
    separator: str = ""

    def bind(self, attribute: Attribute, options: Mapping[str, Param] = MappingProxyType({})) -> Convert:
        """The function with its constants in place: the catalogue's, and over them the user's `options`.

        An option names a parameter (`sensitive`, `known`) and goes to every conversion that has it.
        """
        fewest, most = self.inputs
        if not fewest <= len(attribute.inputs) <= most:
            count = str(most) if fewest == most else f"{fewest} to {most}"
            raise ConversionError(
                f"{attribute.key}: conversion {self.name} takes {count} columns, not {len(attribute.inputs)}"
            )
        params: dict[str, Any] = dict(attribute.params)
        for name in params:
            if name not in self.params:
                raise ConversionError(
                    f"{attribute.key}: conversion {self.name} has no parameter {name}",
                    f"its parameters: {', '.join(sorted(self.params)) or 'none'}",
                )
        params |= {name: value for name, value in options.items() if name in self.params}
        return partial(self.function, **params) if params else self.function


_registry: dict[str, Conversion] = {}

#: All conversions by name.
CONVERSIONS: Mapping[str, Conversion] = MappingProxyType(_registry)


def conversion(name: str) -> Conversion:
    """The conversion of that name; raises ConversionError if there is none."""
    try:
        return CONVERSIONS[name]
    except KeyError:
        known = ", ".join(sorted(CONVERSIONS))
        raise ConversionError(f"there is no conversion {name}", f"conversions: {known}") from None


def register(
    result: Result, *, name: str = "", free: bool = False, verbatim: bool = False, separator: str = ""
) -> Callable[[_Function], _Function]:
    """Enters a function into the list: positional parameters are inputs, keyword-only ones constants."""

    def enter(function: _Function) -> _Function:
        parameters = inspect.signature(function).parameters.values()
        inputs = [one for one in parameters if one.kind is not inspect.Parameter.KEYWORD_ONLY]
        fewest = sum(one.default is inspect.Parameter.empty for one in inputs)
        params = frozenset(one.name for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY)
        key = name or function.__name__
        _registry[key] = Conversion(key, function, result, (fewest, len(inputs)), params, free, verbatim, separator)
        return function

    return enter


def shown(text: str) -> str:
    """The text of an attribute; one that was cut says so."""
    return text + ELLIPSIS if isinstance(text, Cut) else text
