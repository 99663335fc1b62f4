"""Whether this process may use bpf(2): tests that need it are skipped with the kernel's own words otherwise."""

from __future__ import annotations

import pytest

from gotap.kernel.bpf import Map, MapType
from gotap.kernel.errors import KernelError


def _refusal() -> str:
    try:
        Map.create(MapType.ARRAY, 4, 8, 1).close()
    except KernelError as error:
        return str(error)
    return ""


REFUSAL = _refusal()
needs_bpf = pytest.mark.skipif(bool(REFUSAL), reason=REFUSAL)
