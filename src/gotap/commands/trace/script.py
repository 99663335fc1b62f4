"""The script that is to run: from the command line, a file, or the ready tools."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Sequence

from gotap.commands.trace.options import UsageError
from gotap.commands.trace.tools import purpose, tool_text
from gotap.probe.script.language import tree
from gotap.probe.script.language.parser import parse_script
from gotap.probe.script.language.source import COMMAND_LINE

#: Ends the names of scripts.
SUFFIX = ".gt"

_PARAMETER = re.compile(r"\$([1-9])(?!\d)|\$\{([1-9]):([^{}]*)\}")

#: Longer files are none that somebody wrote.
_LONGEST = 1 << 20


def read_script(arguments: argparse.Namespace) -> tree.Script:
    """Raises UsageError when there is none, ScriptError when it makes no sense."""
    words = list(arguments.program)
    if arguments.tool is not None:
        text = with_arguments(tool_text(arguments.tool), words, arguments.tool)
        return parse_script(text, f"{arguments.tool}{SUFFIX}")
    program = words.pop(0)
    if program.endswith(SUFFIX) or ("\n" not in program and os.path.isfile(program)):
        return parse_script(with_arguments(_content(program), words, program), program)
    if words:
        raise UsageError("more than one program is given", "quote the program, since shells change it otherwise")
    return parse_script(program, COMMAND_LINE)


def with_arguments(text: str, words: Sequence[str], name: str) -> str:
    """The script with what was given on the command line in the place of $1, $2 …; ${2:word} stands for itself, or for
    `word` if nothing was given.
    """
    taken = [int(match[1] or match[2]) for match in _PARAMETER.finditer(text)]
    if len(words) > max(taken, default=0):
        raise UsageError(f"{name} does not take {words[max(taken, default=0)]!r}", purpose(text))

    def given(match: re.Match[str]) -> str:
        number = int(match[1] or match[2])
        if number <= len(words):
            return words[number - 1]
        if match[1]:
            raise UsageError(f"{name} needs {'an argument' if number == 1 else 'another argument'}", purpose(text))
        return match[3]

    return _PARAMETER.sub(given, text)


def _content(path: str) -> str:
    try:
        with open(path, "rb") as file:
            content = file.read(_LONGEST + 1)
    except OSError as error:
        raise UsageError(f"cannot read the script {path}: {error.strerror}", "check the path") from None
    if len(content) > _LONGEST:
        raise UsageError(f"{path} is larger than 1 MiB: it is no script", f"name a file that ends in {SUFFIX}")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is no text: a script is UTF-8", "to list an executable's functions, add -l") from None


def needs_program(script: tree.Script) -> bool:
    """Whether a probe sits in a Go program, so that it must be said which one is traced."""
    within = (tree.Function, tree.Line, tree.Goroutine, tree.Profile)
    return any(isinstance(spec, within) for probe in script.probes for spec in probe.specs)
