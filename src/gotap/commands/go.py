"""The go command, with instrumentation compiled in: `gotap go build`, `run`, `test` and `install` take the words of
`go` and yield the same program, woven. Every other verb is `go`'s own.

  gotap go build ./...
  gotap go test -race ./...
  gotap go run . -port 8080

What is woven: functions with the comment `//gotap:span`, and the rules in gotap.yaml or orchestrion.yml next to go.mod
and in the packages that gotap.tool.go or orchestrion.tool.go names. `gotap weave --list` tells what and where. go.mod,
go.sum and all other files stay as they are: changed files lie in gotap's cache ($GOTAP_CACHE, else
$XDG_CACHE_HOME/gotap), and the go command gets them by -overlay and by a GOROOT of links.

The program sends its spans by OTLP over HTTP by itself, as the variables OTEL_* say.
Exit code: that of the go command; 1 when a rule cannot be applied or the packages cannot be loaded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys

WOVEN = ("build", "install", "run", "test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "gotap go VERB [ARGUMENT …]"
    parser.add_argument("words", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.main import USAGE
    from gotap.commands.streams import say
    from gotap.weave.arguments import parse
    from gotap.weave.errors import NoGo

    words: list[str] = arguments.words
    if not words:
        say("no verb is named: gotap go build|run|test|install …", "`gotap go --help` tells what is accepted")
        return USAGE
    if words[0] not in WOVEN:
        go = shutil.which("go")
        if go is None:
            raise NoGo("there is no go command on the PATH", "install Go 1.21 or newer: https://go.dev/dl")
        return become([go, *words], dict(os.environ))
    from gotap.weave.building import command
    from gotap.weave.plan import plan
    from gotap.weave.versions import version_of

    line = parse(words)
    directory = os.path.join(os.getcwd(), line.value("C") or "")
    if version_of(line) is not None:
        from gotap.weave.installing import versioned_command

        return become(*versioned_command(words, line, directory))
    found = plan(line, directory)
    for aspect, reason in found.mistaken():
        say(f"{os.path.relpath(aspect.file)}:{aspect.line}: `{aspect.id}` matches nothing: {reason}")
    return become(*command(found, words, line))


def become(words: list[str], environment: dict[str, str]) -> int:
    """This process becomes that command: signals and the exit code are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(words[0], words, environment)
