"""Where Go maps keep their elements, by the rules of the compiler (cmd/compile/internal/reflectdata, Go 1.18–1.27).

Up to 1.23 buckets of eight with overflow chains (runtime/map.go); from 1.24 Swiss tables (internal/runtime/maps), whose
groups hold slots of key and element side by side, or all keys before all elements with GOEXPERIMENT=mapsplitgroup.
"""

from __future__ import annotations

from gotap.image.facts.goversion import GoVersion
from gotap.image.types.gotypes import Type
from gotap.probe import ir
from gotap.probe.expression import ExpressionError

SLOTS = 8
#: Keys and elements larger than this are stored as pointers (maxKeySize, maxElemSize; MapMaxKeyBytes).
_LARGEST_INLINE = 128


def map_layout(type: Type, version: GoVersion) -> ir.BucketLayout | ir.SwissLayout:
    """Layout of a map type in a program of that Go version; ExpressionError for elements kept behind pointers."""
    assert type.key is not None
    assert type.elem is not None
    key, elem = type.key.get(), type.elem.get()
    if max(key.size, elem.size) > _LARGEST_INLINE:
        raise ExpressionError(f"{type.name} keeps its elements behind pointers", "look up maps of smaller elements")
    swiss = version.at_least(1, 24) and "noswissmap" not in version.experiments
    return (
        _swiss(key.size, elem.size, "mapsplitgroup" in version.experiments) if swiss else _buckets(key.size, elem.size)
    )


def _buckets(key: int, elem: int) -> ir.BucketLayout:
    keys = SLOTS  # after the tophash bytes
    elems = keys + SLOTS * key
    overflow = _align(elems + SLOTS * elem, 8)
    return ir.BucketLayout(9, 16, 24, keys, elems, overflow, key, elem)


def _swiss(key: int, elem: int, split: bool) -> ir.SwissLayout:
    """A structure that ends in a field without a size is given a byte more, so that the field's address lies in it
    (cmd/compile/internal/types, CalcStructSize): the slot of a `map[string]struct{}`, or its group when split."""
    control = 8
    behind = 0 if elem else 1
    if split:
        elems = _align(control + SLOTS * key, _alignment(elem))
        size = _align(elems + SLOTS * elem + behind, 8)
        return ir.SwissLayout(16, 24, 16, 24, control, elems, key, elem, size)
    inner = _align(key, _alignment(elem))
    stride = _align(inner + elem + behind, max(_alignment(key), _alignment(elem)))
    return ir.SwissLayout(16, 24, 16, 24, control, control + inner, stride, stride, control + SLOTS * stride)


def _alignment(size: int) -> int:
    """Largest power of two up to 8 that divides the size: at least the alignment of any Go type of that size."""
    return next(step for step in (8, 4, 2, 1) if size % step == 0)


def _align(offset: int, to: int) -> int:
    return -(-offset // to) * to
