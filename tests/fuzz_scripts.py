"""What is fuzzed of the trace language: scripts, expressions, formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from expression_texts import Writer
from fuzz_mutations import Seed
from fuzz_runner import Target
from gotap.errors import GotapError
from gotap.probe.expression import parse
from gotap.probe.script.language.format import parse_format
from gotap.probe.script.language.parser import parse_script
from script_texts import ScriptWriter, expression, places_removed, written

_SEEDS = Path(__file__).parent / "fuzzing" / "seeds" / "scripts"
_FORMATS = ("%s %d\n", "%-10.5s|%08x %#X%%", "%+v %q %t %p %c %.2f", "%lld %hu é%5i", "% d%-+ 0#12.3v")
#: Characters of a message: what was wrong is cut in it.
_LONGEST_MESSAGE = 400


def targets() -> Iterator[Target]:
    scripts = [Seed(path.name, path.read_bytes()) for path in sorted(_SEEDS.iterdir())]
    scripts += [Seed(f"random{seed}", ScriptWriter(Random(seed)).script().encode()) for seed in (3, 5, 8)]
    yield Target("script", scripts, _script, 2)
    expressions = [Writer(Random(seed)).expression(2) for seed in range(6)]
    yield Target("expression", [Seed(text[:20], text.encode()) for text in expressions], _expression, 5)
    yield Target("format", [Seed(text, text.encode()) for text in _FORMATS], _format, 10)


def _script(content: bytes) -> None:
    """A tree that is the same when it is written and read again, or an error that points into the text."""
    text = content.decode("utf-8", "surrogateescape")
    try:
        script = parse_script(text, "x.gt")
    except GotapError as error:
        _check_message(error)
        raise
    assert places_removed(parse_script(written(script), "x.gt")) == places_removed(script)


def _expression(content: bytes) -> None:
    try:
        tree = parse(content.decode("utf-8", "surrogateescape"))
    except GotapError as error:
        _check_message(error)
        raise
    assert parse(expression(tree)) == tree


def _format(content: bytes) -> None:
    try:
        parse_format(content.decode("utf-8", "surrogateescape"))
    except GotapError as error:
        _check_message(error)
        raise


def _check_message(error: GotapError) -> None:
    assert len(f"{error} {error.remedy}") < _LONGEST_MESSAGE
    assert all(line.isprintable() and len(line) < _LONGEST_MESSAGE for line in error.excerpt)
    assert len(error.excerpt) in (0, 2)
