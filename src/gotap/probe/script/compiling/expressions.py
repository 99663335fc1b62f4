"""Expressions of scripts: those of the catalogue, and builtins, variables, maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from gotap.image.types.gotypes import Kind, Type
from gotap.probe import expression as tree
from gotap.probe import ir
from gotap.probe.compiler import MIRRORED, ExpressionCompiler, Scope
from gotap.probe.expression import ExpressionError
from gotap.probe.moments import wait_reasons
from gotap.probe.script.compiling.comparisons import float_comparison, time_comparison
from gotap.probe.script.compiling.globals import Globals
from gotap.probe.script.compiling.kinds import (
    CODE,
    DURATION,
    MOMENT,
    SITE,
    SPAN_ID,
    STACK,
    TRACE_ID,
    WAIT_REASON,
    as_word,
    scalar_part,
)
from gotap.probe.script.compiling.locals import Locals
from gotap.probe.script.compiling.stage import Stage
from gotap.probe.signature import qualify
from gotap.probe.typing import BOOL, INT, STRING, UnknownType
from gotap.probe.value import Value, is_dynamic_type, text_of

#: Labels of a goroutine that are looked through, from Go 1.24 on, where they are a list.
_MOST_LABELS = 10
_MOST_FRAMES = 127
#: Bytes of a text that ends with a zero.
_LONGEST_TEXT = 512


class ScriptExpression(ExpressionCompiler):
    """One expression of a script, at one stage. `shared` and `locals` hold what its names stand for."""

    stage: Stage
    shared: Globals
    locals: Locals

    def value(self, node: tree.Expression) -> Value:
        if self.stage.keep is not None and (kept := self.stage.keep(node)) is not None:
            return kept
        try:
            return self._value(node)
        except (ExpressionError, UnknownType) as error:
            raise self.shared.located(error, node) from error

    def _value(self, node: tree.Expression) -> Value:
        match node:
            case tree.Name(name):
                return self.named(name)
            case tree.Select(tree.Name("args"), name):
                return self.argument(name)
            case tree.Select(tree.Name("ret"), name) if self.stage.results is not None and name in self.stage.results:
                return self.stage.results[name]()
            case tree.Select(tree.Name(package), name) if self.is_package(package):
                return self.shared.variable(package, name)
            case tree.Local(name):
                return self.locals.get(name)
            case tree.Own(name):
                return self.shared.own.get(name)
            case tree.MapValue(name, keys):
                return self.shared.maps.read(name, self.keys(keys))
            case tree.Call("stack", arguments):
                return Value(STACK, {0: ir.Const(self.frames(arguments))})
            case tree.Call("label", (tree.Literal(bytes(key)),)):
                return self.label(key)
            case tree.Call("now", (argument,)):
                return self.now(argument)
            case tree.Call("str", (address, *more)):
                return self.c_text(self.value(address), more)
            case tree.Call(function, (argument,)) if function in ("len", "typeof", "unwrap"):
                return self.measured(function, self.value(argument))
            case tree.Call(function, _):
                raise ExpressionError(f"`{function}` cannot be called like that here", _CALLS.get(function, ""))
            case tree.Literal(value, "duration"):
                return Value(DURATION, {0: ir.Const(int(value or 0))})
            case tree.Literal(bytes(value)):
                return Value(STRING, text=ir.ConstText(value))
            case tree.Slice():
                return self.slice(node)
            case tree.Literal(float()):
                raise ExpressionError("BPF knows no fractions", "use whole numbers: 1500us in place of 1.5ms")
            case _:
                return super().value(node)

    def now(self, argument: tree.Expression) -> Value:
        """At a call's end: what an argument leads to by then, where else it would be what it was at the entry."""
        if self.stage.keep is None:
            return self.value(argument)
        later = replace(self.stage, keep=_roots_alone(self.stage.keep))
        return replace(self, stage=later).value(argument)

    def c_text(self, address: Value, more: Sequence[tree.Expression]) -> Value:
        limit = self.shared.limits.text
        if more:
            if not isinstance(more[0], tree.Literal) or not isinstance(more[0].value, int):
                raise ExpressionError("str takes an address and a number of bytes", "str(args.arg0, 64)")
            limit = more[0].value
        if scalar_part(address) is None:
            raise ExpressionError(f"a {address.type.name} is no address", "Go strings need no str(): write args.name")
        return Value(STRING, text=ir.CText(self.scalar(address), max(1, min(limit, _LONGEST_TEXT))))

    def error_result(self) -> Value:
        """The last result of type error."""
        if self.stage.results is None:
            raise ExpressionError("no result is known here", self.stage.no_results)
        for result in reversed(list(self.stage.results.values())):
            value: Value = result()
            if value.type.name == "error":
                return value
        raise ExpressionError("no result is of type error here", "")

    def measured(self, function: str, value: Value) -> Value:
        if function == "len" and isinstance(value.text, ir.KeptText):
            raise ExpressionError("the length of a text that was kept", "take len of the argument itself")
        if function == "typeof" and value.type.kind is Kind.INTERFACE and not value.type.empty:
            return _changed(self.call(function, value), lambda type: _unless_nil(value.word(0), type))
        if function == "len" and value.type.kind in (Kind.MAP, Kind.CHAN):
            return _changed(self.call(function, value), lambda count: _unless_nil(value.word(0), count))
        return self.call(function, value)

    def named(self, name: str) -> Value:
        if name in self.stage.words:
            return self.stage.words[name]()
        if name in self.stage.names:
            return self.stage.names[name]()
        if name in _AMBIENT:
            return _AMBIENT[name]()
        if name in _OF_GOROUTINES:
            if not self.stage.is_go:
                raise ExpressionError(f"no goroutine runs here, so there is no {name}", "use it at functions")
            return _OF_GOROUTINES[name](self)
        if name == "stack":
            return Value(STACK, {0: ir.Const(self.frames(()))})
        if name == "latency":
            if not self.stage.is_call:
                raise ExpressionError("latency is known when a call ends", "use it at :return")
            return Value(DURATION, {0: ir.Ambient("latency")})
        if name == "ret":
            return self.only_result()
        if name == "err":
            return self.error_result()
        if name == "args":
            raise ExpressionError("args stands for all arguments", "select one: args.NAME")
        return self.unknown(name)

    def unknown(self, name: str) -> Value:
        arguments = self.stage.parameters() or self.stage.args or {}
        if name in arguments:
            raise ExpressionError(f"`{name}` is not known here", f"write args.{name}")
        near = self.shared.similar(name, [*self.stage.names, *_AMBIENT, *_OF_GOROUTINES, "latency", "args", "ret"])
        raise ExpressionError(f"`{name}` is not known here", near or "docs/trace-language.md lists the names that are")

    def argument(self, name: str) -> Value:
        if self.stage.args is None:
            raise ExpressionError(self.stage.no_args, "`gotap trace BINARY -l PATTERN -v` shows what functions take")
        if name not in self.stage.args:
            known = list(self.stage.args)
            hint = f"`{known[0]}` exists" if len(known) == 1 else ", ".join(f"`{one}`" for one in known) + " exist"
            near = self.shared.similar(name, known)
            raise ExpressionError(f"no argument `{name}`", near or (hint if known else "the function takes none"))
        return self.stage.args[name]()

    def only_result(self) -> Value:
        results = self.stage.results
        if results is None:
            raise ExpressionError("no result is known here", self.stage.no_results)
        if len(results) != 1:
            what = ", ".join(f"ret.{name}" for name in results)
            raise ExpressionError(
                f"the function has {len(results) or 'no'} results", f"select one: {what}" if results else ""
            )
        return next(iter(results.values()))()

    def is_package(self, name: str) -> bool:
        known = name in self.stage.names or name in self.stage.words or name in _AMBIENT or name in _OF_GOROUTINES
        return not known and name not in ("args", "ret", "latency", "g")

    def keys(self, nodes: tuple[tree.Expression, ...]) -> list[Value]:
        return [as_word(self.value(node)) for node in nodes]

    def frames(self, arguments: tuple[tree.Expression, ...]) -> int:
        if not self.stage.has_stack:
            raise ExpressionError("nothing of the program runs here, so there is no stack", "use it at functions")
        match arguments:
            case ():
                return 32
            case (tree.Literal(int(count)),) if 0 < count <= _MOST_FRAMES:
                return count
        raise ExpressionError("stack takes a number of frames", f"write stack(N), N from 1 to {_MOST_FRAMES}")

    def label(self, key: bytes) -> Value:
        """A pprof label: up to Go 1.23 a map behind g.labels, from 1.24 on a list (runtime/pprof/label.go)."""
        labels = _goroutine("g.labels")(self).word(0)
        if not self.shared.go_at_least(1, 24):
            type = self.compiler.types.resolve("map[string]string")
            held = ir.Load(labels, 0, 8, False, True)
            element = ir.MapElement(held, self.compiler.maps(type), key)
            return Value(STRING, None, element)
        entries, count = ir.Load(labels, 0, 8, False, True), ir.Load(labels, 8, 8, True, True)
        return Value(STRING, text=ir.Chosen(tuple(_label(entries, count, at, key) for at in range(_MOST_LABELS))))

    def comparable_site(self, value: Value, constant: bytes) -> ir.Word | None:
        """Names of functions, packages and files are compared here: they are known for each site and address."""
        facet = value.type.name.removeprefix("gotap.site.")
        if value.type.name in {one.name for one in SITE.values()}:
            numbers = self.shared.sites.matching(facet, constant.decode("utf-8", "replace"))
            return _one_of(ir.Ambient("site"), numbers)
        if value.type.name == CODE.name:
            ranges = self.shared.code_ranges(constant.decode("utf-8", "replace"))
            return _in_ranges(value.word(0), ranges)
        if is_dynamic_type(value.type):
            name = qualify(constant.decode("utf-8", "replace"), self.stage.package, self.stage.imports)
            address = self.compiler.types.address(name)
            if address is None:
                raise UnknownType(
                    f"no value of type {name} is in any interface here", "the program does not use that type so"
                )
            return ir.Compare("==", value.word(0), ir.StaticAddress(address), False)
        if value.type.name == WAIT_REASON.name and self.shared.image is not None:
            names = wait_reasons(self.shared.image.go_version)
            wanted = constant.decode("utf-8", "replace")
            word = value.word(0, value.type.size)
            return _one_of(word, [number for number, name in enumerate(names) if name == wanted])
        return None

    def text_comparison(self, operator: str, value: Value, constant: bytes) -> ir.Word:
        word = self.comparable_site(value, constant)
        if word is not None and operator in ("==", "!="):
            return word if operator == "==" else ir.Not(word)
        return super().text_comparison(operator, value, constant)

    def binary(self, operator: str, left: tree.Expression, right: tree.Expression) -> Value:
        if operator in MIRRORED and isinstance(left, tree.Literal) and not isinstance(right, tree.Literal):
            left, right, operator = right, left, MIRRORED[operator]
        if operator in MIRRORED and isinstance(right, tree.Literal):
            compared = self.compared(operator, left, right)
            if compared is not None:
                return Value(BOOL, {0: compared})
        return super().binary(operator, left, right)

    def compared(self, operator: str, left: tree.Expression, right: tree.Literal) -> ir.Word | None:
        """A comparison with a constant that takes more than one word; None: it is none of these."""
        constant = right.value
        if not isinstance(constant, bytes | float | int) or isinstance(constant, bool):
            return None
        value = self.value(left)
        if isinstance(constant, bytes):
            if value.type.name != "time.Time":
                return None
            return time_comparison(operator, value, constant.decode("utf-8", "replace"))
        return float_comparison(operator, value, constant) if value.type.kind is Kind.FLOAT else None

    def slice(self, node: tree.Slice) -> Value:
        """A part of a string."""
        value = self.value(node.operand)
        text = text_of(value)
        if not isinstance(text, ir.Text):
            raise ExpressionError(f"a part of a {value.type.name} cannot be taken", "slice Go strings and bytes")
        low = self.scalar(self.value(node.low)) if node.low is not None else ir.Const(0)
        high = self.scalar(self.value(node.high)) if node.high is not None else text.length
        self.conditions.append(ir.Compare("<=", low, high, False))
        self.conditions.append(ir.Compare("<=", high, text.length, False))
        words: dict[int, ir.Word] = {0: ir.Add(text.pointer, low), 8: ir.Subtract(high, low)}
        return Value(value.type, words, promised=False)

    def arithmetic(self, operator: str, left: Value, right: Value) -> Value:
        value = super().arithmetic(operator, left, right)
        if operator == "-" and left.type is MOMENT and right.type is MOMENT:
            return Value(DURATION, value.words, promised=False)
        return value

    def truth(self, node: tree.Expression) -> ir.Word:
        """Also of numbers, as in awk: not 0."""
        value = self.value(node)
        if value.type.kind is not Kind.BOOL and scalar_part(value) is not None and text_of(value) is None:
            return ir.Compare("!=", self.scalar(value), ir.Const(0), False)
        if value.type.kind is not Kind.BOOL:
            raise self.shared.located(
                ExpressionError(f"{value.type.name} is neither true nor false", "compare it with something"), node
            )
        return self.scalar(value)


