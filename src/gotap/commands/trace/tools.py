"""Ready scripts that come with gotap: src/gotap/tools/NAME.gt. The first line of each, a comment, says what for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gotap.commands.trace.options import UsageError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

_SUFFIX = ".gt"


def tools() -> dict[str, Traversable]:
    """The scripts by name."""
    from importlib import resources  # which takes 5 ms to load

    directory = resources.files("gotap") / "tools"
    if not directory.is_dir():
        return {}
    found = (one for one in directory.iterdir() if one.name.endswith(_SUFFIX))
    return {one.name.removesuffix(_SUFFIX): one for one in sorted(found, key=lambda one: one.name)}


def tool_text(name: str) -> str:
    known = tools()
    if name not in known:
        import difflib  # for this message alone

        similar = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        what = f"; did you mean {' or '.join(similar)}?" if similar else ""
        raise UsageError(f"there is no tool {name!r}{what}", "`gotap trace --tool list` shows all")
    return known[name].read_text(encoding="utf-8")


def purpose(text: str) -> str:
    """What the script's first comment says."""
    for line in text.splitlines():
        if line.startswith("#!"):
            continue
        return line.lstrip("/#* ").strip() if line.startswith(("//", "#", "/*")) else ""
    return ""


def show_tools() -> int:
    from gotap.commands.main import OK
    from gotap.commands.streams import show

    known = {name: purpose(one.read_text(encoding="utf-8")) for name, one in tools().items()}
    width = max(map(len, known), default=0)
    show("\n".join(f"{name:<{width}}  {text}".rstrip() for name, text in known.items()))
    return OK
