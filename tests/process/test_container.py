"""Containers by the names that runtimes give: /proc/PID/cgroup and mountinfo as they stand on real hosts."""

from __future__ import annotations

import pytest

from gotap.process.container import cgroup_path, container_of
from gotap.process.surroundings import Container

ID = "7be92808767a667f35c8505cbf40d14e931ef6db5b0210329cf193b15ba9d605"
POD = "pod2c48913c_b29f_11e7_9350_020968147796"


@pytest.mark.parametrize(
    ("cgroup", "runtime"),
    [
        (f"0::/system.slice/docker-{ID}.scope", "docker"),
        (f"12:cpuset:/docker/{ID}\n0::/docker/{ID}", "docker"),
        (f"0::/docker/{'a' * 64}/docker/{ID}", "docker"),  # docker in docker
        (f"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-{POD}.slice/cri-containerd-{ID}.scope",
         "containerd"),
        (f"0::/system.slice/containerd.service/kubepods-burstable-{POD}.slice:cri-containerd:{ID}", "containerd"),
        (f"0::/kubepods.slice/kubepods-{POD}.slice/crio-{ID}.scope", "cri-o"),
        (f"0::/machine.slice/libpod-{ID}.scope/container", "podman"),
        (f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope", "podman"),
        (f"11:memory:/kubepods/burstable/pod1/{ID}", None),
    ],
)  # fmt: skip
def test_id_and_runtime_from_the_cgroup(cgroup: str, runtime: str | None) -> None:
    container, evidence = container_of(cgroup)
    assert container == Container(ID, runtime)
    assert ID in evidence


@pytest.mark.parametrize(
    ("cgroup", "container"),
    [
        ("0::/lxc/web1/init.scope", Container("web1", "lxc")),
        ("0::/lxc.payload.web1/system.slice/x.service", Container("web1", "lxc")),
        ("0::/machine.slice/systemd-nspawn@deb.service/payload", Container("deb", "systemd-nspawn")),
        ("0::/machine.slice/machine-deb.scope/payload", Container("deb", "systemd-nspawn")),
    ],
)
def test_names_instead_of_ids(cgroup: str, container: Container) -> None:
    assert container_of(cgroup)[0] == container


@pytest.mark.parametrize(
    ("root", "container"),
    [
        (f"/var/lib/docker/containers/{ID}/hostname", Container(ID, "docker")),
        (f"/containers/storage/overlay-containers/{ID}/userdata/hosts", Container(ID, None)),
        (f"/io.containerd.grpc.v1.cri/sandboxes/{ID}/resolv.conf", Container(ID, "containerd")),
        (f"/home/{ID}/hosts", None),
    ],
)
def test_mounts_where_the_cgroup_namespace_hides_the_name(root: str, container: Container | None) -> None:
    mountinfo = (
        "1 0 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/x\n"
        f"640 617 254:1 {root} /etc/hosts rw,relatime - ext4 /dev/vda1 rw\n"
    )
    assert container_of("0::/", mountinfo)[0] == container


@pytest.mark.parametrize("cgroup", ["", "0::/", "0::/user.slice/user-0.slice/session-1.scope", "0::/init.scope"])
def test_no_container(cgroup: str) -> None:
    assert container_of(cgroup)[0] is None


def test_path_is_that_of_the_unified_hierarchy() -> None:
    assert cgroup_path("3:cpu:/a\n0::/b:c\n") == "/b:c"
    assert cgroup_path("3:cpu:/a\n1:name=systemd:/s\n") == "/a"
    assert cgroup_path("") is None
