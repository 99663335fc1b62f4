from __future__ import annotations

import os
import pwd
import resource
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from gotap.process.errors import NoDescriptors, NotAProgram, NotPermitted, ProcessGone
from gotap.process.proc import Process, in_initial_pid_namespace, parse_maps
from processes import eventually, python, running


def entry(path: str) -> int:
    with open(path, "rb") as file:
        return int(ELFFile(file).header["e_entry"])


def test_facts_are_those_that_ps_tells() -> None:
    with running("sleep", "60") as child, Process(child.pid) as process:
        eventually(lambda: process.command_line, "the end of the execve")
        told = subprocess.check_output(["ps", "-o", "ppid=,euid=,euser:32=,comm=,args=", str(child.pid)], text=True)
        parent, uid, owner, comm, args = told.split(None, 4)
        assert (process.parent, process.uid) == (int(parent), int(uid))
        assert (process.owner, process.comm) == (owner, comm)
        assert process.command_line == tuple(args.split())
        assert process.exe_path == os.path.realpath(shutil.which("sleep") or "")
        assert process.name == Path(process.exe_path).name
        assert not process.exe_is_deleted
        assert process.owner == pwd.getpwuid(os.geteuid()).pw_name
        age = datetime.now(UTC) - datetime.fromisoformat(process.creation_time)
        assert timedelta(seconds=-2) < age < timedelta(minutes=1)


def test_environment_is_the_targets_own() -> None:
    environment = {"OTEL_SERVICE_NAME": "shop", "EMPTY": "", "EQUALS": "a=b", "BYTES": "é"}
    with running("sleep", "60", env=environment) as child, Process(child.pid) as process:
        # Popen returns within the execve, before the kernel has put the new environment in place.
        assert eventually(lambda: process.environment, "the environment") == environment


def test_load_bias_of_a_position_independent_executable() -> None:
    with python("print(flush=True); input()") as child, Process(child.pid) as process:
        child.stdout.readline()  # type: ignore[union-attr]
        bias = process.load_bias(entry(process.exe))
        first = next(mapping for mapping in process.mappings() if mapping.path == process.exe_path)
        with open(process.exe, "rb") as file:
            lowest = min(segment["p_vaddr"] for segment in ELFFile(file).iter_segments("PT_LOAD"))
        assert bias == first.start - (lowest & -4096)


def test_load_bias_of_a_fixed_executable(tmp_path: Path) -> None:
    source = tmp_path / "fixed.c"
    source.write_text('#include <unistd.h>\nint main(void) { write(1, "x\\n", 2); pause(); }\n')
    program = tmp_path / "fixed"
    subprocess.check_call(["gcc", "-no-pie", "-o", program, source])
    with running(str(program)) as child, Process(child.pid) as process:
        child.stdout.readline()  # type: ignore[union-attr]
        assert process.load_bias(entry(process.exe)) == 0


@pytest.mark.parametrize("replaced", [False, True])
def test_executable_that_was_deleted_or_replaced_is_still_the_one_that_runs(tmp_path: Path, replaced: bool) -> None:
    program = tmp_path / "mine"
    shutil.copy(shutil.which("sleep") or "", program)
    content = program.read_bytes()
    with running(str(program), "60") as child, Process(child.pid) as process:
        program.unlink()
        if replaced:
            program.write_text("another one")
        assert process.exe_is_deleted
        assert process.exe_path == str(program)
        assert Path(process.exe).read_bytes() == content


def test_executable_named_deleted_is_not_taken_for_deleted(tmp_path: Path) -> None:
    program = tmp_path / "mine (deleted)"
    shutil.copy(shutil.which("sleep") or "", program)
    with running(str(program), "60") as child, Process(child.pid) as process:
        assert not process.exe_is_deleted
        assert process.exe_path == str(program)


def test_gone_process_says_so_everywhere() -> None:
    with running("sleep", "60") as child:
        process = Process(child.pid)
        assert process.is_alive()
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: its pid cannot be given to another
        assert not process.is_alive()
        for look in (process.mappings, process.stat, lambda: process.load_bias(0), lambda: process.exe_path):
            with pytest.raises(ProcessGone, match=str(child.pid)):
                look()
    with pytest.raises(ProcessGone):
        Process(child.pid)
    process.close()


def test_pid_that_no_process_can_have() -> None:
    for pid in (0x7FFFFFFF, 2**70, -1, 0):
        with pytest.raises(ProcessGone):
            Process(pid)


def test_thread_is_told_from_process() -> None:
    code = "import threading\nt = threading.Thread(target=input); t.start(); print(t.native_id, flush=True); t.join()"
    with python(code) as child:
        thread = int(child.stdout.readline())  # type: ignore[union-attr]
        with pytest.raises(NotAProgram) as raised:
            Process(thread)
        assert str(child.pid) in raised.value.remedy


@pytest.mark.skipif(not os.path.exists("/proc/2/stat"), reason="no kernel threads in this pid namespace")
def test_kernel_thread_runs_no_program() -> None:
    with pytest.raises(NotAProgram, match="kthreadd"):
        Process(2)


@pytest.mark.root
def test_other_users_process_is_not_permitted_and_the_remedy_names_the_capability(tmp_path: Path) -> None:
    with running("sleep", "60") as child:
        reader, writer = os.pipe()
        if (pid := os.fork()) == 0:
            os.setresuid(65534, 65534, 65534)
            try:
                Process(child.pid).load_bias(0)
            except NotPermitted as error:
                os.write(writer, error.remedy.encode())
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        with os.fdopen(reader) as told:
            assert "CAP_SYS_PTRACE" in told.read()


@pytest.mark.root
def test_pid_in_a_namespace_and_in_the_initial_one() -> None:
    if not in_initial_pid_namespace():
        pytest.skip("the tests themselves run in a pid namespace of their own")
    with running("unshare", "--pid", "--fork", "--kill-child", "sh", "-c", "echo; read x") as child:
        child.stdout.readline()  # type: ignore[union-attr]
        inner = int(Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text())
        with Process(inner) as process:
            assert process.namespace_pids == (inner, 1)
            assert process.initial_tgid == inner


def test_maps_with_blanks_newlines_and_the_kernels_own() -> None:
    text = (
        b"00400000-00401000 r-xp 00001000 fe:01 123 /opt/my app\\012x (deleted)\n"
        b"7ffc0000-7ffd0000 rw-p 00000000 00:00 0                          [stack]\n"
        b"7ffe0000-7fff0000 rw-p 00000000 00:00 0 \n"
    )
    code, stack, anonymous = parse_maps(text)
    assert (code.start, code.end, code.offset, code.inode) == (0x400000, 0x401000, 0x1000, 123)
    assert code.path == "/opt/my app\nx (deleted)"
    assert code.is_executable
    assert (stack.path, stack.is_executable, anonymous.path) == ("[stack]", False, "")


def test_too_many_open_files_do_not_make_a_process_gone() -> None:
    with Process(os.getpid()) as process:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(NoDescriptors) as raised:
                process.stat()
            with pytest.raises(NoDescriptors):
                Process(os.getpid())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "ulimit -n" in raised.value.remedy
