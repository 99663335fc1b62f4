"""gotap run: the program's exit code, signals and output are as without gotap, and it is seen from its first moment."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli import Gotap, attributes, gotap, resource_spans, spans_in, started, text_is_original
from goservers import Server, run_client
from httpload import load
from kernel_access import needs_bpf
from processes import eventually

pytestmark = [pytest.mark.root, needs_bpf]


def run(*command: object, options: tuple[str, ...] = ("--to", "json")) -> tuple[str, ...]:
    return ("run", *options, "--", *map(str, command))


def address(watching: Gotap) -> str:
    """Where the watched httpserver listens; with --to json its stdout is gotap's stderr."""
    eventually(lambda: "listening http=" in watching.err or b"listening" in watching.out, "the server's line")
    found = re.search(r"listening http=(\S+)", watching.err + watching.out.decode(errors="replace"))
    assert found
    return found[1]


def child(watching: Gotap) -> int:
    """The pid of the program that gotap started."""
    (pid,) = Path(f"/proc/{watching.pid}/task/{watching.pid}/children").read_text().split()
    return int(pid)


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


# Exit codes


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", 137),
                                              ("kill -TERM $$", 143), ("kill -SEGV $$", 139)])  # fmt: skip
def test_the_programs_exit_code_is_gotaps(script: str, code: int) -> None:
    assert gotap(*run("sh", "-c", script)).code == code


def test_a_go_programs_too(httpserver: Path, closed_port: str) -> None:
    done = gotap(*run(httpserver, "-client", f"http://{closed_port}/", "-n", 3))
    assert done.code == 0
    assert [span.name for span in done.spans] == ["GET"] * 3
    assert {attributes(span.attributes)["error.type"] for span in done.spans} == {"syscall.Errno"}
    assert gotap(*run(httpserver, "-no-such-flag")).code == 2


def test_not_found_and_not_executable(tmp_path: Path, hello: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program\n")
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"")
    nothing.chmod(0o755)
    for command, code, told in (
        ("no-such-command-anywhere", 127, "is in no directory of PATH"),
        (tmp_path / "missing", 127, "there is no such file"),
        (plain, 126, "chmod +x"),
        (tmp_path, 126, "cannot be executed"),
        (hello / "x", 127, "was not found"),
    ):
        done = gotap(*run(command))
        assert (done.code, told in done.err) == (code, True), done.err
        assert done.out == b""


# Output and input


def test_with_json_the_programs_stdout_is_on_stderr(httpserver: Path) -> None:
    with started(*run(httpserver)) as watching:
        load(address(watching), "/hello", 2)
        watching.wait_for_spans(2)
        done = watching.finish(signal.SIGTERM)
    assert "listening http=" in done.err
    assert "counts {" in done.err
    assert b"listening" not in done.out
    assert len(done.spans) == 2


def test_without_json_the_programs_output_is_its_own(tmp_path: Path) -> None:
    file = tmp_path / "spans.jsonl"
    done = gotap(*run("sh", "-c", "echo out; echo err >&2", options=("--to", str(file))))
    assert done.out == b"out\n"
    assert "err\n" in done.err


def test_the_program_gets_its_words_environment_and_directory_unchanged(tmp_path: Path) -> None:
    code = (
        "import json, os, sys; facts = os.environ['PROBE'], os.getcwd(), sorted(os.listdir('/proc/self/fd')); "
        "json.dump([sys.argv[1:], *facts], sys.stdout)"
    )
    words = ["--to", "--", "", "a b", "ü", "-v"]
    command = run(sys.executable, "-c", code, *words, options=("--to", str(tmp_path / "x.jsonl")))
    done = gotap(*command, environment={"PROBE": "p=1"}, cwd=tmp_path)
    argv, probe, directory, descriptors = json.loads(done.out)
    assert (argv, probe, directory) == (words, "p=1", str(tmp_path))
    assert descriptors == ["0", "1", "2", "3"], "nothing of gotap's is inherited (3 is the listing's own)"


# Signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_passed_on_and_gotap_waits(httpserver: Path, number: signal.Signals) -> None:
    with started(*run(httpserver)) as watching:
        load(address(watching), "/hello", 3)
        done = watching.finish(number)
    assert done.code == 0, "httpserver leaves by itself at both"
    assert "counts {" in done.err, "it was given the time"
    assert done.summary.spans == 3


