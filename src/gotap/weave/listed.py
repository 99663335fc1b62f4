"""What `go list` said of a build, kept for as long as all that it depends on is as it was.

That is: what `go env` says, the words of the command and the state of the standard library, by which answers are
found; go.mod and its like; the folders of packages that are neither of GOROOT nor of the module cache, with those
above them in their modules and those that a pattern looks through; of each Go file in them what the go command reads
for a listing (see `header`). So an edit of a function's body is no reason to list 300 packages again, which takes
longer than all else of a build's plan.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from gotap.weave.arguments import CommandLine, split_goflags
from gotap.weave.cache import cache_folder, digest
from gotap.weave.header import header
from gotap.weave.listing import Package, list_packages
from gotap.weave.modcache import is_cached
from gotap.weave.modules import changes_modules, go_mod, go_work
from gotap.weave.standard import state
from gotap.weave.toolchain import Toolchain

_FORMAT = "2"
#: A file that has changed so shortly before it was looked at may change again with the same time (ns), as for the go
#: command's own index (modindex.modTimeCutoff, Go 1.21 to 1.27).
_YOUNG = 2_000_000_000
#: By so much times of files may lag behind the clock (ns): a tick of the slowest kernel timer, 100 Hz.
TICK = 10_000_000
_WHOLE = frozenset(("all", "std", "cmd", "work", "tool"))


class _Source(Struct, frozen=True):
    """A Go file; `changed`: ns since 1970; None: it was too young to be known by that."""

    size: int
    inode: int
    changed: int | None
    header: str


class _Kept(Struct, frozen=True):
    """`folders`: path → names of what counts there; `roots`: folders that patterns look through; `texts`: path → digest
    of a file's content; `cached`: folders of the module cache, which never change but may go."""

    packages: tuple[Package, ...]
    cached: tuple[str, ...]
    roots: tuple[str, ...]
    folders: dict[str, tuple[str, ...]]
    sources: dict[str, _Source]
    texts: dict[str, str]


def packages_of(
    toolchain: Toolchain, line: CommandLine, directory: str, flags: Sequence[str] = ()
) -> Sequence[Package]:
    """As `list_packages` gives them. Raises ListError."""
    if not _is_plain(toolchain, line):
        return list_packages(toolchain, line, directory, flags)
    words = [line.verb, *line.loading(), "", *flags, "", *line.packages]
    variables = [text for pair in sorted(toolchain.variables.items()) for text in pair]
    key = digest(_FORMAT, toolchain.go, state(toolchain), directory, *variables, "", *words)
    path = cache_folder() / "listed" / key[:32]
    kept = _read(path)
    if kept is not None and (known := _still(kept)) is not None:
        if known != kept:
            _write(path, known)
        return kept.packages
    begin = time.time_ns() - TICK
    found = list_packages(toolchain, line, directory, flags)
    listed = _kept(toolchain, line, directory, found)
    if not _changed_since(begin, (*listed.sources, *listed.folders, *listed.texts)):
        _write(path, listed)
    return found


def _changed_since(begin: int, paths: Iterable[str]) -> bool:
    """Whether the go command may have read something else than what is there now: what was changed, by whatever name or
    time it has, since a time in ns since 1970."""
    for path in paths:
        with contextlib.suppress(OSError):
            if os.stat(path).st_ctime_ns >= begin:
                return True
    return False


def _is_plain(toolchain: Toolchain, line: CommandLine) -> bool:
    """Whether it can be told what the listing depends on: not where the command changes go.mod, where files are
    replaced by the user, and for patterns that are about more than a folder."""
    flags = (*split_goflags(toolchain.variables["GOFLAGS"]), *line.flags)
    if any(flag.name == "overlay" for flag in flags) or changes_modules(line, toolchain):
        return False
    if toolchain.variables["GOMOD"] in ("", os.devnull) and not go_work(toolchain):
        return False
    return not any(
        word in _WHOLE or "@" in word or ("..." in word and not word.startswith(("./", "../")))
        for word in line.packages
    )


# What is kept


