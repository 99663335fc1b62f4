"""The conversions as Go functions of gotaprt: what generated Go calls where a catalogue names a conversion.

The Go functions are written by hand (gotaprt/convert_*.go). Their names and parameters follow from those of the Python
functions, so that this module only tells the rule.
"""

from __future__ import annotations

import inspect
from enum import Enum
from functools import cache

from msgspec import Struct

from gotap.probe.convert import conversion


class GoType(Enum):
    """Types of gotaprt, and Go's own, that parameters have."""

    TEXT = "Text"  # an input: a column of a text or a type's name
    INT = "Int"  # an input: a column of a whole number
    BOOL = "Bool"  # an input: a column of a truth value
    TEXTS = "Texts"  # a constant; nil stands for the Python function's default
    STRING = "string"  # a constant
    INT64 = "int64"  # a constant


class GoConversion(Struct, frozen=True):
    """A Go function: its name, what its inputs are, and its constants by name, which come behind them."""

    function: str
    inputs: tuple[GoType, ...]
    constants: tuple[tuple[str, GoType], ...]


#: Words that Go writes in capitals.
_INITIALISMS = frozenset({"db", "http", "sql", "tls", "url"})

#: Conversions that are no name for a Go function: their own ones are keywords and types.
_NAMES = {"text": "FromText", "int": "FromInt", "bool": "FromBool"}

_INPUTS = {"str | None": GoType.TEXT, "int | None": GoType.INT}
_CONSTANTS = {"Collection[str]": GoType.TEXTS, "str": GoType.STRING, "int": GoType.INT64}

#: Inputs that Python takes as numbers and that captures have as truth values.
_TRUTHS = frozenset({("bool", "value"), ("scheme_from_tls", "tls")})


@cache
def go_conversion(name: str) -> GoConversion:
    """The Go function of a conversion. Raises ConversionError if there is no such conversion."""
    parameters = inspect.signature(conversion(name).function).parameters.values()
    inputs = tuple(
        GoType.BOOL if (name, one.name) in _TRUTHS else _INPUTS[one.annotation]
        for one in parameters
        if one.kind is not inspect.Parameter.KEYWORD_ONLY
    )
    constants = tuple(
        (one.name, _CONSTANTS[one.annotation]) for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY
    )
    return GoConversion(_NAMES.get(name) or _go_name(name), inputs, constants)


def _go_name(name: str) -> str:
    return "".join(word.upper() if word in _INITIALISMS else word.capitalize() for word in name.split("_"))
