"""What a routine evaluates, and whether it loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gotap.bpf.codegen.planner import words_of, words_of_key
from gotap.probe import ir
from gotap.probe.script.routine import (
    Branch,
    CaptureValue,
    ClearMap,
    Emit,
    Enter,
    Forget,
    Leave,
    Loop,
    Remove,
    Routine,
    SetLocal,
    SetOwn,
    Statement,
    Store,
    Tally,
    Unwind,
    Unwound,
    Watch,
)


def roots(routine: Routine) -> Iterator[ir.Word]:
    """Every word that the routine evaluates with the frame at hand."""
    match routine:
        case Watch(_, when, body) | Leave(_, when, body):
            yield from when
            yield from _statements(body)
        case Enter(_, when, captures, values):
            yield from when
            for capture in captures:
                yield from words_of(capture.alternatives)
            yield from _values(values)
        case Unwind(_, _, _, calls):
            for call in calls:
                yield from roots_of_call(call)
        case Forget():
            pass


def roots_of_call(call: Unwound) -> Iterator[ir.Word]:
    yield from call.when
    yield from _statements(call.body)


def _statements(statements: Sequence[Statement]) -> Iterator[ir.Word]:
    for statement in statements:
        match statement:
            case SetLocal(_, value):
                yield value
            case SetOwn(_, value):
                yield from words_of_key(value)
            case Store(_, keys, value) | Tally(_, keys, value):
                for key in keys:
                    yield from words_of_key(key)
                yield from words_of_key(value)
            case Remove(_, keys):
                for key in keys:
                    yield from words_of_key(key)
            case Emit(_, captures, values):
                for capture in captures:
                    yield from words_of(capture.alternatives)
                yield from _values(values)
            case Branch(when, then, otherwise):
                yield when
                yield from _statements((*then, *otherwise))
            case Loop(_, first, limit, body):
                yield from (first, limit)
                yield from _statements(body)
            case ClearMap():
                pass


def _values(values: Sequence[CaptureValue]) -> Iterator[ir.Word]:
    for value in values:
        yield from (word for _, _, word in value.parts)
        if value.address is not None:
            yield value.address


def loops(routine: Routine) -> bool:
    """Whether part of the routine runs as a callback, which has hardly any stack."""
    match routine:
        case Watch(_, _, body) | Leave(_, _, body):
            return _loops(body)
        case Unwind():
            return True
        case _:
            return False


def _loops(statements: Sequence[Statement]) -> bool:
    for statement in statements:
        if isinstance(statement, Loop):
            return True
        if isinstance(statement, Branch) and _loops((*statement.then, *statement.otherwise)):
            return True
    return False
