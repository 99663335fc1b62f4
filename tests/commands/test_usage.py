"""What argparse and main answer before anything is watched: help, version, and wrong usage."""

from __future__ import annotations

import pytest

from cli import gotap
from gotap import __version__
from gotap.commands.main import COMMANDS


def test_help_names_all_commands() -> None:
    done = gotap("--help")
    assert done.code == 0
    assert done.err == ""
    for name, (_, text) in COMMANDS.items():
        assert f"  {name}" in done.out.decode()
        assert text in done.out.decode()


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_has_a_help_that_documents_its_exit_code(command: str) -> None:
    done = gotap(command, "--help")
    assert done.code == 0
    assert "exit code" in done.out.decode().lower()


def test_version() -> None:
    assert gotap("--version").out.decode() == f"gotap {__version__}\n"


def test_nothing_typed_shows_the_help() -> None:
    done = gotap()
    assert done.code == 2
    assert "attach" in done.out.decode() + done.err


@pytest.mark.parametrize(
    ("words", "accepted"),
    [
        ("wacht", "'run', 'attach', 'trace', 'detach', 'go', 'weave', 'inspect', 'ps', 'doctor'"),
        ("attach", "PID|NAME|PATH"),
        ("inspect", "FILE|PID"),
        ("run", "PROGRAM"),
        ("run --", "PROGRAM"),
        ("run --to json", "PROGRAM"),
        ("run --bogus -- true", "--bogus"),
        ("attach 1 --bogus", "--bogus"),
        ("doctor everything", "everything"),
        ("attach 1 --to spans.txt", "terminal, otlp, json or a file named *.jsonl"),
        ("attach 1 --to", "--to"),
        ("attach 1 --to .jsonl", "a file named *.jsonl (spans.jsonl)"),
        ("attach 1 --to /tmp/.jsonl", "a file named *.jsonl (spans.jsonl)"),
        ("attach 1 --to json --to terminal", "both write to stdout: give --to FILE.jsonl in place of json"),
        ("run --to terminal --to otlp --to json -- true", "both write to stdout"),
        ("attach 1 --duration 10", "'10' is no time to watch: give numbers with ms, s, m or h, such as 500ms, 10s"),
        ("attach 1 --duration ten", "ms, s, m or h"),
        ("attach 1 --duration -1s", "'-1s' is no time to watch: give numbers with ms, s, m or h"),
        ("attach 1 --duration 0", "more than 0"),
        ("attach 1 --duration 0s", "more than 0"),
        ("attach 1 --count -1", "a whole number from 1"),
        ("attach 1 --duration 10s10", "ms, s, m or h"),
        ("attach 1 --count 0", "a whole number from 1"),
        ("attach 1 --count many", "a whole number from 1"),
        ("attach 1 --count 1.5", "a whole number from 1"),
        ("run --count ² -- true", "a whole number from 1"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_accepted(words: str, accepted: str) -> None:
    done = gotap(*words.split())
    assert done.code == 2
    assert done.out == b""
    assert accepted in done.err
    assert "--help` tells what is accepted" in done.err
    assert all(line.startswith("gotap: ") for line in done.err.splitlines())
