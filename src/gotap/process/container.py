"""Which container a process is in: by the names that runtimes give to cgroups and mounts. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gotap.process.stat import container_id
from gotap.process.surroundings import Container

_ID = "[0-9a-f]{64}"

#: What stands before the id in a cgroup's name, or in the name of the cgroup around it.
_RUNTIMES = (
    (re.compile(r"(?:^|/)(?:docker[-/]|actions_job/)"), "docker"),
    (re.compile(r"(?:^|/)libpod[-_]"), "podman"),
    (re.compile(r"(?:^|/)(?:crio-|cri-o[-/])"), "cri-o"),
    (re.compile(r"(?:^|[/:])(?:cri-containerd[-:]|nerdctl[-/]|containerd[-/])"), "containerd"),
    (re.compile(r"(?:^|/)(?:lxc\.payload[./]|lxc/)"), "lxc"),
)

#: lxc and systemd-nspawn name containers as people do: `/lxc/NAME`, `/lxc.payload.NAME`, `machine-NAME.scope`
#: (where systemd escapes), `systemd-nspawn@NAME.service`.
_NAMED = (
    (re.compile(r"/lxc(?:\.payload[./]|/)([^/]+)"), "lxc"),
    (re.compile(r"/(?:systemd-nspawn@([^/]+)\.service|machine-([^/]+)\.scope)"), "systemd-nspawn"),
)

#: Where runtimes keep what they mount into a container: /etc/hosts, /etc/hostname, /etc/resolv.conf; seen in its own
#: mountinfo as the root of the mount, also from within its cgroup namespace.
_MOUNTED = (
    (re.compile(rf"/docker/containers/({_ID})/"), "docker"),
    (re.compile(rf"/(?:overlay|vfs|btrfs|zfs)-containers/({_ID})/userdata/"), None),  # podman and CRI-O share storage
    (re.compile(rf"/io\.containerd\.grpc\.v1\.cri/sandboxes/({_ID})/"), "containerd"),
)


def container_of(cgroup: str, mountinfo: str = "") -> tuple[Container | None, str]:
    """The container and the evidence, or None and why, from /proc/PID/cgroup (v1 and v2) and /proc/PID/mountinfo.

    An id from the mounts may be that of the pod's sandbox instead of the container's own.
    """
    paths = list(_paths(cgroup))
    if id_ := container_id(cgroup):
        path = next(path for path in paths if id_ in path)
        return Container(id_, _runtime(path, id_)), f"its cgroup is {path}"
    for path in paths:
        for pattern, runtime in _NAMED:
            if named := pattern.search(path):
                return Container(next(filter(None, named.groups())), runtime), f"its cgroup is {path}"
    for line in mountinfo.split("\n"):  # paths may hold what else ends a line for Python
        root, place = (*line.split(" "), "", "", "", "", "")[3:5]
        for mounts, by in _MOUNTED:
            if mounted := mounts.search(root):
                return Container(mounted[1], by), f"{root} is mounted at {place}"
    return None, f"its cgroup {cgroup_path(cgroup) or '/'} names no container"


def cgroup_path(cgroup: str) -> str | None:
    """The path in the unified hierarchy, else in the first of v1; None when there are no cgroups."""
    lines = [line.split(":", 2) for line in cgroup.split("\n") if line.count(":") >= 2]
    return next((path for number, _, path in lines if number == "0"), lines[0][2] if lines else None)


def _paths(cgroup: str) -> Iterator[str]:
    for line in cgroup.split("\n"):
        yield line.split(":", 2)[-1]


def _runtime(path: str, id_: str) -> str | None:
    """The innermost runtime that is named before the id."""
    before = path[: path.rindex(id_)]
    found = [(match.end(), name) for pattern, name in _RUNTIMES for match in pattern.finditer(before)]
    return max(found)[1] if found else None
