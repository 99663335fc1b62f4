"""Fuzzes the readers of bytes that others wrote: damaged inputs, by number, until they are done or the time is up.

`python scripts/fuzz.py --inputs 20000` does so many of the targets that cost most, and up to fifteen times as many of
others, a hundred times as many in all; `--seed` and `--first` say which. What is found is written to --findings, one
file an input, to be moved to tests/fuzzing/corpus/TARGET once it is understood.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / part) for part in ("src", "tests")]

from fuzz_runner import Finding, limits, run  # noqa: E402  # needs the path
from fuzz_targets import all_targets  # noqa: E402

_BLOCK = 50


def main() -> int:
    """Exit status 1 when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=300, help="of the dearest target; cheaper ones get more")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long, whatever is left")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--targets", default="", help="names, joined by commas (default: all)")
    parser.add_argument("--findings", type=Path, default=Path("/tmp/gotap-fuzz"), help="where findings are written")
    parser.add_argument("--log", type=Path, help="append one JSON object for each target and block here")
    options = parser.parse_args()
    wanted = [one for one in all_targets() if not options.targets or one.name in options.targets.split(",")]
    end = time.monotonic() + options.seconds if options.seconds else float("inf")
    found: dict[str, Finding] = {}
    with limits():
        for first in range(options.first, options.first + options.inputs, _BLOCK):
            for target in wanted:
                if time.monotonic() >= end:
                    return _report(found)
                count = min(_BLOCK, options.first + options.inputs - first)
                tally = run(target, options.seed, first * target.share, count * target.share)
                if options.log is not None:
                    line = {"target": target.name, "inputs": tally.inputs, "values": tally.values,
                            "errors": tally.errors, "cpu": round(tally.seconds, 3)}  # fmt: skip
                    with options.log.open("a") as log:
                        print(json.dumps(line), file=log)
                for finding in tally.findings:
                    key = f"{finding.target} {finding.place} {finding.error.partition(':')[0]}"
                    if key not in found:
                        found[key] = finding
                        _keep(options.findings, finding)
    return _report(found)


def _keep(directory: Path, finding: Finding) -> None:
    name = hashlib.blake2b(finding.content, digest_size=6).hexdigest()
    path = directory / finding.target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(finding.content)
    print(f"{path}: {finding.error} at {finding.place}", flush=True)


def _report(found: dict[str, Finding]) -> int:
    print(f"{len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
