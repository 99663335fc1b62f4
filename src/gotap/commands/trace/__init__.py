"""Ask a live Go program anything: arguments, results and latency of its functions, by the probe language.

  gotap trace -p PID 'main.prepareAnswer'                     each call: arguments, results, how long it took
  gotap trace -p PID 'main.f:return / args.n > 9 / { @[args.name] = hist(latency) }'
  gotap trace -p PID 'main.checkSite' --graph                 what it calls, indented, with durations
  gotap trace ./server -l 'main.*' -v                         what can be probed, at what cost; no root, no process
  gotap trace -c './server -x' script.gt
  gotap trace --tool slowhttp -p PID                          ready scripts: --tool list

PROGRAM is the text of a script, or the file that holds it. begin, end, interval and tracepoint alone need no target.
Events go to stdout, all else to stderr. Stops at SIGINT or SIGTERM, at `stop`, after --duration or --count, or when the
target ends.
Exit code: 0; with -c the command's own; 1 when tracing was not possible; 2 for wrong usage.
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from gotap.commands.trace.options import add_trace_arguments

    add_trace_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from gotap.commands.main import USAGE, print_error
    from gotap.commands.trace.options import UsageError, check
    from gotap.process.errors import LaunchError

    try:
        check(arguments)
        if arguments.list is not None:
            from gotap.commands.trace.listing import show_listing

            return show_listing(arguments)
        if arguments.tool in ("list", "help"):
            from gotap.commands.trace.tools import show_tools

            return show_tools()
        from gotap.commands.trace.start import trace

        return trace(arguments)
    except UsageError as error:
        print_error(error)
        return USAGE
    except LaunchError as error:
        print_error(error)
        return error.exit_code
