"""More goroutines than there are entries for have called, and all of them live: calls are followed all the same."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest

from cli import started
from gobuild import NEWEST, build
from torture_mechanisms import every_mechanism, skip_without, via

MANY = 80_000  # as the program has it; the kernel's map takes 65,536, hooks have memory for 8,192 when they begin
SCRIPT = "main.work { @calls = count(); @arguments = sum(args.a) }"


@pytest.mark.parametrize("mechanism", every_mechanism())
def test_each_call_is_followed(mechanism: str) -> None:
    skip_without(mechanism)
    program = build("manygoroutines", NEWEST)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as target:
        try:
            assert target.stdin is not None
            assert target.stdout is not None
            assert target.stdout.readline() == "ready\n"
            words = ("trace", "-p", str(target.pid), *via(mechanism), "--json", "--max-overhead", "off", SCRIPT)
            with started(*words) as tracing:
                tracing.attached()
                target.stdin.write("once\n")
                target.stdin.flush()
                assert target.stdout.readline() == f"{MANY}\n"
                done = tracing.finish(signal.SIGINT)
        finally:
            target.kill()
    found = {one["map"]: one["entries"][0]["value"] for one in map(json.loads, done.out.splitlines()) if "map" in one}
    assert ", 0 dropped" in done.err, done.err
    assert found == {"@calls": MANY, "@arguments": MANY}
