"""The user's module cache: where it is, what lies in it, and how names are written there."""

from __future__ import annotations

import os
import re

from gotap.weave.toolchain import Toolchain


def module_cache(toolchain: Toolchain) -> str:
    """Its path, as the folders of its packages begin."""
    return os.path.normpath(toolchain.variables["GOMODCACHE"])


def is_cached(path: str, toolchain: Toolchain) -> bool:
    """Whether a file or folder lies in it, and hence never changes."""
    return path.startswith(module_cache(toolchain) + os.sep)


def unescaped(name: str) -> str:
    """A module's path or version by its name in the cache, where capitals are `!` with the small letter
    (golang.org/x/mod/module.UnescapePath)."""
    return re.sub(r"!([a-z])", lambda found: found[1].upper(), name)
