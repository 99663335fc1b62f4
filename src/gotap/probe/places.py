"""Places of the catalogue → sites in one binary, with the location of every argument and result there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from msgspec import Struct, field

from gotap.errors import GotapError
from gotap.image import abi
from gotap.image.code import Cost, FunctionCode, Location, Register, Site, Stack
from gotap.image.function_code import FunctionCodes, SitesFor, function_code
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.probe import ir
from gotap.probe.catalogue import Place
from gotap.probe.signature import Parameter, Signature
from gotap.probe.typing import Types, pieces
from gotap.probe.value import Value


class NotInBinary(GotapError):
    """A function of the catalogue that this binary does not hold, or not in a form that can be probed."""


#: Length of a direct call instruction, e8 and four bytes.
_DIRECT_CALL = 5


class BoundSite(Struct, frozen=True):
    """A site with what an action reads there: where each input word stands."""

    site: Site
    file_offset: int  # of the site's instruction in the executable
    inputs: Mapping[ir.Input, Location]
    function: str


class Found(Struct):
    """A place that exists in the binary. `values`: the parameters that expressions may name there."""

    function: str
    sites: tuple[BoundSite, ...]
    values: dict[str, Value] = field(default_factory=dict)

    def names(self) -> dict[str, Callable[[], Value]]:
        return {name: _constant(value) for name, value in self.values.items()}


class Places:
    """Finds places in one binary; code is analysed once per function."""

    def __init__(
        self,
        image: Image,
        types: Types,
        sites_for: SitesFor = SitesFor.UPROBES,
        codes: FunctionCodes | None = None,
    ) -> None:
        """`codes`: what was analysed of this image, to be shared."""
        self.image = image
        self.types = types
        self.sites_for = sites_for
        self._codes = codes
        self._code: dict[tuple[int, bool], FunctionCode] = {}

    def find(self, place: Place) -> Found:
        """Sites and values of a place; NotInBinary with the reason when there are none."""
        if place.callee is not None and place.after:
            return self.after_calls(place.function, place.callee)
        if place.callee is not None:
            return self.calls(place.function, place.callee)
        functions = self.functions(place.function)
        if len(functions) > 1:
            raise NotInBinary(f"{place.function.symbol} is ambiguous: {len(functions)} functions of that name", "")
        if place.results is not None:
            return self.returns(functions[0], place.function, place.results, place.quiet_defers)
        return self.entry(functions[0], place.function)

    def functions(self, signature: Signature) -> Sequence[Function]:
        found = self.holders(signature.symbol)
        if not found:
            raise NotInBinary(self.why_missing(signature.symbol), "")
        return found

    def holders(self, symbol: str) -> Sequence[Function]:
        """Functions of that name, or of that prefix, that have code of their own."""
        if symbol.endswith("*"):
            return self.image.pclntab.find_prefix(symbol[:-1])
        return self.image.pclntab.find_all(symbol)

    def why_missing(self, symbol: str) -> str:
        callers = [] if symbol.endswith("*") else self.image.pclntab.where_inlined(symbol)
        if callers:
            return f"{symbol} has no code of its own: it was inlined into {callers[0].caller}"
        return f"{symbol} is not in this binary"

    def code(self, function: Function, *, quiet_defers: bool = False) -> FunctionCode:
        """The function's code, knowing what it calls. `quiet_defers`: what it defers leaves its results alone."""
        key = (function.address, quiet_defers)
        if key not in self._code:
            self._code[key] = self.analyse(function, quiet_defers=quiet_defers)
        return self._code[key]

    def analyse(self, function: Function, *, quiet_defers: bool = False) -> FunctionCode:
        """As `code`, but it is not kept: for those who look at many functions, each once."""
        if self._codes is not None:
            return self._codes.of(function, quiet_defers=quiet_defers, sites_for=self.sites_for)
        return function_code(self.image, function, quiet_defers=quiet_defers, sites_for=self.sites_for)

    def entry(self, function: Function, signature: Signature) -> Found:
        site = self.code(function).entry_site()
        if site is None or site.sp_offset is None:
            raise NotInBinary(f"the code of {function.name} could not be understood", "")
        assignment = self.assignment(signature.parameters)
        inputs = _inputs("argument", signature.parameters, self.types, assignment.params, site.sp_offset + 8)
        return Found(
            function.name,
            (self.bound(site, inputs, function),),
            _values("argument", signature.parameters, self.types),
        )

    def bound(self, site: Site, inputs: Mapping[ir.Input, Location], function: Function) -> BoundSite:
        offset = self.image.elf.offset_of(site.address)
        if offset is None:
            raise NotInBinary(f"{function.name} is not in the file", "")
        return BoundSite(site, offset, inputs, function.name)

    def calls(self, place: Signature, callee: Signature) -> Found:
        """The calls of `callee` in the function's own code and in the copies that were inlined into others."""
        assignment = self.assignment(callee.parameters)
        # At the call instruction the return address is not pushed yet: stack arguments start at SP.
        inputs = _inputs("callee", callee.parameters, self.types, assignment.params, 0)
        sites = [self.bound(site, inputs, function) for function, site in self.call_sites(place, callee)]
        distinct = {site.file_offset: site for site in sites}
        return Found(place.symbol, tuple(distinct.values()), _values("callee", callee.parameters, self.types))

    def after_calls(self, place: Signature, callee: Signature) -> Found:
        """Behind the calls of `callee`, at a cheap instruction if there is one; results called `_` are not needed."""
        assignment = self.assignment(callee.parameters, callee.results)
        named = zip(callee.results, assignment.results, strict=True)
        wanted = [piece.register for one, words in named if one.name != "_" for piece in words if piece.register]
        sites = {}
        for function, call in self.call_sites(place, callee):
            site, known = self.after_call(function, call, wanted)
            inputs = _inputs("result", callee.results, self.types, assignment.results, 0, known)
            sites[site.address] = self.bound(site, inputs, function)
        return Found(place.symbol, tuple(sites.values()), _values("result", callee.results, self.types))

    def after_call(
        self, function: Function, call: Site, wanted: Sequence[str]
    ) -> tuple[Site, Mapping[str, Location]]:
        """A site behind one call, and where the result registers stand at it; the instruction behind it if need be."""
        code = self.code(function)
        site = code.after_call(call.address, wanted, allow_faults=True)
        if site is not None:
            return site, {name: at for name, at in zip(wanted, site.results, strict=True) if at is not None}
        behind = call.address + _DIRECT_CALL
        cost = code.cost_at(behind)
        if cost is Cost.FORBIDDEN:
            raise NotInBinary(f"behind its call in {function.name} there is no instruction that can be probed", "")
        return Site(behind, cost, call.sp_offset), {name: Register(name) for name in wanted}

    def call_sites(self, place: Signature, callee: Signature) -> list[tuple[Function, Site]]:
        """Calls of `callee` with the function whose code they are in; NotInBinary when there are none."""
        targets = {one.address for one in self.functions(callee)}
        sites: list[tuple[Function, Site]] = [
            (function, site)
            for function in self.holders(place.symbol)
            for site in self.code(function).call_sites(targets)
        ]
        for call in () if place.symbol.endswith("*") else self.image.pclntab.where_inlined(place.symbol):
            sites += [
                (call.function, site)
                for site in self.code(call.function).call_sites(targets)
                if any(start <= site.address < end for start, end in call.ranges)
            ]
        if not sites:
            self.functions(place)  # says why there are none
            raise NotInBinary(f"{place.symbol} does not call {callee.symbol} in this binary", "")
        return sites

    def returns(
        self, function: Function, signature: Signature, results: tuple[Parameter, ...], quiet_defers: bool
    ) -> Found:
        assignment = self.assignment(signature.parameters, results)
        wanted = [piece.register for words in assignment.results for piece in words if piece.register is not None]
        sites = []
        for site in self.code(function, quiet_defers=quiet_defers).return_sites(wanted, allow_faults=True):
            if site.sp_offset is None:
                raise NotInBinary(f"the stack of {function.name} could not be followed", "")
            known = {name: place for name, place in zip(wanted, site.results, strict=True) if place is not None}
            inputs = _inputs("result", results, self.types, assignment.results, site.sp_offset + 8, known)
            sites.append(self.bound(site, inputs, function))
        if not sites:
            raise NotInBinary(f"{function.name} never returns", "")
        return Found(function.name, tuple(sites), _values("result", results, self.types))

    def assignment(self, parameters: Iterable[Parameter], results: Iterable[Parameter] = ()) -> abi.Assignment:
        return abi.assign(
            [self.types.resolve(one.type) for one in parameters], [self.types.resolve(one.type) for one in results]
        )


