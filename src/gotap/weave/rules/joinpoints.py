"""Join points: where advice applies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import get_args

from gotap.weave.rules import model
from gotap.weave.rules.errors import InvalidGoName, UnknownKey, WrongShape, suggestion
from gotap.weave.rules.gonames import identifier, import_path, qualified_name, type_name, type_text
from gotap.weave.rules.nodes import Node

_MATCHES: tuple[model.Match, ...] = get_args(model.Match)


def read_join_point(node: Node) -> model.JoinPoint:
    key, value = node.single("join point", _JOIN_POINTS)
    return _JOIN_POINTS[key](value)


def _several(what: str) -> Callable[[Node], tuple[model.JoinPoint, ...]]:
    def read(node: Node) -> tuple[model.JoinPoint, ...]:
        return tuple(read_join_point(item) for item in node.items(f"`{what}`", least=1))

    return read


def _all_of(node: Node) -> model.JoinPoint:
    points = _several("all-of")(node)
    return points[0] if len(points) == 1 else model.AllOf(of=points)


def _one_of(node: Node) -> model.JoinPoint:
    points = _several("one-of")(node)
    return points[0] if len(points) == 1 else model.OneOf(of=points)


def _not(node: Node) -> model.JoinPoint:
    return model.Not(of=read_join_point(node))


def _configuration(node: Node) -> model.JoinPoint:
    values = {key: value.text(f"configuration {key!r}", empty=True) for key, value in node.pairs("`configuration`")}
    if not values:
        node.fail(WrongShape, "`configuration` is an empty mapping", "Name a key and the value that it must have")
    return model.Configuration(values=values)


def _package_filter(node: Node) -> model.JoinPoint:
    """A glob pattern, or a mapping with `root` and `pattern`, of which `pattern` may be left out if `root` is true."""
    if not node.is_mapping():
        return model.PackageFilter(pattern=_pattern(node))
    values = node.mapping("`package-filter`", optional=("root", "pattern"))
    root = "root" in values and values["root"].boolean("`root`")
    if "pattern" not in values and not root:
        node.fail(WrongShape, "`package-filter` has no `pattern`", "Add `pattern:`, or `root: true` for all the module")
    return model.PackageFilter(root=root, pattern=_pattern(values["pattern"]) if "pattern" in values else "")


def _pattern(node: Node) -> str:
    """A glob as Go's path.Match has it, with `**` for any number of path segments."""
    text = node.text("a package pattern")
    inside = False
    skip = False
    for character in text:
        if skip:
            skip = False
        elif character == "\\":
            skip = True
        elif character == "[" and not inside:
            inside = True
        elif character == "]" and inside:
            inside = False
    if inside or skip:
        flaw = "an open `[`" if inside else "a single `\\` at its end"
        remedy = "Close the character class, or escape by `\\`"
        node.fail(InvalidGoName, f"the package pattern {text!r} has {flaw}", remedy)
    return text


def _test_main(node: Node) -> model.JoinPoint:
    return model.TestMain(value=node.boolean("`test-main`"))


def _function(node: Node) -> model.JoinPoint:
    options: list[model.FunctionOption] = []
    for item in node.items("`function`", least=1):
        key, value = item.single("function option", _FUNCTION_OPTIONS)
        options.append(_FUNCTION_OPTIONS[key](value))
    return model.Function(options=tuple(options))


def _name(node: Node) -> model.FunctionOption:
    """The empty name is that of function literals; a name may be a keyword of Go nowhere."""
    if not node.text("a function's `name`", empty=True):
        return model.Name(name="")
    return model.Name(name=identifier(node, "the function's name"))


def _receiver(node: Node) -> model.FunctionOption:
    if node.is_boolean():
        return model.Receiver(value=node.boolean("`receiver`"))
    return model.Receiver(type=type_text(node, "the receiver"))


