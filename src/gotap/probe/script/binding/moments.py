"""Probes of goroutines: `goroutine:create`, `exit`, `park`, `ready`; and where open calls end without returning."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gotap.errors import GotapError
from gotap.image.types.gotypes import Type
from gotap.probe import ir
from gotap.probe.catalogue import Choice, Moment, runtime
from gotap.probe.compiler import Scope
from gotap.probe.places import BoundSite, Found
from gotap.probe.script.binding.context import Context
from gotap.probe.script.binding.watches import watch
from gotap.probe.script.bound import BoundRoutine
from gotap.probe.script.compiling.kinds import CODE, WAIT_REASON
from gotap.probe.script.compiling.stage import Stage
from gotap.probe.script.language import tree
from gotap.probe.script.routine import Forget, Unwind
from gotap.probe.typing import UINT
from gotap.probe.value import Value


class MomentProbes:
    def __init__(self, context: Context) -> None:
        self.context = context

    def find(self, name: str) -> tuple[Moment, Found]:
        moment = runtime().moments[name]
        return moment, self.context.points.places.find(moment.place)

    def word(self, moment: Moment, found: Found, name: str) -> ir.Word:
        """One of the moment's words: the first way to get it that this binary knows."""
        scope = Scope(found.names(), "runtime", {})
        errors: list[GotapError] = []
        for choice in moment.words[name]:
            try:
                value = self.context.compiler.alternative(Choice(choice.value, None), scope)[0].value
            except GotapError as error:
                errors.append(error)
                continue
            assert not isinstance(value, ir.AnyText)
            return value
        raise errors[0]

    def bind(self, number: int, probe: tree.Probe, spec: tree.Goroutine) -> None:
        try:
            moment, found = self.find(spec.event)
        except GotapError as error:
            what = f"goroutine:{spec.event} cannot be probed: {error}"
            raise self.context.error(spec.at, what, error.remedy) from None

        def known(name: str, type: Type) -> Callable[[], Value]:
            return lambda: Value(type, {0: self.word(moment, found, name)}, promised=False)

        words = {"goid": known("goid", UINT), "func": known("func", CODE)}
        if "parent" in moment.words:
            words["parent_goid"] = known("parent", UINT)
        if "caller" in moment.words:
            words["caller"] = known("caller", CODE)
        args: dict[str, Callable[[], Value]] = {}
        if "reason" in moment.words:
            args["reason"] = known("reason", WAIT_REASON)
        if "by" in moment.words:
            args["by"] = known("by", UINT)
        stage = Stage(package="runtime", args=args, words=words)
        watch(self.context, number, probe, stage, self.sites(found), f"goroutine:{spec.event}")

    def sites(self, found: Found) -> list[tuple[BoundSite, int]]:
        numbered = []
        for site in found.sites:
            info = self.context.points.info(found.function, site.site.address)
            numbered.append((site, self.context.shared.sites.add(info)))
        return numbered

    def endings(self) -> list[BoundRoutine]:
        """Where open calls end without returning, and goroutines leave their variables."""
        context, routines = self.context, []
        if context.unwound:
            for name, ended in (("recover", "panic"), ("fatal", "panic"), ("exit", "goexit")):
                routines.append(self.ending(name, ended))
        if len(context.shared.own):
            moment, found = self.find("exit")
            forget = Forget(self.word(moment, found, "goid"))
            routines.append(BoundRoutine("(goroutine ends)", 0, forget, tuple(self.sites(found))))
        return routines

    def ending(self, name: str, ended: str) -> BoundRoutine:
        moment, found = self.find(name)
        word = partial(self.word, moment, found)
        above = ir.Subtract(word("high"), word("resumed")) if "resumed" in moment.words else None
        unwind = Unwind(word("goid"), above, ended, tuple(self.context.unwound))  # type: ignore[arg-type]
        return BoundRoutine(f"({name})", 0, unwind, tuple(self.sites(found)))
