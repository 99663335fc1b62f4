"""Entry sites by the bytes of prologues against the analysis of the code, over every function of real programs."""

from __future__ import annotations

import pytest

from gobuild import build, every_version
from gotap.image.code import Callees, FunctionCode
from gotap.image.code.prologue import entry_sites
from gotap.image.image import Image


@pytest.mark.parametrize("go", every_version())
@pytest.mark.parametrize("mode", ["plain", pytest.param("race", marks=pytest.mark.matrix)])
def test_answers_are_those_of_the_analysis(go: str, mode: str) -> None:
    image = Image.open(build("httpserver", go, mode=mode))
    functions = list(image.pclntab.functions())
    segment = image.elf.segment_of(functions[0].address)
    assert segment is not None
    functions = [one for one in functions if one.end <= segment.vaddr + segment.filesz]
    text = memoryview(image.elf.data)[segment.offset : segment.offset + segment.filesz]
    found = entry_sites(text, segment.vaddr, [one.address for one in functions], [one.size for one in functions])
    callees = Callees.of((one.name, one.address) for one in functions)
    answered = 0
    for function, site in zip(functions, found, strict=True):
        if site is not None:
            answered += 1
            assert site == FunctionCode(image.code(function), function.address, callees=callees).entry_site(), function
    new = int(go.split(".")[1]) > 20
    assert answered > len(functions) * (0.8 if new and mode == "plain" else 0.4)


def test_nothing_is_asked() -> None:
    assert entry_sites(memoryview(b""), 0, [], []) == []


def test_what_is_no_prologue_is_not_answered() -> None:
    codes = [b"\xff" * 40, b"\x49\x3b\x66\x10\x90\x90", b"", b"\x49\x3b", b"\xeb\xfe", b"\x90\xeb\xfd"]
    text = b"".join(one.ljust(64, b"\xcc") for one in codes)
    sites = entry_sites(memoryview(text), 0x1000, [0x1000 + 64 * i for i in range(len(codes))], [64] * len(codes))
    assert sites == [None] * len(codes)