def _kept(toolchain: Toolchain, line: CommandLine, directory: str, packages: Sequence[Package]) -> _Kept:
    roots = [os.path.normpath(os.path.join(directory, word.split("...")[0].rpartition("/")[0]))
             for word in line.packages if "..." in word]  # fmt: skip
    others = [one for one in packages if one.dir and not one.standard]
    cached = {one.dir for one in others if is_cached(one.dir, toolchain)}
    own = [one for one in others if one.dir not in cached]
    folders = {path: _names(path) for path in sorted({*_with_parents(own), *_walked(roots)})}
    sources = [os.path.join(folder, name) for folder, names in folders.items() for name in names
               if name.endswith(".go")]  # fmt: skip
    return _Kept(
        packages=tuple(packages),
        cached=tuple(sorted(cached)),
        roots=tuple(roots),
        folders=folders,
        sources={path: _source(path) for path in sources},
        texts={path: _content(path) for path in _module_files(toolchain, line, directory, own)},
    )


def _still(kept: _Kept) -> _Kept | None:
    """The same, with what is now known of its files; None: it does not hold any more."""
    if any(_content(path) != text for path, text in kept.texts.items()):
        return None
    if not all(map(os.path.isdir, kept.cached)):
        return None
    if any(path not in kept.folders for path in _walked(kept.roots)):
        return None
    if any(_names(path) != names for path, names in kept.folders.items()):
        return None
    sources = {path: _source(path, known) for path, known in kept.sources.items()}
    if any(sources[path].header != known.header for path, known in kept.sources.items()):
        return None
    return msgspec.structs.replace(kept, sources=sources)


def _source(path: str, known: _Source | None = None) -> _Source:
    try:
        status = os.stat(path)
        if known is not None and (known.size, known.inode, known.changed) == (
                status.st_size, status.st_ino, status.st_mtime_ns):  # fmt: skip
            return known
        text = Path(path).read_bytes()
    except OSError:
        return _Source(-1, 0, None, "")  # a link that leads nowhere
    changed = status.st_mtime_ns if time.time_ns() - status.st_mtime_ns > _YOUNG else None
    return _Source(status.st_size, status.st_ino, changed, digest(header(text)))


def _names(folder: str) -> tuple[str, ...]:
    """Those that count for a listing; none if the folder is away."""
    try:
        return tuple(sorted(name for name in os.listdir(folder) if name == "go.mod" or name.endswith(".go")))
    except OSError:
        return ()


def _content(path: str) -> str:
    try:
        return digest(Path(path).read_bytes())
    except OSError:
        return ""


def _with_parents(packages: Iterable[Package]) -> Iterator[str]:
    """Folders of packages and those above them, up to their module's: a go.mod there would part them from it."""
    for one in packages:
        folder = one.dir
        top = (one.module.dir if one.module is not None else "") or folder
        yield folder
        while folder != top and folder.startswith(top + os.sep):
            folder = os.path.dirname(folder)
            yield folder


def _walked(roots: Iterable[str]) -> Iterator[str]:
    """Folders that a pattern with `...` may find packages in (`go help packages`)."""
    for root in roots:
        for folder, inner, _ in os.walk(root):
            yield folder
            inner[:] = [name for name in inner if name != "testdata" and name[0] not in "._"]


def _module_files(
    toolchain: Toolchain, line: CommandLine, directory: str, own: Iterable[Package]
) -> Iterator[str]:
    """Those of the main modules, of what they replace by folders, and of these packages' modules."""
    mod, work = go_mod(toolchain, line, directory), go_work(toolchain)
    yield os.path.join(os.path.dirname(work or mod), "vendor", "modules.txt")
    found = {mod, toolchain.variables["GOMOD"], work} | {one.module.go_mod for one in own if one.module is not None}
    left = sorted(found - {""})
    while left:
        path = left.pop()
        yield from (path, f"{path}.sum" if path == work else f"{path.removesuffix('.mod')}.sum")
        fresh = set(_modules_named(path)) - found
        found |= fresh
        left += sorted(fresh)


def _modules_named(path: str) -> Iterator[str]:
    """go.mod of the folders that a go.mod or go.work names, which words without it are not."""
    try:
        words = Path(path).read_text(errors="replace").split()
    except OSError:
        return
    for word in set(words):
        mod = os.path.normpath(os.path.join(os.path.dirname(path), word.strip('"`'), "go.mod"))
        if os.path.isfile(mod):
            yield mod


# Where it is kept


def _read(path: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None


def _write(path: Path, kept: _Kept) -> None:
    """A cache that cannot be written is told about by whatever has to be in it."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            file.write(msgspec.json.encode(kept))
        try:
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
