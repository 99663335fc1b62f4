from __future__ import annotations

from pathlib import Path

import pytest

from gotap.process.errors import LaunchError
from gotap.process.launch import Redirect, launch
from gotap.process.proc import Process


def script(directory: Path, code: int, mode: int = 0o755) -> None:
    directory.mkdir()
    (directory / "tool").write_text(f"#!/bin/sh\nexit {code}\n")
    (directory / "tool").chmod(mode)


def run(path: str) -> int:
    with launch(["tool"], environment={"PATH": path}) as program:
        return program.wait()


def test_first_directory_of_path_that_has_an_executable_wins(tmp_path: Path) -> None:
    script(tmp_path / "one", 1)
    script(tmp_path / "two", 2)
    script(tmp_path / "not", 3, mode=0o644)
    one, two, not_executable = (str(tmp_path / name) for name in ("one", "two", "not"))
    assert run(f"/nowhere:{one}:{two}") == 1
    assert run(f"{not_executable}:{two}") == 2
    with pytest.raises(LaunchError) as raised:
        run(f"{not_executable}:/nowhere")
    assert raised.value.exit_code == 126


def test_empty_directory_of_path_is_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(tmp_path / "here", 4)
    monkeypatch.chdir(tmp_path / "here")
    assert run("/nowhere:") == 4


def test_held_script_is_its_interpreter_at_the_first_instruction(tmp_path: Path) -> None:
    script(tmp_path / "one", 5)
    with launch([str(tmp_path / "one" / "tool")], stdout=Redirect.PANE) as program, Process(program.pid) as process:
        assert process.command_line[-1].endswith("/tool")
        assert process.exe_path == str(Path("/bin/sh").resolve())
        assert program.wait() == 5
