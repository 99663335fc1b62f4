"""Rules are found next to go.mod, in the packages that tool files import, and where files extend others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from gotap.weave.rules.discovery import Rules, discover
from gotap.weave.rules.errors import InvalidToolFile, MissingRules, UnreadableRules
from gotap.weave.rules.toolfile import read_tool_file


def rule(*ids: str, extends: tuple[str, ...] = ()) -> str:
    head = "".join(f"  - {path}\n" for path in extends)
    body = "".join(
        f"  - {{id: {one}, join-point: {{test-main: true}}, advice: [{{add-blank-import: unsafe}}]}}\n" for one in ids
    )
    return (f"extends:\n{head}" if head else "") + (f"aspects:\n{body}" if body else "")


def tool(*imports: str) -> str:
    return "//go:build tools\n\npackage tools\n\nimport (\n" + "".join(f'\t_ "{one}"\n' for one in imports) + ")\n"


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class Build:
    """Packages `x/NAME` lie in folders NAME; counts how often it is asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.questions: list[list[str]] = []

    def locate(self, paths: Collection[str]) -> Mapping[str, str]:
        self.questions.append(list(paths))
        folders = {path: self.folder / path.removeprefix("x/") for path in paths if path.startswith("x/")}
        return {path: str(folder) for path, folder in folders.items() if folder.is_dir()}


def found(folder: Path) -> Rules:
    return discover(str(folder), Build(folder).locate)


def ids(folder: Path) -> list[str]:
    return [aspect.id for aspect in found(folder).aspects]


def test_nothing(tmp_path: Path) -> None:
    assert found(tmp_path) == Rules((), (), ())


def test_both_files(tmp_path: Path) -> None:
    write(tmp_path, {"gotap.yaml": rule("a"), "orchestrion.yml": rule("b"), "other.yml": rule("c")})
    assert ids(tmp_path) == ["a", "b"]


def test_packages_come_first_and_one_question_asks_for_all(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "orchestrion.tool.go": tool("x/one", "github.com/DataDog/orchestrion", "x/two", "x/empty"),
            "orchestrion.yml": rule("own"),
            "one/orchestrion.yml": rule("one"),
            "two/gotap.tool.go": tool("x/three"),
            "two/gotap.yaml": rule("two"),
            "three/orchestrion.yml": rule("three"),
            "empty/doc.go": "package empty\n",
        },
    )
    build = Build(tmp_path)
    rules = discover(str(tmp_path), build.locate)
    assert [aspect.id for aspect in rules.aspects] == ["one", "three", "two", "own"]
    assert build.questions == [["x/one", "x/two", "x/empty"], ["x/three"]]
    assert [item.path for item in rules.imports] == ["x/one", "x/two", "x/empty", "x/three"]
    assert [Path(file).relative_to(tmp_path).as_posix() for file in rules.files] == [
        "orchestrion.tool.go", "one/orchestrion.yml", "two/gotap.tool.go", "three/orchestrion.yml", "two/gotap.yaml",
        "orchestrion.yml",
    ]  # fmt: skip


def test_extensions_come_before_own_aspects(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "gotap.yaml": rule("own", extends=("./rules/a.yml", "./folder", "rules/a.yml")),
            "rules/a.yml": rule("a", extends=("../b.yml",)),
            "b.yml": rule("b"),
            "folder/orchestrion.yml": rule("folder"),
            "folder/gotap.tool.go": tool("x/pack"),
            "pack/gotap.yaml": rule("pack"),
        },
    )
    assert ids(tmp_path) == ["b", "a", "pack", "folder", "own"]


def test_circles_and_links_bring_nothing_twice(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "gotap.yaml": rule("own", extends=("./gotap.yaml", "./a.yml", ".", "./link.yml")),
            "a.yml": rule("a", extends=("./gotap.yaml",)),
            "gotap.tool.go": tool("x/one"),
            "one/gotap.tool.go": tool("x/two"),
            "one/gotap.yaml": rule("one"),
            "two/gotap.tool.go": tool("x/one"),
            "two/gotap.yaml": rule("two"),
        },
    )
    (tmp_path / "link.yml").symlink_to("a.yml")
    assert ids(tmp_path) == ["one", "two", "a", "own"]


def test_what_is_missing_is_named_where_it_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {"gotap.tool.go": tool("x/one", "example.com/none"), "one/doc.go": "package one\n"})
    with pytest.raises(MissingRules, match=r"gotap\.tool\.go:7: .*'example\.com/none'") as caught:
        found(tmp_path)
    assert "go get example.com/none" in caught.value.remedy
    write(tmp_path, {"gotap.tool.go": "package tools\n", "gotap.yaml": rule("a", extends=("./b.yml", "./c"))})
    with pytest.raises(MissingRules, match=r"gotap\.yaml:2: .*/b\.yml"):
        found(tmp_path)


def test_a_link_that_leads_nowhere_is_no_missing_file(tmp_path: Path) -> None:
    (tmp_path / "gotap.yaml").symlink_to("nowhere.yaml")
    with pytest.raises(UnreadableRules):
        found(tmp_path)


TOOL_FILE = """\
// A comment with import "a".
//go:build tools

/* import (
	_ "no"
*/ package tools ; import "first"
import named "example.com/second" // v1.2.3 because of x
import (
	_ "third" // integration
	. `fourth`; _ "fifth" //v0.1.0-rc.1+incompatible
) ; import ()

const x = 'y'; var _ = "import \\"z\\""
import "late"
"""


def test_tool_file(tmp_path: Path) -> None:
    path = tmp_path / "gotap.tool.go"
    path.write_text(TOOL_FILE)
    assert [(item.path, item.version, item.line) for item in read_tool_file(str(path))] == [
        ("first", "", 6),
        ("example.com/second", "v1.2.3", 7),
        ("third", "", 9),
        ("fourth", "v0.1.0-rc.1+incompatible", 10),
        ("fifth", "v0.1.0-rc.1+incompatible", 10),
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("import \"a\"\n", 1),
        ("package\n", 1),
        ("package tools\nimport x\n", 2),
        ("package tools\nimport (\n\t_ \"a\"\n", 3),
        ("package tools\nimport (\n\t_ \"a b\"\n)", 3),
        ("package tools\n\nimport _ \"\"\n", 3),
    ],
)  # fmt: skip
def test_tool_files_that_are_not_go(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "gotap.tool.go"
    path.write_text(text)
    with pytest.raises(InvalidToolFile) as caught:
        read_tool_file(str(path))
    assert caught.value.line == line
