"""What all probes of a script share: maps, goroutine-local variables, sites, layouts; and how errors point into it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from gotap.errors import GotapError
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.image.types.gotypes import Kind, Type
from gotap.probe import expression as tree
from gotap.probe import ir
from gotap.probe.compiler import Compiler
from gotap.probe.expression import ExpressionError
from gotap.probe.moments import wait_reasons
from gotap.probe.script.bound import EventSpec, MapKind, MapSpec, Part, PartKind, SiteInfo
from gotap.probe.script.compiling.kinds import STACK, TRACE_ID, WAIT_REASON, scalar_part, text_part
from gotap.probe.script.language import tree as script_tree
from gotap.probe.script.language.source import error_at
from gotap.probe.script.limits import Limits
from gotap.probe.typing import INT, STRING
from gotap.probe.value import Value, text_of

#: Bytes of a text in a key, or stored in a map.
KEY_TEXT_LIMIT = 128


class MapChanged(GotapError):
    """A map turned out to hold something else than it was taken for when it was read: bind once more, knowing that."""

    def __init__(self, name: str, type: Type) -> None:
        super().__init__(f"@{name} holds values of type {type.name}", "")
        self.name = name
        self.type = type


class Sites:
    """Numbers sites. `describe` tells function, file and line of each."""

    def __init__(self) -> None:
        self.infos: list[SiteInfo] = []

    def add(self, info: SiteInfo) -> int:
        self.infos.append(info)
        return len(self.infos) - 1

    def matching(self, facet: str, text: str) -> list[int]:
        """Numbers of the sites whose `facet` is the text."""
        names = {"func": "function", "pkg": "package", "file": "file", "line": "line"}
        return [number for number, one in enumerate(self.infos) if str(getattr(one, names[facet])) == text]


class Own:
    """Goroutine-local variables: `self.name`."""

    def __init__(self) -> None:
        self._values: dict[str, tuple[int, Value]] = {}

    def get(self, name: str) -> Value:
        if name not in self._values:
            raise ExpressionError(f"`self.{name}` is read before it is set", f"set it in a probe before: self.{name} =")
        return self._values[name][1]

    def set(self, name: str, value: Value) -> int:
        """The slot of the variable, which has the value's type from now on."""
        text = text_of(value) is not None
        if not text and scalar_part(value) is None:
            raise ExpressionError(f"a {value.type.name} does not go into a variable", "select a part of it")
        if name not in self._values:
            slot = len(self._values)
            held = (
                Value(STRING, text=ir.OwnText(slot)) if text else Value(value.type, {0: ir.Own(slot)}, promised=False)
            )
            self._values[name] = (slot, held)
        slot, held = self._values[name]
        if (held.text is not None) != text:
            raise ExpressionError(f"`self.{name}` holds a {held.type.name}", "use another variable")
        return slot

    @property
    def texts(self) -> frozenset[int]:
        return frozenset(slot for slot, value in self._values.values() if value.text is not None)

    def __len__(self) -> int:
        return len(self._values)


