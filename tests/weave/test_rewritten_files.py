"""Files that somebody saves while gotap reads them: what is built is one text, and never half of two."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from gotap.weave import plan as planning
from gotap.weave.arguments import parse
from gotap.weave.asking import Asked
from gotap.weave.errors import FilesChange, RuleError
from gotap.weave.listing import Package
from gotap.weave.plan import plan
from gotap.weave.rules.discovery import Rules
from gotap.weave.toolchain import Toolchain
from weavecases import module

SOURCE = "package main\n\n{}\n//gotap:span\nfunc work() {{}}\n\nfunc main() {{ work() }}\n"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GOFLAGS", "-buildvcs=false")
    return module(tmp_path / "app", {"main.go": SOURCE.format("")})


def _saving(app: Path, times: int, monkeypatch: pytest.MonkeyPatch, text: str = "// {}\n") -> list[int]:
    """Another text is saved as soon as the helper has answered about one, so many times."""
    saved = [0]
    asked = planning.ask

    def ask(toolchain: Toolchain, packages: Sequence[Package], rules: Rules, inner: Collection[str]) -> Asked:
        answer = asked(toolchain, packages, rules, inner)
        if saved[0] < times:
            saved[0] += 1
            (app / "main.go").write_text(SOURCE.format(text.format("x" * saved[0])))
        return answer

    monkeypatch.setattr(planning, "ask", ask)
    return saved


def test_what_is_woven_is_what_was_read(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = _saving(app, 2, monkeypatch)
    found = plan(parse(["build", "."]), str(app))
    (own,) = (one for one in found.files if one.path.endswith("main.go"))
    assert saved == [2]
    assert own.before == (app / "main.go").read_bytes()
    assert b"// xx\n" in own.after
    assert b"func work() {" in own.after
    assert b"gotaprt.EndCall" in own.after.split(b"func work() {")[1].split(b"\n")[0]


def test_files_that_change_without_end(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _saving(app, 1000, monkeypatch)
    with pytest.raises(FilesChange):
        plan(parse(["build", "."]), str(app))


def test_what_is_wrong_with_files_that_stand_still_is_told_at_once(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = "aspects:\n  - id: x\n    join-point: {function-body: {function: [{name: work}]}}\n"
    (app / "gotap.yaml").write_text(rule + "    advice: [{prepend-statements: {template: undefined()}}]\n")
    saved = _saving(app, 1, monkeypatch)
    with pytest.raises(RuleError, match=r"gotap\.yaml:\d+: x: "):
        plan(parse(["build", "."]), str(app))
    assert saved == [0]
