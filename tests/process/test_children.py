from __future__ import annotations

import os
import signal
import subprocess

from gotap.process.children import ExecWatcher, children, descendants
from gotap.process.proc import Process
from processes import eventually, python, running

#: Does what each line of its input says, and answers each with a line.
SERVANT = """
import os, subprocess, sys
kept = []
print("ready", flush=True)
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "start":
        kept.append(subprocess.Popen(rest.split(), stdin=subprocess.DEVNULL))
        print(kept[-1].pid, flush=True)
    elif word == "fork":
        pid = os.fork()
        if pid == 0:
            import signal
            signal.pause()
        kept.append(pid)
        print(pid, flush=True)
    elif word == "exec":
        os.execvp(rest.split()[0], rest.split())
    elif word == "end":
        pid = kept.pop()
        pid = pid if isinstance(pid, int) else pid.pid
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        print("ended", flush=True)
"""


def ask(servant: subprocess.Popen[str], order: str) -> str:
    assert servant.stdin is not None
    assert servant.stdout is not None
    servant.stdin.write(order + "\n")
    servant.stdin.flush()
    return servant.stdout.readline().strip()


def poll_for(watcher: ExecWatcher, pid: int) -> None:
    eventually(lambda: pid in watcher.poll(), f"the exec of {pid}")


def test_descendants_are_those_that_ps_tells() -> None:
    with running("sh", "-c", "sh -c 'sleep 60 & echo started; wait' & wait") as child:
        child.stdout.readline()  # type: ignore[union-attr]
        (shell,) = children(child.pid)
        told = subprocess.check_output(["ps", "-o", "pid=", "--ppid", f"{child.pid},{shell}"], text=True)
        try:
            assert descendants(child.pid) == [shell, *children(shell)]
            assert sorted(descendants(child.pid)) == sorted(map(int, told.split()))
        finally:
            for pid in map(int, told.split()):
                os.kill(pid, signal.SIGKILL)


def test_children_of_a_process_that_is_gone() -> None:
    assert children(0x7FFFFFFF) == []
    assert descendants(0x7FFFFFFF) == []
    assert ExecWatcher(0x7FFFFFFF).poll() == []


def test_each_exec_is_told_once() -> None:
    with python(SERVANT) as servant:
        assert servant.stdout is not None
        servant.stdout.readline()
        watcher = ExecWatcher(servant.pid)
        assert watcher.poll() == []
        one = int(ask(servant, "start sleep 60"))
        poll_for(watcher, one)
        assert watcher.poll() == []
        ask(servant, "end")


def test_fork_without_exec_is_not_told() -> None:
    with python(SERVANT) as servant:
        assert servant.stdout is not None
        servant.stdout.readline()
        watcher = ExecWatcher(servant.pid)
        forked = int(ask(servant, "fork"))
        assert forked in descendants(servant.pid)
        assert watcher.poll() == []
        ask(servant, "end")


def test_root_that_executes_the_same_file_again_is_told() -> None:
    with python(SERVANT) as servant:
        assert servant.stdout is not None
        servant.stdout.readline()
        watcher = ExecWatcher(servant.pid)
        with Process(servant.pid) as process:
            ask(servant, f"exec {process.exe_path} -c print('again',flush=True);input()")
        poll_for(watcher, servant.pid)


def test_orphans_stay_watched() -> None:
    code = "import os\nprint(os.getpid(), flush=True)\nfor line in os.fdopen(0): os.execlp('sleep', 'sleep', '60')"
    with python("import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', sys.argv[1]]).wait()", code) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        watcher = ExecWatcher(child.pid)
        child.kill()
        child.wait()
        try:
            child.stdin.write("go\n")
            child.stdin.flush()
            poll_for(watcher, grandchild)
        finally:
            os.kill(grandchild, signal.SIGKILL)
