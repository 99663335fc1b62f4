"""Advice: what is done at a join point."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gotap.weave.rules import model
from gotap.weave.rules.errors import InvalidGoName
from gotap.weave.rules.gonames import (
    identifier,
    import_path,
    is_identifier,
    language,
    qualified_name,
    type_text,
)
from gotap.weave.rules.nodes import Node
from gotap.weave.rules.templates import check_template

_TEMPLATE_KEYS = ("imports", "lang")


def read_advice(node: Node) -> tuple[model.Advice, ...]:
    """A list of advice, or a single piece without a list around it."""
    items = node.items("`advice`", least=1) if node.is_list() else [node]
    return tuple(_one(item) for item in items)


def _one(node: Node) -> model.Advice:
    key, value = node.single("advice", _ADVICE)
    return _ADVICE[key](value, node.line)


def _template(node: Node, what: str, extra: tuple[str, ...] = ()) -> tuple[model.Template, Mapping[str, Node]]:
    """The template in a mapping, and the mapping's values, of which `extra` are the advice's own."""
    values = node.mapping(what, required=("template",), optional=(*_TEMPLATE_KEYS, *extra))
    text, line = values["template"].source("`template`")
    check_template(values["template"], text, line)
    imports: dict[str, str] = {}
    for alias, path in values["imports"].pairs("`imports`") if "imports" in values else ():
        if not is_identifier(alias) or alias == "_":
            path.fail(InvalidGoName, f"{alias!r} in `imports` is no identifier", "Write `identifier: import/path`")
        imports[alias] = import_path(path, f"the import {alias!r}")
    lang = language(values["lang"], "`lang`") if "lang" in values else ""
    return model.Template(text=text, line=line, imports=imports, lang=lang), values


def _assign_value(node: Node, line: int) -> model.Advice:
    return model.AssignValue(template=_template(node, "`assign-value`")[0], line=line)


def _prepend_statements(node: Node, line: int) -> model.Advice:
    template, values = _template(node, "`prepend-statements`", extra=("namespace", "order"))
    namespace = values["namespace"].text("`namespace`", empty=True) if "namespace" in values else ""
    return model.PrependStatements(
        template=template,
        namespace=namespace or model.DEFAULT_NAMESPACE,
        order=values["order"].integer("`order`") if "order" in values else 0,
        line=line,
    )


def _append_args(node: Node, line: int) -> model.Advice:
    values = node.mapping("`append-args`", required=("type", "values"))
    items = values["values"].items("`values`", least=1)
    return model.AppendArgs(
        type=type_text(values["type"], "the type of the arguments"),
        values=tuple(_template(item, "a value of `append-args`")[0] for item in items),
        line=line,
    )


def _replace_function(node: Node, line: int) -> model.Advice:
    return model.ReplaceFunction(function=qualified_name(node, "the replacing function", bare=True), line=line)


def _add_blank_import(node: Node, line: int) -> model.Advice:
    return model.AddBlankImport(path=import_path(node, "the import path"), line=line)


def _inject_declarations(node: Node, line: int) -> model.Advice:
    template, values = _template(node, "`inject-declarations`", extra=("links",))
    links = [import_path(item, "a link") for item in values["links"].items("`links`")] if "links" in values else []
    return model.InjectDeclarations(template=template, links=tuple(dict.fromkeys(links)), line=line)


def _add_struct_field(node: Node, line: int) -> model.Advice:
    values = node.mapping("`add-struct-field`", required=("name", "type"))
    return model.AddStructField(
        name=identifier(values["name"], "the field's name"),
        type=type_text(values["type"], "the field's type"),
        line=line,
    )


def _wrap_expression(node: Node, line: int) -> model.Advice:
    return model.WrapExpression(template=_template(node, "`wrap-expression`")[0], line=line)


_ADVICE: Mapping[str, Callable[[Node, int], model.Advice]] = {
    "assign-value": _assign_value,
    "prepend-statements": _prepend_statements,
    "append-args": _append_args,
    "replace-function": _replace_function,
    "add-blank-import": _add_blank_import,
    "inject-declarations": _inject_declarations,
    "add-struct-field": _add_struct_field,
    "wrap-expression": _wrap_expression,
}
