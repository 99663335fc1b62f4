"""Feature probes on the running kernel, and on kernels that refuse one thing or another."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from gotap.bpf.enums import MapType
from gotap.kernel import features, host, playground, syscalls
from gotap.kernel.playground import EMULATED, Playground
from kernel_access import needs_bpf

ESSENTIAL = {"bpf", "program", "ringbuf", "uprobes", "uprobe_multi_link", "uprobe_multi", "bpf_loop", "attach_cookie",
             "no_prealloc"}


def _refuse(monkeypatch: pytest.MonkeyPatch, function: str, number: int) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(syscalls, function, refuse)


@pytest.mark.root
@needs_bpf
def test_everything_is_found_out() -> None:
    found = features.probe()
    assert set(found.found) >= ESSENTIAL
    assert found.watchable
    assert all(one.detail for one in found)
    assert not [one.id for one in found if one.ok and one.remedy]


@pytest.mark.root
@needs_bpf
def test_essential_agrees_with_probe() -> None:
    whole = features.probe()
    found = features.essential()
    assert set(found.found) >= ESSENTIAL
    assert {one.id: one.ok for one in found} == {one.id: whole[one.id].ok for one in found}


@pytest.mark.root
@needs_bpf
def test_scripting_agrees_with_probe() -> None:
    whole = features.probe()
    found = features.scripting()
    assert set(found.found) >= ESSENTIAL | {"percpu_lookup", "on_demand", "clock_growing"}
    assert {one.id: one.ok for one in found} == {one.id: whole[one.id].ok for one in found}


@pytest.mark.root
@needs_bpf
def test_trials_leave_nothing_behind() -> None:
    gc.collect()  # what an earlier test left to the collector would otherwise go away in the middle
    before = set(os.listdir("/proc/self/fd"))
    maps = Path("/proc/self/maps").read_text().count("gotap-playground")
    features.probe()
    assert set(os.listdir("/proc/self/fd")) <= before
    assert Path("/proc/self/maps").read_text().count("gotap-playground") == maps


def test_denied_bpf_is_one_cause_not_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse(monkeypatch, "map_create", 1)
    monkeypatch.setattr(host, "capabilities", lambda: set())
    found = features.probe()
    assert not found.watchable
    assert "neither CAP_BPF nor CAP_SYS_ADMIN" in found["bpf"].detail
    assert "root" in found["bpf"].remedy
    assert [one.id for one in found.missing()] == ["capabilities", "bpf"]
    assert found["capabilities"].remedy == found["bpf"].remedy
    untried = {one.detail for one in found if not one.tried}
    assert untried == {"not tried: bpf(2) is not allowed"}
    assert not any(one.ok or one.remedy for one in found if not one.tried)


@pytest.mark.parametrize(("uid", "in_user_namespace", "words"), [
    (1000, False, ["sudo ", " -m gotap …", "sudo setcap cap_bpf,cap_perfmon,cap_sys_ptrace+ep /"]),
    (0, False, ["--pid=host", "--privileged", "--cap-add=PERFMON", "seccomp=unconfined"]),
    (0, True, ["outside the rootless container"]),
])  # fmt: skip
def test_the_way_to_capabilities_is_another_for_root_and_in_containers(
    uid: int, in_user_namespace: bool, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(host, "in_user_namespace", lambda: in_user_namespace)
    assert all(word in host.way_to_capabilities() for word in words)
    assert ("sudo" in host.way_to_capabilities()) == (uid != 0)


def test_the_installed_command_is_named_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(host, "in_user_namespace", lambda: False)
    monkeypatch.setattr("sys.argv", ["/opt/my tools/gotap", "doctor"])
    assert "sudo '/opt/my tools/gotap' …" in host.way_to_capabilities()


@pytest.mark.parametrize(("have", "ok", "needed", "detail"), [
    (["BPF", "PERFMON", "SYS_PTRACE"], True, True, "CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE"),
    (["SYS_ADMIN", "SYS_PTRACE"], True, True, "CAP_SYS_ADMIN, CAP_SYS_PTRACE"),
    (["BPF", "PERFMON"], False, False, "missing: CAP_SYS_PTRACE: only processes of this user can be watched"),
    (["PERFMON"], False, True, "missing: CAP_BPF, CAP_SYS_PTRACE"),
])  # fmt: skip
def test_capabilities_are_needed_or_only_helpful(
    have: list[str], ok: bool, needed: bool, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "capabilities", lambda: {f"CAP_{name}" for name in have})
    monkeypatch.setattr(host, "in_user_namespace", lambda: False)
    found = host.capabilities_finding()
    assert (found.ok, found.needed, found.detail) == (ok, needed, detail)
    assert bool(found.remedy) != ok


@pytest.mark.parametrize(("facts", "words"), [
    ({"in_user_namespace": True}, "user namespace"),
    ({"seccomp": True}, "seccomp"),
    ({}, "security module"),
])  # fmt: skip
def test_why_root_may_be_denied(facts: dict[str, bool], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse(monkeypatch, "map_create", 1)
    monkeypatch.setattr(host, "capabilities", lambda: {"CAP_SYS_ADMIN"})
    for name in ("in_user_namespace", "seccomp"):
        monkeypatch.setattr(host, name, lambda name=name: facts.get(name, False))
    assert words in features.essential()["bpf"].detail


def test_a_kernel_without_bpf(monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse(monkeypatch, "map_create", 38)
    found = features.essential()
    assert "built without bpf(2)" in found["bpf"].detail
    assert "CONFIG_BPF_SYSCALL" in found["bpf"].remedy


@pytest.mark.root
@needs_bpf
def test_before_6_6_the_fallback_carries_it(monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse(monkeypatch, "link_create_uprobe_multi", 22)
    found = features.essential()
    assert not found.has("uprobe_multi")
    assert found.has("perf_uprobe")
    assert found.watchable
    assert "one by one" in found["uprobes"].detail


@pytest.mark.root
@needs_bpf
def test_a_filter_that_lets_the_first_thread_only_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Linux 6.6: a call from another thread fires nothing."""
    monkeypatch.setattr(Playground, "call_in_thread", lambda self, offset: None)
    found = features.essential()
    assert found.has("uprobe_multi_link")
    assert not found.has("uprobe_multi")
    assert "first thread only" in found["uprobe_multi"].detail


