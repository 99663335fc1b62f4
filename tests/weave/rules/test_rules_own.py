"""The aspects that gotap brings itself are files in the same vocabulary."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gotap.weave.rules import model, templates
from gotap.weave.rules.advice import _ADVICE
from gotap.weave.rules.discovery import own_rules
from gotap.weave.rules.joinpoints import _FUNCTION_OPTIONS, _JOIN_POINTS
from gotap.weave.rules.reading import read_rules

PAGE = Path(__file__).parents[3] / "docs" / "weave-aspects.md"


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
    for name in [name for name in own() if name.startswith("goroutine.")]:
        for advice in own()[name].advice:
            text = "" if isinstance(advice, model.AddStructField | model.AddBlankImport) else advice.template.text
            assert "defer" not in text.split()
            assert not re.search(r"\bfunc\(.*\{$", text, re.MULTILINE)


def test_a_span_adds_no_function_literal() -> None:
    """Literals are numbered within their function: one more would rename the user's in every stack trace."""
    (advice,) = own()["//gotap:span"].advice
    assert isinstance(advice, model.PrependStatements)
    assert "func" not in advice.template.text
    assert advice.template.imports == {"gotaprt": "gotaprt"}


@pytest.mark.parametrize("word", sorted({*_JOIN_POINTS, *_FUNCTION_OPTIONS, *_ADVICE}))
def test_every_word_is_in_the_documentation(word: str) -> None:
    assert f"`{word}: " in PAGE.read_text()


@pytest.mark.parametrize("name", sorted(templates.FUNCTION))
def test_every_function_of_templates_is_in_the_documentation(name: str) -> None:
    assert re.search(rf"`{{{{ \.Function\.{name}\b", PAGE.read_text())


def test_the_documentation_s_examples_are_read(tmp_path: Path) -> None:
    examples = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert examples
    for number, text in enumerate(examples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert read_rules(str(file)).aspects
