"""Small modules for the Go helper: what it answers for rules, and what the woven module prints."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gotap.weave.helper.helper import Helper
from gotap.weave.helper.protocol import Answer, Edit, PackageFacts, Request
from gotap.weave.rules.reading import read_rules
from gotap.weave.toolchain import Toolchain, find_toolchain

_FIELDS = "ImportPath,Name,Dir,GoFiles,CgoFiles,ImportMap,Imports,Module,Standard,ForTest"


@dataclass(frozen=True)
class Module:
    """A module `example.com/app` on disk, and the toolchain that builds it."""

    folder: Path
    toolchain: Toolchain

    def ask(self, rules: str, *patterns: str, tests: bool = False, **more: Any) -> Answer:
        """What the helper answers for rules, as YAML; targets are the module's packages and those named."""
        file = self.folder.parent / "rules.yml"
        file.write_text(rules)
        facts = list(self._packages(patterns or ("./...",), tests))
        targets = [one.import_path for one in facts if one.module or one.import_path in patterns]
        targets += more.pop("targets", [])
        request = Request(
            goversion=self.toolchain.version,
            goroot=self.toolchain.goroot,
            goarch=self.toolchain.variables["GOARCH"],
            version="v9.9.9",
            packages=facts,
            targets=targets,
            main_modules=["example.com/app"],
            aspects=read_rules(str(file)).aspects,
            **more,
        )
        cache = Path(os.environ["GOTAP_CACHE"]) / "helper"
        return Helper.built(self.toolchain.go, self.toolchain.version, cache).ask(request)

    def weave(self, rules: str, *patterns: str, **more: Any) -> Answer:
        """Writes the woven files into the module. Rules that cannot be followed fail the test."""
        answer = self.ask(rules, *patterns, **more)
        assert answer.errors == ()
        for path, edits in by_file(answer).items():
            before = Path(path).read_bytes()
            Path(path).write_bytes(apply(before, edits))
        return answer

    def read(self, name: str = "main.go") -> str:
        return (self.folder / name).read_text()

    def run(self, *arguments: str) -> str:
        """What the program prints on both of its outputs; a build that fails fails the test."""
        program = self.folder.parent / "program"
        done = self.go("build", "-o", str(program), ".")
        assert done.returncode == 0, done.stderr + self.read()
        done = subprocess.run([program, *arguments], capture_output=True, text=True)
        return done.stdout + done.stderr

    def go(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.toolchain.go, *words], cwd=self.folder, capture_output=True, text=True)

    def _packages(self, patterns: Sequence[str], tests: bool) -> Iterator[PackageFacts]:
        words = ["list", "-deps", *(["-test"] if tests else []), f"-json={_FIELDS}", "--", *patterns]
        done = self.go(*words)
        assert done.returncode == 0, done.stderr
        for one in _objects(done.stdout):
            module = one.get("Module", {})
            names = [*one.get("GoFiles", ()), *one.get("CgoFiles", ())]
            yield PackageFacts(
                import_path=one["ImportPath"],
                name=one["Name"],
                dir=one["Dir"],
                files=[os.path.join(one["Dir"], name) for name in names],
                import_map=one.get("ImportMap", {}),
                imports=one.get("Imports", []),
                module=module.get("Path", ""),
                lang=f"go{module['GoVersion']}" if "GoVersion" in module else "",
                std=one.get("Standard", False),
                test_main=one["ImportPath"].endswith(".test"),
                for_test=one.get("ForTest", ""),
            )


def module(folder: Path, files: Mapping[str, str], lang: str = "1.21") -> Module:
    """Writes a module; the toolchain is the one that GOTOOLCHAIN chooses."""
    for name, text in {"go.mod": f"module example.com/app\n\ngo {lang}\n", **files}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Module(folder, find_toolchain(str(folder)))


def by_file(answer: Answer) -> dict[str, list[Edit]]:
    """Edits by path; of a file that variants of a package share, those of the first."""
    found: dict[str, dict[str, list[Edit]]] = {}
    for edit in answer.edits:
        found.setdefault(edit.file, {}).setdefault(edit.package, []).append(edit)
    return {path: next(iter(variants.values())) for path, variants in found.items()}


def apply(source: bytes, edits: Sequence[Edit]) -> bytes:
    """The file with its edits; they must be sorted and must not overlap, and each must be one line."""
    parts, at = [], 0
    for edit in edits:
        assert edit.offset >= at, "edits overlap"
        assert "\n" not in edit.insert or edit.offset == len(source), edit
        parts += [source[at : edit.offset], edit.insert.encode()]
        at = edit.offset + edit.delete
    return b"".join([*parts, source[at:]])


def _objects(text: str) -> Iterator[dict[str, Any]]:
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        value, at = decoder.raw_decode(text, at)
        yield value
        while at < len(text) and text[at].isspace():
            at += 1
