"""Routines that fire at once: entries, lines, moments of goroutines, and what is no function of Go."""

from __future__ import annotations

from gotap.probe import expression as expressions
from gotap.probe.functions.model import DICTIONARY
from gotap.probe.record import Column
from gotap.probe.script.binding.context import Context, Sites
from gotap.probe.script.binding.restarts import Guard
from gotap.probe.script.bound import EventKind, EventSpec, Origin, Part
from gotap.probe.script.compiling.blocks import Block, all_of
from gotap.probe.script.compiling.frames import Captured
from gotap.probe.script.compiling.stage import Stage, uses_own
from gotap.probe.script.language import tree
from gotap.probe.script.routine import Branch, Watch


def watch(
    context: Context,
    number: int,
    probe: tree.Probe,
    stage: Stage,
    sites: Sites,
    name: str,
    origin: Origin | None = None,
    guard: Guard | None = None,
) -> None:
    """Adds a routine that fires once each time one of the sites, or the origin, is passed."""
    frame = context.frame(name)
    block = Block(context.shared, context.compiler, stage, frame, probe)
    when = (*stage.when, *(block.truth(probe.predicate) if probe.predicate is not None else ()))
    if probe.block is not None:
        body = block.statements(probe.block)
    else:
        into = Captured()
        words = {name: block.captured(expressions.Name(name), into) for name in stage.words}
        goid, func = words.pop("goid", None), words.pop("func", None)
        args, instance = all_args(block, stage, into), dictionary(block, stage, into)
        spec = EventSpec(
            EventKind.CALL,
            probe.text,
            args=(*words.items(), *args),
            dictionary=instance,
            instances=stage.instances,
            goid=goid,
            func=func,
        )
        body = (block.emit(spec, into),)
    if guard is not None:  # whether the predicate holds or not, the call has begun
        body = (*((Branch(all_of(when), tuple(body), ()),) if when else body), guard.forget())
        when = ()
    context.locals = max(context.locals, block.locals.slots)
    other = "goid" in stage.words and uses_own((probe.predicate, probe.block))
    owner = stage.words["goid"]().word(0) if other else None
    context.add(probe, number, Watch(context.layout(frame), when, body, owner), sites, origin)


def all_args(block: Block, stage: Stage, into: Captured) -> tuple[tuple[str, Part], ...]:
    """Every argument of the stage, or every local of a line, as the event of a probe without a block shows them."""
    if stage.args is None and stage.names:
        return tuple((name, block.captured(expressions.Name(name), into)) for name in stage.names)
    shown = [name for name in stage.args or {} if name not in ("_", DICTIONARY)]
    return tuple((name, block.captured(argument(name), into)) for name in shown)


def dictionary(block: Block, stage: Stage, into: Captured) -> Column | None:
    """Where the dictionary of a generic function goes, which tells the instance."""
    if DICTIONARY not in (stage.args or {}):
        return None
    return block.captured(argument(DICTIONARY), into).column


def argument(name: str) -> expressions.Expression:
    return expressions.Select(expressions.Name("args"), name)


def result(name: str) -> expressions.Expression:
    return expressions.Select(expressions.Name("ret"), name)