def _roots_alone(keep: Callable[[tree.Expression], Value | None]) -> Callable[[tree.Expression], Value | None]:
    """Keeps arguments themselves, and nothing that they lead to."""

    def keep_root(node: tree.Expression) -> Value | None:
        return keep(node) if isinstance(node, tree.Select) and isinstance(node.operand, tree.Name) else None

    return keep_root


def _changed(value: Value, change: Callable[[ir.Word], ir.Word]) -> Value:
    return replace(value, words={0: change(value.word(0))})


def _unless_nil(pointer: ir.Word, word: ir.Word) -> ir.Word:
    """The word that is found by a pointer, and 0 where that is nil."""
    return ir.Conditional(ir.Compare("!=", pointer, ir.Const(0), False), word, ir.Const(0))


def _label(entries: ir.Word, count: ir.Word, at: int, key: bytes) -> ir.Alternative:
    """The at-th label of a list of {key, value string}, if it is that one."""
    words = [ir.Load(entries, 32 * at + offset, 8, False, True) for offset in (0, 8, 16, 24)]
    there = ir.Compare(">", count, ir.Const(at), True)
    return ir.Alternative((there, ir.TextEquals(ir.Text(words[0], words[1]), key)), ir.Text(words[2], words[3]))


def _one_of(word: ir.Word, numbers: list[int]) -> ir.Word:
    found: ir.Word = ir.Const(0)
    for number in numbers:
        equal = ir.Compare("==", word, ir.Const(number), False)
        found = equal if found == ir.Const(0) else ir.Logic("||", found, equal)
    return found