class Maps:
    """The script's maps: each has one kind of value, and keys of the same kinds wherever it is used."""

    def __init__(
        self, script: script_tree.Script, types: Mapping[str, Type], entries: int, named: Callable[[Part], Part]
    ) -> None:
        """`types`: what is known beforehand of what maps hold."""
        self._kinds = _declared(script)
        self._keyless = _keyless(script)
        self._types = dict(types)
        self._assumed: set[str] = set()  # maps that were taken to hold numbers
        self._entries = entries
        self._named = named
        self.specs: dict[str, MapSpec] = {}

    def number(self, name: str, keys: Sequence[Value]) -> int:
        """The number of a map that is only mentioned: deleted from, cleared, printed."""
        self._known(name)
        return self._spec(name, self.parts(keys)).number if keys else self._mention(name)

    @property
    def count(self) -> int:
        """How many maps the script stores into."""
        return len(self._kinds)

    def is_single(self, name: str) -> bool:
        """Whether a map has no keys and one value: `@x = 1`."""
        self._known(name)
        return self._kinds[name] is MapKind.VALUE and name in self._keyless

    def _mention(self, name: str) -> int:
        return list(self._kinds).index(name)

    def _known(self, name: str) -> None:
        import difflib  # for an error alone

        if name not in self._kinds:
            near = difflib.get_close_matches(name, self._kinds, 1)
            raise ExpressionError(
                f"nothing is ever stored in @{name}", f"did you mean @{near[0]}?" if near else "store something in it"
            )

    def _spec(self, name: str, keys: tuple[Part, ...]) -> MapSpec:
        spec = self.specs.get(name)
        if spec is None:
            kind = self._kinds[name]
            texts = name in self._types and self._types[name].kind is Kind.STRING
            value = Part(PartKind.TEXT, 8 + KEY_TEXT_LIMIT) if texts else Part(PartKind.INT)
            spec = MapSpec(self._mention(name), f"@{name}", kind, keys, value, entries=self._entries)
            self.specs[name] = spec
        if [part.size for part in spec.keys] != [part.size for part in keys]:
            raise ExpressionError(
                f"@{name} has {_keys(spec.keys)} elsewhere, and {_keys(keys)} here", "use the same keys everywhere"
            )
        return spec

    def parts(self, keys: Sequence[Value]) -> tuple[Part, ...]:
        parts = []
        for value in keys:
            if value.type is STACK:
                frames = value.word(0)
                assert isinstance(frames, ir.Const)
                parts.append(Part(PartKind.STACK, 8 * frames.value))
                continue
            if value.type is TRACE_ID:
                parts.append(Part(PartKind.BYTES, 16))
                continue
            part = text_part(value, KEY_TEXT_LIMIT) or scalar_part(value)
            if part is None:
                typed = value.type.kind is Kind.INTERFACE
                raise ExpressionError(
                    f"{value.type.name} cannot be a key", "take typeof(…) of it" if typed else "select a part of it"
                )
            parts.append(self._named(part))
        return tuple(parts)

    def read(self, name: str, keys: Sequence[Value]) -> Value:
        """`@name[keys]` as a value."""
        self._known(name)
        spec = self._spec(name, self.parts(keys))
        words = key_words(keys)
        if spec.kind is MapKind.VALUE and spec.value.kind is PartKind.TEXT:
            return Value(STRING, text=ir.StoredText(spec.number, words))
        if spec.kind not in (MapKind.VALUE, MapKind.COUNT, MapKind.SUM):
            raise ExpressionError(f"@{name} is a {spec.kind.value}, which a probe cannot read", "print it")
        type = self._types.get(name, INT)
        if name not in self._types:
            self._assumed.add(name)
        return Value(type, {0: ir.Stored(spec.number, words, spec.kind is MapKind.SUM)}, promised=False)

    def store(self, name: str, keys: Sequence[Value], value: Value) -> MapSpec:
        """The map that `@name[keys] = value` writes to."""
        if self._kinds[name] is not MapKind.VALUE:
            raise ExpressionError(f"@{name} is a {self._kinds[name].value}", "use another map for single values")
        part = text_part(value, KEY_TEXT_LIMIT) or scalar_part(value)
        if part is None:
            raise ExpressionError(f"a {value.type.name} does not go into a map", "select a part of it")
        part = self._named(part)
        fresh = name not in self.specs
        spec = self._spec(name, self.parts(keys))
        type = STRING if part.kind is PartKind.TEXT else value.type
        if (part.kind is PartKind.TEXT) != (spec.value.kind is PartKind.TEXT):
            if part.kind is PartKind.TEXT and name not in self._types:
                raise MapChanged(name, STRING)
            raise ExpressionError(f"@{name} holds both texts and numbers", "use two maps")
        if name in self._assumed and type is not INT and name not in self._types:
            raise MapChanged(name, type)
        if fresh or spec.value.kind is PartKind.INT:
            spec = self.specs[name] = replace(spec, value=part)
        self._types.setdefault(name, type)
        return spec

    def tally(
        self, name: str, keys: Sequence[Value], kind: MapKind, value: Part, bucket: Part | None,
        parameters: tuple[int, ...],
    ) -> MapSpec:  # fmt: skip
        """The map that an aggregation adds to."""
        if self._kinds[name] is not kind:
            raise ExpressionError(f"@{name} is a {self._kinds[name].value} elsewhere", "use one map for each")
        fresh = name not in self.specs or (self.specs[name].bucket is None and bucket is not None)
        spec = self._spec(name, self.parts(keys))
        if fresh or spec.value.kind is PartKind.INT:
            spec = self.specs[name] = replace(spec, value=value, bucket=bucket, parameters=parameters)
        elif spec.parameters != parameters:
            raise ExpressionError(f"@{name} has other parameters elsewhere", "use another map")
        return spec


