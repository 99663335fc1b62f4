"""`--graph`: a script that follows functions and what they call, made from the functions that the user names."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from gotap.commands.trace.options import UsageError
from gotap.commands.trace.outputs import Moment, Printed, Renderer
from gotap.image.code import called_functions
from gotap.image.errors import ImageError
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.probe.expression import parse
from gotap.probe.functions.matching import Functions, Match
from gotap.probe.functions.pattern import plain_name
from gotap.probe.script.language import tree
from gotap.probe.script.language.parser import parse_script
from gotap.probe.signature import package_of
from gotap.signals.call_trees import CallNode, CallTrees, OpenRoots
from gotap.signals.events import Events
from gotap.signals.maps import MapResult
from gotap.sinks.stream import Stream

#: Functions that are followed besides those that the user names.
MOST_CALLED = 500

#: With more of them, arguments are left out: each signature takes programs of its own, which take long to load.
MOST_WITH_ARGUMENTS = 40

#: What is called within the user's functions, as a probe.
CALLED = "--graph"
_ENTRY = ":entry"

#: Functions that a notice names.
_NAMED = 3

#: An event that says when a call was, and nothing else: all functions share its programs.
_SILENT = parse_script('begin { printf("") }').probes[0].block

_OPEN = "graph"  # variable of the goroutine: calls of the user's functions that are open on it


class Graph(Struct, frozen=True):
    """`script`: in place of the user's. `entries`, `roots`: texts of the probes at the user's functions. `functions`:
    of the program, who know what CALLED means.
    """

    script: tree.Script
    entries: frozenset[str]
    roots: frozenset[str]
    functions: Functions
    notices: tuple[str, ...] = ()

    def counts(self) -> Callable[[Events, int], bool]:
        """What --count counts: trees."""
        return OpenRoots(self.entries, self.roots).counts


def graph(script: tree.Script, image: Image, within: str | None) -> Graph:
    """The script that shows what the functions of `script` call. `within`: pattern of what is shown.

    UsageError where the script is more than functions.
    """
    probes = [probe for probe in script.probes if _checked(probe)]
    functions = Functions(image)
    roots = [match for probe in probes for spec in probe.specs if isinstance(spec, tree.Function)
             for match in functions.find(spec.pattern).functions]  # fmt: skip
    called, notices = _called(functions, roots, within)
    made = [part for probe in probes for part in _root(probe)]
    count = len(functions.call(CALLED, called).functions)
    if count > MOST_WITH_ARGUMENTS:
        notices.append(
            f"{count} functions are shown without arguments; with them if {MOST_WITH_ARGUMENTS} at most are, "
            "narrowed by --within"
        )
        made += [_called_at("return", _SILENT), _called_at("panic", _SILENT)]
    elif count:
        made.append(_called_at("call", None))
    return Graph(
        replace(script, probes=tuple(made)),
        frozenset(probe.text + _ENTRY for probe in probes),
        frozenset(probe.text for probe in probes),
        functions,
        tuple(notices),
    )


def _called_at(point: tree.Point, block: tuple[tree.Statement, ...] | None) -> tree.Probe:
    """Probes what is called, while one of the user's functions is open on the goroutine."""
    return tree.Probe((tree.Function(CALLED, point, 0),), parse(f"self.{_OPEN} > 0"), block, CALLED, 0)


def _checked(probe: tree.Probe) -> bool:
    if probe.block is not None or not all(isinstance(spec, tree.Function) and spec.point in ("call", "return")
                                          for spec in probe.specs):  # fmt: skip
        raise UsageError(
            f"--graph shows what functions call, and `{probe.text}` is more than a function",
            "name functions alone: gotap trace -p PID 'main.checkSite' --graph",
        )
    return True


