"""Tracepoints of the kernel that runs the tests; bpftrace is the oracle of their fields."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from gotap.kernel.tracefs import NoTracepoint, Tracefs, TracefsError, tracepoint_fields

pytestmark = pytest.mark.root


@pytest.fixture(scope="module", autouse=True)
def _reachable() -> None:
    try:
        Tracefs().close()
    except TracefsError as error:
        pytest.skip(str(error))


def test_lists_and_numbers() -> None:
    with Tracefs() as tracefs:
        names = tracefs.tracepoints()
        assert names == sorted(names)
        assert "sched:sched_switch" in names
        assert tracefs.number("sched", "sched_switch") > 0
        fields = tracefs.fields("sched", "sched_switch")
    assert list(fields)[:3] == ["prev_comm", "prev_pid", "prev_prio"]


def test_fields_are_those_that_bpftrace_lists() -> None:
    if shutil.which("bpftrace") is None:
        pytest.skip("bpftrace is not installed")
    # It wants the file system mounted, which it is for this command alone.
    listing = "mountpoint -q /sys/kernel/tracing || mount -t tracefs none /sys/kernel/tracing; " \
              "bpftrace -lv 'tracepoint:sched:*'"  # fmt: skip
    told = subprocess.run(["unshare", "-m", "sh", "-c", listing], capture_output=True, text=True, check=True).stdout
    listed: dict[str, list[str]] = {}
    for line in told.splitlines():
        if line.startswith("tracepoint:"):
            current = listed.setdefault(line.rpartition(":")[2], [])
        elif match := re.search(r"(\w+)(\[\d+\])?$", line.strip()):
            current.append(match[1])
    assert listed
    for name, fields in listed.items():
        assert list(tracepoint_fields("sched", name)) == fields, name


def test_nothing_is_left_mounted_and_no_descriptor_open() -> None:
    with open("/proc/self/mounts") as file:
        before = file.read(), set(os.listdir("/proc/self/fd"))
    tracepoint_fields("sched", "sched_switch")
    with open("/proc/self/mounts") as file:
        assert (file.read(), set(os.listdir("/proc/self/fd"))) == before


def test_a_name_that_is_not_there_is_told_with_what_is_like_it() -> None:
    with Tracefs() as tracefs, pytest.raises(NoTracepoint, match="no tracepoint sched:sched_swich") as told:
        tracefs.fields("sched", "sched_swich")
    assert "sched:sched_switch" in told.value.similar
    assert "did you mean" in told.value.remedy


@pytest.mark.parametrize("name", ["../../sched/sched_switch", "", ".", "..", "a/b"])
def test_names_never_become_paths(name: str) -> None:
    with pytest.raises(NoTracepoint):
        tracepoint_fields("sched", name)
