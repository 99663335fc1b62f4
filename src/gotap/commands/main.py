"""See inside Go services without editing them: spans and metrics of live processes, as OpenTelemetry."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from gotap import __version__
from gotap.commands.streams import prepare, say, settle
from gotap.errors import GotapError

#: Command → module; a command's help is its module's docstring, and only the chosen command's module is imported.
COMMANDS = {
    "run": ("gotap.commands.run", "start a program and watch it from its first instruction"),
    "attach": ("gotap.commands.attach", "watch what already runs"),
    "trace": ("gotap.commands.trace", "ask a live Go program: calls, arguments, results, latency"),
    "detach": ("gotap.commands.detach", "take out of a process what a gotap has put into its code"),
    "go": ("gotap.commands.go", "the go command, with instrumentation compiled in"),
    "weave": ("gotap.commands.weave", "what `gotap go build` would compile in, and where"),
    "inspect": ("gotap.commands.inspect", "can it be observed, by what, if not why, and what to change"),
    "ps": ("gotap.commands.ps", "all programs that run, with what can be watched of each"),
    "doctor": ("gotap.commands.doctor", "what this host allows, each with the remedy when it is missing"),
}

#: Commands that read no executable, and hand their environment on as it is.
_WITHOUT_NUMPY = ("go", "weave")

#: Exit codes, documented in docs/reference.md.
OK, FAILED, USAGE = 0, 1, 2


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """As wide as the terminal. argparse asks shutil, also when no help is wanted, and that loads all compressors."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    """As shutil.get_terminal_size has it."""
    with contextlib.suppress(ValueError):
        if (columns := int(os.environ.get("COLUMNS", "0"))) > 0:
            return columns
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class _Parser(argparse.ArgumentParser):
    """Errors as `gotap: what is wrong`, exit code 2, with the way to the help."""

    def error(self, message: str) -> None:  # type: ignore[override]
        say(message, f"`{self.prog} --help` tells what is accepted")
        raise SystemExit(USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command `gotap`; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    prepare()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ^C ends what has nothing to tidy up at once, and in silence
    try:
        return _run(words)
    except GotapError as error:
        print_error(error)
        return FAILED
    except BrokenPipeError:
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        say("too many open files", "raise `ulimit -n`")  # wherever the last one was taken
        return FAILED
    finally:
        settle()


def _run(words: list[str]) -> int:
    parser = _parser()
    if not words or words[0] not in COMMANDS:
        parser.parse_args(words)  # --help, --version, or an error that names the commands
        parser.print_help()
        return USAGE
    module = importlib.import_module(COMMANDS[words[0]][0])
    command = _command_parser(words[0], module)
    arranged = getattr(module, "arranged", list)
    options = command.parse_args(arranged(words[1:]))
    if words[0] not in _WITHOUT_NUMPY:
        from gotap.commands.memory import keep_small

        keep_small(numpy_later=words[0] == "ps")  # what it needs of executables is in its cache
    code = module.run(options)
    return int(code)


def _parser() -> _Parser:
    listing = "\n".join(f"  {name:<9} {text}" for name, (_, text) in COMMANDS.items())
    parser = _Parser(
        prog="gotap",
        description=__doc__,
        epilog=f"commands:\n{listing}\n\n`gotap COMMAND --help` tells more.",
        formatter_class=_Formatter,
        usage="gotap COMMAND …",
    )
    parser.add_argument("--version", action="version", version=f"gotap {__version__}")
    parser.add_argument("command", nargs="?", choices=list(COMMANDS), metavar="COMMAND", help=argparse.SUPPRESS)
    return parser


def _command_parser(name: str, module: ModuleType) -> _Parser:
    parser = _Parser(prog=f"gotap {name}", description=module.__doc__, formatter_class=_Formatter)
    # As from Python 3.14 on: `-1s` is a value, so that the option says what is wrong with it.
    parser._negative_number_matcher = re.compile(r"-\.?\d")
    module.add_arguments(parser)
    return parser


def print_error(error: GotapError, subject: str = "") -> None:
    """`gotap: what and why`, the excerpt, the remedy, a line each. `subject` is named unless the error does so."""
    what = f"{subject}: {error}" if subject and subject not in str(error) else str(error)
    say(what, *error.excerpt, *([error.remedy] if error.remedy else []))
