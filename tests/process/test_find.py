from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import pytest

from gotap.process.errors import NoSuchName, ProcessGone
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
