"""Targets that change under the judge's hands, files that many processes share, and what the host allows as data."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gotap.commands.judging import FileFacts, Judge, NoSuchTarget, host_of
from gotap.image.errors import UnreadableFile
from gotap.kernel.findings import Feature, Features
from gotap.process.errors import ProcessGone
from gotap.process.proc import Process
from processes import running
from situations import COVERED, facts


def test_a_process_that_ends_while_its_file_is_read_is_gone() -> None:
    with running("sleep", "60") as child:

        def read(path: str, name: str) -> FileFacts:
            child.kill()
            child.wait()
            raise UnreadableFile(f"{name}: No such file or directory")

        [judged] = Judge(read).targets(str(child.pid))
    assert isinstance(judged.error, ProcessGone)


def test_processes_of_a_name_that_end_meanwhile_are_not_meant(tmp_path: Path) -> None:
    name = f"judged-{os.getpid()}"
    program = shutil.copy(shutil.which("sleep") or "", tmp_path / name)
    with running(program, "60") as child:

        def read(path: str, name: str) -> FileFacts:
            child.kill()
            child.wait()
            raise UnreadableFile(f"{name}: No such file or directory")

        [judged] = Judge(read).targets(name)
    assert isinstance(judged.error, NoSuchTarget)
    assert "have ended" in str(judged.error)


def test_a_file_is_read_once_for_all_that_run_it() -> None:
    calls = []

    def read(path: str, name: str) -> FileFacts:
        calls.append(name)
        return FileFacts(facts(), COVERED)

    judge = Judge(read)
    with running("sleep", "60") as first, running("sleep", "60") as second:
        for child in (first, second):
            with Process(child.pid) as process:
                glance = judge.glance(process)
                assert (glance.pid, glance.name) == (child.pid, os.path.basename(os.readlink(process.exe)))
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("scope", "capabilities", "hook"),
    [(None, set(), True), (0, set(), True), (1, set(), False), (1, {"CAP_SYS_PTRACE"}, True),
     (2, set(), False), (3, {"CAP_SYS_PTRACE"}, False)],
)  # fmt: skip
def test_hooks_of_a_list_are_as_yama_allows(
    scope: int | None, capabilities: set[str], hook: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gotap.process.privileges.read_ptrace_scope", lambda: scope)
    monkeypatch.setattr("gotap.kernel.host.capabilities", lambda: capabilities)
    judge = Judge(lambda path, name: FileFacts(facts(), COVERED))
    with running("sleep", "60") as child, Process(child.pid) as process:
        found = judge.glance(process).mechanisms["hook"]
    assert found.works is hook
    assert found.because == (() if hook else ("ptrace-denied",))


HERE = Feature("bpf", "bpf", True, "allowed", needed=True)
NO_RING = Feature("ringbuf", "ring", False, "no such map", "newer", needed=True)
NO_UPROBES = Feature("uprobes", "uprobes", False, "no such event", "CONFIG_UPROBES=y", needed=True)


@pytest.mark.parametrize(
    ("features", "privileged", "expected"),
    [
        ((HERE, Feature("uprobes", "uprobes", True, "work", needed=True)), True, (True, True, True)),
        ((HERE, NO_UPROBES), True, (True, False, True)),
        ((NO_RING, NO_UPROBES), True, (False, False, True)),
        ((Feature("bpf", "bpf", False, "denied", "root", needed=True),), False, (False, False, False)),
    ],
)  # fmt: skip
def test_what_the_host_allows(
    features: tuple[Feature, ...], privileged: bool, expected: tuple[bool, bool, bool]
) -> None:
    host = host_of(Features({one.id: one for one in features}), privileged, "none")
    assert (host.bpf, host.uprobes, host.privileged) == expected
    assert set(host.missing) == {one.id for one in features if not one.ok}
