"""gotap ps: every program that runs on a line, what can be watched first; its cache; its live picture."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from cli import GOTAP, clean_environment, gotap
from goservers import Server
from gotap.commands.judging import FileFacts, Glance
from gotap.commands.ps_table import Row, arranged, lines, row, unreadable
from gotap.errors import GotapError
from gotap.process.surroundings import Surroundings
from gotap.verdict.judge import judge
from gotap.verdict.model import Host, Situation
from processes import PATIENCE, python, running
from situations import COVERED, facts, go


def glance(found: Situation, name: str = "server", pid: int = 7) -> Glance:
    return Glance(pid, name, found.facts.language, FileFacts(found.facts, found.coverage), judge(found).mechanisms)


def listed(directory: Path, *arguments: str) -> list[str]:
    """The lines of the list, with a cache of its own."""
    done = gotap("ps", *arguments, environment={"XDG_CACHE_HOME": str(directory)})
    assert done.code == 0, done.err
    assert done.err == ""
    return done.out.decode().splitlines()


# Rows, pure


def test_what_is_watched_is_named() -> None:
    found = row(glance(Situation(facts=facts(), coverage=COVERED)))
    assert found == Row(7, "server", "go1.26.8", ("ok", "ok"), "http.server", 0)


def test_why_nothing_is_watched() -> None:
    found = row(glance(Situation(facts=facts(arch="arm64"))))
    assert (found.marks, found.why) == (("no", "no"), "foreign-arch")
    newer = row(glance(Situation(facts=facts(go(version="1.29.0")), coverage=COVERED)))
    assert (newer.marks, newer.why) == (("~~", "no"), "http.server; newer-than-checked")


def test_without_bpf_hooks_can_watch_and_that_comes_first_as_well() -> None:
    host = Host(bpf=False, uprobes=False, privileged=False)
    found = row(glance(Situation(facts=facts(), coverage=COVERED, host=host)))
    assert found == Row(7, "server", "go1.26.8", ("no", "ok"), "http.server; no-privilege", 0)
    barred = Situation(facts=facts(), coverage=COVERED, host=host, process=Surroundings(pid=7, ptrace_allowed=False))
    found = row(glance(barred))
    assert found == Row(7, "server", "go1.26.8", ("no", "no"), "no-privilege, ptrace-denied", 2)


def test_other_languages_are_seen_by_what_is_planned() -> None:
    found = row(glance(Situation(facts=replace(facts(language="java"), go=None)), "java"))
    assert (found.program, found.marks, found.why) == ("java", ("no", "no"), "network (planned)")


def test_what_can_be_watched_comes_first_and_then_goes_by_pid() -> None:
    works = row(glance(Situation(facts=facts(), coverage=COVERED), pid=9))
    early = row(glance(Situation(facts=facts(), coverage=COVERED), pid=3))
    foreign = row(glance(Situation(facts=facts(arch="arm64")), pid=2))
    other = row(glance(Situation(facts=replace(facts(language="java"), go=None)), pid=1))
    closed = unreadable(0, "x", GotapError("no"))
    assert arranged([closed, other, foreign, works, early]) == [early, works, foreign, other, closed]


def test_hostile_names_are_escaped_and_lines_fit() -> None:
    wide = row(glance(Situation(facts=facts(), coverage=COVERED), "\x1b[2J" + "漢字" * 40))
    for width in (20, 40, 80, 120):
        told = lines([wide], width)
        assert [line for line in told if cell_len(line) > width] == []
        assert "\x1b" not in "".join(told)


# The real list


def test_the_list_of_this_host(server: Server, tmp_path: Path) -> None:
    with python("print(flush=True); input()") as child:
        assert child.stdout is not None
        child.stdout.readline()
        told = {int(line.split()[0]): line for line in listed(tmp_path)[1:]}
    assert re.search(r" httpserver +go1\.\S+ +(ok|no) +(ok|no) ", told[server.pid])
    assert re.search(r" python\S* +python +no +no +network \(planned\)", told[child.pid])
    assert 2 not in told or "kthreadd" not in told[2]


def test_the_second_time_nothing_is_read_again(server: Server, tmp_path: Path) -> None:
    before = {line.split()[0]: line for line in listed(tmp_path)}
    entries = {one.name: one.stat().st_mtime_ns for one in (tmp_path / "gotap").iterdir()}
    again = {line.split()[0]: line for line in listed(tmp_path)}
    assert before[str(server.pid)].split() == again[str(server.pid)].split()
    assert {one.name: one.stat().st_mtime_ns for one in (tmp_path / "gotap").iterdir()}.items() >= entries.items()


def test_a_cache_that_is_damaged_is_no_hindrance(server: Server, tmp_path: Path) -> None:
    listed(tmp_path)
    for one in (tmp_path / "gotap").iterdir():
        one.write_bytes(os.urandom(64))
    assert any(str(server.pid) in line for line in listed(tmp_path))


def test_another_program_at_the_same_path_is_read_anew(hello: Path, tmp_path: Path) -> None:
    """Not by its path but by what it is: the same file, replaced while the cache knows the old one."""
    program = tmp_path / "program"
    for source, told in ((Path(shutil.which("sleep") or ""), "c/c++"), (Path(sys.executable), "python")):
        program.unlink(missing_ok=True)
        shutil.copy(source, program)
        arguments = ["60"] if told == "c/c++" else ["-c", "print(flush=True); input()"]
        with running(str(program), *arguments) as child:
            if told == "python":
                assert child.stdout is not None
                child.stdout.readline()
            [line] = [one for one in listed(tmp_path) if one.split()[0] == str(child.pid)]
        assert line.split()[2] == told


def test_json_is_that_of_inspect(server: Server, tmp_path: Path) -> None:
    found = {one["process"]["pid"]: one for one in map(json.loads, listed(tmp_path, "--json")) if one["process"]}
    one = found[server.pid]
    assert one["target"] == str(server.pid)
    assert one["process"]["name"] == "httpserver"
    assert one["mechanisms"]["network"] == {"works": False, "because": ["planned"]}


@pytest.mark.parametrize("options", [["--watch", "--json"], ["--watch"], ["--nonsense"]])
def test_usage(options: list[str]) -> None:
    assert gotap("ps", *options).code == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_watch_draws_again_until_it_is_ended_and_gives_the_screen_back(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """On a terminal of its own; a program that is started later comes into the picture."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 500, 100, 0, 0))
    environment = clean_environment({"XDG_CACHE_HOME": str(tmp_path), "TERM": "xterm"})
    watching = subprocess.Popen([*GOTAP, "ps", "--watch"], stdin=follower, stdout=follower, stderr=follower,
                                env=environment, start_new_session=True)  # fmt: skip
    os.close(follower)
    try:
        read_until(leader, b"WHAT IS SEEN")
        with running("/bin/sleep", "60") as child:
            read_until(leader, b"%d  sleep" % child.pid)
        watching.send_signal(number)
        read_until(leader, b"\x1b[?1049l")
        assert watching.wait(PATIENCE) == code
    finally:
        watching.kill()
        watching.wait()
        os.close(leader)


def read_until(terminal: int, text: bytes) -> None:
    seen, limit = b"", time.monotonic() + PATIENCE
    while text not in seen:
        assert time.monotonic() < limit, seen[-2000:]
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536)
