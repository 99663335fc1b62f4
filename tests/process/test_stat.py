from __future__ import annotations

import pytest

from gotap.process.stat import container_id, parse_stat, parse_status

ID = "3b8a" * 16
FARGATE = "0f1e2d3c4b5a69788796a5b4c3d2e1f0-1234567890"


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        (f"0::/system.slice/docker-{ID}.scope", ID),
        (f"12:pids:/docker/{ID}", ID),
        (f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/cri-containerd-{ID}.scope", ID),
        (f"0::/kubepods.slice/kubepods-pod77.slice/crio-{ID}.scope", ID),
        (f"0::/kubepods.slice/kubepods-pod77.slice/crio-{ID}.scope/container", ID),
        (f"4:cpu:/kubepods/besteffort/pod0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0/{ID}", ID),
        (f"0::/system.slice/containerd.service/kubepods-burstable-pod9.slice:cri-containerd:{ID}", ID),
        (f"0::/machine.slice/libpod-{ID}.scope/container", ID),
        (f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope", ID),
        (f"9:memory:/ecs/0f1e2d3c4b5a69788796a5b4c3d2e1f0/{FARGATE}", FARGATE),
        (f"0::/machine.slice/libpod-conmon-{ID}.scope", ID),
        ("0::/", ""),
        ("0::/user.slice/user-0.slice/session-1.scope", ""),
        ("", ""),
        (f"0::/some.slice/{ID}extra", ""),
    ],
)
def test_container_ids(cgroup: str, expected: str) -> None:
    assert container_id(cgroup) == expected


def test_innermost_container_wins() -> None:
    inner = "ab12" * 16
    assert container_id(f"0::/docker/{ID}/docker/{inner}") == inner


def test_comm_may_hold_parentheses_and_blanks() -> None:
    stat = parse_stat(b"77 (a) S (b c) R 1 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 424242 1 2 3\n")
    assert (stat.comm, stat.state, stat.parent, stat.start_time) == ("a) S (b c", "R", 1, 424242)
    assert not stat.is_kernel_thread
    assert not stat.has_ended


def test_status_values_are_words() -> None:
    assert parse_status(b"Name:\tx\nUid:\t0\t1\t2\t3\nGroups:\t\n") == {
        "Name": ["x"],
        "Uid": ["0", "1", "2", "3"],
        "Groups": [],
    }
