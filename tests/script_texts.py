"""Scripts for tests: trees as text again, and trees without the places where they stand."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from expression_texts import Writer
from gotap.probe import expression as tree
from gotap.probe.expression import Expression
from gotap.probe.script.language import tree as script

_SPECS = (
    "begin", "end", "interval:1s", "interval:250ms", "profile:99hz", "main.*", "net/http.(*Transport).*:return",
    "main.Map[int,string]:entry", "main.f.func1:inline", "main.(*T[go.shape.int]).M-fm:panic", "main.go:42",
    "http/server.go:7", "goroutine:park", "syscall:openat", "tracepoint:sched:sched_switch",
    "uprobe:/bin/bash:readline", "uprobe:/lib/x.so:f+16", "uprobe:/bin/bash:readline:return",
    "gopkg.in/yaml%2ev3.Unmarshal",
)  # fmt: skip


def places_removed(node: object) -> object:
    """Nested tuples that are equal when trees differ only in where they stand and how they were written."""
    if isinstance(node, tuple):
        return tuple(places_removed(one) for one in node)
    if isinstance(node, Struct):
        fields = [name for name in node.__struct_fields__ if name not in ("at", "format_at")]
        if isinstance(node, script.Script | script.Probe):
            fields.remove("text")
        return type(node).__name__, *(places_removed(getattr(node, name)) for name in fields)
    return node


def written(node: script.Script) -> str:
    signatures = [f"sig {_quoted(one.text)}" for one in node.signatures]
    return "\n".join([*signatures, *map(_probe, node.probes)])


def _quoted(text: str) -> str:
    quote = next(quote for quote in "'\"`" if quote not in text)
    return f"{quote}{text}{quote}"


def _probe(probe: script.Probe) -> str:
    text = ", ".join(map(_spec, probe.specs))
    if probe.predicate is not None:
        text += f" / {expression(probe.predicate)} /"
    return text if probe.block is None else f"{text} {_block(probe.block)}"


def _spec(spec: script.Spec) -> str:
    match spec:
        case script.Begin():
            return "begin"
        case script.End():
            return "end"
        case script.Interval(nanoseconds):
            return f"interval:{nanoseconds}ns"
        case script.Profile(hertz):
            return f"profile:{hertz}"
        case script.Function(pattern, point):
            return f'"{pattern}"' if point == "call" else f'"{pattern}":{point}'
        case script.Line(file, line):
            return f'"{file}":{line}'
        case script.Goroutine(event):
            return f"goroutine:{event}"
        case script.Syscall(name):
            return f"syscall:{name}"
        case script.Tracepoint(category, name):
            return f"tracepoint:{category}:{name}"
        case script.Uprobe(path, symbol, offset, returns):
            symbol = f"{symbol}+{offset:#x}" if offset else f'"{symbol}"'
            return f'uprobe:"{path}":{symbol}{":return" if returns else ""}'


def _block(block: Iterable[script.Statement]) -> str:
    return f"{{ {'; '.join(map(_statement, block))} }}"


def _statement(node: script.Statement) -> str:
    match node:
        case script.Assign(target, operator, value):
            return f"{_target(target)} {operator} {expression(value)}"
        case script.Aggregate(target, function, arguments):
            return f"{_target(target)} = {function}({_list(arguments)})"
        case script.Print(arguments):
            return f"print({_list(arguments)})"
        case script.Printf(format, arguments):
            return f"printf({_list((tree.Literal(format.encode('utf-8', 'surrogateescape')), *arguments))})"
        case script.If(condition, then, otherwise):
            return f"if {expression(condition)} {_block(then)}" + (f" else {_block(otherwise)}" if otherwise else "")
        case script.For(variable, first, limit, body):
            return f"for ${variable} in {expression(first)}..{expression(limit)} {_block(body)}"
        case script.Delete(target):
            return f"delete({_target(target)})"
        case script.Clear(name):
            return f"clear(@{name})"
        case script.Stop():
            return "stop"


def _target(target: script.Target) -> str:
    match target:
        case script.MapTarget(name, keys):
            return expression(tree.MapValue(name, keys))
        case script.LocalTarget(name):
            return f"${name}"
        case script.OwnTarget(name):
            return f"self.{name}"


def _list(nodes: Iterable[Expression]) -> str:
    return ", ".join(map(expression, nodes))


def expression(node: Expression) -> str:
    """With all parentheses that there can be."""
    match node:
        case tree.Name(name):
            return name
        case tree.Local(name):
            return f"${name}"
        case tree.Own(name):
            return f"self.{name}"
        case tree.MapValue(name, keys):
            return f"@{name}[{_list(keys)}]" if keys else f"@{name}"
        case tree.Literal():
            return _literal(node)
        case tree.Select(operand, field):
            return f"({expression(operand)}).{field}"
        case tree.Index(operand, index):
            return f"({expression(operand)})[{expression(index)}]"
        case tree.Slice(operand, low, high):
            ends = (expression(one) if one is not None else "" for one in (low, high))
            return f"({expression(operand)})[{':'.join(ends)}]"
        case tree.Assert(operand, type):
            return f"({expression(operand)}).({type})"
        case tree.Call(function, arguments):
            return f"{function}({_list(arguments)})"
        case tree.Unary(operator, operand):
            return f"{operator}({expression(operand)})"
        case tree.Binary(operator, left, right):
            return f"({expression(left)} {operator} {expression(right)})"


def _literal(node: tree.Literal) -> str:
    match node.value:
        case bool(value):
            return "true" if value else "false"
        case None:
            return "nil"
        case bytes(value):
            return '"' + "".join(f"\\x{byte:02x}" for byte in value) + '"'
        case int(value) if node.unit == "rune":
            sign = "-" if value < 0 else ""
            return f"{sign}'\\U{abs(value):08x}'"
        case int(value):
            return f"{value}ns" if node.unit else str(value)
        case value:
            return repr(value)


class ScriptWriter(Writer):
    """Writes random scripts."""

    def script(self) -> str:
        separators = ("\n", " ; ", "\n\n// comment }\n", " /* ; */\n")
        return "".join(f"{self.probe()}{self.random.choice(separators)}" for _ in range(self.random.randrange(1, 4)))

    def probe(self) -> str:
        random = self.random
        text = ",".join(random.choice(_SPECS) for _ in range(random.choice((1, 1, 2))))
        if random.random() < 0.4:
            text += f" / {self.expression(2)} /" + random.choice(("", "\n"))
        return text if random.random() < 0.2 else f"{text} {self.block(2)}"

    def block(self, levels: int) -> str:
        statements = [self.statement(levels) for _ in range(self.random.randrange(4))]
        return "{" + self.random.choice((";", "\n", " ;\n")).join(statements) + " }"

    def statement(self, levels: int) -> str:
        random = self.random
        kind = random.randrange(9 if levels else 7)
        target = random.choice(("@", "@m", f"@m[{self.expression(1)}, 1m30s]", "$x", "self.y"))
        if kind < 2:
            return target + random.choice(("++", "--", f" = {self.expression(1)}", f" += {self.expression(1)}"))
        if kind == 2:
            aggregation = random.choice(("count()", "hist( latency )", "lhist(ret, 0, 9, 1)"))
            return f"@agg[{self.expression(1)}] = {aggregation}"
        if kind == 3:
            return f"print({self.expression(1)}, @m)"
        if kind == 4:
            return f'printf("a\\n%-5d %q%%\\xff", {self.expression(1)})'
        if kind == 5:
            return random.choice(("delete(@m[1])", "clear(@)", "stop", "stop()"))
        if kind == 6:
            return f"if {self.expression(1)} {self.block(0)}\n else if (a) {{}} else {self.block(0)}"
        if kind == 7:
            return f"if ({self.expression(1)}) {self.block(levels - 1)}"
        return f"for $i in 0 .. {self.primary(1)} {self.block(levels - 1)}"
