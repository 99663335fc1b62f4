"""Which functions of a binary a pattern means: their bodies, the places where they were inlined, what they are.

Names are matched in the function table, which survives stripping and names functions that exist only inlined too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import cached_property

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.functions.names import Names
from gotap.image.functions.pclntab import Function
from gotap.image.image import Image
from gotap.probe.functions.instances import Instance, Instances, may_serve, same_arguments, type_arguments
from gotap.probe.functions.pattern import Pattern, parse_pattern, plain_name, without_arguments
from gotap.probe.signature import package_of

#: funcFlag: implemented in assembly (abi.FuncFlagAsm, Go 1.21–1.27; funcFlag_ASM before).
_FLAG_ASSEMBLY = 1 << 2
#: Made by the compiler: the last part of the name says what for (Go ≥ 1.22; before they are called as closures are).
_MADE = re.compile(r"-fm$|\.(?:gowrap|deferwrap)\d+$")
#: What `gotap go` adds to packages of woven programs: functions, and methods of types.
_WOVEN = re.compile(rb"[.*]gotap_")
_CLOSURE = re.compile(r"(?:\.func\d+|-range\d+)(?:\.\d+|\.func\d+|-range\d+)*$")


class FunctionKind(Enum):
    """What a function is. WRAPPER, METHOD_VALUE, GO and DEFER are made by the compiler and call another function."""

    FUNCTION = "function"
    CLOSURE = "closure"
    GENERIC = "generic"
    ASSEMBLY = "assembly"
    WRAPPER = "wrapper"
    METHOD_VALUE = "method value"
    GO = "go statement"
    DEFER = "defer statement"

    @property
    def is_made(self) -> bool:
        return self in (FunctionKind.WRAPPER, FunctionKind.METHOD_VALUE, FunctionKind.GO, FunctionKind.DEFER)


class Match(Struct, frozen=True):
    """One function as its source has it; of a generic one all instances together, under `main.Map[...]`.

    `package`: import path; it may have dots, so that the name alone does not tell it.

    `bodies`: code of its own, several only of generic functions and of what is declared more than once. Empty: it was
    inlined everywhere. `copies`: the calls that were inlined, by address; None where nobody asked for them.
    `instances`: of a generic function the dictionaries that tell its instances apart, as far as they are wanted.
    """

    name: str
    package: str
    kind: FunctionKind
    bodies: tuple[Function, ...]
    copies: tuple[InlinedCall, ...] | None = None
    instances: tuple[Instance, ...] = ()

    @property
    def only_inlined(self) -> bool:
        return not self.bodies


class Matches(Struct, frozen=True):
    """`functions`: by name. `wrappers`: functions left out since they only pass on to others. `wanted`: type arguments
    that the pattern asks for; empty: any.
    """

    pattern: str
    functions: tuple[Match, ...]
    wrappers: int = 0
    wanted: str = ""

    @property
    def bodies(self) -> int:
        return sum(len(one.bodies) for one in self.functions)

    @property
    def copies(self) -> int:
        return sum(len(one.copies or ()) for one in self.functions)


class Functions:
    """The functions of one binary, as patterns see them."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self._table = image.pclntab
        self._called: dict[str, Matches] = {}

    def call(self, text: str, bodies: Iterable[Function]) -> Matches:
        """From now on `text` means these functions, which no pattern names; what the compiler made is left out."""
        chosen = [body for body in bodies if not self.kind_of(body).is_made]
        matches = self._called[text] = Matches(text, tuple(self._group(chosen, None, ())))
        return matches

    @cached_property
    def instances(self) -> Instances:
        return Instances(self.image)

    def find(self, text: str, *, inlined: bool = True) -> Matches:
        """What a pattern means. `inlined`: also find the inlined calls; without, functions that only exist inlined are
        still found, with `copies` None.
        """
        if (called := self._called.get(text)) is not None:
            return called
        pattern = parse_pattern(text)
        offsets = self._offsets(pattern)
        indices = self._table.indices_of(offsets)
        made = self._is_made(indices)
        # Wrappers are meant when nothing else has the name: `main.(*T).M-fm`.
        left_out = 0 if made.all() else int(np.count_nonzero(made))
        bodies = [self._table.function(index) for index in (indices[~made] if left_out else indices).tolist()]
        copies = self._table.where_inlined_any(offsets) if inlined else None
        names = self._only_inlined(offsets, indices) if not inlined else ()
        found = self._group(bodies, copies, names)
        if pattern.arguments:
            cut_down = (self._of_instance(one, pattern.arguments) for one in found)
            found = [one for one in cut_down if one is not None]
        return Matches(text, tuple(found), left_out, pattern.arguments)

    def named(self, name: str) -> Match | None:
        """The function of that name; None if there is none."""
        return next(iter(self.find(name).functions), None)

    def kind_of(self, function: Function) -> FunctionKind:
        """What a body is."""
        made = self._ids[function.index] == self._wrapper_id
        return _kind(function.name, bool(made), bool(self._flags[function.index] & _FLAG_ASSEMBLY))

    def made(self) -> list[Function]:
        """All functions that the compiler made."""
        indices = np.flatnonzero(self._table.function_ids == self._wrapper_id)
        return [self._table.function(index) for index in indices.tolist()]

    # -- names --------------------------------------------------------------------------------------------------

    def _offsets(self, pattern: Pattern) -> NDArray[np.int64]:
        """Offsets in the name table of the names that match."""
        found = list(re.finditer(pattern.expression, b"\0" + self._table.name_table))
        if "*" in pattern.text and self._is_woven and "gotap_" not in pattern.text:
            # Woven functions are meant when nothing else is.
            found = [match for match in found if not _WOVEN.search(match["name"])] or found
        return np.array([match.start() for match in found], np.int64)

    def _only_inlined(self, offsets: NDArray[np.int64], indices: NDArray[np.int64]) -> Iterable[str]:
        without_body = set(offsets.tolist()) - set(self._table.name_offsets[indices].tolist())
        return [self._table.name_at(offset) for offset in without_body]

    # -- kinds --------------------------------------------------------------------------------------------------

    @cached_property
    def _is_woven(self) -> bool:
        return Names(self._table.name_table).starting_with("gotaprt.") is not None

    @cached_property
    def _wrapper_id(self) -> int:
        """abi.FuncIDWrapper, the last of the list: it moved when others were added before it (Go 1.18–1.27)."""
        version = self.image.go_version
        return 23 if version.at_least(1, 25) else 22 if version.at_least(1, 22) else 21

    @cached_property
    def _ids(self) -> NDArray[np.uint8]:
        return self._table.function_ids

    @cached_property
    def _flags(self) -> NDArray[np.uint8]:
        return self._table.function_flags

    def _is_made(self, indices: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(self._ids[indices] == self._wrapper_id)

    # -- functions ----------------------------------------------------------------------------------------------

    def _group(
        self, bodies: Iterable[Function], copies: list[InlinedCall] | None, names: Iterable[str]
    ) -> list[Match]:
        """One Match for each function of the source."""
        grouped: dict[str, tuple[list[Function], list[InlinedCall]]] = {}
        for body in bodies:
            grouped.setdefault(without_arguments(body.name), ([], []))[0].append(body)
        for copy in copies or ():
            grouped.setdefault(without_arguments(copy.name), ([], []))[1].append(copy)
        for name in names:
            grouped.setdefault(without_arguments(name), ([], []))
        return [
            self._match(name, own, inlined if copies is not None else None)
            for name, (own, inlined) in sorted(grouped.items())
            if own or not _MADE.search(name)
        ]

    def _match(self, name: str, bodies: list[Function], copies: list[InlinedCall] | None) -> Match:
        kind = self.kind_of(bodies[0]) if bodies else _kind(name, False, False)
        instances = self.instances.of(name) if kind is FunctionKind.GENERIC else ()
        inlined = None if copies is None else tuple(copies)
        return Match(plain_name(name), plain_name(package_of(name)), kind, tuple(bodies), inlined, instances)

    def _of_instance(self, match: Match, arguments: str) -> Match | None:
        """The match cut down to the instances with these type arguments; unchanged where that cannot be told."""
        if "go.shape." in arguments:
            bodies = tuple(one for one in match.bodies if may_serve(type_arguments(one.name), arguments))
            return replace(match, bodies=bodies) if bodies else None
        wanted = tuple(one for one in match.instances if same_arguments(arguments, one))
        if match.instances and not wanted:
            return None
        concrete = wanted[0].arguments if wanted else arguments
        return replace(
            match,
            bodies=tuple(one for one in match.bodies if may_serve(type_arguments(one.name), concrete)),
            copies=match.copies and tuple(
                one for one in match.copies if may_serve(type_arguments(one.name), concrete)
            ),
            instances=wanted,
        )  # fmt: skip


def is_closure(name: str) -> bool:
    """Whether a function of that name was declared inside another one."""
    return (".func" in name or "-range" in name) and _CLOSURE.search(name) is not None


def _kind(name: str, made: bool, assembly: bool) -> FunctionKind:
    if made:
        if name.endswith("-fm"):
            return FunctionKind.METHOD_VALUE
        if found := _MADE.search(name):
            return FunctionKind.GO if found[0].startswith(".gowrap") else FunctionKind.DEFER
        return FunctionKind.WRAPPER
    if assembly:
        return FunctionKind.ASSEMBLY
    if is_closure(name):
        return FunctionKind.CLOSURE
    return FunctionKind.GENERIC if "[" in name else FunctionKind.FUNCTION