def _root(probe: tree.Probe) -> Iterable[tree.Probe]:
    """What is probed at the user's functions: the beginning and the end of each call, and that one is open."""
    patterns = [spec.pattern for spec in probe.specs if isinstance(spec, tree.Function)]

    def at(point: tree.Point, text: str, change: int = 0) -> tree.Probe:
        specs = tuple(tree.Function(pattern, point, probe.at) for pattern in patterns)
        value = parse("1")
        block = (tree.Assign(tree.OwnTarget(_OPEN, probe.at), "+=" if change > 0 else "-=", value, probe.at),)
        return tree.Probe(specs, probe.predicate, block if change else None, text, probe.at)

    yield at("entry", probe.text + _ENTRY)
    yield at("call", probe.text)
    yield at("entry", CALLED, 1)
    yield at("return", CALLED, -1)
    yield at("panic", CALLED, -1)


def _called(functions: Functions, roots: Sequence[Match], within: str | None) -> tuple[list[Function], list[str]]:
    """The functions to show below the roots, and what is to be said about them.

    By default those that the roots call, directly and indirectly, in their packages, with the functions declared in
    them: calls through interfaces and variables are not in the code.
    """
    named = {body.address for match in roots for body in match.bodies}
    if within is not None:
        found = functions.find(within).functions
        bodies = [body for match in found for body in match.bodies]
        inlined = {match.name for match in found if not match.bodies}
    else:
        bodies, inlined = _Reach(functions.image, roots).found()
    notices = []
    if inlined:
        listed = sorted(inlined)
        more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
        notices.append(f"inlined into their callers, so not shown: {', '.join(listed[:_NAMED])}{more}")
    chosen = [body for body in bodies if body.address not in named]
    if len(chosen) > MOST_CALLED:
        notices.append(f"{len(chosen)} functions are called: {MOST_CALLED} of them are shown; narrow it by --within")
    return chosen[:MOST_CALLED], notices


class _Reach:
    """What functions call within their packages, by their code."""

    def __init__(self, image: Image, roots: Sequence[Match]) -> None:
        self._image = image
        self._packages = {match.package for match in roots}
        self._seen: dict[int, Function] = {}
        self._inlined: set[str] = set()
        self._queue = [body for match in roots for body in match.bodies]

    def found(self) -> tuple[list[Function], set[str]]:
        """Functions with code of their own, by address, and names of those that are only there inlined."""
        while self._queue and len(self._seen) <= 2 * MOST_CALLED:
            function = self._queue.pop()
            if function.address not in self._seen:
                self._seen[function.address] = function
                self._queue += self._next(function)
        inlined = self._inlined - {function.name for function in self._seen.values()}
        return [self._seen[address] for address in sorted(self._seen)], set(map(plain_name, inlined))

    def _next(self, function: Function) -> list[Function]:
        table = self._image.pclntab
        try:
            targets = called_functions(self._image.code(function), function.address)
            calls = table.inlined_calls(function)
        except ImageError:
            return []
        self._inlined.update(call.name for call in calls if package_of(call.name) in self._packages)
        found = [one for target in targets if (one := table.function_at(target)) is not None]
        declared = re.compile(re.escape(function.name) + r"\.(?:func|gowrap|deferwrap)?\d[^/]*")
        found += [one for one in table.find_prefix(f"{function.name}.") if declared.fullmatch(one.name)]
        return [one for one in found if package_of(one.name) in self._packages]


class TreeRenderer(Renderer, Protocol):
    def tree(self, tree: CallNode) -> str | bytes: ...


class GraphPrinted(Printed):
    """Shows each tree when the call at its root ends."""

    def __init__(self, renderer: TreeRenderer, stream: Stream, plan: Graph) -> None:
        super().__init__(renderer, stream)
        self._tree = renderer.tree
        self._trees = CallTrees(plan.entries, plan.roots)

    def take(self, batches: Sequence[Events], moments: Sequence[Moment], maps: Mapping[Moment, MapResult]) -> None:
        complete = (self._trees.add(batches[number], row) for number, row in moments)
        self.write([(self._tree(tree), True) for tree in complete if tree is not None])
