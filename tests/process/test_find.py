from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import pytest

from gotap.process.errors import NoSuchName, NotRunning, ProcessGone
from gotap.process.find import resolve
from gotap.process.proc import Process
from processes import eventually, running


def named_sleep(directory: Path, name: str) -> str:
    target = directory / name
    shutil.copy(shutil.which("sleep") or "", target)
    return str(target)


def test_digits_are_a_pid() -> None:
    assert resolve(str(os.getpid())) == [os.getpid()]
    with pytest.raises(ProcessGone):
        resolve("4194399999")


def test_name_means_every_process_of_that_executable(tmp_path: Path) -> None:
    name = f"a-service-of-the-tests-{uuid.uuid4().hex}"  # longer than the kernel's 15 characters
    program = named_sleep(tmp_path, name)
    with running(program, "60") as one, running(program, "60") as other:
        eventually(lambda: len(exe_is(name, one.pid, other.pid)) == 2, "both execs")
        assert resolve(name) == sorted([one.pid, other.pid])
        with pytest.raises(NoSuchName):  # the cut name is not the executable's
            resolve(name[:15])


def exe_is(name: str, *pids: int) -> list[int]:
    return [pid for pid in pids if Process(pid).name == name]


def test_a_path_means_every_process_that_runs_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = named_sleep(tmp_path, "service")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = elsewhere / "link"
    link.symlink_to(program)
    namesake = named_sleep(elsewhere, "service")
    with running(program, "60") as one, running(str(link), "60") as other, running(namesake, "60") as third:
        eventually(lambda: len(exe_is("service", one.pid, other.pid, third.pid)) == 3, "the execs")
        wanted = sorted([one.pid, other.pid])
        assert resolve(program) == resolve(str(link)) == wanted
        monkeypatch.chdir(tmp_path)
        assert resolve("./service") == wanted
        assert resolve("elsewhere/service") == [third.pid]
        os.unlink(program)
        assert resolve("./service") == wanted, "the file is gone, what runs it is not"
        named_sleep(tmp_path, "service")
        assert resolve(program) == wanted, "a new release stands where the one that runs stood"


def test_a_path_that_nothing_runs_and_one_that_is_none(tmp_path: Path) -> None:
    program = named_sleep(tmp_path, "idle")
    with pytest.raises(NotRunning, match="no running process executes") as raised:
        resolve(program)
    assert raised.value.remedy == f"`gotap run -- {program}` starts it"
    with pytest.raises(NotRunning, match="there is no file"):
        resolve(f"{tmp_path}/nothing")


def test_main_threads_name_counts_too() -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    code = f"open('/proc/self/comm', 'w').write({name!r}); print(flush=True); input()"
    with running("python3", "-c", code) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert resolve(name) == [child.pid]


def test_unknown_name_lists_similar_ones(tmp_path: Path) -> None:
    name = f"checkout-{uuid.uuid4().hex[:8]}"
    with running(named_sleep(tmp_path, name), "60") as child:
        eventually(lambda: exe_is(name, child.pid), "the exec")
        with pytest.raises(NoSuchName) as raised:
            resolve(name.replace("checkout", "chekcout"))
        assert name in raised.value.remedy
        with pytest.raises(NoSuchName) as raised:
            resolve(name[4:].upper())
        assert name in raised.value.remedy


def test_gotap_does_not_find_itself() -> None:
    with Process(os.getpid()) as own:
        names = {own.name, own.comm}
    for name in names:
        try:
            assert os.getpid() not in resolve(name)
        except NoSuchName:
            continue
