"""Probes of functions: `main.f`, `:entry`, `:return`, `:inline`, `:panic`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from gotap.errors import GotapError
from gotap.image.functions.pclntab import Function
from gotap.probe import expression as expressions
from gotap.probe import ir
from gotap.probe.functions.matching import FunctionKind, Match, Matches
from gotap.probe.functions.model import DICTIONARY, FunctionSignature
from gotap.probe.functions.signatures import Signatures
from gotap.probe.functions.suggestions import no_such_function
from gotap.probe.places import BoundSite, NotInBinary
from gotap.probe.script.binding.context import Context, NothingFound, Sites
from gotap.probe.script.binding.inlined import InlinedProbes
from gotap.probe.script.binding.points import Names
from gotap.probe.script.binding.restarts import Guard, guard
from gotap.probe.script.binding.watches import all_args, dictionary, result, watch
from gotap.probe.script.bound import BoundRoutine, EventKind, EventSpec, Part
from gotap.probe.script.compiling.blocks import Block, all_of
from gotap.probe.script.compiling.frames import Captured, FrameBuilder
from gotap.probe.script.compiling.stage import (
    Stage,
    is_of_goroutine,
    mentions,
    needs_only_args,
    only_args,
    reads_signature,
)
from gotap.probe.script.language import tree
from gotap.probe.script.language.source import ScriptError
from gotap.probe.script.routine import Branch, Emit, Enter, Leave, Unwound, Watch
from gotap.probe.signature import package_of
from gotap.probe.value import Value

#: What is read when a call returns: results, and what arguments lead to by then.
_AT_THE_END = ("ret", "err", "now")
#: Functions that a notice names.
_NAMED = 3


class Body(Struct, frozen=True):
    """A function of a match, and its name as users write it."""

    function: Function
    match: Match

    @property
    def name(self) -> str:
        return self.match.name


class Group(Struct, frozen=True):
    """Bodies that one routine can serve: all, when nothing of them is read, else those of one signature."""

    bodies: tuple[Body, ...]
    signature: FunctionSignature
    name: str
    chosen: bool = False  # only the instances of the match are meant


class Entries(Struct, frozen=True):
    """Where calls begin, with their arguments. `guard`: what must be done so that none is read that was lost."""

    sites: list[tuple[BoundSite, int]]
    args: Names
    guard: Guard | None


class FunctionProbes:
    def __init__(self, context: Context, signatures: Callable[[], Signatures]) -> None:
        self.context = context
        self._signatures = signatures
        self.numbers: dict[int, int] = {}  # by the function's address

    @cached_property
    def signatures(self) -> Signatures:
        return self._signatures()

    def bind(self, number: int, probe: tree.Probe, spec: tree.Function) -> None:
        matches = self.matches(spec)
        bodies = [Body(function, match) for match in matches.functions for function in match.bodies]
        copies = [call for match in matches.functions for call in match.copies or ()]
        if spec.point in ("call", "return", "panic"):
            self.tell_missed(spec, matches)
        else:
            InlinedProbes(self.context, lambda: self.signatures).bind(number, probe, spec, copies, bodies=bool(bodies))
        if spec.point == "inline":
            return
        groups = self.groups(probe, spec, bodies, matches.wanted)
        self.tell_unknown(spec, groups)
        misfits: list[tuple[Group, ScriptError]] = []
        for group in groups:
            try:
                if spec.point == "entry":
                    self.entry(number, probe, group)
                else:
                    self.call(number, probe, spec, group)
            except ScriptError as error:
                misfits.append((group, error))
        if misfits and len(misfits) == len(groups):
            raise misfits[0][1]
        self.tell_misfits(spec, misfits)

    def tell_misfits(self, spec: tree.Function, misfits: Sequence[tuple[Group, ScriptError]]) -> None:
        """Functions that the block makes no sense for, by why."""
        reasons: dict[str, tuple[str, list[str]]] = {}
        for group, why in misfits:
            _, names = reasons.setdefault(str(why), (why.remedy, []))
            names += [body.name for body in group.bodies]
        for text, (remedy, names) in reasons.items():
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            told = f"{text}; {remedy}" if remedy else text
            self.context.shared.notices.append(f"{spec.pattern}: skipped {', '.join(names[:_NAMED])}{more}: {told}")

    # -- which functions ------------------------------------------------------------------------------------------

    def matches(self, spec: tree.Function) -> Matches:
        found = self.context.functions.find(spec.pattern)
        if not found.functions:
            missing = no_such_function(self.context.program, spec.pattern)
            error = self.context.error(spec.at, str(missing), missing.remedy)
            raise NothingFound(str(error), error.remedy, error.line, error.column, error.excerpt)
        count = found.bodies + (found.copies if spec.point in ("entry", "inline") else 0)
        if count > self.context.most_probes:
            raise self.context.error(
                spec.at, f"`{spec.pattern}` matches {count} functions, more than {self.context.most_probes}",
                "narrow the pattern, or raise --max-probes",
            )  # fmt: skip
        if spec.point in ("call", "return", "panic") and not found.bodies:
            names = [match.name for match in found.functions]
            into = sorted({call.caller for match in found.functions for call in match.copies or ()})
            place = f" (into {', '.join(into[:_NAMED])}{' and more' if len(into) > _NAMED else ''})" if into else ""
            raise self.context.error(
                spec.at,
                f"{names[0]} is inlined everywhere{place}: it has no code of its own that returns",
                f"probe its inlined copies where they begin: {names[0]}:inline",
            )
        return found

    def tell_missed(self, spec: tree.Function, matches: Matches) -> None:
        """What is not followed: a call that was inlined has no return."""
        only = [match.name for match in matches.functions if match.only_inlined]
        copies = sum(len(match.copies or ()) for match in matches.functions if match.bodies)
        notices = self.context.shared.notices
        if copies:
            one = copies == 1
            notices.append(
                f"{spec.pattern}: {copies} inlined cop{'y is' if one else 'ies are'} not followed; "
                f"{spec.pattern}:entry counts {'it' if one else 'them'} too"
            )
        if only:
            more = f" and {len(only) - _NAMED} more" if len(only) > _NAMED else ""
            notices.append(
                f"{spec.pattern}: skipped, since inlined everywhere: {', '.join(only[:_NAMED])}{more}; "
                "probe them with :inline"
            )

    def tell_unknown(self, spec: tree.Function, groups: Sequence[Group]) -> None:
        """Events of functions whose signature is not known have no arguments: not to be taken for none."""
        unknown = [group for group in groups if group.signature.reason and not group.signature.known]
        if unknown:
            count = sum(len(group.bodies) for group in unknown)
            more = f" (and of {count - 1} more)" if count > 1 else ""
            why = unknown[0].signature.reason
            self.context.shared.notices.append(f"{spec.pattern}: arguments are not known{more}: {why}")

    def signature(self, spec: tree.Function, body: Body) -> FunctionSignature:
        """What a function takes and gives. A `sig` line that the program contradicts is pointed at by its probe."""
        try:
            return self.signatures.of(body.function)
        except ScriptError:
            raise
        except GotapError as error:
            raise self.context.error(spec.at, str(error), error.remedy) from None

    def groups(self, probe: tree.Probe, spec: tree.Function, bodies: Sequence[Body], wanted: str) -> list[Group]:
        """One for each signature when arguments or results are read, else one of all."""
        reads = bool(wanted) or reads_signature(probe)
        if not reads:
            return [Group(tuple(bodies), FunctionSignature(), probe.text)] if bodies else []
        # Bodies of a generic function have each the types of their shape, and instances of their own.
        groups: dict[tuple[str, str], list[Body]] = {}
        signatures: dict[tuple[str, str], FunctionSignature] = {}
        for body in bodies:
            signature = self.signature(spec, body)
            key = body.name if body.match.instances else package_of(body.name), signature.text("")
            signatures[key] = signature
            groups.setdefault(key, []).append(body)
        return [Group(tuple(one), signatures[key], one[0].name, bool(wanted)) for key, one in groups.items()]

    # -- sites ----------------------------------------------------------------------------------------------------

    def site(self, body: Body, bound: BoundSite) -> tuple[BoundSite, int]:
        return bound, self.number(body)

    def number(self, body: Body) -> int:
        """The number by which a call's begin and ends tell the function."""
        if body.function.address not in self.numbers:
            info = self.context.points.info(body.name, body.function.address)
            self.numbers[body.function.address] = self.context.shared.sites.add(info)
        return self.numbers[body.function.address]

    def entries(self, group: Group) -> Entries:
        """Sites at which calls begin, and the arguments there; what cannot be probed is told."""
        sites: list[tuple[BoundSite, int]] = []
        names: Names = {}
        failed = []
        watched = guard(self.context, [body.function for body in group.bodies], group.signature)
        self.context.points.foresee([body.function for body in group.bodies])
        for body in group.bodies:
            try:
                point = self.context.points.entry(body.function, group.signature)
            except NotInBinary as error:
                failed.append(f"{body.name}: {error}")
                continue
            sites.append(self.site(body, point.bound))
            names = point.names()
            if watched is not None:
                names = watched.guarded(names, point.bound.inputs)
        self.tell_failed(failed)
        return Entries(sites, names, watched)

    def tell_failed(self, failed: Sequence[str]) -> None:
        if failed:
            more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
            self.context.shared.notices.append(f"cannot be probed: {failed[0]}{more}")

    # -- routines -------------------------------------------------------------------------------------------------

    def stage(self, group: Group, args: Names) -> Stage:
        signature = group.signature
        instances = tuple((one.dictionary, one.name) for one in group.bodies[0].match.instances)
        return Stage(
            instances=instances,
            when=self.chosen(args, instances) if group.chosen else (),
            package=package_of(group.bodies[0].name),
            args=args if signature.known else None,
            parameters=lambda: [one.name for one in self.signatures.of(group.bodies[0].function).arguments],
            no_args=signature.reason or f"{group.name} takes no arguments",
            functions=frozenset(body.name for body in group.bodies),
        )

    def chosen(self, args: Names, instances: Sequence[tuple[int, str]]) -> tuple[ir.Word, ...]:
        """Whether a generic function's body runs for one of these instances."""
        if DICTIONARY not in args:
            return ()
        word, found = args[DICTIONARY]().word(0), cast(ir.Word, ir.Const(0))
        for address, _ in instances:
            found = ir.Logic("||", found, ir.Compare("==", word, ir.StaticAddress(address), False))
        return (found,)

    def entry(self, number: int, probe: tree.Probe, group: Group) -> None:
        found = self.entries(group)
        if found.sites:
            stage = self.stage(group, found.args)
            watch(self.context, number, probe, stage, found.sites, group.name, guard=found.guard)

    def call(self, number: int, probe: tree.Probe, spec: tree.Function, group: Group) -> None:
        """A call from its entry to its end."""
        context = self.context
        returns, results, followed = self.returns(probe, group)
        group = replace(group, bodies=followed)
        if not followed:
            raise self.context.error(spec.at, self.context.shared.notices.pop(), f"probe {spec.pattern}:entry")
        found = self.entries(group)
        sites, args = found.sites, found.args
        if not sites:
            return
        if not returns and spec.point != "panic":
            never = f"{group.name} never returns: its calls end with their goroutine, or not at all"
            context.shared.notices.append(never)
        frame = context.frame(group.name)
        stage = self.stage(group, args)
        kept = Kept(Block(context.shared, context.compiler, stage, frame, probe), frame, spec.point == "panic")
        at_end = replace(
            stage, when=(), results=results if spec.point != "panic" and group.signature.known else None,
            no_results="a call that ends by panic has none" if spec.point == "panic" else group.signature.reason,
            is_call=True, keep=kept.keep,
        )  # fmt: skip
        block = Block(context.shared, context.compiler, at_end, frame, probe, kept.whole)
        early, late = self.predicates(probe, kept, block)
        unwound: tuple[Emit, ...] = ()
        if probe.block is not None:
            body = block.statements(probe.block)
        else:
            body, unwound = self.event(probe, spec, block, kept, results)
        enters = Enter(
            context.layout(frame), early, tuple(kept.into.captures), tuple(kept.into.values), tuple(kept.into.stacks)
        )
        layout = enters.layout
        context.locals = max(context.locals, block.locals.slots, kept.block.locals.slots)
        context.add(probe, number, enters, sites)
        panics = spec.point == "panic"
        leave = Leave(layout, () if panics else late, () if panics else body)
        if found.guard is not None:
            leave = self.forgetting(found.guard, leave, group, returns, followed=not early)
        context.add(probe, number, leave, returns)
        ended = body if panics else unwound
        context.unwound.append(Unwound(layout, late if panics or unwound else (), ended))

    def forgetting(self, guard: Guard, leave: Leave, group: Group, returns: Sites, *, followed: bool) -> Leave:
        """The end of a call also ends that it began anew. `followed`: every call is; else a return may know of none."""
        if followed:
            body = (Branch(all_of(leave.when), leave.body, ()),) if leave.when else leave.body
            return Leave(leave.layout, (), (guard.forget(), *body))
        frame = self.context.frame(group.name)
        after = Watch(self.context.layout(frame), (), (guard.forget(),))
        self.context.routines.append(BoundRoutine("(begins anew)", 0, after, tuple(returns)))
        return leave

    def predicates(
        self, probe: tree.Probe, kept: Kept, block: Block
    ) -> tuple[tuple[ir.Word, ...], tuple[ir.Word, ...]]:
        """Words of the predicate that must hold at the entry, and at the end."""
        own = kept.block.stage.when
        if probe.predicate is None:
            return own, ()
        if needs_only_args(probe.predicate):
            return (*own, *kept.block.truth(probe.predicate)), ()
        return own, block.truth(probe.predicate)

    def event(
        self, probe: tree.Probe, spec: tree.Function, block: Block, kept: Kept, results: Names
    ) -> tuple[tuple[Emit, ...], tuple[Emit, ...]]:
        """The event of a call, for its return and for its end without one."""
        stage = kept.block.stage
        args = all_args(kept.block, stage, kept.into)
        instance = dictionary(kept.block, stage, kept.into)
        into = Captured()
        given: list[tuple[str, Part]] = []
        if spec.point != "panic":
            given = [(name, block.captured(result(name), into)) for name in results]
        told = EventSpec(
            EventKind.CALL, probe.text, args=args, results=tuple(given), dictionary=instance, instances=stage.instances
        )
        emit = block.emit(told, into)
        bare = Emit(emit.event)
        return ((bare,), ()) if spec.point == "panic" else ((emit,), (bare,) if spec.point == "call" else ())

    def check_goroutine(self, body: Body) -> None:
        """Raises NotInBinary where a return would not know its goroutine: assembly need not keep R14."""
        if body.match.kind is FunctionKind.ASSEMBLY and self.context.points.places.code(body.function).writes("r14"):
            raise NotInBinary("it is assembly that uses R14, where Go keeps the goroutine", "")

    def returns(
        self, probe: tree.Probe, group: Group
    ) -> tuple[list[tuple[BoundSite, int]], Names, tuple[Body, ...]]:
        """Sites of returns, results there, and the functions that can be followed; of the others it is told."""
        followed = []
        sites: list[tuple[BoundSite, int]] = []
        names: Names = {}
        settled = probe.block is None or mentions(probe.block, *_AT_THE_END) or mentions(probe.predicate, *_AT_THE_END)
        for body in group.bodies:
            try:
                self.check_goroutine(body)
                points = self.context.points.returns(body.function, group.signature, settled=settled)
            except NotInBinary as error:
                self.context.shared.notices.append(f"returns cannot be probed: {body.name}: {error}")
                continue
            followed.append(body)
            for point in points:
                names = point.names()
                sites.append((point.bound, self.number(body)))
        return sites, names, tuple(followed)


class Kept:
    """What a call's end needs of its entry: expressions of arguments alone, each stored once.

    `unwound`: the end is where the runtime unwinds calls, on another stack than the goroutine's: then also which
    goroutine it is.
    """

    def __init__(self, block: Block, frame: FrameBuilder, unwound: bool) -> None:
        self.unwound = unwound
        self.block = block
        self.frame = frame
        self.into = Captured()
        self._values: dict[expressions.Expression, Value] = {}
        self._parts: dict[expressions.Expression, Part] = {}

    def keep(self, node: expressions.Expression) -> Value | None:
        """The value of an argument's expression as it was at the entry; None for other expressions."""
        if not (only_args(node) or (self.unwound and is_of_goroutine(node))):
            return None
        if node not in self._values:
            conditions, value = self.block.value(node)
            self._values[node] = self.frame.keep(value, conditions, self.into)
        return self._values[node]

    def whole(self, node: expressions.Expression) -> Part:
        if node not in self._parts:
            self._parts[node] = self.block.captured(node, self.into)
        return self._parts[node]
