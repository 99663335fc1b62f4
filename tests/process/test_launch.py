from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gotap.process.children import children
from gotap.process.errors import LaunchError
from gotap.process.launch import Program, Redirect, exit_code, launch
from gotap.process.proc import Process
from processes import eventually, running


def state(pid: int) -> str:
    with Process(pid) as process:
        return process.stat().state


def read_pane(program: Program) -> bytes:
    """All that the pane gets until its last writer is gone."""
    assert program.output is not None
    content = b""
    while True:
        select.select([program.output], [], [], 20)
        try:
            content += os.read(program.output, 65536)
        except OSError:  # EIO
            return content


def test_held_at_the_first_instruction_until_released(tmp_path: Path) -> None:
    proof = tmp_path / "ran"
    with launch(["sh", "-c", f"touch {proof}; exit 7"]) as program:
        assert state(program.pid) == "t"
        with Process(program.pid) as process:
            assert process.name in ("sh", "dash", "bash")
            assert process.load_bias(0) > 0
        assert program.poll() is None
        assert not proof.exists()
        program.release()
        assert program.wait() == 7
        assert program.poll() == 7
        assert proof.exists()


def test_release_leaves_no_tracer() -> None:
    with launch(["sleep", "60"]) as program:
        program.release()
        program.release()
        status = Path(f"/proc/{program.pid}/status").read_text()
        assert "TracerPid:\t0" in status
        program.send(signal.SIGTERM)
        assert program.wait() == 128 + signal.SIGTERM


def test_leaving_the_context_by_an_error_releases_and_does_not_kill() -> None:
    with pytest.raises(ZeroDivisionError), launch(["sleep", "60"]) as program:
        raise ZeroDivisionError
    assert state(program.pid) in "SR"
    os.kill(program.pid, signal.SIGKILL)
    os.waitpid(program.pid, 0)


def test_signals_that_come_while_held_are_delivered_afterwards() -> None:
    with launch(["sh", "-c", "trap 'exit 3' USR1; kill -USR1 $$; exit 4"]) as program:
        assert program.wait() == 3
    with launch(["sleep", "60"]) as program:
        program.send(signal.SIGTERM)
        assert state(program.pid) == "t"
        assert program.wait() == 128 + signal.SIGTERM


def test_killed_while_held() -> None:
    with launch(["sleep", "60"]) as program:
        program.send(signal.SIGKILL)
        assert select.select([program], [], [], 20)[0], "the pidfd tells the end"
        program.release()
        assert program.wait() == 137


@pytest.mark.parametrize("held", [True, False])
def test_program_survives_the_sudden_death_of_its_starter(tmp_path: Path, held: bool) -> None:
    """SIGKILL at the starter, before and after the release: the program must run on, and really run."""
    alive = tmp_path / "alive"
    code = f"""
import os, signal
from gotap.process.launch import launch
program = launch(["sh", "-c", "echo $$ > {alive}.new; mv {alive}.new {alive}; exec sleep 60"])
{"" if held else "program.release()"}
print(program.pid, flush=True)
signal.pause()
"""
    with running(sys.executable, "-c", code) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        with Process(pid) as process:
            starter.send_signal(signal.SIGKILL)
            starter.wait()
            try:
                eventually(alive.exists, "the program's own sign of life")
                assert process.is_alive()
                assert process.stat().state in "SR"
            finally:
                signal.pidfd_send_signal(process.fileno(), signal.SIGKILL)


def test_program_that_writes_to_its_pane_survives_too(tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    code = f"""
import signal
from gotap.process.launch import launch, Redirect
program = launch(["sh", "-c", "read x; echo text; echo text; touch {alive}; exec sleep 60"], stdout=Redirect.PANE)
program.release()
print(program.pid, flush=True)
signal.pause()
"""
    with running(sys.executable, "-c", code) as starter:
        assert starter.stdin is not None
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.send_signal(signal.SIGKILL)
        starter.wait()
        starter.stdin.write("go\n")
        starter.stdin.flush()
        try:
            eventually(alive.exists, "the sign of life after writing to a pane that nobody reads")
        finally:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("content", "mode", "code", "message"),
    [
        (None, 0, 127, "not found"),
        ("#!/no/such/interpreter\n", 0o755, 127, "interpreter"),
        ("echo x\n", 0o644, 126, "denied"),
        ("neither ELF nor script\n", 0o755, 126, "format"),
    ],
)
def test_what_cannot_be_executed_is_told_as_a_shell_tells_it(
    tmp_path: Path, content: str | None, mode: int, code: int, message: str
) -> None:
    program = tmp_path / "program"
    if content is not None:
        program.write_text(content)
        program.chmod(mode)
    with pytest.raises(LaunchError, match=message) as raised:
        launch([str(program)])
    assert raised.value.exit_code == code
    assert raised.value.remedy
    assert not zombies()