def _types(node: Node, what: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    values = node.mapping(what, optional=("args", "returns"))

    def read(key: str) -> tuple[str, ...]:
        items = values[key].items(f"`{key}` of {what}") if key in values else []
        return tuple(type_text(item, f"a type of `{key}`,") for item in items)

    return read("args"), read("returns")


def _signature(node: Node) -> model.FunctionOption:
    arguments, results = _types(node, "`signature`")
    return model.Signature(args=arguments, returns=results)


def _signature_contains(node: Node) -> model.FunctionOption:
    arguments, results = _types(node, "`signature-contains`")
    if not (arguments or results):
        node.fail(WrongShape, "`signature-contains` names no type, so it matches nothing", "Add `args:` or `returns:`")
    return model.SignatureContains(args=arguments, returns=results)


def _interface(node: Node) -> str:
    return qualified_name(node, "the interface", bare=True)


def _method_call(node: Node) -> model.JoinPoint:
    values = node.mapping("`method-call`", required=("receiver", "name"), optional=("match",))
    receiver = values["receiver"].text("the receiver")
    if receiver.startswith("*"):
        values["receiver"].fail(
            InvalidGoName, f"the receiver of `method-call` is named without `*` and is {receiver!r}",
            f"Write `receiver: {receiver.lstrip('*')}` and `match: pointer-only`",
        )  # fmt: skip
    return model.MethodCall(
        receiver=qualified_name(values["receiver"], "the receiver", bare=True),
        name=identifier(values["name"], "the method's name"),
        match=_match(values),
    )


def _struct_definition(node: Node) -> model.JoinPoint:
    return model.StructDefinition(type=type_name(node, "the type of `struct-definition`"))


def _struct_literal(node: Node) -> model.JoinPoint:
    values = node.mapping("`struct-literal`", required=("type",), optional=("field", "match"))
    match = _match(values)
    if "field" in values and match != "any":
        values["match"].fail(WrongShape, f"`struct-literal` has a `field` and `match: {match}`", "Remove one of them")
    return model.StructLiteral(
        type=type_name(values["type"], "the type of `struct-literal`"),
        match=match,
        field=identifier(values["field"], "the field") if "field" in values else None,
    )


def _match(values: Mapping[str, Node]) -> model.Match:
    if "match" not in values:
        return "any"
    text = values["match"].text("`match`")
    if text not in _MATCHES:
        values["match"].fail(UnknownKey, f"`match` cannot be {text!r}", suggestion(text, _MATCHES))
    return next(match for match in _MATCHES if match == text)


def _directive(node: Node) -> model.JoinPoint:
    """A comment's first word: no space, and without the slashes that begin the comment."""
    text = node.text("a directive")
    if text.startswith("//") or len(text.split()) != 1 or text != text.strip():
        node.fail(InvalidGoName, f"the directive {text!r} is not one word without slashes",
                  "Write it as in `directive: gotap:span` for comments `//gotap:span …`")  # fmt: skip
    return model.Directive(name=text)


_JOIN_POINTS: Mapping[str, Callable[[Node], model.JoinPoint]] = {
    "all-of": _all_of,
    "one-of": _one_of,
    "not": _not,
    "configuration": _configuration,
    "import-path": lambda node: model.ImportPath(path=import_path(node, "the import path")),
    "package-name": lambda node: model.PackageName(name=identifier(node, "the package's name")),
    "package-filter": _package_filter,
    "test-main": _test_main,
    "function": _function,
    "function-body": lambda node: model.FunctionBody(of=read_join_point(node)),
    "function-call": lambda node: model.FunctionCall(function=qualified_name(node, "the function", bare=True)),
    "method-call": _method_call,
    "struct-definition": _struct_definition,
    "struct-literal": _struct_literal,
    "value-declaration": lambda node: model.ValueDeclaration(type=type_text(node, "the type of `value-declaration`")),
    "declaration-of": lambda node: model.DeclarationOf(name=qualified_name(node, "the declaration", bare=False)),
    "directive": _directive,
}

_FUNCTION_OPTIONS: Mapping[str, Callable[[Node], model.FunctionOption]] = {
    "name": _name,
    "receiver": _receiver,
    "signature": _signature,
    "signature-contains": _signature_contains,
    "result-implements": lambda node: model.ResultImplements(type=_interface(node)),
    "final-result-implements": lambda node: model.FinalResultImplements(type=_interface(node)),
    "argument-implements": lambda node: model.ArgumentImplements(type=_interface(node)),
}