def test_a_signal_that_ends_the_program_is_128_and_its_number(httpserver: Path) -> None:
    with started(*run("sh", "-c", f"trap '' HUP; exec {shlex.quote(str(httpserver))} -until-eof")) as watching:
        assert watching.process.wait(20) == 0, "stdin is at its end"
    with started(*run("sleep", "60")) as watching:
        eventually(lambda: comm(watching) == "sleep", "sleep to begin")
        assert watching.finish(signal.SIGTERM).code == 143


def comm(watching: Gotap) -> str:
    try:
        return Path(f"/proc/{child(watching)}/comm").read_text().strip()
    except (ValueError, OSError):
        return ""


def test_a_second_signal_detaches_at_once_and_leaves_the_program() -> None:
    stubborn = (
        "import signal; [signal.signal(n, lambda *_: print('asked', flush=True)) for n in (2, 15)]; "
        "print('ready', flush=True); [signal.pause() for _ in range(99)]"
    )
    with started(*run(sys.executable, "-c", stubborn)) as watching:
        watching.wait_for("ready")
        program = child(watching)
        try:
            watching.send(signal.SIGTERM)
            watching.wait_for("asked")
            assert watching.process.poll() is None, "gotap waits for the program"
            done = watching.finish(signal.SIGTERM)
            assert done.code == 128 + signal.SIGTERM
            assert not ended(program)
        finally:
            os.kill(program, signal.SIGKILL)


# Limits


def test_duration_ends_the_program_with_sigterm(httpserver: Path) -> None:
    done = gotap(*run(httpserver, options=("--to", "json", "--duration", "500ms")))
    assert done.code == 0
    assert "counts {" in done.err
    assert gotap(*run("sleep", 60, options=("--to", "json", "--duration", "300ms"))).code == 143


def test_what_a_shell_started_does_not_stay_behind(httpserver: Path) -> None:
    script = f"{httpserver} & wait; echo the shell goes on"
    with started("run", "--to", "json", "--duration", "1s", "--", "sh", "-c", script) as watching:
        watching.wait_for("attached to PID")
        server = int(re.findall(r"attached to PID (\d+)", watching.err)[0])
        assert server != child(watching)
        assert watching.finish().code == 128 + signal.SIGTERM
    eventually(lambda: ended(server), "the server to end")


def test_options_behind_the_program_are_the_programs() -> None:
    done = gotap("run", "--to", "json", "sh", "-c", 'echo "$@"', "-", "--duration", "nonsense")
    assert "--duration nonsense" in done.err


def test_a_program_must_be_named() -> None:
    for words in ((), ("--",), ("--duration", "1s")):
        done = gotap("run", *words)
        assert done.code == 2
        assert "gotap run -- PROGRAM" in done.err


def test_count_ends_the_program_with_sigterm(httpserver: Path) -> None:
    with started(*run(httpserver, options=("--to", "json", "--count", "5"))) as watching:
        load(address(watching), "/hello", 5)
        done = watching.finish()
    assert done.code == 0
    assert len(done.spans) == 5
    assert "counts {" in done.err


def test_leave_running_leaves_it_without_probes(httpserver: Path) -> None:
    with started(*run(httpserver, options=("--to", "json", "--count", "2", "--leave-running"))) as watching:
        where = address(watching)
        program = child(watching)
        try:
            load(where, "/hello", 2)
            done = watching.finish()
            assert done.code == 0
            assert load(where, "/hello", 50).status == {200: 50}
            assert text_is_original(program)
        finally:
            os.kill(program, signal.SIGKILL)


@pytest.mark.parametrize("leave", [False, True])
def test_the_duration_holds_when_no_destination_is_left(httpserver: Path, leave: bool) -> None:
    options = ("--to", "json", "--duration", "3s", *(["--leave-running"] if leave else []))
    read, write = os.pipe()
    with started(*run(httpserver, options=options), stdout=write) as watching:
        os.close(write)
        os.close(read)
        where = address(watching)
        program = child(watching)
        load(where, "/hello", 1)
        watching.wait_for("closed by its reader")
        done = watching.finish()
        assert done.code == 0
        assert leave != ("counts {" in done.err), "the server counts when it is ended by SIGTERM"
        if leave:
            assert text_is_original(program)
            os.kill(program, signal.SIGKILL)


