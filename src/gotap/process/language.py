"""The language of a process that is not Go: from its file, the libraries it has mapped, its name and arguments.

The words are those of gotap.image.facts.model: "java", "dotnet", "python", "ruby", "nodejs", "php", "rust", "c/c++",
"generic".
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

#: Languages that a file's content tells for certain; the others may hold a runtime that was loaded later.
_DECIDED = frozenset({"go", "go proxy", "java", "dotnet", "python", "ruby", "nodejs", "php"})

#: The runtime as a shared library; a host that embeds one is a program of that language (uwsgi, postgres, mod_php).
_LIBRARIES = (
    ("java", rb"libjvm\.so"),
    ("dotnet", rb"libcoreclr\.so|libmonosgen-2\.0\.so[.\d]*|libhostfxr\.so"),
    ("nodejs", rb"libnode\.so[.\d]*"),
    ("php", rb"libphp[\d.]*\.so|mod_php[\d.]*\.so"),
    ("ruby", rb"libruby[-\w.]*\.so[.\d]*"),
    ("python", rb"libpython[\d.]+[a-z]*\.so[.\d]*"),
)
#: What one of them has in its name; looked for first, since most processes have mapped none.
_PARTS = (b"libjvm", b"libcoreclr", b"libmono", b"libhostfxr", b"libnode", b"php", b"libruby", b"libpython")
_MAPPED = re.compile(
    b"|".join(rb"(?P<%s>/(?:%s)(?: \(deleted\))?$)" % (language.encode(), names) for language, names in _LIBRARIES),
    re.MULTILINE,
)

#: By the executable's file name, with the version that distributions append.
_NAMES = (
    ("java", re.compile(r"java|jsvc|javaw?")),
    ("dotnet", re.compile(r"dotnet|mono(?:-sgen)?")),
    ("python", re.compile(r"(?:python|pypy)[\d.]*|uwsgi|gunicorn")),
    ("ruby", re.compile(r"(?:ruby|jruby|truffleruby)[\d.]*")),
    ("nodejs", re.compile(r"node|nodejs|bun|deno")),
    ("php", re.compile(r"php(?:-fpm|-cgi)?[\d.]*|frankenphp")),
)

#: A file that the interpreter would be given.
_SCRIPTS = {".py": "python", ".rb": "ruby", ".js": "nodejs", ".mjs": "nodejs", ".cjs": "nodejs", ".php": "php",
            ".jar": "java", ".dll": "dotnet"}  # fmt: skip


def language_of(
    file_language: str | None, exe: str, command_line: Sequence[str] = (), maps: bytes = b""
) -> tuple[str, str]:
    """(language, evidence of one line). `file_language`: what the file's content says, None when it was not read.

    `maps`: /proc/PID/maps as it stands, empty when it may not be read. What is mapped outweighs the name, and the
    name only counts where the content did not decide.
    """
    if file_language in _DECIDED and file_language is not None:
        return file_language, "its executable's content says so"
    mapped = _MAPPED.search(maps) if any(part in maps for part in _PARTS) else None
    if mapped is not None:
        library = mapped[0].decode("utf-8", "replace").removeprefix("/")
        return str(mapped.lastgroup), f"{library} is mapped"
    name = os.path.basename(exe)
    for language, pattern in _NAMES:
        if pattern.fullmatch(name):
            script = _script(command_line)
            return language, f"its executable is named {name}{f' and runs {script}' if script else ''}"
    script = _script(command_line[:3])
    by_script = _SCRIPTS.get(os.path.splitext(script)[1].lower()) if script else None
    if by_script is not None and file_language in (None, "generic"):
        return by_script, f"it was started with {script}"
    return file_language or "generic", "its executable's content says so" if file_language else "nothing tells"


def needs_mappings(file_language: str | None) -> bool:
    """Whether what is mapped may tell more than the file did."""
    return file_language not in _DECIDED


def _script(command_line: Sequence[str]) -> str | None:
    """The first argument that is a script, a module (-m NAME) or an archive."""
    words = list(command_line[1:])
    for index, word in enumerate(words):
        if word in ("-m", "-jar") and index + 1 < len(words):
            return f"{word} {words[index + 1]}" if word == "-m" else words[index + 1]
        if not word.startswith("-"):
            return word if os.path.splitext(word)[1].lower() in _SCRIPTS else None
    return None
