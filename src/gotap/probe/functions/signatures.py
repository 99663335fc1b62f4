"""What the functions of a binary take and give.

Asked in this order: what the user wrote (`sig`), DWARF, the runtime's types of methods, which have no names, the
catalogue. Whatever says it, the function table's argument info must agree: it survives stripping, and a wrong signature
would read wrong places.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from msgspec.structs import replace

from gotap.errors import GotapError
from gotap.image import abi
from gotap.image.errors import ImageError
from gotap.image.functions.arginfo import argument_info, expected_info
from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.image.types.descriptor import TypesDamaged
from gotap.image.types.dwarf import DwarfError, DwarfTypes, Parameter
from gotap.image.types.dwarf.functions import Subprogram
from gotap.image.types.gotypes import Kind, Type
from gotap.image.types.linkname import escape_import_path
from gotap.image.types.methods import MethodTypes
from gotap.image.types.rtype import RuntimeTypes
from gotap.probe.functions.instances import type_arguments
from gotap.probe.functions.matching import FunctionKind, Functions, is_closure
from gotap.probe.functions.missing import complete
from gotap.probe.functions.model import DICTIONARY, Argument, FunctionSignature, SignatureSource
from gotap.probe.functions.pattern import plain_name, without_arguments
from gotap.probe.functions.shapes import SHAPE, Shapes
from gotap.probe.signature import Signature, package_of
from gotap.probe.typing import Types, UnknownType

_METHOD = re.compile(r"(\(\*)?(?P<type>[^.()\[\]]+(?:\[.*\])?)\)?\.(?P<method>[^.\[\]]+)")
_NO_METHOD = re.compile(r"(?:func|gowrap|deferwrap)?\d+|.*-fm|.*-range\d+")
#: Functions that compare and hash values of a type; they are not generic, whatever the type.
_MADE_FOR_TYPES = ("type:", "type..")
_UINTPTR = Type("uintptr", Kind.UINT, abi.WORD)
#: What DWARF calls parameters and results without a name; of a parameter the group is its number. Where woven
#: text needs a name, it has given one (nameOf in weave/helper/program/dot.go).
UNNAMED = re.compile(r"_|~p(\d+)|~[br]\d+|&?__(?:argument|receiver|result)__\d+|")


class SignatureMismatch(GotapError):
    """A signature that the binary contradicts."""


class Signatures:
    """Signatures of one binary's functions. `written`: by symbol, the user's; `catalogue`: those that ship with gotap.

    Nothing is raised for what cannot be read: then nothing is known, and `reason` says why. SignatureMismatch is raised
    where the user's signature is wrong.
    """

    def __init__(
        self,
        functions: Functions,
        types: Types,
        written: Iterable[Signature] = (),
        catalogue: Callable[[], Iterable[Signature]] = tuple,
    ) -> None:
        self.functions = functions
        self.image: Image = functions.image
        self.types = types
        self._written = {plain_name(one.symbol): one for one in written}
        self._read_catalogue = catalogue
        self._known: dict[int, FunctionSignature] = {}
        self._shapes: dict[str, Shapes] = {}

    @cached_property
    def _catalogue(self) -> dict[str, Signature]:
        """Read when everything else does not know."""
        return {plain_name(one.symbol): one for one in self._read_catalogue()}

    def of(self, function: Function) -> FunctionSignature:
        """The signature of a function that has code."""
        found = self._known.get(function.address)
        if found is None:
            found = self._known[function.address] = self._find(function)
        return found

    def subprogram(self, function: Function) -> Subprogram | None:
        """DWARF's entries of a function, None where there are none. Raises DwarfError, ImageError."""
        if self.dwarf is None:
            return None
        name = self.full_name(function)
        return self.dwarf.subprogram(plain_name(package_of(name)), name, function.address)

    def full_name(self, function: Function) -> str:
        """The linker's name with type arguments, which the function table leaves out up to Go 1.20."""
        if "[...]" not in function.name:
            return function.name
        return self._generic_symbols.get(function.address, function.name)

    def of_inlined(self, call: InlinedCall) -> FunctionSignature:
        """The signature of an inlined function, which need not have code of its own; without unnamed results."""
        if (body := self.image.pclntab.find(call.name)) is not None:
            return self.of(body)
        parameters = None
        with contextlib.suppress(DwarfError, ImageError):
            parameters = self.dwarf.inlined_parameters(call.name) if self.dwarf is not None else None
        if parameters is None:
            return FunctionSignature(reason=self._why_unknown(plain_name(call.name), False))
        results = tuple(_argument(one) for one in parameters if one.is_result)
        taken = tuple(_argument(one) for one in parameters if not one.is_result)
        signature = _named(FunctionSignature(taken, results, "DWARF"), is_method(call.name))
        return self._concrete(call.name, signature) if "[" in call.name else signature

    def package_variable(self, name: str) -> tuple[int, Type | None] | None:
        """Address and, as far as that is told, type of `pkg.Var`; None where there is none of that name."""
        for symbol in _spellings(name):
            with contextlib.suppress(DwarfError, ImageError):
                found = self.dwarf.variable(symbol) if self.dwarf is not None else None
                if found is not None:
                    return found[0], found[1].get()
            if (known := self.image.elf.symbols().get(symbol)) is not None:
                return known[0], None
        return None

    @cached_property
    def dwarf(self) -> DwarfTypes | None:
        """The binary's DWARF; None if it has none."""
        return DwarfTypes(self.image.elf, self.image.moduledata.types) if self.image.has_dwarf else None

    @cached_property
    def _generic_symbols(self) -> dict[int, str]:
        return {
            address: name.removesuffix(".abi0")
            for name, (address, _) in self.image.elf.symbols().items()
            if "[" in name and "..dict." not in name
        }

    # -- the four sources ---------------------------------------------------------------------------------------

    def _find(self, function: Function) -> FunctionSignature:
        name = plain_name(function.name)
        assembly = self.functions.kind_of(function) is FunctionKind.ASSEMBLY
        if (one := self._written.get(name)) is not None:
            return self._from_text(function, one, "sig", assembly)
        found = None if assembly else self._from_dwarf(function) or self._from_runtime_types(function)
        if (found is None or found.source == "runtime types") and (one := self._catalogue.get(name)) is not None:
            with contextlib.suppress(SignatureMismatch, UnknownType):
                found = _with_names(found, self._from_text(function, one, "catalogue", assembly))
        return found or FunctionSignature(reason=self._why_unknown(name, assembly), abi0=assembly)

    def _why_unknown(self, name: str, assembly: bool) -> str:
        told = f"say them by a line `sig '{name}(name type, …) (type, …)'`"
        if assembly:
            return f"{name} is assembly, which does not name its arguments: {told}"
        if not self.image.has_dwarf:
            return f"the binary has no debug information that names the arguments of {name}: {told}"
        return f"the debug information does not describe {name}: {told}"

    def _from_dwarf(self, function: Function) -> FunctionSignature | None:
        try:
            found = self.subprogram(function)
            if found is None or self.dwarf is None:
                return None
            parameters = self.dwarf.parameters(found)
            taken = [one for one in parameters if not one.is_result]
            results = tuple(_argument(one) for one in parameters if one.is_result)
            signature = FunctionSignature(tuple(map(_argument, taken)), results, "DWARF")
            return self._completed(function, signature, taken, found.low_pc)
        except (DwarfError, ImageError):
            return None

    def _completed(
        self, function: Function, signature: FunctionSignature, described: list[Parameter], entry: int
    ) -> FunctionSignature:
        """With the dictionary, and with what DWARF leaves out, which the argument info tells of."""
        name = self.full_name(function)
        signature = self._with_dictionary(name, signature)
        start = 1 if "[" in name else 0
        if not self._agrees(function, signature, start):
            info = argument_info(self.image.pclntab, function) or b""
            with_receiver = self._received(function, signature)
            filled = (
                with_receiver
                if with_receiver is not None and self._agrees(function, with_receiver, start)
                else complete(signature, described, info, start, entry)
            )
            if filled is None:
                return FunctionSignature(
                    reason=f"the debug information of {plain_name(name)} does not agree with the function table"
                )
            signature = filled
        if SHAPE in name:
            signature = self._concrete(name, signature)
        return self._with_receiver(_named(signature, is_method(function.name)), function)

    def _with_receiver(self, signature: FunctionSignature, function: Function) -> FunctionSignature:
        """The type of a receiver without a name, which follows from the name of the method."""
        for i, one in enumerate(signature.parameters):
            if one.name == "~recv" and one.type is None and one.layout is not None:
                type_ = self.types.find(receiver_of(function.name))
                if type_ is not None and type_.size == one.layout.size:
                    known = replace(one, type=type_, reason="", layout=None)
                    parameters = (*signature.parameters[:i], known, *signature.parameters[i + 1 :])
                    return replace(signature, parameters=parameters)
        return signature

    def shapes(self, name: str) -> Shapes:
        """What makes the types of a generic function's body concrete, by its full name."""
        if name not in self._shapes:
            instances = self.functions.instances.of(without_arguments(name))
            self._shapes[name] = Shapes(self.types, type_arguments(name), instances)
        return self._shapes[name]

    def _concrete(self, name: str, signature: FunctionSignature) -> FunctionSignature:
        """With the types of its only instance in place of their shapes."""
        shapes = self.shapes(name)

        def each(arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
            return tuple(
                replace(one, type=shapes.concrete(one.type)) if one.type is not None else one for one in arguments
            )

        return replace(signature, parameters=each(signature.parameters), results=each(signature.results))

    def _received(self, function: Function, signature: FunctionSignature) -> FunctionSignature | None:
        """With a receiver that has no name: its type follows from the method's name. None for what is no method."""
        receiver = receiver_of(function.name)
        type_ = self.types.find(receiver) if receiver else None
        first = next((one.type for one in signature.parameters if one.type is not None), None)
        if type_ is None or (first is not None and _same_type(first.name, receiver)):
            return None
        return replace(signature, parameters=(Argument("_", type_), *signature.parameters))

    def _agrees(self, function: Function, signature: FunctionSignature, start: int) -> bool:
        """Whether argument info and signature say the same; True where there is none."""
        types = [one.type or one.layout for one in signature.parameters]
        assignment = signature.assignment()
        if assignment is None:
            return True
        info = argument_info(self.image.pclntab, function)
        return (info or b"") == expected_info([one for one in types if one is not None], assignment, start)

    def _with_dictionary(self, name: str, signature: FunctionSignature) -> FunctionSignature:
        """The hidden argument: behind the receiver from Go 1.20 on, before it in 1.18 and 1.19.

        noder/reader.go, shapeSig; noder/stencil.go, subster and getDictionary of 1.18. Closures have none.
        """
        parameters = [one for one in signature.parameters if one.name != DICTIONARY]
        if is_closure(name):  # what it captured, when it is called where it is written
            return replace(
                signature, parameters=tuple(replace(one, hidden=one.name == DICTIONARY) for one in signature.parameters)
            )
        if SHAPE in name and not name.startswith(_MADE_FOR_TYPES):
            behind = is_method(name) and self.image.go_version.at_least(1, 20)
            parameters.insert(1 if behind else 0, Argument(DICTIONARY, _UINTPTR, hidden=True))
        return replace(signature, parameters=tuple(parameters))

    def _from_runtime_types(self, function: Function) -> FunctionSignature | None:
        receiver = receiver_of(function.name)
        if not receiver:
            return None
        try:
            method = self._methods.find(receiver, function.address)
        except TypesDamaged:
            return None
        if method is None:
            return None
        parameters = (Argument("", method.receiver), *(Argument("", one) for one in method.parameters))
        results = tuple(Argument("", one) for one in method.results)
        signature = FunctionSignature(parameters, results, "runtime types", variadic=method.variadic)
        return _named(signature, True) if self._agrees(function, signature, 0) else None

    @cached_property
    def _methods(self) -> MethodTypes:
        image = self.image
        return MethodTypes(image, RuntimeTypes(image.elf, image.moduledata, image.go_version))

    # -- what was written ---------------------------------------------------------------------------------------

    def _from_text(
        self, function: Function, text: Signature, source: SignatureSource, abi0: bool
    ) -> FunctionSignature:
        """Raises SignatureMismatch, UnknownType."""
        parameters = [Argument(one.name, self.types.resolve(one.type)) for one in text.parameters]
        results = tuple(Argument(one.name, self.types.resolve(one.type)) for one in text.results)
        receiver = receiver_of(function.name)
        if receiver and not (parameters and parameters[0].type and _same_type(parameters[0].type.name, receiver)):
            parameters.insert(0, Argument("", self.types.resolve(receiver)))
        signature = FunctionSignature(tuple(parameters), results, source, abi0=abi0)
        signature = self._with_dictionary(self.full_name(function), signature)
        if not self._agrees(function, signature, 1 if "[" in function.name else 0):
            raise SignatureMismatch(
                f"the signature given for {text.symbol} is not its own: its arguments have other sizes or places",
                "correct the types of its parameters, or leave the line out",
            )
        return _named(signature, bool(receiver))


def _with_names(found: FunctionSignature | None, named: FunctionSignature) -> FunctionSignature:
    """What runtime types say, by the catalogue's names for parameters; its results may be left out there."""
    if found is None or len(found.parameters) != len(named.parameters):
        return found or named
    pairs = zip(found.parameters, named.parameters, strict=True)
    return replace(found, parameters=tuple(replace(one, name=other.name) for one, other in pairs))


def is_method(name: str) -> bool:
    """Whether a function's name is that of a method with a receiver among its parameters."""
    return bool(receiver_of(name))


def receiver_of(name: str) -> str:
    """`net/http.(*conn).serve` → `*net/http.conn`; empty for what is no method: closures, functions, method values."""
    package = package_of(name)
    match = _METHOD.fullmatch(name[len(package) + 1 :])
    if match is None or _NO_METHOD.fullmatch(match["method"]):
        return ""
    return f"{'*' if match[1] else ''}{package}.{match['type']}"


def _spellings(name: str) -> Iterator[str]:
    """What the linker may call `gopkg.in/yaml.v3.Var`: any dot behind the last slash may be the package's last."""
    at = name.rfind(".")
    while at > name.rfind("/"):
        yield escape_import_path(name[:at]) + name[at:]
        at = name.rfind(".", 0, at)
    yield name


def _same_type(one: str, other: str) -> bool:
    return plain_name(one) == plain_name(other)


def _argument(parameter: Parameter) -> Argument:
    return Argument(parameter.name.removeprefix("&"), parameter.type.get())


def _named(signature: FunctionSignature, has_receiver: bool) -> FunctionSignature:
    """Every parameter and result with a name that users can type."""
    own = [one for one in signature.parameters if not one.hidden]
    names = {id(one): one.name for one in own}
    for position, one in enumerate(own):
        if UNNAMED.fullmatch(one.name):
            names[id(one)] = "~recv" if has_receiver and not position else f"~a{position - has_receiver}"
    return replace(
        signature,
        parameters=tuple(one if one.hidden else replace(one, name=names[id(one)]) for one in signature.parameters),
        results=tuple(
            replace(one, name=f"~r{i}") if UNNAMED.fullmatch(one.name) else one
            for i, one in enumerate(signature.results)
        ),
        has_receiver=has_receiver and bool(own),
    )
