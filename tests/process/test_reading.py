"""What a process lives in, in real processes that live so; the oracles are those who made them so, lsns and ps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gobuild import build
from gotap.process.errors import ProcessGone
from gotap.process.executable import entry_elsewhere
from gotap.process.namespaces import is_entry_point
from gotap.process.proc import Mapping, Process, in_initial_pid_namespace
from gotap.process.reading import Observer, read_surroundings
from gotap.process.surroundings import Surroundings
from processes import eventually, python, running
from sandbox import NOBODY, POWERLESS_ROOT, refusing

WAIT = "print(flush=True); input()"
UNUSED_CALL = 400  # no x86-64 system call has this number


def look(pid: int) -> Surroundings:
    with Process(pid) as process:
        return read_surroundings(process)


def only_child(pid: int) -> int:
    def child() -> int:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(text[0]) if text else 0

    return eventually(child, "the child")


def test_an_ordinary_child() -> None:
    with python(WAIT) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        found = look(child.pid)
    assert found.exe == os.path.realpath(sys.executable)
    assert (found.exe_state, found.exe_replaced) == ("file", None)
    assert found.command_line[1] == "-c"
    assert found.uid == os.geteuid()
    assert found.parent is not None
    assert (found.parent.pid, found.parent.static) == (os.getpid(), False)
    assert found.namespaces == {
        kind: int(os.readlink(f"/proc/self/ns/{kind}")[len(kind) + 2 : -1]) for kind in found.namespaces
    }
    assert {"mnt", "net", "pid", "user"} <= set(found.namespaces)
    assert found.foreign_namespaces == ()
    assert (found.entry_point, found.seccomp, found.tracer, found.plugin_loaded) == (False, 0, None, False)
    assert (found.ptrace_allowed, found.ptrace_denied) == (True, None)
    assert found.libc_in_root is not None
    assert found.language == "python"
    assert (found.images, found.go_run) == ((), False)


@pytest.mark.root
def test_first_process_of_a_pid_namespace_is_an_entry_point() -> None:
    command = ("unshare", "--pid", "--net", "--uts", "--fork", "--kill-child", sys.executable, "-c", WAIT)
    with running(*command) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        found = look(only_child(child.pid))
    assert (found.namespace_pid, found.entry_point) == (1, True)
    assert set(found.foreign_namespaces) == {"net", "pid", "uts"}


@pytest.mark.skipif(not in_initial_pid_namespace(), reason="the tests themselves run in a pid namespace of their own")
def test_init_of_the_host_is_no_entry_point_of_a_container() -> None:
    assert look(1).entry_point is False


def test_entry_point_by_numbers() -> None:
    assert is_entry_point((4711, 1), None) is True
    assert is_entry_point((4711, 12), None) is False
    assert is_entry_point((1,), 0xEFFFFFFC) is False
    assert is_entry_point((1,), 4026532201) is True  # gotap itself in the container
    assert is_entry_point((1,), None) is None


@pytest.mark.parametrize("replaced", [False, True])
def test_executable_that_was_deleted_or_replaced(tmp_path: Path, replaced: bool) -> None:
    program = tmp_path / "mine"
    shutil.copy(shutil.which("sleep") or "", program)
    with running(str(program), "60") as child:
        eventually(lambda: look(child.pid).exe == str(program), "the exec")
        assert look(child.pid).exe_replaced is None
        program.unlink()
        if replaced:
            program.write_text("another")
        found = look(child.pid)
    assert (found.exe, found.exe_state) == (str(program), "deleted")
    assert (found.exe_replaced is not None) == replaced
    if found.exe_replaced is not None:
        assert str(program) in found.exe_replaced
    assert found.load_bias is not None


@pytest.mark.root
def test_executable_that_another_is_mounted_over(tmp_path: Path) -> None:
    """Its name holds another file for all of its mount namespace, without the kernel calling it deleted."""
    program = tmp_path / "mine"
    shutil.copy(shutil.which("sleep") or "", program)
    script = f"{program} 60 & echo $!; read x; mount --bind /bin/true {program}; echo; wait"
    with running("unshare", "--mount", "--kill-child", "--fork", "sh", "-c", script) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        eventually(lambda: look(pid).exe == str(program), "the exec")
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        found = look(pid)
        os.kill(pid, 9)
    assert found.exe_state == "file"
    assert found.exe_replaced is not None
    assert found.foreign_namespaces == ("mnt",)


def test_executable_in_memory_alone() -> None:
    code = (
        "import os, shutil\n"
        "file = os.memfd_create('hidden')\n"
        "os.write(file, open(shutil.which('sleep'), 'rb').read())\n"
        "os.execve(file, ['sleep', '60'], {})\n"
    )
    with python(code) as child:
        found = eventually(lambda: (s := look(child.pid)).exe_state == "memfd" and s, "the memfd")
    assert isinstance(found, Surroundings)
    assert found.exe == "/memfd:hidden"
    assert found.exe_replaced is None


@pytest.mark.root
def test_process_in_a_root_directory_of_its_own(tmp_path: Path) -> None:
    """Only chroot'ed: its executable's path is told as the host sees it, its libc as it sees it itself."""
    program = build("pluginhost", mode="cgo0")
    (tmp_path / "app").write_bytes(program.read_bytes())
    (tmp_path / "app").chmod(0o755)
    with running("chroot", str(tmp_path), "/app") as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        found = look(child.pid)
        assert (found.exe, found.exe_replaced) == (str(tmp_path / "app"), None)
        assert found.libc_in_root is None
        assert found.evidence["libc_in_root"] == "its root directory has no libc"
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib/ld-musl-x86_64.so.1").symlink_to("/../opt/libc.so")
        assert look(child.pid).libc_in_root is None
        (tmp_path / "opt").mkdir()
        (tmp_path / "opt/libc.so").write_bytes(b"\x7fELF")
        assert look(child.pid).libc_in_root == "/lib/ld-musl-x86_64.so.1"


def test_static_parent(tmp_path: Path) -> None:
    source, program = tmp_path / "parent.c", tmp_path / "parent"
    source.write_text(
        '#include <unistd.h>\n#include <sys/wait.h>\n'
        'int main(void) { if (!fork()) execl("/bin/sleep", "sleep", "60", (char *)0); wait(0); }\n'
    )
    subprocess.check_call(["gcc", "-static", "-o", program, source])
    with running(str(program)) as child:
        sleeper = only_child(child.pid)
        parent = look(sleeper).parent
        os.kill(sleeper, 9)
    assert parent is not None
    assert (parent.pid, parent.name, parent.static) == (child.pid, "parent", True)


def test_seccomp_and_no_new_privileges() -> None:
    with running(*refusing(UNUSED_CALL, 1), sys.executable, "-c", WAIT) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        found = look(child.pid)
    assert (found.seccomp, found.no_new_privileges) == (2, True)
    assert found.evidence["seccomp"] == "1 filter"
    with python(WAIT) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert look(child.pid).no_new_privileges is False


def test_process_that_is_traced() -> None:
    code = (
        "import ctypes, os, sys\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "assert libc.ptrace(0x4206, int(sys.argv[1]), None, None) == 0, ctypes.get_errno()\n"  # PTRACE_SEIZE
        "print(flush=True); input()\n"
    )
    # Where Yama is on, only descendants may be traced, unless they say otherwise: PR_SET_PTRACER, anybody.
    allow = "import ctypes; ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)\n"
    with python(allow + WAIT) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        with python(code, str(child.pid)) as tracer:
            tracer.stdout.readline()  # type: ignore[union-attr]
            found = look(child.pid)
    assert found.tracer == tracer.pid
    assert found.ptrace_allowed is False
    assert str(tracer.pid) in (found.ptrace_denied or "")


@pytest.mark.root
def test_capabilities_of_who_gave_them_up() -> None:
    with running(*POWERLESS_ROOT, sys.executable, "-c", WAIT) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert look(child.pid).capabilities == ()
    with running(*NOBODY, sys.executable, "-c", WAIT) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        found = look(child.pid)
    assert found.capabilities == ("CAP_DAC_READ_SEARCH",)
    assert found.uid == 65534


@pytest.mark.root
def test_process_that_made_itself_unreadable() -> None:
    """PR_SET_DUMPABLE 0, after which /proc/PID belongs to root."""
    hide = "import ctypes; assert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0\n"
    with running(*NOBODY, sys.executable, "-c", "print(flush=True); input()\n" + hide + WAIT) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        # setpriv changed the ids before its exec, which made it dumpable again, but for its capabilities.
        before = look(child.pid).dumpable
        print(file=child.stdin, flush=True)
        child.stdout.readline()
        after = look(child.pid)
    assert after.dumpable is False
    assert "uid 0" in after.evidence["dumpable"]
    assert before in (True, False)


@pytest.mark.root
def test_what_is_not_permitted_is_unknown_with_its_reason() -> None:
    """A process of root, looked at by nobody: no exception, nothing pretended."""
    code = (
        "import sys, msgspec\n"
        "from gotap.process.proc import Process\n"
        "from gotap.process.reading import read_surroundings\n"
        "print(msgspec.json.encode(read_surroundings(Process(int(sys.argv[1])))).decode())\n"
    )
    with running("sleep", "60") as child:
        told = subprocess.check_output([*NOBODY, sys.executable, "-c", code, str(child.pid)], text=True)
        found = msgspec.json.decode(told, type=Surroundings)
    assert (found.pid, found.uid, found.name) == (child.pid, 0, "sleep")
    for name in ("exe", "exe_state", "load_bias", "libc_in_root", "plugin_loaded"):
        assert getattr(found, name) is None, name
    for key in ("exe", "namespaces", "images", "libc_in_root", "agents"):
        assert "does not let uid 65534 read" in found.evidence[key], key
    assert found.ptrace_allowed is False
    assert "it runs as uid 0 gid 0, gotap as uid 65534" in (found.ptrace_denied or "")
    assert found.command_line == ("sleep", "60")
    assert found.seccomp == 0


def test_process_that_is_gone() -> None:
    with running("sleep", "60") as child:
        process = Process(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        for inside in (True, False):
            with pytest.raises(ProcessGone, match=str(child.pid)):
                Observer().read(process, inside=inside)
        process.close()


def test_a_list_tells_the_same_but_for_what_is_inside() -> None:
    left_out = {"load_bias", "images", "plugin_loaded", "libc_in_root", "agents", "evidence"}
    with python(WAIT) as child, Process(child.pid) as process:
        child.stdout.readline()  # type: ignore[union-attr]
        observer = Observer()
        full, brief = observer.read(process), observer.read(process, inside=False)
    for name in Surroundings.__struct_fields__:
        if name not in left_out:
            assert getattr(full, name) == getattr(brief, name), name


def test_own_process_is_not_to_be_traced_by_itself() -> None:
    found = look(os.getpid())
    assert (found.ptrace_allowed, found.ptrace_denied) == (False, "it is gotap itself")


def test_program_that_chose_another_executable() -> None:
    """prctl(PR_SET_MM_EXE_FILE): /proc/PID/exe is what the process chose, its entry point is where it was started."""
    started = Mapping(0x1000, 0x9000, "r-xp", 0, 12, "/opt/started (deleted)")
    library = Mapping(0x20000, 0x30000, "r-xp", 0, 13, "/lib/x.so")
    elsewhere = entry_elsewhere([started, library], 0x1200, "/bin/chosen")
    assert elsewhere is not None
    assert "the program that was started is /opt/started" in elsewhere
    assert entry_elsewhere([started, library], 0x1200, "/opt/started") is None
    assert entry_elsewhere([started, library], 0x10000, "/bin/chosen") is None  # unmapped: nothing is known


@pytest.mark.parametrize("inside", [True, False])
def test_what_is_none_has_a_reason(inside: bool) -> None:
    with Process(os.getpid()) as process:
        found = Observer().read(process, "python", inside=inside)
    none = {key for key in found.__struct_fields__ if getattr(found, key) is None}
    assert none
    assert none <= set(found.evidence)
    assert "unknown" not in found.evidence.values()
