"""What a program is made for: the process, the kind of site, and the options of the session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from gotap.bpf.codegen.tracing import Sampling
from gotap.image.code import Edge, Location
from gotap.probe import ir


class Target(Struct, frozen=True):
    """The process a program is made for; all of it becomes constants in the bytecode.

    Map keys hold `number`, gotap's own name for the process, which no pid namespace and no reuse of pids can confuse.
    """

    number: int  # record.HEADER target
    pid: int  # as gotap sees it, for the record
    tgid: int | None  # in the initial pid namespace; None: not known, the attachment's pid filter alone decides
    bias: int  # load bias of its executable
    goid: ir.Word | None  # None: not a Go program; of scripts only
    stack_high: ir.Word | None
    scoping: int | None = None  # the operation whose rows are the goroutines' scopes, see `scoping`
    contexts: bool = True  # whether some begin looks for its parent by a context: else none need be noted
    is_sought: bool = False  # tgid is not known and nothing else filters: the program tells the process by `pid`


def scoping(actions: Iterable[ir.Action]) -> int | None:
    """The operation whose rows can stand for the scopes of goroutines, of all actions in one process.

    There must be no other one with a scope, its rows must be found by goroutine alone, and its begins must not look for
    a parent on their goroutine: they would find themselves.
    """
    begins = [action for action in actions if isinstance(action, ir.Begin) and action.scope]
    numbers = {begin.layout.operation_id for begin in begins}
    by_goroutine = all(not begin.by_depth and begin.key is None for begin in begins)
    from_elsewhere = all(begin.remote is not None and begin.context is None for begin in begins)
    return numbers.pop() if len(numbers) == 1 and by_goroutine and from_elsewhere else None


class Place(Struct, frozen=True):
    """What the sites of one program have in common."""

    inputs: Mapping[ir.Input, Location]
    edge: Edge | None
    sp_offset: int | None


class Options(Struct, frozen=True):
    sampling: Sampling = field(default_factory=Sampling)
    has_loop: bool = True
