"""`-overlay`: files of the user's that the compiler is to see otherwise. The user's own overlay is kept."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from gotap.weave.cache import cache_folder, digest, made, write
from gotap.weave.errors import NotComposable

_FORMAT = "1"


def own_overlay(directory: str, name: str) -> dict[str, str]:
    """What an overlay file of the user's replaces: path → path, or "" for a file that is to be away. Relative paths are
    relative to the directory in which the go command runs. Raises NotComposable."""
    path = os.path.join(directory, name)
    try:
        replaced = json.loads(Path(path).read_bytes())["Replace"]
        return {
            os.path.join(directory, one): other and os.path.join(directory, other) for one, other in replaced.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotComposable(f"the overlay {path} cannot be read: {error}", "mend it, or leave -overlay out") from None


def overlay(changed: Mapping[str, bytes], own: Mapping[str, str]) -> Path:
    """An overlay file; `changed`: content by path; `own`: what the user replaces besides. Raises CacheError."""
    parts = [part for name, content in sorted(changed.items()) for part in (name, content)]
    parts += [part for pair in sorted(own.items()) for part in pair]
    folder = cache_folder() / "overlay" / digest(_FORMAT, *parts)[:20]

    def fill(fresh: Path) -> None:
        replaced = dict(own)
        for number, (name, content) in enumerate(sorted(changed.items())):
            file = f"{number}-{Path(name).name}"
            write(fresh / file, content)
            replaced[name] = str(folder / file)
        write(fresh / "overlay.json", json.dumps({"Replace": replaced}, indent=1).encode())

    return made(folder, fill) / "overlay.json"
