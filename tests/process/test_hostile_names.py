"""Names that others choose, in texts of /proc: no character of theirs may end a line or make up a field."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from gotap.process.container import container_of
from gotap.process.errors import UnexpectedText
from gotap.process.privileges import read_status
from gotap.process.proc import Process, parse_maps
from gotap.process.stat import parse_stat, parse_status

#: What ends a line for str.splitlines or bytes.splitlines, but not for the kernel.
ENDS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_PR_SET_NAME = 15


def test_a_program_in_a_directory_with_any_name_is_seen_with_its_mappings(tmp_path: Path) -> None:
    directory = tmp_path / f"a{ENDS}b\nc\udcff \x1b[31m"
    directory.mkdir()
    program = directory / "cat"
    shutil.copy("/bin/cat", program)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"x")
        running.stdin.flush()
        assert running.stdout.read(1) == b"x"  # all of it is mapped by now
        with Process(running.pid) as process:
            own = [mapping for mapping in process.mappings() if mapping.path == str(program)]
            assert process.exe_path == str(program)
        assert any(mapping.is_executable for mapping in own)
        running.stdin.close()


def test_a_name_that_looks_like_a_field_is_none(tmp_path: Path) -> None:
    name = b"x\x0cUid:\t9\x0cA:\t1"
    libc = ctypes.CDLL(None)
    before = ctypes.create_string_buffer(16)
    libc.prctl(16, before)  # PR_GET_NAME
    try:
        libc.prctl(_PR_SET_NAME, name)
        content = Path(f"/proc/self/task/{os.getpid()}/status").read_bytes()
    finally:
        libc.prctl(_PR_SET_NAME, before)
    assert name in content
    fields = parse_status(content)
    assert "A" not in fields
    assert read_status(fields, os.getpid()).uids[1] == os.geteuid()


def test_mount_points_and_cgroups_of_any_name() -> None:
    id_ = "ab" * 32
    hosts = f"1 2 0:3 /docker/containers/{id_}/hosts /etc/hosts rw\n"
    mounts = f"36 35 98:0 /a{ENDS} /b{ENDS} rw - ext3 /dev/root rw\n{hosts}"
    found, _ = container_of(f"0::/x{ENDS}y\n", mounts)
    assert found is not None
    assert found.id == id_


@pytest.mark.parametrize("text", [b"\n", b"x", b"1-2 r-xp 0 0:0", b"1-2 r-xp 0 99999999999999999999:0 1"])
def test_what_no_kernel_writes_is_told(text: bytes) -> None:
    with pytest.raises(UnexpectedText, match="maps"):
        list(parse_maps(text))
    with pytest.raises(UnexpectedText, match="stat"):
        parse_stat(text)
    with pytest.raises(UnexpectedText, match="status"):
        read_status(parse_status(text), 1)
