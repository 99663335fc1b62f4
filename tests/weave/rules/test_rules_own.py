"""The aspects that gotap brings itself are files in the same vocabulary."""

from __future__ import annotations

from gotap.weave.rules import model
from gotap.weave.rules.discovery import own_rules


def own() -> dict[str, model.Aspect]:
    return {aspect.id: aspect for aspect in own_rules().aspects}


def test_they_are_read() -> None:
    rules = own_rules()
    names = [file.rpartition("/")[2] for file in rules.files]
    assert names == sorted(names)
    assert {"exit.yaml", "goroutine.yaml", "orchestrion.yaml", "span.yaml"} <= set(names)
    assert len(own()) == len(rules.aspects), "an id names one aspect of all files, so that messages do"
    assert model.decode(model.encode(rules.aspects)) == rules.aspects


def test_what_the_runtime_imports_is_changed_by_internal_aspects_only() -> None:
    internal = {name for name, aspect in own().items() if aspect.tracer_internal}
    assert {"goroutine.value", "goroutine.inheritance", "goroutine.end", "exit.flush"} <= internal
    assert "//gotap:span" not in internal


def test_functions_of_the_scheduler_get_neither_defer_nor_literal() -> None:
    for name in ("goroutine.value", "goroutine.inheritance", "goroutine.end"):
        for advice in own()[name].advice:
            text = "" if isinstance(advice, model.AddStructField | model.AddBlankImport) else advice.template.text
            assert "defer" not in text.split()
            assert "func(" not in text.replace("func() any\n", "").replace("func(any)\n", "")


def test_a_span_adds_no_function_literal() -> None:
    """Literals are numbered within their function: one more would rename the user's in every stack trace."""
    (advice,) = own()["//gotap:span"].advice
    assert isinstance(advice, model.PrependStatements)
    assert "func" not in advice.template.text
    assert advice.template.imports == {"gotaprt": "gotaprt"}
