"""Hard situations: a correct attachment or a clear refusal, and a target that works on as if nothing had been."""

from __future__ import annotations

import pytest

from torture_hostile import SITUATIONS
from torture_mechanisms import every_mechanism, skip_without

#: What is different for machines of the kernel's; the rest of it needs --matrix.
_FEW = {
    "uprobe": ("two gotaps at once",),
    "springboard": ("two gotaps at once", "uprobes at the sites already", "uprobes at the sites later",
                    "executes itself", "stopped by SIGSTOP", "seccomp: no mmap with PROT_EXEC"),
}  # fmt: skip


def cases() -> list[object]:
    found: list[object] = []
    for one in every_mechanism():
        mechanism = str(one.values[0])
        for situation in SITUATIONS:
            slow = [] if situation in _FEW.get(mechanism, (situation,)) else [pytest.mark.matrix]
            marks = [*one.marks, pytest.mark.root, *slow]
            found.append(pytest.param(situation, mechanism, marks=marks, id=f"{situation}-{mechanism}"))
    return found


@pytest.mark.parametrize(("situation", "mechanism"), cases())
def test_it_is_right_or_refused(situation: str, mechanism: str) -> None:
    skip_without(mechanism)
    SITUATIONS[situation](mechanism)
