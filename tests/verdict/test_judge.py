"""From conditions to answers: what rules out, what limits, what leaves a mechanism alone, and what is planned."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gotap.image.facts.model import GoFacts, WovenFacts, WovenOperation
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
from gotap.verdict.woven import is_inert, left_to_gotap
from situations import COVERED, SERVER, facts, go, running, situation

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
        "weave": Answer(True),
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
    foreign = judge(situation(facts=facts(os="darwin", format="macho"), coverage=None))
    assert foreign.mechanisms["network"] == Answer(False, ("planned", "foreign-os"))


def test_a_woven_program_tells_of_itself_and_of_the_rest_the_others_do() -> None:
    server, client = (WovenOperation(one, "net/http") for one in ("http.server", "http.client"))
    both = replace(COVERED, operations=(SERVER, replace(SERVER, name="http.client")))

    def woven(*operations: WovenOperation) -> GoFacts:
        return go(woven=WovenFacts("0.1.0", "abc", operations))

    partly = judge(situation(woven(server), coverage=left_to_gotap(both, [server])))
    assert [one.id for one in partly.conditions] == ["woven-in"]
    assert partly.mechanisms["uprobe"] == partly.mechanisms["weave"] == Answer(True)
    wholly = judge(situation(woven(server, client), coverage=left_to_gotap(both, [server, client])))
    assert [one.id for one in wholly.conditions] == ["watches-itself", "woven-in"]
    for mechanism in ("uprobe", "springboard", "hook"):
        assert wholly.mechanisms[mechanism] == Answer(False, ("watches-itself",))
    assert wholly.mechanisms["weave"] == Answer(True)
    inert = judge(situation(woven(server, client), coverage=both, inert=True))
    assert [one.id for one in inert.conditions] == ["woven-in"]
    assert "inert" in inert.conditions[0].evidence


@pytest.mark.parametrize(
    ("variables", "inert"),
    [
        ({}, False),
        ({"OTEL_SDK_DISABLED": " True "}, True),
        ({"OTEL_SDK_DISABLED": "1"}, False),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": " none"}, True),
    ],
)
def test_when_a_woven_program_tells_nothing(variables: dict[str, str], inert: bool) -> None:
    assert is_inert(variables) is inert


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
