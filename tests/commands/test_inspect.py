"""gotap inspect for people: what it says of real programs, held against the Go tools, and of files that are none."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

import gobuild
from cli import gotap
from goservers import Server
from gotap.commands.main import main
from processes import python, running
from sandbox import NOBODY

#: A terminal as small as they come.
SMALL = {"COLUMNS": "80"}


def lines_of(*arguments: str, **options: object) -> list[str]:
    done = gotap("inspect", *arguments, **options)  # type: ignore[arg-type]
    assert done.code == 0, done.err
    return done.out.decode().splitlines()


@pytest.mark.parametrize("go", gobuild.every_version())
def test_version_and_what_is_watched(go: str) -> None:
    executable = gobuild.build("httpserver", go)
    first, uprobe, *others = lines_of(str(executable))
    assert first.startswith(f"{executable}: {gobuild.go_tool(go, 'version', str(executable)).split()[1]}, ")
    assert first.endswith(" functions")
    assert uprobe.split()[:4] == ["ok", "uprobe", "http.server,", "http.client:"]
    for line, mechanism in zip(others, ("springboard", "hook"), strict=False):
        assert line.split()[:4] == ["ok", mechanism, "http.server,", "http.client:"]
    sites, jumps = re.findall(r"\d+ (?:sites|jumps)", others[0])
    assert sites.split()[0] == jumps.split()[0]
    assert others[2].split() == ["ok", "weave", "http.server,", "http.client:", "by", "gotap", "go", "build"]
    assert others[3].split() == ["no", "network", "planned"]


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("plain", ["linux/amd64 exe", "internal linker", "symbols", "DWARF"]),
        ("pie_stripped", ["linux/amd64 pie", "stripped", "no DWARF"]),
        pytest.param("race", ["race", "cgo", "glibc"], marks=pytest.mark.matrix),
        pytest.param("trimpath", ["trimpath"], marks=pytest.mark.matrix),
        pytest.param("musl", ["musl", "external linker"], marks=pytest.mark.matrix),
    ],
)
def test_how_it_was_built(mode: str, told: list[str]) -> None:
    words = lines_of(str(gobuild.build("httpserver", gobuild.NEWEST, mode=mode)))[0].split(", ")
    text = " ".join(words)
    assert [one for one in told if one not in text] == []


def test_a_program_without_net_http_is_told_why_nothing_is_seen(hello: Path) -> None:
    lines = lines_of(str(hello))
    assert lines[1].split() == ["no", "uprobe", "no-observable-library"]
    assert any(line.startswith("  no-observable-library: it holds no library") for line in lines)


def test_a_program_that_is_not_go_is_read_too() -> None:
    first, uprobe, *_ = lines_of("/bin/sh")
    assert "linux/amd64" in first
    assert uprobe.split() == ["no", "uprobe", "not-go"]


def test_what_limits_stands_with_its_remedy_and_what_does_not_by_name(tmp_path: Path) -> None:
    foreign = gobuild.build(program(tmp_path), goarch="arm64", mode="cgo0")
    lines = lines_of(str(foreign))
    assert "  foreign-arch: built for arm64; machine code is watched on amd64 only, so far" in lines
    assert f"    → GOARCH=amd64 CGO_ENABLED=0 go build -o {foreign.name} example.com/small" in [
        line.replace("CGO_ENABLED=0 GOARCH=amd64", "GOARCH=amd64 CGO_ENABLED=0") for line in lines
    ]
    assert "  also, and no hindrance: static, cgo-disabled (-v)" in lines


def test_at_most_a_screen(tmp_path: Path, hello: Path) -> None:
    """The most that can be wrong with a file at once, and a name that does not fit a line."""
    foreign = gobuild.build(program(tmp_path), goarch="s390x", mode="stripped")
    long = shutil.copy(foreign, tmp_path / ("long" * 50))
    for target in (hello, foreign, Path(long), Path("/bin/sh")):
        lines = lines_of(str(target), environment=SMALL)
        assert len(lines) <= 24
        assert [line for line in lines if len(line) > 80] == []


def test_verbose_tells_facts_with_evidence_and_conditions_with_effects(hello: Path) -> None:
    text = "\n".join(lines_of("-v", str(hello)))
    assert "  linker: internal  (entry 0x" in text
    assert "    evidence: no function that the catalogue names is in it" in text
    assert "    effects: uprobe and springboard and hook and weave rules out" not in text
    assert "    effects: rules out uprobe and springboard and hook and weave" in text


# Processes


def test_processes_by_pid(server: Server) -> None:
    lines = lines_of(str(server.pid))
    assert lines[0].startswith(f"{server.pid}: httpserver, go{gobuild.NEWEST}, ")
    assert lines[1].split()[1] == "uprobe"


def test_processes_by_name(tmp_path: Path) -> None:
    name = f"sleeper-{os.getpid()}"
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / name)
    with running(program, "60") as first, running(program, "60") as second:
        heads = [line.partition(":")[0] for line in lines_of(name) if f": {name}, " in line]
        assert heads == [str(one.pid) for one in sorted((first, second), key=lambda one: one.pid)]
    done = gotap("inspect", name)
    assert done.code == 1
    assert f"neither a file nor a running process named '{name}'" in done.err


def test_a_file_of_that_name_is_meant_before_processes(server: Server, hello: Path, tmp_path: Path) -> None:
    shutil.copy(hello, tmp_path / "httpserver")
    assert lines_of("httpserver", cwd=tmp_path)[0].startswith("httpserver: go")


def test_interpreted_programs_are_named_by_their_language() -> None:
    with python("print(flush=True); input()") as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert ", python, linux/amd64" in lines_of(str(child.pid))[0]


def test_a_process_that_ended_is_told_and_the_others_are_done(hello: Path) -> None:
    with python("pass") as child:
        child.wait()
        pid = child.pid
    done = gotap("inspect", str(pid), str(hello))
    assert done.code == 1
    assert f"process {pid} is gone" in done.err
    assert str(hello) in done.out.decode()


# Several targets, rights, names


def test_several_targets_of_which_some_fail(httpserver: Path, hello: Path) -> None:
    done = gotap("inspect", str(hello), "/etc/passwd", str(httpserver))
    assert done.code == 1
    assert done.out.decode().count(" functions\n") == 2
    assert "/etc/passwd is a text, not an executable" in done.err


def test_no_root_is_needed_for_files(hello: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(hello, tmp_path / "readable"))
    assert gotap("inspect", str(copy), prefix=NOBODY if os.geteuid() == 0 else ()).code == 0


@pytest.mark.root
def test_without_privileges_a_process_says_so(server: Server) -> None:
    done = gotap("inspect", str(server.pid), prefix=("setpriv", "--bounding-set=-all,+sys_ptrace,+dac_read_search",
                                                     "--inh-caps=-all"))  # fmt: skip
    assert done.code == 0, done.err
    lines = done.out.decode().splitlines()
    assert lines[1].split() == ["no", "uprobe", "no-privilege"]
    assert lines[2].split() == ["no", "springboard", "no-privilege"]
    assert lines[3].split()[:2] == ["ok", "hook"], "no BPF is needed"
    assert f"    → gotap attach --via hook {server.pid}" in lines


def test_usage(hello: Path) -> None:
    assert gotap("inspect").code == 2
    assert gotap("inspect", "--nonsense", str(hello)).code == 2


def test_nothing_to_read(tmp_path: Path) -> None:
    empty, secret = tmp_path / "empty", tmp_path / "secret"
    empty.write_bytes(b"")
    secret.write_bytes(b"x")
    secret.chmod(0)
    fifo, sparse = tmp_path / "fifo", tmp_path / "sparse"
    os.mkfifo(fifo)
    with sparse.open("wb") as file:
        file.truncate(100 << 30)
    for target, told in (
        (tmp_path, "is a directory"),
        (fifo, "FIFO"),
        ("/dev/zero", "device"),
        (empty, "empty"),
        (sparse, "is no ELF, PE or Mach-O executable"),
        (tmp_path / "none", "No such file or directory"),
        (tmp_path / "empty" / "x", "Not a directory"),
        ("/etc/passwd", "is a text, not an executable"),
        ("", "neither a file nor a running process"),
        ("a\nb", "neither a file nor a running process"),
    ):
        done = gotap("inspect", str(target))
        assert done.code == 1, target
        assert told in done.err, target
        assert done.out == b""


def test_bytes_that_steer_a_terminal_do_not_reach_it(tmp_path: Path, hello: Path) -> None:
    done = gotap("inspect", str(tmp_path / "\x1b[2Jname"))
    assert done.code == 1
    assert "\x1b" not in done.err
    hostile = shutil.copy(hello, tmp_path / "\x1b[2J\nname")
    for option in ([], ["-v"], ["--libraries"], ["--functions", "main.main"]):
        done = gotap("inspect", *option, str(hostile))
        assert done.code == 0
        assert b"\x1b" not in done.out
        assert b"\\x1b[2J\\nname" in done.out


def test_every_truncation_is_told_and_none_is_a_traceback(
    hello: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: 150 commands would take a minute. The file is cut from its end, so that it is written once."""
    content = hello.read_bytes()
    cut = Path(shutil.copy(hello, tmp_path / "cut"))
    old = signal.getsignal(signal.SIGINT)
    sizes = {int(len(content) * part / 100) for part in range(100)} | {2**power - 1 for power in range(20)}
    refused = 0
    for size in sorted(sizes, reverse=True):
        os.truncate(cut, size)
        code = main(["inspect", str(cut)])
        told = capsys.readouterr()
        assert code in (0, 1), size
        refused += code
        if code:
            assert told.err.startswith("gotap: "), size
            assert len(told.err.splitlines()) == 2, f"at {size}: {told.err}"
    assert refused > 60
    signal.signal(signal.SIGINT, old)


def test_damage_anywhere_is_told_and_none_is_a_traceback(
    hello: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = bytearray(hello.read_bytes())
    file = tmp_path / "damaged"
    old = signal.getsignal(signal.SIGINT)
    for number in range(60):
        damaged = bytearray(content)
        start = len(content) * number // 60
        damaged[start : start + 4096] = bytes(
            (7 * number + i * 31) & 255 for i in range(min(4096, len(content) - start))
        )
        file.write_bytes(damaged)
        assert main(["inspect", str(file)]) in (0, 1)
        assert len(capsys.readouterr().err.splitlines()) in (0, 2)
    signal.signal(signal.SIGINT, old)


def program(directory: Path) -> Path:
    """The sources of a small program."""
    source = directory / "small"
    source.mkdir()
    (source / "go.mod").write_text("module example.com/small\n")
    (source / "main.go").write_text("package main\n\nfunc main() {}\n")
    return source
