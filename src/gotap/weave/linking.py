"""What programs tell of their modules (debug.ReadBuildInfo, `go version -m`) is what they tell when nothing is woven.

A build that weaves packages of the module cache replaces modules by their own folders there (see `modules`), and the go
command writes that into the link command's configuration: `dep`, path and version, a line `=>` with the folder, and an
empty line, where else the checksum stands behind the version (debug.BuildInfo.String, Go 1.21 to 1.27). A shell script
in the link command's place runs this module, which writes the configuration as it would be.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from gotap.weave.modcache import unescaped


def link_command(link: Path, goroot: Path, module_cache: str) -> str:
    """The shell script that takes the place of a link command: programs name the user's GOROOT and modules."""
    return (
        "config= next=\n"
        'for one do if [ -n "$next" ]; then config=$one; fi; next=; '
        'case "$one" in -importcfg) next=yes;; -importcfg=*) config=${one#*=};; esac; done\n'
        "if [ -n \"$config\" ] && grep -q '^modinfo .*\\\\n=>\\\\t' \"$config\"; then\n"
        f'{shlex.quote(sys.executable)} -P -m gotap.weave.linking {shlex.quote(module_cache)} "$config" || exit; fi\n'
        f'GOROOT={shlex.quote(str(goroot))} exec {shlex.quote(str(link))} "$@"\n'
    )


def original(text: str, module_cache: str) -> str:
    """The configuration without replacements by folders of the module cache. Strings in it are quoted as by Go's %q."""
    folder = re.escape(module_cache.replace("\\", "\\\\").replace('"', '\\"'))
    line = re.compile(
        r"(?P<own>(?:dep|mod)\\t(?P<path>[^\\]+)\\t(?P<version>[^\\]+))"
        rf"\\n=>\\t{folder}/(?P<actual>[^\\@]+)@(?P<at>[^\\@]+)\\t\(devel\)\\t\\n\\n"
    )

    def instead(found: re.Match[str]) -> str:
        path, version = unescaped(found["actual"]), unescaped(found["at"])
        total = _checksum(module_cache, found["actual"], found["at"])
        if (path, version) == (found["path"], found["version"]):
            return f"{found['own']}\\t{total}\\n"
        return f"{found['own']}\\n=>\\t{path}\\t{version}\\t{total}\\n\\n"

    return "\n".join(line.sub(instead, one) if one.startswith("modinfo ") else one for one in text.split("\n"))


def _checksum(module_cache: str, path: str, version: str) -> str:
    """Of a module in the cache, by its escaped path and version: what the go command has compared with go.sum. Empty if
    the cache has lost it."""
    try:
        return Path(module_cache, "cache", "download", path, "@v", f"{version}.ziphash").read_text().strip()
    except OSError:
        return ""


def main(words: Sequence[str]) -> int:
    """The module cache, and the configuration's file, which is the go command's own for this one link."""
    module_cache, name = words
    with open(name, encoding="utf-8", errors="surrogateescape", newline="") as file:
        text = file.read()
    fresh = f"{name}.gotap"
    with open(fresh, "w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.write(original(text, module_cache))
    os.replace(fresh, name)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