@pytest.mark.root
@needs_bpf
def test_no_uprobes_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    _refuse(monkeypatch, "link_create_uprobe_multi", 22)
    _refuse(monkeypatch, "perf_event_open_uprobe", 13)
    found = features.essential()
    assert [one.id for one in found.missing()] == ["uprobes"]
    assert "EACCES" in found["uprobes"].detail
    assert found["uprobes"].remedy


@pytest.mark.root
@needs_bpf
def test_no_ring_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    create = syscalls.map_create

    def no_ring(kind: MapType, *rest: int | str) -> int:
        if kind is MapType.RINGBUF:
            raise OSError(22, "Invalid argument")
        return create(kind, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(syscalls, "map_create", no_ring)
    found = features.essential()
    assert [one.id for one in found.missing()] == ["ringbuf"]
    assert "5.8" in found["ringbuf"].remedy


def test_nowhere_to_map_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playground, "_libc", _NoExec())
    with pytest.raises(OSError, match="no file may be mapped executable"):
        Playground()


class _NoExec:
    """A C library whose mmap always fails."""

    @staticmethod
    def mmap(*_: object) -> int:
        return (1 << 64) - 1


def test_the_playground_runs_and_shows_its_code() -> None:
    with Playground() as page:
        page.call(EMULATED)
        page.call_in_thread(EMULATED)
        assert page.text(EMULATED, 1) == b"\x55"
        assert os.path.exists(page.path)


def test_capabilities_are_read_from_the_effective_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bits of include/uapi/linux/capability.h: 19 ptrace, 21 admin, 24 resource, 38 perfmon, 39 bpf."""
    monkeypatch.setattr(host, "_status", {"CapEff": "000001fffeffffff"}.get)
    assert host.capabilities() == {"CAP_SYS_PTRACE", "CAP_SYS_ADMIN", "CAP_PERFMON", "CAP_BPF"}
    monkeypatch.setattr(host, "_status", {"CapEff": "0000000001000000"}.get)
    assert host.capabilities() == {"CAP_SYS_RESOURCE"}
