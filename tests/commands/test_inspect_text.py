"""The verdict as text, from hand-made situations: marks, folding, and what is left out when there is too much."""

from __future__ import annotations

from gotap.commands.inspect_text import everything, folded, summary
from gotap.process.surroundings import Container
from gotap.verdict.judge import judge
from gotap.verdict.model import Situation
from situations import COVERED, facts, go, process, running, situation


def told(found: Situation, width: int = 80) -> list[str]:
    return summary("./server", found, judge(found), width)


def test_a_plain_program() -> None:
    assert told(situation()) == [
        "./server: go1.26.8, example.com/shop/cmd/server, linux/amd64 exe, dynamic,",
        "    internal linker, glibc, cgo, symbols, DWARF, 7,125 functions",
        "  ok  uprobe       http.server: 1 emulated, 1 single-step sites",
        "  ok  springboard  http.server: 2 sites, 2 jumps",
        "  ok  hook         http.server: 2 sites",
        "  ok  weave        http.server: by gotap go build",
        "  no  network      planned",
    ]


def test_partly_has_a_mark_of_its_own() -> None:
    lines = told(situation(go(version="1.28.0", version_text="go1.28.0")))
    assert "  ~~  uprobe       http.server: 1 emulated, 1 single-step sites;" in lines
    assert "                   newer-than-checked" in lines
    assert "    → pip install --upgrade gotap" in lines


def test_an_output_that_is_no_terminal_is_not_folded() -> None:
    lines = told(situation(go(package="example.com/" + "long/" * 60)), width=0)
    assert lines[0].endswith("functions")
    assert len(lines) == 6


def test_a_remedy_is_never_folded_at_words() -> None:
    """Joined, its lines are the command."""
    found = situation(facts=facts(go(settings={"-tags": "x " * 60}), arch="arm64"), coverage=None)
    remedy = judge(found).conditions[0].remedy
    lines = told(found)
    start = next(place for place, line in enumerate(lines) if line.startswith("    → "))
    assert "".join(lines[start : start + 4]).removeprefix("    → ").startswith(remedy)


def test_no_more_than_a_screen_however_much_holds() -> None:
    everything_wrong = go(
        compiler="tinygo", obfuscated=True, packed="upx", linkshared=True, package="p/" * 900, build_mode="c-shared"
    )
    found = Situation(facts=facts(everything_wrong, arch="riscv64", os="freebsd"), coverage=COVERED, file="/x" * 200)
    lines = told(found)
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  and ") and line.endswith(" more (-v)") for line in lines)


def test_a_process_is_named_with_its_container() -> None:
    found = running(container=Container("0123456789abcdef"))
    assert told(found, 0)[0].startswith("./server: server, go1.26.8, ")
    assert told(found, 0)[0].endswith(", container 0123456789ab")


def test_a_megabyte_of_name_is_cut_and_escapes_do_not_pass() -> None:
    [line] = folded("\x1b[31m" + "x" * (1 << 20), 0)
    assert len(line) < 5000
    assert line.endswith("…")
    assert "\x1b" not in line


def test_everything_tells_values_with_their_evidence() -> None:
    evidence = {"go.race": "the setting -race=true", "go.fips": "no sign of it"}
    found = situation(
        facts=facts(go(race=True, fips=None), evidence=evidence), process=process(evidence={"tracer": "TracerPid: 0"})
    )
    lines = list(everything(found, judge(found), 0))
    assert "  race: yes  (the setting -race=true)" in lines
    assert "  fips: -  (no sign of it)" in lines
    assert "  tracer: -  (TracerPid: 0)" in lines
    assert "    other agents: Rejected: binaries built with -race" in lines