def test_what_a_shell_started_ends_when_no_destination_is_left_too(httpserver: Path) -> None:
    read, write = os.pipe()
    words = ("run", "--to", "json", "--duration", "2s", "--", "sh", "-c", f"{httpserver} & wait")
    with started(*words, stdout=write) as watching:
        os.close(write)
        os.close(read)
        watching.wait_for("attached to PID")
        server = int(re.findall(r"attached to PID (\d+)", watching.err)[0])
        load(address(watching), "/hello", 1)
        watching.wait_for("closed by its reader")
        assert watching.finish().code == 128 + signal.SIGTERM
    eventually(lambda: ended(server), "the server to end")


# From the first instruction


def test_requests_of_its_very_first_milliseconds_are_seen(httpserver: Path, server: Server) -> None:
    done = gotap(*run(httpserver, "-client", server.url("/hello"), "-n", 1))
    assert [(span.name, attributes(span.attributes)["http.response.status_code"]) for span in done.spans] == [
        ("GET", 200)
    ]
    assert '"status":{"200":1}' in done.err, "the client's own report"


def test_all_of_a_short_programs_requests_are_seen(httpserver: Path, server: Server) -> None:
    done = gotap(*run(httpserver, "-client", server.url("/hello"), "-n", 500))
    assert len(done.spans) == 500
    assert done.summary.dropped == 0


def test_a_script_that_executes_a_go_program(httpserver: Path, server: Server, tmp_path: Path) -> None:
    """The same pid becomes another program."""
    script = tmp_path / "serve"
    script.write_text(f'#!/bin/sh\nexec {httpserver} "$@"\n')
    script.chmod(0o755)
    with started(*run(script)) as watching:
        where = address(watching)
        watching.attached()
        load(where, "/hello", 4)
        done = watching.finish(signal.SIGTERM)
    assert done.code == 0
    assert len(done.spans) == 4


def test_go_programs_below_a_shell_are_watched(httpserver: Path) -> None:
    script = f"{httpserver} & server=$!; trap 'kill $server' TERM; wait; wait"
    with started(*run("sh", "-c", script)) as watching:
        where = address(watching)
        watching.attached()
        load(where, "/hello", 4)
        done = watching.finish(signal.SIGTERM)
    assert len(done.spans) == 4


def test_go_programs_that_a_watched_one_executes_are_watched(httpserver: Path, server: Server) -> None:
    """/spawn executes httpserver as a client; it lives for as long as its slow calls last."""
    with started(*run(httpserver)) as watching:
        where = address(watching)
        load(where, f"/spawn?n=3&url={server.url('/slow?ms=400')}", 1)
        eventually(lambda: len(spans_in(watching.out)) >= 3, "spans of the child")
        done = watching.finish(signal.SIGTERM)
    pids = {attributes(one.resource.attributes)["process.pid"] for one in resource_spans(done.out)}
    assert len(pids) == 2
    clients = [span for span in done.spans if span.name == "GET"]
    assert len(clients) >= 2, "all but what was called before gotap's look found it"


def test_the_program_finds_signals_as_it_would_without_gotap(tmp_path: Path) -> None:
    command = ["grep", "-E", "^Sig(Blk|Ign|Cgt)", "/proc/self/status"]
    done = gotap(*run(*command, options=("--to", str(tmp_path / "x.jsonl"))))
    assert done.out == subprocess.run(command, capture_output=True, check=True).stdout


def test_what_is_not_go_is_run_and_the_user_told(tmp_path: Path) -> None:
    done = gotap(*run("sh", "-c", "exit 3"))
    assert done.code == 3
    assert "nothing was watched" in done.err


def test_a_go_program_without_net_http_is_run_and_the_user_told(hello: Path) -> None:
    done = gotap(*run(hello))
    assert done.code == 0
    assert "without net/http" in done.err


def test_the_load_generator_itself_counts_what_gotap_counts(httpload: Path, server: Server) -> None:
    alone = run_client(httpload, "-n", "50", "-c", "2", server.url("/hello"))
    assert alone["status"] == {"200": 50}
    done = gotap(*run(httpload, "-n", 300, "-c", 4, server.url("/hello")))
    assert len(done.spans) == 300


def test_the_programs_limit_of_descriptors_is_as_without_gotap(tmp_path: Path) -> None:
    command = run("sh", "-c", "ulimit -Sn; ulimit -Hn", options=("--to", str(tmp_path / "x.jsonl")))
    done = gotap(*command, prefix=["prlimit", "--nofile=300:4000"])
    assert done.out == b"300\n4000\n"
