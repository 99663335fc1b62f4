"""gotap inspect: what it says of real programs, held against the Go tools, and of files that are none."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

import gobuild
from cli import gotap
from goservers import Server
from gotap.commands.main import main
from sandbox import NOBODY


@pytest.mark.parametrize("go", gobuild.every_version())
def test_version_and_linkage_and_what_binds(go: str) -> None:
    executable = gobuild.build("httpserver", go)
    done = gotap("inspect", str(executable))
    assert done.code == 0
    first, *operations = done.out.decode().splitlines()
    assert first.startswith(f"{executable}: {gobuild.go_tool(go, 'version', str(executable)).split()[1]}, ")
    assert " functions)" in first
    assert [line.split()[:3] for line in operations] == [
        ["ok", "net/http", "http.server:"],
        ["ok", "net/http", "http.client:"],
    ]


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("plain", ["amd64 exe", "internal linker", "symbols", "DWARF"]),
        ("pie_stripped", ["amd64 pie", "stripped", "no DWARF"]),
        pytest.param("race", ["race", "cgo", "glibc"], marks=pytest.mark.matrix),
        pytest.param("trimpath", ["trimpath"], marks=pytest.mark.matrix),
        pytest.param("musl", ["musl", "external linker"], marks=pytest.mark.matrix),
    ],
)
def test_how_it_was_built(mode: str, told: list[str]) -> None:
    done = gotap("inspect", str(gobuild.build("httpserver", gobuild.NEWEST, mode=mode)))
    words = done.out.decode().splitlines()[0].split(", ")
    text = " ".join(words)
    assert [one for one in told if one not in text] == []


def test_a_program_without_net_http(hello: Path) -> None:
    done = gotap("inspect", str(hello))
    assert done.code == 0
    assert [line.split()[0] for line in done.out.decode().splitlines()[1:]] == ["no", "no"]


def test_verbose_names_sites_that_objdump_knows_as_instructions(httpserver: Path) -> None:
    done = gotap("inspect", "-v", str(httpserver))
    sites = [int(line.split()[0], 16) for line in done.out.decode().splitlines() if line.strip().startswith("0x")]
    assert len(sites) >= 6
    listing = gobuild.go_tool(gobuild.NEWEST, "tool", "objdump", "-s", "^(net/http|runtime.newproc)", str(httpserver))
    instructions = {int(line.split()[1], 16) for line in listing.splitlines() if line.startswith("  ")}
    assert set(sites) <= instructions


def test_processes_by_pid(server: Server) -> None:
    done = gotap("inspect", str(server.pid))
    assert done.code == 0
    assert done.out.decode().startswith(f"{server.pid}: go{gobuild.NEWEST}, ")


def test_several_targets_of_which_some_fail(httpserver: Path, hello: Path) -> None:
    done = gotap("inspect", str(hello), "/bin/sh", str(httpserver))
    assert done.code == 1
    assert done.out.decode().count(" functions)") == 2
    assert "/bin/sh is not a Go program" in done.err


def test_no_root_is_needed_for_files(hello: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(hello, tmp_path / "readable"))
    assert gotap("inspect", str(copy), prefix=NOBODY if os.geteuid() == 0 else ()).code == 0


# Files that are none


@pytest.mark.parametrize("goarch", ["386", "arm64", "riscv64", "s390x"])
def test_other_architectures_are_named(tmp_path: Path, goarch: str) -> None:
    source = tmp_path / "small"
    source.mkdir()
    (source / "go.mod").write_text("module example.com/small\n")
    (source / "main.go").write_text("package main\n\nfunc main() {}\n")
    done = gotap("inspect", str(gobuild.build(source, goarch=goarch)))
    assert done.code == 1
    assert f"is built for {goarch}; gotap observes amd64 programs" in done.err
    assert "build with GOARCH=amd64" in done.err


def test_nothing_to_read(tmp_path: Path) -> None:
    empty, secret = tmp_path / "empty", tmp_path / "secret"
    empty.write_bytes(b"")
    secret.write_bytes(b"x")
    secret.chmod(0)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for target, told in (
        (tmp_path, "is not a regular file"),
        (fifo, "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        (empty, "it is empty"),
        (tmp_path / "none", "No such file or directory"),
        (tmp_path / "empty" / "x", "Not a directory"),
        ("/etc/passwd", "not an ELF file"),
        ("/bin/sh", "is not a Go program"),
        ("", "No such file or directory"),
        ("a\nb", "No such file or directory"),
    ):
        done = gotap("inspect", str(target))
        assert done.code == 1
        assert told in done.err
        assert done.out == b""


def test_bytes_that_steer_a_terminal_do_not_reach_it(tmp_path: Path) -> None:
    done = gotap("inspect", str(tmp_path / "\x1b[2Jname"))
    assert done.code == 1
    assert "\x1b" not in done.err


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
