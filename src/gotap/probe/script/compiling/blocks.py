"""A probe's block → statements of a routine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gotap.errors import GotapError
from gotap.probe import expression as tree
from gotap.probe import ir
from gotap.probe.compiler import Compiler, Scope
from gotap.probe.expression import ExpressionError
from gotap.probe.script.bound import EventKind, EventSpec, Part, PartKind
from gotap.probe.script.compiling.aggregations import tally
from gotap.probe.script.compiling.expressions import ScriptExpression
from gotap.probe.script.compiling.frames import Captured, FrameBuilder
from gotap.probe.script.compiling.globals import Globals, key_words
from gotap.probe.script.compiling.kinds import as_word
from gotap.probe.script.compiling.locals import Locals
from gotap.probe.script.compiling.stage import Stage, only_args
from gotap.probe.script.language import tree as script
from gotap.probe.script.language.format import FormatError, directives, parse_format
from gotap.probe.script.routine import (
    Branch,
    ClearMap,
    Emit,
    Loop,
    Remove,
    SetOwn,
    Statement,
    Store,
)
from gotap.probe.typing import INT
from gotap.probe.value import NotAtHand, Value, text_of


class Block:
    """Compiles the statements of one routine.

    `keep_whole`: captures an argument for printing at the call's entry, where it stands; None where that is now.
    """

    def __init__(
        self,
        shared: Globals,
        compiler: Compiler,
        stage: Stage,
        frame: FrameBuilder,
        probe: script.Probe,
        keep_whole: Callable[[tree.Expression], Part] | None = None,
    ) -> None:
        self.shared = shared
        self.compiler = compiler
        self.stage = stage
        self.frame = frame
        self.probe = probe
        self.keep_whole = keep_whole
        self.locals = Locals()

    # -- expressions ----------------------------------------------------------------------------------------------

    def expression(self, conditions: list[ir.Word]) -> ScriptExpression:
        scope = Scope({}, self.stage.package, self.stage.imports)
        return ScriptExpression(self.compiler, scope, conditions, self.stage, self.shared, self.locals)

    def value(self, node: tree.Expression) -> tuple[list[ir.Word], Value]:
        conditions: list[ir.Word] = []
        return conditions, self.expression(conditions).value(node)

    def truth(self, node: tree.Expression) -> tuple[ir.Word, ...]:
        """Words that must all hold."""
        conditions: list[ir.Word] = []
        word = self.expression(conditions).truth(node)
        return (*conditions, word)

    def keys(self, target: script.MapTarget) -> tuple[list[ir.Word], list[Value]]:
        conditions: list[ir.Word] = []
        return conditions, [as_word(self.expression(conditions).value(key)) for key in target.keys]

    # -- statements -----------------------------------------------------------------------------------------------

    def statements(self, nodes: Sequence[script.Statement]) -> tuple[Statement, ...]:
        return tuple(statement for node in nodes for statement in self.statement(node))

    def statement(self, node: script.Statement) -> list[Statement]:
        try:
            return self._statement(node)
        except ExpressionError as error:
            raise self.shared.located(error, node.at) from None

    def _statement(self, node: script.Statement) -> list[Statement]:
        match node:
            case script.Assign():
                return self.assign(node)
            case script.Aggregate():
                return self.aggregate(node)
            case script.Printf():
                return [self.printf(node)]
            case script.Print():
                return self.print(node)
            case script.If(condition, then, otherwise):
                words = self.truth(condition)
                return [Branch(all_of(words), self.statements(then), self.statements(otherwise))]
            case script.For():
                return [self.loop(node)]
            case script.Delete(target):
                conditions, keys = self.keys(target)
                return _guarded(conditions, [Remove(self.shared.maps.number(target.name, keys), key_words(keys))])
            case script.Clear(name):
                return [ClearMap(self.shared.maps.number(name, ()))]
            case script.Stop():
                return [Emit(self.frame.event(EventSpec(EventKind.STOP, self.probe.text)), wake=True, stop=True)]

    def assign(self, node: script.Assign) -> list[Statement]:
        conditions, value = self.value(node.value)
        value = as_word(value)
        match node.target:
            case script.LocalTarget(name):
                return _guarded(conditions, list(self.locals.set(name, self.changed(node, value))))
            case script.OwnTarget(name):
                self.need_goroutine(node.at)
                value, add = _added(node.operator, value)
                slot = self.shared.own.set(name, value)
                return _guarded(conditions, [SetOwn(slot, _stored(value), add)])
            case script.MapTarget(name):
                value, add = _added(node.operator, value)
                more, keys = self.keys(node.target)
                spec = self.shared.maps.store(name, keys, value)
                return _guarded([*conditions, *more], [Store(spec.number, key_words(keys), _stored(value), add)])

    def changed(self, node: script.Assign, value: Value) -> Value:
        """What a local becomes: `$x += 1` is `$x = $x + 1`."""
        assert isinstance(node.target, script.LocalTarget)
        if node.operator == "=":
            return value
        return self.expression([]).arithmetic(node.operator[0], self.locals.get(node.target.name), value)

    def need_goroutine(self, at: int) -> None:
        if not self.stage.is_go:
            raise self.shared.located(
                ExpressionError("no goroutine runs here, so it has no variables", "use a map: @name[tid] = …"), at
            )

    def aggregate(self, node: script.Aggregate) -> list[Statement]:
        conditions, keys = self.keys(node.target)
        arguments = []
        for argument in node.arguments:
            more, value = self.value(argument)
            conditions += more
            arguments.append(as_word(value))
        return _guarded(conditions, [tally(self.shared.maps, node, keys, arguments)])

    def loop(self, node: script.For) -> Statement:
        before, first = self.value(node.first)
        more, limit = self.value(node.limit)
        slot = self.locals.counter(node.variable, Value(INT, {0: ir.Const(0)}))
        body = self.statements(node.body)
        expression = self.expression([])
        loop = Loop(slot, expression.scalar(first), expression.scalar(limit), body)
        return _guarded([*before, *more], [loop])[0]

    # -- output ---------------------------------------------------------------------------------------------------

    def printf(self, node: script.Printf) -> Statement:
        try:
            wanted = directives(parse_format(node.format))
        except FormatError as error:
            raise ExpressionError(str(error), error.remedy) from None
        if len(wanted) != len(node.arguments):
            raise ExpressionError(
                f"the format takes {len(wanted)} argument{'s' * (len(wanted) != 1)}, and there are "
                f"{len(node.arguments)}",
                "one argument for each %",
            )
        into = Captured()
        arguments = tuple(self.argument(one, into) for one in node.arguments)
        for directive, part, one in zip(wanted, arguments, node.arguments, strict=True):
            if directive.verb in _OF_NUMBERS and _is_text(part):
                what = f"%{directive.verb} writes a number, and this is a text"
                raise self.shared.located(ExpressionError(what, "write %s or %v"), one)
        return self.emit(EventSpec(EventKind.PRINTF, self.probe.text, node.format, arguments), into)

    def print(self, node: script.Print) -> list[Statement]:
        """Whole maps are printed each by itself."""
        statements: list[Statement] = []
        values = []
        for argument in node.arguments:
            if isinstance(argument, tree.MapValue) and not argument.keys and self.is_whole(argument.name):
                number = self.shared.maps.number(argument.name, ())
                event = self.frame.event(EventSpec(EventKind.MAP, self.probe.text, map=number))
                statements.append(Emit(event, epoch_of=number))
            else:
                values.append(argument)
        if values:
            into = Captured()
            parts = tuple(self.argument(one, into) for one in values)
            statements.append(self.emit(EventSpec(EventKind.PRINT, self.probe.text, arguments=parts), into))
        return statements

    def is_whole(self, name: str) -> bool:
        """Whether `@name` without keys is a map with keys, or an aggregation: printed whole."""
        return not self.shared.maps.is_single(name)

    def emit(self, spec: EventSpec, into: Captured) -> Emit:
        return Emit(self.frame.event(spec), tuple(into.captures), tuple(into.values), tuple(into.stacks))

    def argument(self, node: tree.Expression, into: Captured) -> Part:
        """Something to be printed: captured now, or at the call's entry when it is an argument of a call that ends."""
        if self.keep_whole is not None and only_args(node):
            return self.keep_whole(node)
        return self.captured(node, into)

    def captured(self, node: tree.Expression, into: Captured) -> Part:
        try:
            conditions, value = self.value(node)
            return self.frame.capture(value, conditions, into)
        except NotAtHand as error:
            return Part(PartKind.UINT, reason=str(error))
        except GotapError as error:
            if isinstance(error.__context__, NotAtHand):
                return Part(PartKind.UINT, reason=str(error.__context__))
            raise


