"""Go function signatures and type texts, with names made full by the package they stand in."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gotap.errors import GotapError

_UNIVERSE = """bool int int8 int16 int32 int64 uint uint8 uint16 uint32 uint64 uintptr byte rune float32 float64
complex64 complex128 string error any unsafe.Pointer"""
UNIVERSE = frozenset(_UNIVERSE.split())


class SignatureError(GotapError):
    """A function signature in a catalogue or script that cannot be read."""


class Parameter(Struct, frozen=True):
    name: str
    type: str  # full name, as in DWARF


class Signature(Struct, frozen=True):
    """`symbol` is the function's name as in the line table; a trailing `*` matches any suffix."""

    symbol: str
    parameters: tuple[Parameter, ...]
    results: tuple[Parameter, ...]

    @property
    def package(self) -> str:
        return package_of(self.symbol)


def package_of(symbol: str) -> str:
    """Import path of a symbol: everything up to the first dot after the last slash outside parentheses."""
    path, _, _ = symbol.partition("(")
    slash = path.rfind("/") + 1
    dot = path.find(".", slash)
    return path[:dot] if dot >= 0 else ""


def parse_signature(text: str, imports: Mapping[str, str]) -> Signature:
    """`net/http.(*Transport).roundTrip(t *Transport, req *Request) (resp *Response, err error)`."""
    text = text.strip()
    opening = _parameter_list(text)
    closing = _matching(text, opening)
    symbol = text[:opening].strip()
    package = package_of(symbol)
    return Signature(
        symbol,
        parse_parameters(text[opening + 1 : closing], package, imports),
        parse_results(text[closing + 1 :], package, imports),
    )


def parse_results(text: str, package: str, imports: Mapping[str, str]) -> tuple[Parameter, ...]:
    """`(resp *Response, err error)`, a single bare type, or nothing."""
    text = text.strip()
    if text.startswith("("):
        text = text[1 : _matching(text, 0)]
    return parse_parameters(text, package, imports)


def parse_parameters(text: str, package: str, imports: Mapping[str, str]) -> tuple[Parameter, ...]:
    """`a, b int, s string`; names may be missing altogether, as in Go."""
    parts = [part.strip() for part in _split(text) if part.strip()]
    named = any(_name_and_type(part) is not None for part in parts)
    found: list[Parameter] = []
    pending: list[str] = []
    for part in parts:
        pair = _name_and_type(part) if named else ("_", part)
        if pair is None:
            pending.append(part)
            continue
        full = qualify(pair[1], package, imports)
        found += [Parameter(name, full) for name in (*pending, pair[0])]
        pending = []
    if pending:
        raise SignatureError(
            f"parameter `{pending[-1]}` in `{text}` has no type", "write NAME TYPE for every parameter"
        )
    return tuple(found)


def qualify(text: str, package: str, imports: Mapping[str, str]) -> str:
    """The full name of a type text: `*Request` inside net/http is `*net/http.Request`."""
    text = text.strip()
    if text.startswith("..."):
        return "[]" + qualify(text[3:], package, imports)
    for prefix in ("*", "[]"):
        if text.startswith(prefix):
            return prefix + qualify(text[len(prefix) :], package, imports)
    if text.startswith("map["):
        end = _matching(text, 3)
        key, elem = text[4:end], text[end + 1 :]
        return f"map[{qualify(key, package, imports)}]{qualify(elem, package, imports)}"
    if text.startswith("["):
        end = _matching(text, 0)
        return text[: end + 1] + qualify(text[end + 1 :], package, imports)
    if text.startswith(("func", "chan", "interface", "struct")):
        return text
    if text in UNIVERSE:
        return {"any": "interface {}", "byte": "uint8", "rune": "int32"}.get(text, text)
    prefix, dot, name = text.rpartition(".")
    if dot:
        return f"{imports.get(prefix, prefix)}.{name}"
    return f"{package}.{text}"


def _name_and_type(part: str) -> tuple[str, str] | None:
    name, blank, rest = part.partition(" ")
    return (name, rest.strip()) if blank and name.isidentifier() and name not in ("func", "chan", "map") else None


def _parameter_list(text: str) -> int:
    """Index of the parenthesis that opens the parameter list: the one after the last name before it."""
    position = 0
    while (opening := text.find("(", position)) >= 0:
        closing = _matching(text, opening)
        if text[closing + 1 : closing + 2] != ".":  # a receiver is followed by .Method
            return opening
        position = closing + 1
    raise SignatureError(f"`{text}` is not a function signature", "write PACKAGE.NAME(PARAMETERS) (RESULTS)")


def _matching(text: str, opening: int) -> int:
    depth = 0
    for place in range(opening, len(text)):
        if text[place] in "([{":
            depth += 1
        elif text[place] in ")]}":
            depth -= 1
            if depth == 0:
                return place
    raise SignatureError(f"unbalanced parentheses in `{text}`", "close what is open")


def _split(text: str) -> list[str]:
    parts, depth, begin = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append(text[begin:place])
            begin = place + 1
    parts.append(text[begin:])
    return parts
