"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys

from bench import __doc__ as about
from bench.measure import machine
from bench.programs import NotPossible, go_version

BENCHES = ("request", "agent", "start", "inspect", "ps", "encode", "trace", "hooks", "translator", "weave")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=about)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="alternations of what is compared (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="load for each measurement (default: %(default)s)")
    parser.add_argument("--pid", type=int, action="append", default=[], help="start: also attach to this process")
    parser.add_argument("--part", action="append", default=[], choices=("size", "calls", "server", "build"),
                        help="weave: only this part")
    parser.add_argument("--program", action="append", default=[], choices=("woven", "delve", "pushgateway", "caddy"),
                        help="weave: what is built (default: woven and delve)")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(BENCHES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}: there are {', '.join(BENCHES)}")
    print(f"machine: {machine(go_version())}", flush=True)
    failed = False
    for name in arguments.names or BENCHES:
        print(f"\n== {name}", flush=True)
        try:
            if name == "encode":  # has options of its own
                subprocess.run([sys.executable, "-m", "bench.encode"], check=True)
            else:
                importlib.import_module(f"bench.{name}").run(arguments)
        except NotPossible as reason:
            print(f"not measured: {reason}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
