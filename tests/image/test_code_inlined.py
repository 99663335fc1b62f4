"""Sites of inlined calls: gdb counts how often each is passed, the program how often it made the call."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gobuild import build, every_version
from gotap.image.code import Callees, FunctionCode, InlinedCopy, InlinedSite
from gotap.image.functions.inlinetree import InlinedCall
from gotap.image.image import Image


def copies(image: Image) -> list[tuple[InlinedCall, InlinedCopy]]:
    """The inlined calls in functions of package main."""
    table = image.pclntab
    callees = Callees.of(zip(table.names, table.addresses.tolist(), strict=True))
    found = []
    for function in table.find_prefix("main."):
        code = FunctionCode(image.code(function), function.address, callees=callees)
        hoists = image.go_version.at_least(1, 27)
        found += [
            (call, InlinedCopy(code, call.ranges, call.call_site, hoists=hoists))
            for call in table.inlined_calls(function)
        ]
    return found


def counted(path: Path, addresses: list[int], rounds: int) -> tuple[dict[int, int], dict[str, int]]:
    """How often gdb saw each address, and what the program printed, `caller callee` → calls."""
    commands = ["set pagination off", "set breakpoint pending off"]
    for number, address in enumerate(addresses, 1):
        commands += [f"break *{address:#x}", f"ignore {number} 1000000000"]
    commands += [f"run {rounds}", "info breakpoints"]
    arguments = [word for command in commands for word in ("-ex", command)]
    # A signal that arrives at a breakpoint makes gdb count it twice.
    environment = {**os.environ, "GOMAXPROCS": "1", "GODEBUG": "asyncpreemptoff=1", "GOGC": "off"}
    command = ["gdb", "-nx", "-batch", *arguments, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, env=environment)
    hits = dict.fromkeys(addresses, 0)
    current = 0
    told = {}
    for line in done.stdout.splitlines():
        if (row := re.match(r"\d+\s+breakpoint\s+keep\s+y\s+(0x[0-9a-f]+)", line)) is not None:
            current = int(row[1], 16)
        elif (hit := re.search(r"breakpoint already hit (\d+) time", line)) is not None:
            hits[current] = int(hit[1])
        elif (call := re.fullmatch(r"(main\.\S+ main\.\S+) (\d+)", line)) is not None:
            told[call[1]] = int(call[2])
    return hits, told


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
@pytest.mark.parametrize("go", every_version())
def test_sites_are_passed_once_for_each_call(go: str) -> None:
    path = build("inlined", go)
    sites: dict[str, list[InlinedSite]] = {}
    for call, copy in copies(Image.open(path)):
        key = f"{call.caller} {call.name}"
        sites.setdefault(key, []).extend(site for site in (copy.site(), copy.site(arguments=True)))
    addresses = sorted({one.site.address for both in sites.values() for one in both if one.site})
    hits, told = counted(path, addresses, 40)
    assert len(told) == 24
    assert all(told.values())
    covered = [(key, one.site.address) for key in told for one in sites[key] if one.site is not None]
    wrong = [(key, hex(at), hits[at], told[key]) for key, at in covered if hits[at] != told[key]]
    assert wrong == []
    assert len(covered) >= 2 * 16
    assert all(len(sites[key]) == 2 for key in told)
    assert all(one.reason for both in sites.values() for one in both if one.site is None)


@pytest.mark.parametrize("go", every_version())
def test_most_copies_are_covered_and_cheap(go: str) -> None:
    found = [copy.site() for _, copy in copies(Image.open(build("inlined", go)))]
    sites = [one.site for one in found if one.site is not None]
    assert len(sites) > len(found) * 3 / 4
    assert sum(site.cost.cheap for site in sites) > len(sites) * 3 / 4
