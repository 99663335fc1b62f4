"""Go values as a user sees them: read from a sparse copy of memory by their types, written as text and as JSON.

`decode` gives a Value, `to_text` and `to_json` write it. docs/trace-values.md has every kind's two forms.
"""

from __future__ import annotations

from gotap.signals.values.context import Context
from gotap.signals.values.decode import Hole, decode
from gotap.signals.values.jsonform import to_json
from gotap.signals.values.memory import (
    PAGE_ABSENT,
    ImageMemory,
    LiveMemory,
    Memory,
    Moments,
    SnapshotMemory,
    deeper,
    loaded_range,
    moments,
    snapshot,
)
from gotap.signals.values.model import Unavailable, Value
from gotap.signals.values.text import to_text

__all__ = [
    "PAGE_ABSENT",
    "Context",
    "Hole",
    "ImageMemory",
    "LiveMemory",
    "Memory",
    "Moments",
    "SnapshotMemory",
    "Unavailable",
    "Value",
    "decode",
    "deeper",
    "loaded_range",
    "moments",
    "snapshot",
    "to_json",
    "to_text",
]
