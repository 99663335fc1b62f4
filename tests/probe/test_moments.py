"""What gotap knows of the Go runtime for scripts, against binaries of every Go version."""

import contextlib

import pytest

from gobuild import ALL, NEWEST, OLDEST, build
from gotap.image.image import Image
from gotap.probe.catalogue import Choice, runtime
from gotap.probe.compiler import Compiler, Scope
from gotap.probe.maps import map_layout
from gotap.probe.moments import wait_reasons
from gotap.probe.places import Places
from gotap.probe.sources import types_of
from gotap.probe.typing import UnknownType

VERSIONS = [
    version if version in (OLDEST, NEWEST) else pytest.param(version, marks=pytest.mark.matrix) for version in ALL
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mode", ["plain", "stripped"])
def test_every_moment_has_its_place_and_its_words(version: str, mode: str) -> None:
    image = Image.open(build("httpserver", version, mode=mode))
    types = types_of(image, runtime())
    places = Places(image, types)
    compiler = Compiler(types, lambda type: map_layout(type, image.go_version))
    for name, moment in runtime().moments.items():
        found = places.find(moment.place)
        assert found.sites, name
        scope = Scope(found.names(), "runtime", {})
        for word, choices in moment.words.items():
            since_1_21 = word == "parent" and not image.go_version.at_least(1, 21)  # g.parentGoid
            compiled = []
            for choice in choices:
                with contextlib.suppress(*([UnknownType] if since_1_21 else [])):
                    compiled.append(compiler.alternative(Choice(choice.value, None), scope))
            assert compiled or (since_1_21 and name != "create"), (name, word)


@pytest.mark.parametrize("version", VERSIONS)
def test_wait_reasons_are_those_of_the_runtime(version: str) -> None:
    image = Image.open(build("httpserver", version))
    address, size = image.elf.symbols()["runtime.waitReasonStrings"]
    texts = []
    for at in range(address, address + size, 16):
        pointer = image.elf.pointer(at)
        length = int.from_bytes(image.elf.read(at + 8, 8), "little")
        texts.append(image.elf.read(pointer, length).decode() if length else "")
    assert list(wait_reasons(image.go_version)) == texts
