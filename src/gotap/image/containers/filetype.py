"""Names for files that are no executable which is read here, so that nobody is left with "not supported"."""

from __future__ import annotations

import re

from gotap.image.errors import NotExecutable

#: How far into a file its beginning is looked at.
HEAD = 4096
_NAME_A_PROGRAM = "name an executable file"
#: Start of the file → (kind, in a sentence, remedy).
_MAGICS: tuple[tuple[bytes, str, str, str], ...] = (
    (b"!<arch>\n", "archive", "an ar archive (a static library, a Debian package)", "name the program linked from it"),
    (b"!<thin>\n", "archive", "a thin ar archive", "name the program linked from it"),
    (b"\0asm", "wasm", "a WebAssembly module", "name the program that runs it"),
    (b"PK\3\4", "zip", "a zip archive (or a jar, wheel or APK)", "unpack it and name a file in it"),
    (b"PK\5\6", "zip", "an empty zip archive", _NAME_A_PROGRAM),
    (b"\x1f\x8b", "gzip", "compressed by gzip", "unpack it and name the program"),
    (b"\xfd7zXZ\0", "xz", "compressed by xz", "unpack it and name the program"),
    (b"\x28\xb5\x2f\xfd", "zstd", "compressed by zstd", "unpack it and name the program"),
    (b"BZh", "bzip2", "compressed by bzip2", "unpack it and name the program"),
    (b"BC\xc0\xde", "bitcode", "LLVM bitcode", "name the program linked from it"),
    (b"\x01\xdf", "xcoff", "an AIX executable (XCOFF, ppc)", "name an ELF, PE or Mach-O file"),
    (b"\x01\xf7", "xcoff", "an AIX executable (XCOFF, ppc64)", "name an ELF, PE or Mach-O file"),
    (b"\0\0\x8a\x97", "plan9", "a Plan 9 executable (amd64)", "name an ELF, PE or Mach-O file"),
    (b"\0\0\x01\xeb", "plan9", "a Plan 9 executable (386)", "name an ELF, PE or Mach-O file"),
    (b"\0\0\x06\x47", "plan9", "a Plan 9 executable (arm)", "name an ELF, PE or Mach-O file"),
    (b"go object ", "goobj", "a Go object file", "name the program linked from it"),
    (b"%PDF-", "pdf", "a PDF document", _NAME_A_PROGRAM),
    (b"\x89PNG", "image", "a picture", _NAME_A_PROGRAM),
    (b"SQLite format 3\0", "sqlite", "an SQLite database", _NAME_A_PROGRAM),
)
#: `#!`, then the interpreter and its first argument, which is the real one behind env.
_SHEBANG = re.compile(rb"#![ \t]*([^\s\0]+)(?:[ \t]+(?:-S[ \t]+)?([^\s\0]+))?")
_CONTROL = bytes(set(range(32)) - set(b"\t\n\r\f\b\x1b")) + b"\x7f"


def not_executable(head: bytes, name: str) -> NotExecutable:
    """The error that says what the file is; `head` is its first HEAD bytes, or all."""
    if (script := _SHEBANG.match(head)) is not None:
        program, argument = (part.decode("utf-8", "replace") for part in (script[1], script[2] or b""))
        interpreter = argument if program.endswith("/env") and argument else program
        return NotExecutable(
            f"{name} is a script, which {interpreter} runs", f"name {interpreter} or the running process", "script",
            interpreter,
        )  # fmt: skip
    if head[:4] == b"\xca\xfe\xba\xbe":
        return NotExecutable(f"{name} is a Java class", "name the process that runs it", "java class")
    for magic, kind, what, remedy in _MAGICS:
        if head.startswith(magic):
            return NotExecutable(f"{name} is {what}, not an executable", remedy, kind)
    if head[257:262] == b"ustar":  # POSIX.1, pax, ustar interchange format
        return NotExecutable(f"{name} is a tar archive, not an executable", "unpack it and name a file in it", "tar")
    if head and head.translate(None, _CONTROL) == head and _is_text(head):
        return NotExecutable(f"{name} is a text, not an executable", _NAME_A_PROGRAM, "text")
    return NotExecutable(f"{name} is no ELF, PE or Mach-O executable", _NAME_A_PROGRAM, "data")


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a character that the end of `head` cuts
    return True