def key_words(keys: Sequence[Value]) -> tuple[ir.Key, ...]:
    words: list[ir.Key] = []
    for value in keys:
        text = text_of(value) if value.type is not STACK and value.type is not TRACE_ID else None
        if value.type is STACK:
            frames = value.word(0)
            assert isinstance(frames, ir.Const)
            words.append(ir.Stack(frames.value))
        elif value.type is TRACE_ID:
            words += [value.word(0), value.word(8)]
        elif text is not None:
            words.append(text)
        else:
            words.append(value.word(0, min(value.type.size, 8)))
    return tuple(words)


def _keys(parts: Sequence[Part]) -> str:
    return f"{len(parts)} key{'s' * (len(parts) != 1)} ({', '.join(part.kind.value for part in parts)})"


def _declared(script: script_tree.Script) -> dict[str, MapKind]:
    """Map → kind, of all that the script stores into."""
    found: dict[str, MapKind] = {}
    for probe in script.probes:
        for statement in _statements(probe.block or ()):
            if isinstance(statement, script_tree.Aggregate):
                found.setdefault(statement.target.name, MapKind(statement.function))
            elif isinstance(statement, script_tree.Assign) and isinstance(statement.target, script_tree.MapTarget):
                found.setdefault(statement.target.name, MapKind.VALUE)
    return found


def _keyless(script: script_tree.Script) -> set[str]:
    """Maps that are written to without keys."""
    return {
        statement.target.name
        for probe in script.probes
        for statement in _statements(probe.block or ())
        if isinstance(statement, script_tree.Assign)
        and isinstance(statement.target, script_tree.MapTarget)
        and not statement.target.keys
    }


def _statements(block: Sequence[script_tree.Statement]) -> Iterable[script_tree.Statement]:
    for statement in block:
        yield statement
        if isinstance(statement, script_tree.If):
            yield from _statements(statement.then)
            yield from _statements(statement.otherwise)
        elif isinstance(statement, script_tree.For):
            yield from _statements(statement.body)


class Globals(Struct):
    """`image`, `compiler`: None without a Go program. `package_variable`: finds `pkg.Var`."""

    script: script_tree.Script
    limits: Limits
    maps: Maps
    image: Image | None = None
    compiler: Compiler | None = None
    made_for: Callable[[str], list[Function]] = lambda name: []  # functions that the compiler made for that one
    package_variable: Callable[[str, str], Value | None] = lambda package, name: None
    sites: Sites = field(default_factory=Sites)
    own: Own = field(default_factory=Own)
    events: dict[tuple[int, int], EventSpec] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def located(self, error: GotapError, node: tree.Expression | int) -> GotapError:
        """The error, pointing at the place in the script."""
        at = node if isinstance(node, int) else node.at
        if at < 0:
            return error
        return error_at(self.script, at, str(error), error.remedy)

    def named(self, part: Part) -> Part:
        """With the names of its numbers, where they have names."""
        if part.type == WAIT_REASON.name and self.image is not None:
            return replace(part, names=wait_reasons(self.image.go_version))
        return part

    def variable(self, package: str, name: str) -> Value:
        found = self.package_variable(package, name)
        if found is None:
            raise ExpressionError(f"`{package}.{name}` is not known here", "arguments are args.NAME")
        return found

    def similar(self, name: str, known: Iterable[str]) -> str:
        import difflib  # for an error alone

        near = difflib.get_close_matches(name, list(known), 1)
        return f"did you mean `{near[0]}`?" if near else ""

    def go_at_least(self, major: int, minor: int) -> bool:
        return self.image is not None and self.image.go_version.at_least(major, minor)

    def code_ranges(self, function: str) -> list[tuple[int, int]]:
        if self.image is None:
            return []
        found = [*self.image.pclntab.find_all(function), *self.made_for(function)]
        return [(one.address, one.end) for one in found]


