"""How wide the terminal is that somebody reads stdout on."""

from __future__ import annotations

import contextlib
import os
import sys

_USUAL = 80


def columns() -> int:
    """The terminal's width; 0 when stdout is none, so that lines are left whole. COLUMNS overrides both."""
    with contextlib.suppress(ValueError):
        if (told := int(os.environ.get("COLUMNS", "0"))) > 0:
            return told
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _USUAL
    except (OSError, ValueError):  # no terminal, or no file at all
        return 0