def _constant(value: Value) -> Callable[[], Value]:
    return lambda: value


def _values(role: ir.InputRole, parameters: Sequence[Parameter], types: Types) -> dict[str, Value]:
    values = {}
    for index, parameter in enumerate(parameters):
        type = types.resolve(parameter.type)
        words: dict[int, ir.Word] = {
            offset: ir.Input(role, index, offset, size, signed) for offset, size, signed in pieces(type)
        }
        values[parameter.name] = Value(type, words)
    return values


def _inputs(
    role: ir.InputRole,
    parameters: Sequence[Parameter],
    types: Types,
    assigned: Sequence[Sequence[abi.Piece]],
    stack_base: int,
    known: Mapping[str, Location] | None = None,
) -> dict[ir.Input, Location]:
    """Location of every input word. `stack_base`: from SP at the site to the stack arguments.

    `known`: where a register's value stands at the site, when not in the register itself.
    """
    inputs: dict[ir.Input, Location] = {}
    for index, (parameter, parts) in enumerate(zip(parameters, assigned, strict=True)):
        signs = {offset: signed for offset, _, signed in pieces(types.resolve(parameter.type))}
        for part in parts:
            word = ir.Input(role, index, part.offset, part.size, signs.get(part.offset, False))
            if part.register is None:
                assert part.stack_offset is not None
                inputs[word] = Stack(stack_base + part.stack_offset)
            elif known is None:
                inputs[word] = Register(part.register)
            elif part.register in known:
                inputs[word] = known[part.register]
    return inputs
