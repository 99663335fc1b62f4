"""Hard situations: a correct attachment or a clear refusal, and a target that works on as if nothing had been."""

from __future__ import annotations

import pytest

from torture_hostile import SITUATIONS
from torture_mechanisms import every_mechanism, skip_without

#: What a uprobe has to do with; the other situations change nothing for the kernel.
_OF_UPROBES = ("two gotaps at once", "uprobes at the sites already", "executes itself", "frozen by its cgroup")


def cases() -> list[object]:
    return [
        pytest.param(
            situation, *one.values, marks=[*one.marks, pytest.mark.root, *quick], id=f"{situation}-{one.values[0]}"
        )
        for one in every_mechanism()
        for situation in SITUATIONS
        for quick in ([pytest.mark.matrix] if one.values == ("uprobe",) and situation not in _OF_UPROBES else [],)
    ]


@pytest.mark.parametrize(("situation", "mechanism"), cases())
def test_it_is_right_or_refused(situation: str, mechanism: str) -> None:
    skip_without(mechanism)
    SITUATIONS[situation](mechanism)