def test_name_that_is_in_no_directory_of_path() -> None:
    with pytest.raises(LaunchError, match="PATH") as raised:
        launch(["no-such-command-at-all"])
    assert raised.value.exit_code == 127


def zombies() -> list[int]:
    return [pid for pid in children(os.getpid()) if Path(f"/proc/{pid}/stat").read_text().split(") ")[1][0] == "Z"]


def test_output_goes_to_the_pane_line_by_line_and_unaltered() -> None:
    command = ["sh", "-c", "echo out; echo err >&2; test -t 1 && printf 'a\\tb\\n'"]
    with launch(command, stdout=Redirect.PANE, stderr=Redirect.PANE) as program:
        program.release()
        assert read_pane(program) == b"out\nerr\na\tb\n"
        assert program.wait() == 0


def test_stdout_on_stderr() -> None:
    code = """
from gotap.process.launch import launch, Redirect
program = launch(["sh", "-c", "echo out; echo err >&2"], stdout=Redirect.STDERR)
raise SystemExit(program.wait())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert (done.stdout, done.stderr) == ("", "out\nerr\n")


def test_program_finds_signals_and_descriptors_as_without_us() -> None:
    command = ["sh", "-c", "grep -E 'Sig(Ign|Blk)' /proc/self/status; ls /proc/$$/fd"]
    plain = subprocess.run(command, stdout=subprocess.PIPE, text=True, close_fds=False, check=True).stdout
    with launch(command, stdout=Redirect.PANE) as program:
        program.release()
        own = read_pane(program).decode()
    assert own.split() == plain.split()


def test_environment_and_arguments_are_passed_as_they_are() -> None:
    with launch(
        ["sh", "-c", 'printf "%s|" "$@" "$ONLY"', "sh", "a b", "", "é"],
        environment={"ONLY": "this", "PATH": os.environ["PATH"]},
        stdout=Redirect.PANE,
    ) as program:
        program.release()
        assert read_pane(program).decode() == "a b||é|this|"


def test_waiting_does_not_take_other_childrens_status() -> None:
    with running("true") as other:
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        with launch(["true"]) as program:
            assert program.wait() == 0
        assert other.wait() == 0


def test_other_threads_cannot_release() -> None:
    with launch(["true"]) as program:
        failures: list[str] = []

        def release() -> None:
            try:
                program.release()
            except RuntimeError as error:
                failures.append(str(error))

        thread = threading.Thread(target=release)
        thread.start()
        thread.join()
        assert failures
        assert program.wait() == 0


def test_exit_codes() -> None:
    assert exit_code(7 << 8) == 7
    assert exit_code(signal.SIGSEGV) == 139
    assert exit_code(signal.SIGABRT | 0x80) == 134  # core dumped


@pytest.mark.parametrize(("number", "typed"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_key_at_the_terminal_is_not_passed_on_twice(number: int, typed: bool) -> None:
    """In the terminal's foreground group ^C reaches the program anyway; SIGTERM never comes from a key."""
    code = f"""
import signal
from gotap.process.launch import launch
with launch(["sleep", "60"]) as program:
    program.release()
    program.pass_on({int(number)})
    program.send(signal.SIGKILL)
    raise SystemExit(program.wait())
"""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    # SIGKILL wins over a pending SIGTERM, so that only the SIGINT case tells for certain that nothing was sent.
    assert os.waitstatus_to_exitcode(status) in ((137,) if typed else (137, 143))


def test_signal_is_passed_on_when_no_terminal_is_there() -> None:
    code = """
import signal
from gotap.process.launch import launch
with launch(["sleep", "60"]) as program:
    program.release()
    program.pass_on(signal.SIGINT)
    raise SystemExit(program.wait())
"""
    done = subprocess.run([sys.executable, "-c", code], start_new_session=True, timeout=20, check=False)
    assert done.returncode == 130
