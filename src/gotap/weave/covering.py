"""Coverage of woven files. The go command hands them to the cover tool as they are on disk, whatever an overlay says
(golang/go#73802): so they are covered first and woven then. Nothing that is woven is counted.

The cover tool only puts text in: counters, braces around what follows an `else`, and imports (cmd/cover, Go 1.21 to
1.27). A shell script in its place runs it, and then this module, for files that are woven.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from gotap.weave.cache import cache_folder, digest, made
from gotap.weave.edits import Edit, apply_to

#: In the environment of the go command: the folder that `kept` makes, and the Python that runs this module.
FOLDER, PYTHON = "GOTAP_WEAVE_COVER", "GOTAP_WEAVE_PYTHON"
_NAMES, _EDITS = "files", "edits.json"

_COUNTER = rb"goCover_[0-9a-f]+_\w*\[\d+\]"
_INSERTED = re.compile(
    rb'; import _cover_atomic_ "sync/atomic"'
    rb'|; import _ "runtime/coverage"'  # in programs
    rb"|" + _COUNTER + rb"(?:\+\+| = [^;]*?)(?: ; |;)"
    rb"|_cover_atomic_\.\w+\(&" + _COUNTER + rb", [^;]*?\)(?: ; |;)"
)  # fmt: skip


class NotUnderstood(ValueError):
    """The cover tool has done to a file what it never did."""


def cover_command(cover: Path) -> str:
    """The shell script that takes the place of a cover tool."""
    tool = shlex.quote(str(cover))
    return (
        f'if [ -z "${FOLDER}" ]; then exec {tool} "$@"; fi\n'
        f'case "$1" in -V*) exec {tool} "$@";; esac\n'
        f'{tool} "$@" || exit\n'
        f'for one do if grep -qxF -e "$one" "${FOLDER}/{_NAMES}"; then\n'
        f'exec "${PYTHON}" -P -m gotap.weave.covering "$@"; fi; done\n'
    )


def kept(edits: Mapping[str, Sequence[Edit]]) -> dict[str, str]:
    """What the go command's environment needs so that these files, by path, are woven when they are covered. Raises
    CacheError."""
    content = msgspec.json.encode(edits, order="sorted")

    def fill(fresh: Path) -> None:
        (fresh / _NAMES).write_text("".join(f"{path}\n" for path in edits))
        (fresh / _EDITS).write_bytes(content)

    folder = made(cache_folder() / "covering" / digest(content)[:20], fill)
    return {FOLDER: str(folder), PYTHON: sys.executable}


def weave_covered(source: bytes, covered: bytes, edits: Sequence[Edit]) -> bytes:
    """What the cover tool has made of a file, with the file's edits. Raises NotUnderstood."""
    start = covered.index(b"\n") + 1 if covered.startswith(b"//line ") else 0
    anchors = _anchors(source, covered, start)
    before = [one for one, _ in anchors]

    def where(offset: int) -> int:
        """Behind what the tool has put in there: counters of a statement stand before it."""
        index = bisect_left(before, offset + 1) - 1
        one, other = anchors[index]
        return other + offset - one

    return apply_to(source, covered, where, edits)


def _anchors(source: bytes, covered: bytes, start: int) -> list[tuple[int, int]]:
    """Where text goes on that both have: offset in the file, offset in what was covered; the end of the file is one."""
    anchors = [(0, start)]
    one, other = 0, start
    while True:
        found = _INSERTED.match(covered, other)
        if found is not None:
            other = found.end()
        elif one == len(source):
            break
        elif covered[other : other + 1] == source[one : one + 1]:
            one, other = one + 1, other + 1
            continue
        elif covered[other : other + 1] in (b"{", b"}"):
            other += 1
        else:
            raise NotUnderstood(f"at offset {one}: {covered[other : other + 40]!r} for {source[one : one + 40]!r}")
        anchors.append((one, other))
    return anchors


def main(words: Sequence[str]) -> int:
    """The words of the cover tool, which has done its work."""
    edits = msgspec.json.decode((Path(os.environ[FOLDER]) / _EDITS).read_bytes(), type=dict[str, list[Edit]])
    outputs = Path(words[words.index("-outfilelist") + 1]).read_text().split("\n")
    sources = words[words.index("-outfilelist") + 2 :]
    for path, output in zip(sources, outputs[1:], strict=False):  # the first one is for the counters' variables
        if path in edits:
            covered = Path(output)
            try:
                woven = weave_covered(Path(path).read_bytes(), covered.read_bytes(), edits[path])
            except NotUnderstood as error:
                print(f"gotap: {path} cannot be woven as it was covered: {error}", file=sys.stderr)
                return 1
            covered.write_bytes(woven)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
