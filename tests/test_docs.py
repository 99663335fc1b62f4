"""The checks of docs/check.py find what they are for; the pages themselves are held by `make lint`."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


def load(name: str) -> ModuleType:
    """A program of docs/, which is no package."""
    specification = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    return module


generate = load("generate")
check = load("check")


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of one page."""
    for cached in (check.pages, check.lines, check.anchors):
        cached.cache_clear()
    (tmp_path / "docs").mkdir()
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n")
    (tmp_path / "Makefile").write_text("test: setup\nlint:\n")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    return tmp_path / "README.md"


def test_links_that_lead_nowhere(page: Path) -> None:
    (page.parent / "docs" / "there.md").write_text(
        "# One `two` (three), four\n\n```\n# no heading\n```\n# Twice\n# Twice\n"
    )
    page.write_text(
        "[a](docs/there.md) [b](docs/there.md#one-two-three-four) [c](docs/there.md#twice-1) [d](https://x.example/no)\n"
        "[e](docs/gone.md)\n"
        "![f](docs/there.md#no-heading)\n"
        "`[g](docs/gone.md)`\n"
        "```\n[h](docs/gone.md)\n```\n"
        "[i](../outside.md)\n"
    )
    (page.parent.parent / "outside.md").touch()
    assert list(check.links()) == [
        "README.md:2: link to docs/gone.md, which does not exist",
        "README.md:3: link to #no-heading, which is no heading of docs/there.md",
        "README.md:8: link to ../outside.md, which is outside the repository",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("gotap attach server --to otlp | cat", ""),
        ("sudo gotap run --duration 3s -- ./server --port 80 --whatever", ""),
        ("gotap doctor  # what this host allows", ""),
        ("gotap: attached to PID 7", ""),
        ("make test PYTEST=-x", ""),
        ("make", ""),
        ("gotap vanish 7", "there is no `gotap vanish`"),
        ("gotap attach 7 --forever", "`gotap attach` has no option --forever"),
        ("make install", "there is no `make install`"),
    ],
)
def test_commands_that_do_not_exist(page: Path, line: str, problem: str) -> None:
    page.write_text(f"```sh\n{line}\n```\n")
    assert list(check.commands()) == ([f"README.md:2: {problem}"] if problem else [])


def test_packages_that_the_architecture_does_not_name(page: Path) -> None:
    for name in ("image", "image/code", "probe"):
        package = page.parent / "src" / "gotap" / name
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
    (page.parent / "docs" / "architecture.md").write_text(
        "| `image/` | bytes |\n| `image/code/` | code |\n| `web/` | no |\n"
    )
    assert list(check.rooms()) == [
        "docs/architecture.md:1: does not name the package probe/",
        "docs/architecture.md:3: names web/, which is no package under src/gotap",
    ]


def test_variables_that_the_page_does_not_tell(page: Path) -> None:
    common = [name for name in generate.variable_names() if not re.search("OTLP_(TRACES|METRICS)_", name)]
    told = [*common, "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE"]
    told.remove("OTEL_SERVICE_NAME")
    otlp = page.parent / "docs" / "otlp.md"
    otlp.write_text("".join(f"| `{name}` | |\n" for name in [*told, "OTEL_LOG_LEVEL"]))
    assert list(check.variables()) == [
        "docs/otlp.md:1: does not tell of OTEL_SERVICE_NAME, which gotap reads",
        f"docs/otlp.md:{len(told) + 1}: tells of OTEL_LOG_LEVEL, which gotap does not read",
    ]


def test_what_belongs_to_one_machine(page: Path) -> None:
    page.write_text(
        "\n".join(
            [
                "go build -o " + "/".join(["", "home", "anna", "server"]),
                "cd " + "/".join(["", "root", "gotap"]),
                "pip --index-url https://" + ".".join(["pypi", "org"]) + "/simple",
                "/work without more, homework/, a/home/page, ~/root/x",
            ]
        )
    )
    assert [one.partition(":")[2].split(":")[0] for one in check.forbidden([page])] == ["1", "2", "3"]


def test_every_comment_of_the_record_is_in_the_reference() -> None:
    """The tables take their words from comments: a changed layout of the source must not lose them silently."""
    reference = generate.reference()
    for words in ("CLOCK_MONOTONIC, ns", "bit i: column i holds a value", "the parent came from a request header"):
        assert words in reference


def test_reference_names_every_command_that_the_help_names() -> None:
    shown = subprocess.run([sys.executable, "-m", "gotap", "--help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  (\w+) ", shown.partition("commands:")[2], re.MULTILINE)
    assert commands
    for command in commands:
        assert f"### gotap {command}\n" in generate.reference()
