"""Where Go maps keep their elements, by the rules of the compiler (cmd/compile/internal/reflectdata, Go 1.18–1.27).

Up to 1.23 buckets of eight with overflow chains (runtime/map.go); from 1.24 Swiss tables (internal/runtime/maps), whose
groups hold slots of key and element side by side, or all keys before all elements with GOEXPERIMENT=mapsplitgroup.
"""

from __future__ import annotations

from msgspec import Struct

from gotap.image.abi import WORD, align, alignment
from gotap.image.facts.goversion import GoVersion
from gotap.image.types.gotypes import Type
from gotap.probe import ir
from gotap.probe.expression import ExpressionError

SLOTS = 8
#: Keys and elements larger than this are stored as pointers (maxKeySize, maxElemSize; MapMaxKeyBytes).
_LARGEST_INLINE = 128


class Storage(Struct, frozen=True):
    """How a map's slots are laid out, and whether keys or elements stand there as pointers to them."""

    layout: ir.BucketLayout | ir.SwissLayout
    indirect_key: bool
    indirect_elem: bool


def map_layout(type: Type, version: GoVersion) -> ir.BucketLayout | ir.SwissLayout:
    """Layout of a map type in a program of that Go version; ExpressionError for elements kept behind pointers."""
    storage = map_storage(type, version)
    if storage.indirect_key or storage.indirect_elem:
        raise ExpressionError(f"{type.name} keeps its elements behind pointers", "look up maps of smaller elements")
    return storage.layout


def map_storage(type: Type, version: GoVersion) -> Storage:
    """Where any map type's keys and elements stand in a program of that Go version."""
    assert type.key is not None
    assert type.elem is not None
    key, elem = _Stored.of(type.key.get()), _Stored.of(type.elem.get())
    if version.at_least(1, 24) and "noswissmap" not in version.experiments:
        layout: ir.BucketLayout | ir.SwissLayout = _swiss(key, elem, "mapsplitgroup" in version.experiments)
    else:
        layout = _buckets(key.size, elem.size)
    return Storage(layout, key.indirect, elem.indirect)


class _Stored(Struct, frozen=True):
    """A key or an element as it stands in a slot."""

    size: int
    alignment: int
    indirect: bool

    @classmethod
    def of(cls, type: Type) -> _Stored:
        if type.size > _LARGEST_INLINE:
            return cls(WORD, WORD, True)
        return cls(type.size, alignment(type), False)


def _buckets(key: int, elem: int) -> ir.BucketLayout:
    keys = SLOTS  # after the tophash bytes
    elems = keys + SLOTS * key
    overflow = align(elems + SLOTS * elem, 8)
    return ir.BucketLayout(9, 16, 24, keys, elems, overflow, key, elem)


def _swiss(key: _Stored, elem: _Stored, split: bool) -> ir.SwissLayout:
    """A structure that ends in a field without a size is given a byte more, so that the field's address lies in it
    (cmd/compile/internal/types, CalcStructSize): the slot of a `map[string]struct{}`, or its group when split."""
    control = 8
    if split:
        elems = align(control + SLOTS * key.size, elem.alignment)
        size = align(elems + (SLOTS * elem.size or 1), 8)
        return ir.SwissLayout(16, 24, 16, 24, control, elems, key.size, elem.size, size)
    inner = align(key.size, elem.alignment)
    behind = 0 if elem.size or not key.size else 1
    stride = align(inner + elem.size + behind, max(key.alignment, elem.alignment))
    size = align(control + (SLOTS * stride or 1), 8)
    return ir.SwissLayout(16, 24, 16, 24, control, control + inner, stride, stride, size)
