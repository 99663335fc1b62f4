"""The script that is to run: from the command line, a file, or the ready tools."""

from __future__ import annotations

import argparse
import os

from gotap.commands.trace.options import UsageError
from gotap.commands.trace.tools import tool_text
from gotap.probe.script import tree
from gotap.probe.script.parser import parse_script
from gotap.probe.script.source import COMMAND_LINE

#: Ends the names of scripts.
SUFFIX = ".gt"

#: Longer files are none that somebody wrote.
_LONGEST = 1 << 20


def read_script(arguments: argparse.Namespace) -> tree.Script:
    """Raises UsageError when there is none, ScriptError when it makes no sense."""
    if arguments.tool is not None:
        return parse_script(tool_text(arguments.tool), f"{arguments.tool}{SUFFIX}")
    program = arguments.program[0]
    if program.endswith(SUFFIX) or ("\n" not in program and os.path.isfile(program)):
        return parse_script(_content(program), program)
    return parse_script(program, COMMAND_LINE)


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
