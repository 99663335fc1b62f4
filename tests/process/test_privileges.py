from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from gotap.process.privileges import CAPABILITIES, Denial, Status, capability_names, explain_denial, read_status
from gotap.process.stat import parse_status

SYS_PTRACE = 1 << CAPABILITIES.index("CAP_SYS_PTRACE")


def status(uid: int = 1000, effective: int = 0, permitted: int | None = None) -> Status:
    ids = (uid,) * 4
    return Status(ids, ids, effective, effective if permitted is None else permitted, 0, (7,))


def why(
    own: Status | None = None,
    theirs: Status | None = None,
    *,
    dumpable: bool | None = True,
    scope: int | None = None,
    descendant: bool = False,
    same_users: bool | None = True,
    label: str | None = None,
) -> str:
    return explain_denial(
        Denial(
            own=own or status(),
            theirs=theirs or status(),
            dumpable=dumpable,
            scope=scope,
            is_descendant=descendant,
            same_user_namespace=same_users,
            label=label,
            error="Operation not permitted",
        )
    )


def test_denials_in_the_order_of_the_kernels_rules() -> None:
    assert "it runs as uid 0 gid 0, gotap as uid 1000 gid 1000 without CAP_SYS_PTRACE" in why(theirs=status(0))
    assert "not dumpable" in why(dumpable=False)
    assert "capabilities that gotap has not: CAP_CHOWN" in why(theirs=status(effective=1))
    assert "ptrace_scope is 1" in why(scope=1)
    assert "ptrace_scope" not in why(scope=1, descendant=True)
    assert "ptrace_scope is 2" in why(scope=2, descendant=True)
    assert "ptrace_scope is 3" in why(own=status(0, SYS_PTRACE), scope=3)
    assert "user namespace" in why(own=status(0, SYS_PTRACE), theirs=status(0, 1), same_users=False)
    assert "labelled docker-default (enforce)" in why(label="docker-default (enforce)")
    assert why() == "the kernel says: Operation not permitted"


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed (Debian package util-linux)")
def test_names_of_capabilities_are_those_of_setpriv() -> None:
    told = subprocess.check_output(["setpriv", "--list-caps"], text=True).split()
    ours = [name.removeprefix("CAP_").lower() for name in CAPABILITIES]
    assert ours[: len(told)] == told[: len(ours)]


def test_bits_without_a_name_are_numbered() -> None:
    assert capability_names(1 | 1 << 21 | 1 << 63) == ("CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_63")


def test_status_of_an_old_kernel_has_fewer_lines() -> None:
    text = b"Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t5\t5\t5\nCapPrm:\t00\nCapEff:\t0000000000000001\n"
    found = read_status(parse_status(text), 9)
    assert (found.uids, found.tracer, found.namespace_pids) == ((1, 2, 3, 4), 0, (9,))
    assert (found.no_new_privileges, found.seccomp, found.filters) == (None, None, None)
    assert found.capabilities == ("CAP_CHOWN",)


def test_own_status() -> None:
    with open("/proc/self/status", "rb") as file:
        found = read_status(parse_status(file.read()), os.getpid())
    assert found.uids == (*os.getresuid(), os.geteuid())
    assert found.namespace_pids[0] == os.getpid()
