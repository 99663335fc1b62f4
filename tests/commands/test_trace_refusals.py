"""gotap trace, asked for what cannot be: one clear line, the remedy, the exit code; the target is left as it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import gobuild
from cli import ATTACHED, Finished, gotap, text_is_original
from kernel_access import needs_bpf
from orders import Orders, taking_orders
from processes import running

pytestmark = [pytest.mark.root, needs_bpf]


@pytest.fixture(scope="module")
def program() -> Path:
    return gobuild.build("orders", gobuild.NEWEST)


@pytest.fixture(scope="module")
def orders(program: Path) -> Iterator[Orders]:
    with taking_orders(program) as one:
        yield one


def refused(*arguments: str, code: int = 1) -> list[str]:
    """What stderr says, line by line."""
    done: Finished = gotap("trace", *arguments)
    assert (done.code, done.out) == (code, b""), done.err
    assert ATTACHED not in done.err
    lines = done.err.splitlines()
    assert all(line.startswith("gotap: ") for line in lines)
    return [line.removeprefix("gotap: ") for line in lines]


# The script


@pytest.mark.parametrize(
    ("script", "told", "caret"),
    [
        ("main.work { print(args.nme) }", "no argument `nme`", "^"),
        ("main.work { prnt(1) }", "prnt", "^"),
        ("main.wrk", "no function matches `main.wrk`", "^"),
        ("main.tiny", "main.tiny is inlined everywhere", "^"),
        ("main.work:entry { print(latency) }", "latency", "^"),
        ("main.work / args.name > 3 / { @ = count() }", "", "^"),
        ("main.work { @ = count(); @ = sum(1) }", "@", "^"),
        ("main.*:return { printf(\"%d %d\", 1) }", "", "^"),
        ("begin { stop", "", "^"),
        ("tracepoint:no:such { stop }", "", "^"),
    ],
)
def test_errors_of_scripts_point_at_the_place(orders: Orders, script: str, told: str, caret: str) -> None:
    lines = refused("-p", str(orders.pid), script)
    assert told in lines[0]
    assert lines[2].strip().startswith(caret), lines
    assert lines[1].strip()
    assert len(lines) == 4, "what to do about it"


def test_suggestions(orders: Orders) -> None:
    pid = str(orders.pid)
    assert "did you mean `main.work`" in refused("-p", pid, "main.wrk")[-1]
    assert "name" in refused("-p", pid, "main.work { print(args.nme) }")[-1]
    assert "main.tiny:inline" in refused("-p", pid, "main.tiny")[-1]


def test_too_many_matches(orders: Orders) -> None:
    lines = refused("-p", str(orders.pid), "*", "--max-probes", "5")
    assert "more than 5" in lines[0]
    assert "--max-probes" in lines[-1]


# The target


def test_no_target() -> None:
    assert refused("main.work", code=2) == [
        "the script probes a Go program, and none is named", "name it: -p PID, or -c 'COMMAND' to start one",
    ]  # fmt: skip
    assert "no running process is named" in refused("-p", "no-such-service", "main.work")[0]
    assert "process 4194399999 is gone" in refused("-p", "4194399999", "main.work")[0]


def test_a_target_that_is_not_go() -> None:
    with running(shutil.which("sleep") or "sleep", "60") as sleeper:
        lines = refused("-p", str(sleeper.pid), "main.work")
    assert "sleep is not a Go program" in lines[0]


def test_several_processes(program: Path, tmp_path: Path) -> None:
    several = Path(shutil.copy(program, tmp_path / "several-of-this-test"))
    with ExitStack() as stack:
        pids = sorted(stack.enter_context(taking_orders(several)).pid for _ in range(3))
        lines = refused("-p", "several-of-this-test", "main.work", code=2)
    assert lines == [
        f"3 processes are meant by several-of-this-test: {', '.join(map(str, pids))}", f"choose one: -p {pids[0]}",
    ]  # fmt: skip


def test_commands_that_do_not_start(tmp_path: Path) -> None:
    assert "was not found" in refused("-c", "no-such-program-of-this-test", "main.work", code=127)[0]
    file = tmp_path / "file"
    file.write_text("")
    assert "cannot be executed" in refused("-c", str(file), "main.work", code=126)[0]
    assert "makes no command" in refused("-c", "'", "main.work", code=2)[0]


def test_a_command_that_cannot_be_traced_does_not_run(program: Path, tmp_path: Path) -> None:
    """It was held before its first instruction."""
    mark = tmp_path / "mark"
    for script in ("main.wrk", "main.work { print(args.nme) }"):
        refused("-c", f"{program} 'touch {mark}'", script)
    assert not mark.exists()


# Options


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "no program is given"),
        (["main.work", "main.outer"], "more than one program is given"),
        (["-p", "1", "-c", "true", "main.work"], "-p and -c both name what to trace"),
        (["--json", "--to", "terminal", "main.work"], "terminal and json both write to stdout"),
        (["--within", "main.*", "main.work"], "--within says which functions --graph shows"),
        (["--max-overhead", "lots", "main.work"], "is no share of a core"),
        (["--max-overhead", "-5%", "main.work"], "is no share of a core"),
        (["--max-depth", "x", "main.work"], "is no depth"),
        (["--count", "0", "main.work"], "is no count"),
        (["--to", "events.txt", "main.work"], "is no destination"),
        (["--tool", "slowhtp"], "there is no tool 'slowhtp'; did you mean slowhttp"),
        (["--tool", "funclatency"], "funclatency needs an argument"),
        (["--tool", "gcpauses", "what"], "gcpauses does not take 'what'"),
        (["no-such-script.gt"], "cannot read the script no-such-script.gt"),
        (["-l", "main.*"], "-l needs an executable, or a process"),
    ],
)
def test_options_that_make_no_sense(arguments: list[str], told: str) -> None:
    assert told in refused(*arguments, code=2)[0]


def test_a_graph_is_of_functions(orders: Orders) -> None:
    pid = str(orders.pid)
    assert "is more than a function" in refused("-p", pid, "--graph", "main.work { stop }", code=2)[0]
    assert "--graph shows calls of a Go program" in refused("--graph", "begin { stop }", code=2)[0]


def test_the_target_is_left_as_it_was(orders: Orders) -> None:
    assert text_is_original(orders.pid)
