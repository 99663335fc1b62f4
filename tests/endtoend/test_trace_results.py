"""Results as the caller finds them, although the function writes what they lead to at its very end."""

import subprocess

import pytest

from cli import started
from gobuild import build, every_version
from kernel_access import needs_bpf
from trace_lines import calls_of, lines_of

pytestmark = [pytest.mark.root, needs_bpf]

COUNT = 5


def traced(go: str, mode: str, script: str) -> bytes:
    with subprocess.Popen([str(build("results", go, mode=mode)), str(COUNT)], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as program:  # fmt: skip
        try:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdout.readline()
            with started("trace", "-p", str(program.pid), "--json", script) as tracing:
                tracing.attached()
                program.stdin.write("go\n")
                program.stdin.flush()
                program.wait(60)
                return tracing.finish().out
        finally:
            program.kill()


@pytest.mark.parametrize("go", every_version())
@pytest.mark.parametrize("mode", ["plain", "race"])
def test_what_results_lead_to_is_complete(go: str, mode: str) -> None:
    events = calls_of(traced(go, mode, "main.set, main.pair, main.fill, main.fail"))
    told = {name: [one["results"]["~r0"] for one in events if one["func"] == f"main.{name}"]
            for name in ("set", "pair", "fill", "fail")}  # fmt: skip
    numbers = range(COUNT)
    assert told["set"] == [{"X": n, "Y": 2 * n, "S": "done"} for n in numbers]
    assert told["pair"] == [[n, n + 1] if n else [-1, -1] for n in numbers]
    assert told["fill"] == [[n, -n, 0] for n in numbers]
    assert told["fail"] == [{"type": "*main.failure", "value": {"Code": n}} for n in numbers]


@pytest.mark.parametrize("go", every_version())
def test_arguments_now_and_then(go: str) -> None:
    script = 'main.change:return { printf("%d %d\\n", args.p.X, now(args.p.X)) }'
    texts = [one["text"].split() for one in lines_of(traced(go, "plain", script))]
    assert texts == [[str(n), str(n + 1000)] for n in range(COUNT)]
