"""Binding: a script and one Go program (or none) → routines, maps, events and sites, ready for a mechanism."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from gotap.errors import GotapError
from gotap.image.function_code import SitesFor
from gotap.image.image import Image
from gotap.image.types.gotypes import LayeredTypes, Type
from gotap.probe import ir
from gotap.probe.catalogue import Choice, libraries, runtime, signatures_in_catalogue
from gotap.probe.compiler import Compiler, Scope
from gotap.probe.expression import parse
from gotap.probe.functions.made import made_for
from gotap.probe.functions.matching import Functions
from gotap.probe.functions.signatures import Signatures
from gotap.probe.functions.suggestions import NoSuchFunction
from gotap.probe.functions.written import Imports, read_signature
from gotap.probe.maps import map_layout
from gotap.probe.script.binding.context import Context, NothingFound
from gotap.probe.script.binding.functions import FunctionProbes
from gotap.probe.script.binding.lines import LineProbes
from gotap.probe.script.binding.moments import MomentProbes
from gotap.probe.script.binding.origins import OriginProbes, Symbols, Tracepoints
from gotap.probe.script.binding.packages import PackageVariables
from gotap.probe.script.bound import BoundScript, Origin
from gotap.probe.script.compiling.globals import Globals, MapChanged, Maps
from gotap.probe.script.compiling.stage import mentions
from gotap.probe.script.language import tree
from gotap.probe.script.limits import Limits
from gotap.probe.script.stackwords import stack_words
from gotap.probe.script.tracepoint import FieldInfo
from gotap.probe.shapes import Shapes
from gotap.probe.signature import Signature
from gotap.probe.sources import types_of
from gotap.probe.typing import Types

#: Maps of one script: a program may use 64 of the kernel's (MAX_USED_MAPS, Linux 5.15 to 6.18), gotap's own included.
MOST_MAPS = 40


class NoKernel(GotapError):
    """A tracepoint or a C function in a script that is only listed."""


def _no_tracepoints(category: str, name: str) -> dict[str, FieldInfo]:
    raise NoKernel(f"tracepoint {category}:{name} cannot be looked up here", "")


def _no_symbols(spec: tree.Uprobe) -> Origin:
    raise NoKernel(f"{spec.path} cannot be looked up here", "")


class Options(Struct, frozen=True):
    """`most_probes`: sites that one pattern may have; `map_entries`: of each map.

    `lenient`: probes of functions that the program does not have are told and left out, as long as others are left,
    and so are their signatures: ready tools name all that might be there. `functions`: those of the program, if they
    were read before.
    """

    limits: Limits = field(default_factory=Limits)
    most_probes: int = 10_000
    map_entries: int = 4096
    lenient: bool = False
    tracepoints: Tracepoints = _no_tracepoints
    symbols: Symbols = _no_symbols
    functions: Functions | None = None
    sites_for: SitesFor = SitesFor.UPROBES


def bind_script(script: tree.Script, image: Image | None, options: Options | None = None) -> BoundScript:
    """Raises ScriptError where the script is wrong, other GotapErrors where the program lacks what it asks for."""
    held: dict[str, Type] = {}
    while True:
        try:
            return _Binder(script, image, options or Options(), held).bind()
        except MapChanged as error:
            if error.name in held:
                raise
            held[error.name] = error.type


def _wrappers(script: tree.Script) -> dict[str, str]:
    """What `unwrap` follows. The catalogue is only read for scripts that say it."""
    if "unwrap" not in script.text:
        return {}
    return {name: inner for library in libraries() for name, inner in library.unwrap.items()}


class _Binders(Struct):
    functions: FunctionProbes
    lines: LineProbes
    moments: MomentProbes
    origins: OriginProbes

    def bind(self, number: int, probe: tree.Probe, spec: tree.Spec) -> None:
        match spec:
            case tree.Function():
                self.functions.bind(number, probe, spec)
            case tree.Line():
                self.lines.bind(number, probe, spec)
            case tree.Goroutine():
                self.moments.bind(number, probe, spec)
            case _:
                self.origins.bind(number, probe, spec)


class _Binder:
    def __init__(self, script: tree.Script, image: Image | None, options: Options, held: Mapping[str, Type]) -> None:
        self.options = options
        types = types_of(image, runtime()) if image is not None else Types(LayeredTypes(), LayeredTypes())
        compiler = Compiler(types, self.map_layout, _wrappers(script))
        maps = Maps(script, held, options.map_entries, lambda part: shared.named(part))
        shared = Globals(script, options.limits, maps, image, compiler)
        shapes = Shapes(types, image, options.limits) if image is not None else None
        self.context = Context(shared, compiler, types, options.most_probes, image, shapes, options.functions,
                               options.sites_for)  # fmt: skip

    def map_layout(self, type: Type) -> ir.BucketLayout | ir.SwissLayout:
        return map_layout(type, self.context.program.go_version)

    def bind(self) -> BoundScript:
        count = self.context.shared.maps.count
        if count > MOST_MAPS:
            raise GotapError(f"the script has {count} maps, and {MOST_MAPS} is the most", "use more keys in fewer maps")
        context, shared = self.context, self.context.shared
        moments, functions = MomentProbes(context), FunctionProbes(context, self.signatures)
        if context.image is not None:
            shared.made_for = lambda name: made_for(context.functions, name)
            shared.package_variable = PackageVariables(functions).find
        origins = OriginProbes(context, self.options.tracepoints, self.options.symbols)
        binders = _Binders(functions, LineProbes(context, lambda: functions.signatures), moments, origins)
        absent: list[NothingFound] = []
        left_out: list[str] = []
        for number, probe in enumerate(shared.script.probes, 1):
            missing: list[NothingFound] = []
            for spec in probe.specs:
                try:
                    binders.bind(number, probe, spec)
                except NothingFound as error:
                    missing.append(error)
                    left_out += [spec.pattern] if isinstance(spec, tree.Function) else []
            if len(missing) == len(probe.specs) and not self.options.lenient:
                raise missing[0]
            absent += missing
        if absent and not any(one.sites or one.origin for one in context.routines):
            raise absent[0]
        if self.options.lenient and absent:
            shared.notices.append(f"not in this program, so left out: {', '.join(dict.fromkeys(left_out))}")
        else:
            shared.notices += [str(error) for error in absent]
        context.routines += moments.endings()
        return self.result()

    def signatures(self) -> Signatures:
        """What functions take and give, by the script's `sig` lines first."""
        context = self.context
        written: list[Signature] = []
        imports = Imports(context.program)
        for line in context.shared.script.signatures:
            try:
                written.append(read_signature(line.text, context.functions, imports))
            except GotapError as error:
                if not (self.options.lenient and isinstance(error, NoSuchFunction)):
                    raise context.error(line.at, str(error), error.remedy) from None
        return Signatures(context.functions, context.types, written, signatures_in_catalogue)

    def result(self) -> BoundScript:
        context, shared = self.context, self.context.shared
        bound = BoundScript(
            context.routines,
            sorted(shared.maps.specs.values(), key=lambda spec: spec.number),
            context.layouts,
            shared.events,
            shared.sites.infos,
            list(dict.fromkeys(shared.notices)),
            locals=context.locals,
            own=len(shared.own),
            own_texts=shared.own.texts,
            frame_size=context.record_size(),
            uses_traces=mentions(shared.script.probes, "traceid", "spanid"),
            shapes=context.shapes if any(frame.has_values for frame in context.frames) else None,
        )
        if context.image is not None:
            bound.goid, bound.stack_high = self.word("g.goid"), self.word("g.stack.hi")
            bound.stack_words = stack_words(context.image, context.types)
        return bound

    def word(self, text: str) -> ir.Word:
        alternative = self.context.compiler.alternative(Choice(parse(text), None), Scope({}, "runtime", {}))[0]
        assert not isinstance(alternative.value, ir.AnyText)
        return alternative.value