def _in_ranges(word: ir.Word, ranges: list[tuple[int, int]]) -> ir.Word:
    found: ir.Word = ir.Const(0)
    for start, end in ranges:
        above = ir.Compare(">=", word, ir.StaticAddress(start), False)
        inside = ir.Logic("&&", above, ir.Compare("<", word, ir.StaticAddress(end), False))
        found = inside if found == ir.Const(0) else ir.Logic("||", found, inside)
    return found


def _goroutine(text: str) -> Callable[[ScriptExpression], Value]:
    parsed = tree.parse(text)
    return lambda compiler: ExpressionCompiler(
        compiler.compiler, Scope({}, "runtime", {}), compiler.conditions
    ).value(parsed)


class _Word(Struct, frozen=True):
    type: Type
    word: ir.Word

    def __call__(self) -> Value:
        return Value(self.type, {0: self.word})


_AMBIENT: dict[str, Callable[[], Value]] = {
    "pid": _Word(INT, ir.Ambient("pid")),
    "tid": _Word(INT, ir.Ambient("tid")),
    "cpu": _Word(INT, ir.Ambient("cpu")),
    "nsecs": _Word(MOMENT, ir.Ambient("nsecs")),
    "comm": lambda: Value(STRING, text=ir.AmbientText("comm")),
    **{facet: _Word(type, ir.Ambient("site")) for facet, type in SITE.items()},
}
_OF_GOROUTINES: dict[str, Callable[[ScriptExpression], Value]] = {
    "goid": _goroutine("g.goid"),
    "parent_goid": _goroutine("g.parentGoid"),
    "caller": lambda _: Value(CODE, {0: ir.Ambient("caller")}),
    "traceid": lambda _: Value(TRACE_ID, {0: ir.TraceWord("traceid", 0), 8: ir.TraceWord("traceid", 1)}),
    "spanid": lambda _: Value(SPAN_ID, {0: ir.TraceWord("spanid")}),
}
_CALLS = {
    "label": 'write label("KEY")',
    "stack": "write stack(N)",
    "len": "len takes one argument",
    "typeof": "typeof takes one argument",
}
