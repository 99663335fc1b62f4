"""Each condition: when it holds, when it does not, the evidence, and the command that is proposed."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from gotap.process.surroundings import NO_LIBC, Agent, Container, MappedImage, Relative, Surroundings
from gotap.verdict.judge import judge
from gotap.verdict.model import Coverage, Finding, Host, JumpCoverage, OperationCoverage, Situation
from situations import ALLOWING, CLIENT, SERVER, facts, go, process, running, situation

UNPRIVILEGED = Host(bpf=False, uprobes=False, privileged=False)
STATIC: dict[str, Any] = {"linkage": "static", "libc": None, "cgo": False}
BUILD = "-o server example.com/shop/cmd/server"


def held(found: Situation) -> dict[str, Finding]:
    return {one.id: one for one in judge(found).conditions}


def static_file(**changes: Any) -> Situation:
    return situation(facts=facts(go(**{**STATIC, **changes}), interpreter=None, needed=()))


def static_process(**changes: Any) -> Situation:
    return replace(static_file(), process=process(**changes), host=ALLOWING)


def musl(**changes: Any) -> Situation:
    """A musl build; by the internal linker and dynamic unless changed."""
    made = go(libc="musl", **changes)
    return situation(facts=facts(made, interpreter="/lib/ld-musl-x86_64.so.1", needed=("libc.so",)))


def unhooked(name: str) -> OperationCoverage:
    """An operation whose end takes no jump."""
    jumps = (SERVER.jumps[0], JumpCoverage(0x1018, "emulated", f"{name} end", False, False, "it is too short"))
    return replace(SERVER, name=name, jumps=jumps, unhooked="f cannot be hooked: it is too short")


FILES: list[tuple[Situation, set[str]]] = [
    (situation(go(version="1.27rc1", version_text="go1.27rc1")), {"unofficial-release"}),
    (situation(go(version="1.26-devel", version_text="devel go1.26-abcdef")), {"unofficial-release"}),
    (situation(go(version_text="go1.22.9 (Red Hat 1.22.9-1)", toolchain="Red Hat 1.22.9-1")), {"unofficial-release"}),
    (situation(go(version_text="go1.20.3+", version="1.20.3")), {"unofficial-release"}),
    (situation(go(version_text="go1.26.8-X:jsonv2", experiments=("jsonv2",))), set()),
    (situation(go(compiler="gccgo", version="1.18"), coverage=None), {"not-gc"}),
    (situation(go(compiler="tinygo", version="0.39.0"), coverage=None), {"not-gc"}),
    (situation(go(fips="boringcrypto")), {"fips"}),
    (situation(go(fips="native")), {"fips"}),
    (situation(go(fips="openssl")), {"fips"}),
    (situation(go(linkshared=True), coverage=None), {"linkshared"}),
    (situation(facts=facts(go(build_mode="pie", libc=None), needed=())), {"pie-without-libc"}),
    (situation(facts=facts(go(build_mode="pie"))), set()),
    (situation(go(plugin_capable=True)), {"plugin-capable"}),
    (situation(go(vendored=True)), {"vendored"}),
    (situation(go(symtab=False)), {"stripped"}),
    (situation(go(symtab=False, section_table=False)), {"stripped", "no-section-table"}),
    (situation(go(race=True)), {"race"}),
    (situation(go(threadcreate_profile=True)), {"threadcreate-profile"}),
    (static_file(), {"static"}),
    (static_file(settings={"CGO_ENABLED": "0"}), {"static", "cgo-disabled"}),
    (static_file(libc="glibc", libc_inside=True, cgo=True), {"static", "static-cgo"}),
    (static_file(libc="musl", libc_inside=True, cgo=True),
     {"static", "static-cgo", "musl-static", "no-musl-toolchain"}),
    (musl(), {"musl-internal-linker", "musl-dynamic", "no-musl-toolchain"}),
    (musl(linker="external"), {"musl-dynamic", "no-musl-toolchain"}),
    (situation(go(packed="upx"), coverage=None), {"packed"}),
    (situation(go(obfuscated=True), coverage=None), {"obfuscated"}),
    (situation(go(version="1.17.13", version_text="go1.17.13"), coverage=None), {"too-old"}),
    (situation(go(version="1.28.1", version_text="go1.28.1")), {"newer-than-checked"}),
    (situation(facts=facts(arch="arm64"), coverage=None), {"foreign-arch"}),
    (situation(go(build_mode="c-shared")), {"c-shared-host"}),
    (situation(facts=replace(facts(language="c/c++"), go=None), coverage=None), {"not-go"}),
    # A PE: none of the limits of Linux holds.
    (situation(facts=facts(go(**STATIC, settings={"CGO_ENABLED": "0"}), format="pe", os="windows"), coverage=None),
     {"windows-dynamic", "foreign-os"}),
    (situation(facts=facts(go(**STATIC), format="macho", os="darwin"), coverage=None), {"foreign-os"}),
    (situation(coverage=Coverage(operations=(CLIENT,))), {"no-observable-library"}),
    (situation(coverage=Coverage(operations=(replace(SERVER, sites=(), reason="not understood"),))), {"nothing-binds"}),
    (situation(coverage=Coverage(operations=(SERVER, replace(CLIENT, present=True)))), {"unbound-operation"}),
    (situation(coverage=Coverage(operations=(SERVER,), unwatched=(("goroutine creation", "gone"),))),
     {"unbound-operation"}),
    (situation(coverage=Coverage(operations=(replace(SERVER, inlined={"f": "only as 1 copy in g"}),))),
     {"inlined-away"}),
    (situation(coverage=Coverage(refused="an unknown layout")), {"unreadable-tables"}),
    (situation(coverage=Coverage(operations=(SERVER,), unhooked=(("goroutine creation", "too short"),))), {"jumps"}),
    (situation(coverage=Coverage(operations=(SERVER, unhooked("http.client")))), {"jumps"}),
    (situation(coverage=Coverage(operations=(unhooked("http.server"),))), {"jumps", "unhookable"}),
]  # fmt: skip


@pytest.mark.parametrize(("found", "ids"), FILES, ids=lambda one: "+".join(sorted(one)) if isinstance(one, set) else "")
def test_of_files(found: Situation, ids: set[str]) -> None:
    assert held(found).keys() == ids
    assert all(one.evidence and "\n" not in one.evidence for one in held(found).values())
    assert all("{" not in one.message + one.remedy for one in held(found).values())


SHELL, STATIC_PARENT = Relative(12, "sh", False), Relative(12, "init-wrapper", True)
PROCESSES: list[tuple[Situation, set[str]]] = [
    (static_process(parent=SHELL), {"static", "parent-restart"}),
    (static_process(parent=Relative(1, "init", False)), {"static"}),
    (static_process(parent=Relative(1, "init", True)), {"static", "static-parent"}),
    (static_process(parent=STATIC_PARENT), {"static", "static-parent", "parent-restart"}),
    (static_process(parent=Relative(12, "hidden", None)), {"static", "parent-restart"}),
    (static_process(parent=None, namespace_pid=1, entry_point=True), {"static", "static-entrypoint"}),
    (running(parent=STATIC_PARENT, namespace_pid=1), set()),
    (running(plugin_loaded=True), {"plugin-loaded"}),
    (running(go_run=True), {"go-run"}),
    (running(ptrace_allowed=False, ptrace_denied="Yama: ptrace_scope 2"), {"ptrace-denied"}),
    (running(ptrace_allowed=None), set()),
    (running(container=Container("a" * 64), evidence={"libc_in_root": NO_LIBC}), {"no-libc-in-container"}),
    (running(foreign_namespaces=("mnt",), evidence={"libc_in_root": NO_LIBC}), {"no-libc-in-container"}),
    (running(foreign_namespaces=("mnt",), evidence={"libc_in_root": "Permission denied"}), set()),
    (running(foreign_namespaces=("mnt",)), set()),
    (running(container=Container("a" * 64), libc_in_root="/lib/libc.so.6"), set()),
    (running(evidence={"libc_in_root": NO_LIBC}), set()),
    (running(exe_replaced="the path holds another file"), {"exe-replaced"}),
    (running(exe_state="deleted"), {"deleted-exe"}),
    (running(exe_state="memfd"), {"deleted-exe"}),
    (running(tracer=99), {"being-traced"}),
    (running(seccomp=2), {"seccomp"}),
    (running(agents=(Agent("frida", "mapping", "libfrida-agent.so is mapped"),)), {"other-agent"}),
    (running(agents=(Agent("gotap", "mapping", "/memfd:gotap-hook is mapped"),)), {"gotap-inside"}),
    (situation(facts=replace(facts(language="c/c++"), go=None), coverage=None,
               process=process(images=(MappedImage("/lib/libgo.so", "c-shared"),)), host=ALLOWING),
     {"not-go", "c-shared-host"}),
    (running(host=UNPRIVILEGED), {"no-privilege"}),
    (running(host=Host(bpf=False, uprobes=True, privileged=True)), {"no-bpf"}),
    (running(host=Host(bpf=True, uprobes=False, privileged=True)), {"no-uprobe"}),
    (running(host=Host(bpf=True, uprobes=True, privileged=True, lockdown="integrity")), {"lockdown"}),
    (running(host=Host(bpf=True, uprobes=True, privileged=True, fsgsbase=False)), {"no-fsgsbase"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "ids"), PROCESSES, ids=lambda one: "+".join(sorted(one)) if isinstance(one, set) else ""
)
def test_of_processes(found: Situation, ids: set[str]) -> None:
    assert held(found).keys() == ids
    assert all(one.evidence and "\n" not in one.evidence for one in held(found).values())
    assert all("{" not in one.message + one.remedy for one in held(found).values())


@pytest.mark.parametrize(
    ("found", "id", "remedy"),
    [
        (situation(go(race=True, settings={"-race": "true", "-tags": "a b"})), "race", f"go build '-tags=a b' {BUILD}"),
        (situation(go(symtab=False, settings={"-ldflags": "-s -w -X main.v=1"})), "stripped",
         f"go build '-ldflags=-X main.v=1' {BUILD}"),
        (static_file(libc="glibc", libc_inside=True, settings={"-ldflags": "-linkmode=external -extldflags=-static"}),
         "static-cgo", f"CGO_ENABLED=1 go build -ldflags=-linkmode=external {BUILD}"),
        (static_file(settings={"CGO_ENABLED": "0", "-trimpath": "true"}), "cgo-disabled",
         f"CGO_ENABLED=1 go build -trimpath {BUILD}"),
        (situation(facts=facts(arch="arm64"), coverage=None), "foreign-arch", f"GOARCH=amd64 go build {BUILD}"),
        (situation(facts=facts(arch="arm64", os="darwin"), coverage=None), "foreign-arch",
         f"GOOS=linux GOARCH=amd64 go build {BUILD}"),
        (situation(facts=facts(os="windows", format="pe"), coverage=None), "foreign-os",
         f"GOOS=linux go build {BUILD}"),
        (situation(facts=facts(go(settings={"-buildmode": "pie"}, build_mode="pie"), needed=())), "pie-without-libc",
         f"go build -buildmode=exe {BUILD}"),
        (situation(go(version="1.27rc1", version_text="go1.27rc1")), "unofficial-release",
         f"GOTOOLCHAIN=go1.27.0 go build {BUILD}"),
        (situation(go(version="1.22.9", toolchain="Red Hat")), "unofficial-release",
         f"GOTOOLCHAIN=go1.22.9 go build {BUILD}"),
        (musl(), "musl-internal-linker",
         f"CGO_ENABLED=1 CC=musl-gcc go build -ldflags=-linkmode=external {BUILD}"),
        (situation(go(packed="upx"), coverage=None, file="/srv/my server"), "packed", "upx -d '/srv/my server'"),
        (running(go(package="command-line-arguments"), go_run=True), "go-run",
         "go build -o server . && ./server -p 80"),
        (static_process(parent=SHELL), "parent-restart", "gotap attach 4711"),
        (static_process(parent=STATIC_PARENT), "static-parent", "/bin/sh -c './server -p 80'"),
        (running(ptrace_allowed=False), "ptrace-denied", "sudo gotap attach 4711"),
        (running(ptrace_allowed=False, ptrace_scope=2), "ptrace-denied", "sudo sysctl kernel.yama.ptrace_scope=0"),
        (running(ptrace_allowed=False, container=Container("a" * 64)), "ptrace-denied",
         "docker run --cap-add=SYS_PTRACE IMAGE"),
        (running(ptrace_allowed=False, tracer=99), "ptrace-denied", "ps -fp 99"),
        (running(seccomp=2), "seccomp", "systemctl status 4711"),
        (running(seccomp=2, container=Container("a" * 64)), "seccomp",
         "docker run --security-opt seccomp=unconfined IMAGE"),
        (running(tracer=99), "being-traced", "ps -fp 99"),
        (running(agents=(Agent("gotap", "patch", "9 bytes"),)), "gotap-inside", "gotap detach 4711"),
        (running(host=UNPRIVILEGED), "no-privilege", "gotap attach --via hook 4711"),
        (running(host=UNPRIVILEGED, ptrace_allowed=False), "no-privilege", "sudo gotap attach 4711"),
        (running(host=replace(UNPRIVILEGED, fsgsbase=False)), "no-privilege", "sudo gotap attach 4711"),
        (situation(coverage=Coverage(operations=(unhooked("http.server"),))), "unhookable",
         "gotap attach --via uprobe PID"),
    ],
    ids=lambda one: one if isinstance(one, str) and " " not in one else "",
)  # fmt: skip
def test_remedies_are_commands_with_the_targets_own_names(found: Situation, id: str, remedy: str) -> None:
    assert held(found)[id].remedy == remedy


def test_what_the_readers_noted_is_the_evidence() -> None:
    told = facts(go(race=True), evidence={"go.race": "runtime.racefuncenter is in the function table"})
    assert held(situation(facts=told))["race"].evidence == "runtime.racefuncenter is in the function table"
    noted = running(seccomp=0, tracer=7, evidence={"tracer": "TracerPid 7 (dlv)"})
    assert held(noted)["being-traced"].evidence == "TracerPid 7 (dlv)"


def test_the_message_that_people_search_for_is_there() -> None:
    message = held(musl())["musl-internal-linker"].message
    assert "Monitoring of Go musl binaries built with Go internal linker is not supported" in message


def test_a_surrounding_that_is_not_known_is_no_condition() -> None:
    assert judge(situation(process=Surroundings(pid=1), host=ALLOWING)).conditions == ()


def test_a_place_without_jump_limits_springboards_and_takes_the_operation_from_hooks() -> None:
    verdict = judge(situation(coverage=Coverage(operations=(SERVER, unhooked("http.client")))))
    assert (verdict.mechanisms["springboard"].works, verdict.mechanisms["hook"].works) == ("partly", "partly")
    assert held(situation(coverage=Coverage(operations=(unhooked("http.server"),))))["jumps"].evidence == (
        "http.server end at 0x1018: it is too short"
    )
    verdict = judge(situation(coverage=Coverage(operations=(unhooked("http.server"),))))
    assert verdict.mechanisms["uprobe"].works is True
    assert verdict.mechanisms["hook"].because == ("unhookable",)