#: Verbs of printf that texts do not go with.
_OF_NUMBERS = frozenset("ducft")


def _is_text(part: Part) -> bool:
    if part.kind is PartKind.SITE:
        return part.facet != "line"
    return part.kind in (PartKind.TEXT, PartKind.CODE, PartKind.STACK)


def _added(operator: str, value: Value) -> tuple[Value, bool]:
    if operator == "=":
        return value, False
    if text_of(value) is not None:
        raise ExpressionError(f"{operator} does not work on texts", "calculate with whole numbers")
    if operator == "-=":
        return Value(value.type, {0: ir.Subtract(ir.Const(0), value.word(0, value.type.size))}), True
    return value, True


def _stored(value: Value) -> ir.Word | ir.AnyText:
    text = text_of(value)
    return text if text is not None else value.word(0, min(value.type.size, 8))


def all_of(words: Sequence[ir.Word]) -> ir.Word:
    """One word that holds when all do."""
    word = words[0]
    for one in words[1:]:
        word = ir.Logic("&&", word, one)
    return word


def _guarded(conditions: Sequence[ir.Word], statements: Sequence[Statement]) -> list[Statement]:
    """The statements, where the conditions hold."""
    return [Branch(all_of(conditions), tuple(statements), ())] if conditions else list(statements)
