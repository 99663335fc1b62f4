"""What tells one state of the standard library from another. Two that call themselves by the same release may differ:
distributions mend theirs under the version that they have, and who works on Go changes files there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

from gotap.weave.cache import digest
from gotap.weave.modcache import is_cached
from gotap.weave.toolchain import Toolchain


def state(toolchain: Toolchain) -> str:
    """By the names, sizes, times and inodes of its files, but for tests; of a toolchain that lies in the module cache,
    and hence never changes, by where it is."""
    goroot = toolchain.goroot
    return goroot if is_cached(goroot, toolchain) else _state(os.path.realpath(os.path.join(goroot, "src")))


@cache
def _state(sources: str) -> str:
    return digest("\n".join(_files(sources, os.path.join(sources, "cmd"))))


def _files(folder: str, without: str) -> Iterator[str]:
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                if name != "testdata" and entry.path != without:
                    folders.append(entry.path)
            elif not name.endswith("_test.go"):
                status = entry.stat(follow_symlinks=False)
                yield f"{entry.path} {status.st_size} {status.st_mtime_ns} {status.st_ino}"
