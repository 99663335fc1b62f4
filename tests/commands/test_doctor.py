"""gotap doctor: what people and programs read, and the exit code they act on."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import pytest

from gotap.commands import doctor
from gotap.kernel.findings import Feature, Features
from kernel_access import needs_bpf

HERE = Feature("bpf", "bpf(2) system call", True, "allowed", needed=True)
ABSENT = Feature("ringbuf", "BPF ring buffer", False, "no such map", "use Linux 5.8 or newer", needed=True)
EXTRA = Feature("tracefs", "tracefs", False, "not mounted", "mount it")


def _features(*found: Feature) -> Features:
    return Features({one.id: one for one in found})


def test_marks_need_no_colour_and_remedies_follow_what_is_missing() -> None:
    assert doctor.as_text(_features(HERE, ABSENT, EXTRA)).splitlines() == [
        "ok  bpf(2) system call  allowed",
        "no  BPF ring buffer     no such map",
        "                        → use Linux 5.8 or newer",
        "--  tracefs             not mounted",
        "                        → mount it",
    ]


def test_a_remedy_is_told_once_and_what_was_not_tried_is_one_line() -> None:
    cause = Feature("capabilities", "capabilities", False, "missing: CAP_BPF", "sudo gotap", needed=True)
    effect = Feature("bpf", "bpf(2) system call", False, "denied", "sudo gotap", needed=True)
    untried = [Feature(id_, id_, False, "not tried: bpf(2) is denied", needed=True, tried=False) for id_ in "abc"]
    found = _features(cause, effect, untried[0], EXTRA, *untried[1:])
    assert doctor.as_text(found).splitlines() == [
        "no  capabilities        missing: CAP_BPF",
        "                        → sudo gotap",
        "no  bpf(2) system call  denied",
        "--  tracefs             not mounted",
        "                        → mount it",
        "..  3 more              not tried: bpf(2) is denied",
    ]
    assert not found.watchable
    assert found.missing() == [cause, effect]


def test_json_holds_every_field() -> None:
    assert json.loads(doctor.as_json(_features(HERE, ABSENT))) == {
        "watchable": False,
        "features": [
            {"id": "bpf", "name": "bpf(2) system call", "ok": True, "detail": "allowed", "remedy": "", "needed": True,
             "tried": True},
            {"id": "ringbuf", "name": "BPF ring buffer", "ok": False, "detail": "no such map",
             "remedy": "use Linux 5.8 or newer", "needed": True, "tried": True},
        ],
    }  # fmt: skip


@pytest.mark.parametrize(("found", "code", "verdict"), [
    (_features(HERE, EXTRA), 0, "lets gotap watch"),
    (_features(HERE, ABSENT), 1, "does not let gotap watch processes: BPF ring buffer"),
])  # fmt: skip
def test_exit_code_says_whether_watching_is_possible(
    found: Features, code: int, verdict: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gotap.kernel.features.probe", lambda: found)
    parser = argparse.ArgumentParser()
    doctor.add_arguments(parser)
    assert doctor.run(parser.parse_args([])) == code
    assert verdict in capsys.readouterr().err


@pytest.mark.root
@needs_bpf
def test_this_host(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(argparse.Namespace(json=True)) == 0
    found = {one["id"]: one for one in json.loads(capsys.readouterr().out)["features"]}
    assert {"bpf", "ringbuf", "uprobes", "bpf_loop", "kernel", "yama"} <= found.keys()
    assert all(one["ok"] or one["remedy"] for one in found.values()), "whatever is missing has a remedy"


@pytest.mark.root
@needs_bpf
def test_without_capabilities_it_says_so_and_fails() -> None:
    """The bounding set is emptied before Python starts, so that root is root by name only."""
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-m", "gotap", "doctor"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "neither CAP_BPF nor CAP_SYS_ADMIN" in done.stdout
    assert done.stdout.count("→ this root lacks CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, as in a container") == 1
    assert sum(line.startswith("no  ") for line in done.stdout.splitlines()) == 2
    assert done.stderr == "gotap: this host does not let gotap watch processes: capabilities, bpf(2) system call\n"
