"""The Go package that woven programs carry: spans, their propagation, sampling and export."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from gotap.probe.edition import edition

#: The import path of the package, which is its folder below GOROOT/src.
NAME = "gotaprt"

_HERE = Path(__file__).parent

#: Files that packages of the standard library get besides their own, by path below GOROOT/src. They give gotaprt what
#: it cannot import: TLS where the program has it, and which signals the program handles. Nothing of them is linked into
#: programs without gotaprt, save the loop that hands signals on. The second has to be the last of its package.
_ADDED = {"crypto/tls/gotap.go": "tls.go", "os/signal/zz_gotap.go": "signal.go"}

#: Where the catalogue's edition goes: a file, and its declaration there.
_VERSION, _EDITION = "version.go", 'const catalogue = "{}"\n'


@cache
def sources() -> Mapping[str, bytes]:
    """The package's Go files by name, for GOROOT/src/gotaprt: one imports what only the standard library may."""
    files = {path.name: path.read_bytes() for path in sorted((_HERE / NAME).glob("*.go"))}
    blank, filled = (_EDITION.format(one).encode() for one in ("", edition()))
    assert files[_VERSION].count(blank) == 1
    files[_VERSION] = files[_VERSION].replace(blank, filled)
    return files


@cache
def additions() -> Mapping[str, bytes]:
    """All new files of a GOROOT for woven programs, by path below GOROOT/src: `sources`, and what goes with them."""
    return {
        **{f"{NAME}/{name}": content for name, content in sources().items()},
        **{path: (_HERE / "standard" / name).read_bytes() for path, name in _ADDED.items()},
    }
