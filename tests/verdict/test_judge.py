"""From conditions to answers: what rules out, what limits, what leaves a mechanism alone, and what is planned."""

from __future__ import annotations

import pytest

from gotap.verdict.conditions import ALL
from gotap.verdict.judge import judge, unreadable
from gotap.verdict.model import (
    BUILT,
    LEAVES_ALONE,
    LIMITS,
    MECHANISMS,
    RULES_OUT,
    Answer,
    Condition,
    Host,
    Situation,
)
from situations import COVERED, facts, go, running, situation

#: The ids that issue and documentation promise: those of the vendor's list, and gotap's own.
VENDOR = {
    "unofficial-release", "not-gc", "fips", "linkshared", "pie-without-libc", "plugin-loaded", "plugin-capable",
    "vendored", "stripped", "go-run", "race", "threadcreate-profile", "static", "static-parent", "parent-restart",
    "static-entrypoint", "static-cgo", "ptrace-denied", "no-libc-in-container", "exe-replaced", "cgo-disabled",
    "musl-internal-linker", "musl-dynamic", "musl-static", "windows-dynamic", "no-musl-toolchain",
}  # fmt: skip
OWN = {
    "packed", "obfuscated", "too-old", "newer-than-checked", "foreign-arch", "c-shared-host", "no-section-table",
    "deleted-exe", "inlined-away", "no-observable-library", "no-bpf", "no-uprobe", "lockdown", "no-privilege",
    "being-traced", "seccomp", "jumps", "unhookable", "no-fsgsbase", "gotap-inside",
}  # fmt: skip


def test_a_plain_program_is_watched_by_what_is_built_and_the_rest_is_planned() -> None:
    verdict = judge(situation())
    assert verdict.conditions == ()
    assert verdict.mechanisms == {
        "uprobe": Answer(True),
        "springboard": Answer(True),
        "hook": Answer(True),
        "weave": Answer(False, ("planned",)),
        "network": Answer(False, ("planned",)),
    }


def test_a_process_adds_nothing_where_nothing_is_wrong() -> None:
    assert judge(running()).conditions == ()


def test_what_limits_makes_partly() -> None:
    assert judge(situation(go(version="1.31.0"))).mechanisms["uprobe"] == Answer("partly", ("newer-than-checked",))


def test_what_rules_out_beats_what_limits() -> None:
    verdict = judge(situation(go(version="1.31.0", obfuscated=True)))
    assert verdict.mechanisms["uprobe"] == Answer(False, ("obfuscated",))
    assert [one.id for one in verdict.conditions] == ["newer-than-checked", "obfuscated"]


def test_what_a_planned_mechanism_could_not_do_either_stands_behind_planned() -> None:
    assert judge(situation(go(compiler="gccgo"), coverage=None)).mechanisms["weave"] == Answer(
        False, ("planned", "not-gc")
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (running(tracer=99), {"uprobe": True, "springboard": False, "hook": False}),
        (running(ptrace_allowed=False), {"uprobe": True, "springboard": False, "hook": False}),
        (running(seccomp=2), {"uprobe": True, "springboard": "partly", "hook": "partly"}),
        (running(exe_replaced="the path holds another file"), {"uprobe": True, "springboard": True, "hook": True}),
        (running(host=Host(bpf=False, uprobes=False, privileged=False)),
         {"uprobe": False, "springboard": False, "hook": True}),
        (running(host=Host(bpf=False, uprobes=True, privileged=True, lockdown="confidentiality")),
         {"uprobe": False, "springboard": False, "hook": True}),
        (running(host=Host(bpf=True, uprobes=True, privileged=True, fsgsbase=False)),
         {"uprobe": True, "springboard": True, "hook": False}),
        (running(go(version="1.28.0")), {"uprobe": "partly", "springboard": False, "hook": False}),
        (situation(go(race=True)), {"uprobe": True, "springboard": True, "hook": True}),
        (situation(facts=facts(arch="arm64"), coverage=None), {"uprobe": False, "springboard": False, "hook": False}),
    ],
)  # fmt: skip
def test_what_each_mechanism_needs(found: Situation, expected: dict[str, bool | str]) -> None:
    answers = judge(found).mechanisms
    assert {name: answers[name].works for name in expected} == expected


def test_findings_name_an_effect_for_every_mechanism() -> None:
    [found] = judge(situation(go(race=True))).conditions
    assert found.mechanisms == dict.fromkeys(MECHANISMS, LEAVES_ALONE)
    assert not found.matters


def test_a_target_that_was_not_read_is_observed_by_nothing() -> None:
    assert unreadable() == dict.fromkeys(MECHANISMS, Answer(False, ("unreadable",)))


def test_nothing_holds_because_of_what_is_not_known() -> None:
    """All facts None: only what is not there can be told, and that is nothing."""
    told = ("compiler", "experiments", "settings")
    unknown = go(**{name: None for name in go().__struct_fields__ if name not in told})
    bare = Situation(facts=facts(unknown, os=None, arch=None, bits=None, interpreter=None, needed=()))
    assert judge(bare).conditions == ()


def test_the_host_counts_for_processes_only() -> None:
    refusing = Host(bpf=False, uprobes=False, privileged=True, missing={"bpf": ("refused", "sysctl x=1")})
    assert judge(situation()).mechanisms["uprobe"].works is True
    verdict = judge(running(host=refusing))
    assert verdict.mechanisms["uprobe"] == Answer(False, ("no-bpf", "no-uprobe"))
    assert verdict.conditions[0].remedy == "sysctl x=1"


# What the list itself promises


def test_ids_are_unique() -> None:
    assert len({one.id for one in ALL}) == len(ALL)


def test_ids_of_the_contract_are_there() -> None:
    told = {one.id: one for one in ALL}
    assert told.keys() >= VENDOR | OWN
    assert [one for one in VENDOR if not told[one].vendor] == []
    assert [one for one in OWN if told[one].vendor] == []


@pytest.mark.parametrize("condition", ALL, ids=lambda one: one.id)
def test_effects_are_of_known_mechanisms(condition: Condition) -> None:
    assert set(condition.effects) <= set(MECHANISMS)
    assert set(condition.effects.values()) <= {RULES_OUT, LIMITS}
    assert len(condition.message) < 200
    assert condition.message[0].islower() or condition.message[0] in '"{GP'


def test_there_is_something_built() -> None:
    assert set(MECHANISMS) >= BUILT
    assert COVERED.bound
