"""Command lines of the go command: where flags end, packages begin, and arguments of a program."""

from __future__ import annotations

import subprocess

import pytest

import gotap.commands.weave as weave_command
from gotap.weave.arguments import _SWITCHES, _VALUED, goflags_without, parse, split_goflags


@pytest.mark.parametrize(
    ("words", "flags", "packages", "rest"),
    [
        ("build", [], [], []),
        ("build -o out -tags=a,b ./...", ["o", "tags"], ["./..."], []),
        ("run -race . -port 8080", ["race"], ["."], ["-port", "8080"]),
        ("run a.go b.go input.txt", [], ["a.go", "b.go"], ["input.txt"]),
        ("run ./cmd main.go", [], ["./cmd"], ["main.go"]),
        ("test -race ./... -run Name -args -v", ["race", "run"], ["./..."], ["-args", "-v"]),
        ("test -test.v --count 3", ["v", "count"], [], []),
        ("install -- example.com/x@latest", [], ["example.com/x@latest"], []),
        ("build -race -- ./a -b", ["race"], ["./a", "-b"], []),
        ("run -- . -- -port", [], ["."], ["--", "-port"]),
        ("test ./a -- ./b", [], ["./a"], ["--", "./b"]),
    ],
)
def test_words(words: str, flags: list[str], packages: list[str], rest: list[str]) -> None:
    line = parse(words.split())
    assert [flag.name for flag in line.flags] == flags
    assert (list(line.packages), list(line.rest)) == (packages, rest)
    assert [word for flag in line.flags for word in flag.words] == [
        word for word in words.split()[1:] if word not in (*packages, *rest, "--")
    ]


def test_values() -> None:
    line = parse(["build", "-tags", "one", "-race=false", "-tags=two", "-cover"])
    assert [line.value(name) for name in ("tags", "race", "cover", "mod")] == ["two", "false", "", None]
    assert (line.has("cover"), line.has("race"), line.has("msan")) == (True, False, False)
    assert line.loading() == ["-tags", "one", "-race=false", "-tags=two"]


def test_goflags_are_split_as_go_does() -> None:
    found = [(flag.name, flag.value) for flag in split_goflags("-mod=vendor '-ldflags=-X a=b'  -race \"-tags=a,b\"")]
    assert found == [("mod", "vendor"), ("ldflags", "-X a=b"), ("race", None), ("tags", "a,b")]


def test_goflags_without_some() -> None:
    text = "-mod=mod '-ldflags=-X a=b' \"-gcflags=all='-N -l'\" -tags=a"
    assert goflags_without(text, {"mod"}) == "'-ldflags=-X a=b' \"-gcflags=all='-N -l'\" -tags=a"
    assert goflags_without(text, {"ldflags", "gcflags", "tags"}) == "-mod=mod"


def test_every_flag_that_go_documents_is_known() -> None:
    """One that takes a value and is not known would lead to a package of its value's name."""
    for topic in ("build", "testflag", "test", "run"):
        text = subprocess.run(["go", "help", topic], check=True, capture_output=True, text=True).stdout
        for line in text.splitlines():
            words = line.split()
            if line.startswith("\t-") and not line.startswith("\t-\t"):
                name = words[0].lstrip("-").partition("=")[0]
                assert name in _SWITCHES | _VALUED | {"buildvcs", "args"}, line
                if len(words) == 2 and words[1].islower() and "=" not in words[0]:
                    assert name in _VALUED, line


@pytest.mark.parametrize(("words", "arranged"), [
    (["--list", "-tags", "a", "./..."], ["--list", "--", "-tags", "a", "./..."]),
    (["--explain", "main.go:1", "."], ["--explain", "main.go:1", "--", "."]),
    (["--explain=main.go:1", "-race"], ["--explain=main.go:1", "--", "-race"]),
    (["--diff", "--", "."], ["--diff", "--", "."]),
    (["--list"], ["--list"]),
    (["-race", "--list"], ["--", "-race", "--list"]),
])  # fmt: skip
def test_flags_of_the_build_may_stand_before_packages(words: list[str], arranged: list[str]) -> None:
    assert weave_command.arranged(words) == arranged
