"""Whether woven builds pass the tests that plain ones pass: test suites of real modules, and the builds themselves.

`python scripts/differential.py [MODULE…] [--version 1.26.8] [--builds] [--race]`. Each suite is run twice plain, so
that tests that do not always come to the same are known, and once woven; what differs is run again, three times in each
build, and three times with OTEL_PROPAGATORS=none, which tells what differs since woven clients send traceparent: only
that may. `--builds` looks at what is built instead: coverage profiles, what vet says, whether a build that is made anew
has the same bytes, a second build does nothing, and a plain build after a woven one is what it was before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / part) for part in ("src", "tests")]

import differing  # noqa: E402  # needs the path
from differing import Comparison, Difference, Suite  # noqa: E402
from differing_builds import BUILDS  # noqa: E402

#: How much of a line that a test prints is told.
_LINE = 300
_ONLY_SHORT = ("-short",)
_RUNTIME = ("-short", "-run=Goroutine|Stack|Panic|Defer|Callers")

SUITES = (
    Suite("net/http", ("net/http",), flags=_ONLY_SHORT),
    Suite("net/http/…", ("net/http/httptest", "net/http/httputil", "net/http/internal"), flags=_ONLY_SHORT),
    Suite("database/sql", ("database/sql", "database/sql/driver")),
    Suite("log", ("log", "log/slog")),
    Suite("os", ("os",), flags=_ONLY_SHORT),
    Suite("os/…", ("os/exec", "os/signal"), flags=_ONLY_SHORT),
    Suite("runtime", ("runtime",), flags=_RUNTIME),
    Suite("context", ("context", "expvar", "errors")),
    Suite("testing/synctest", ("testing/synctest", "internal/synctest")),
    Suite("chi", ("./...",), "github.com/go-chi/chi/v5@v5.2.3"),
    # One of its tests uploads to `/`, which changes the mode of that if root runs it.
    Suite("gin", ("./...",), "github.com/gin-gonic/gin@v1.11.0",
          ("-skip=^TestSaveUploadedCreateFailed$",)),
    Suite("echo", ("./...",), "github.com/labstack/echo/v4@v4.13.4"),
    Suite("gorilla/mux", ("./...",), "github.com/gorilla/mux@v1.8.1"),
    Suite("pgx", ("./pgtype/...", "./pgproto3/...", "./internal/...", "./pgconn/ctxwatch", "./pgconn/internal/..."),
          "github.com/jackc/pgx/v5@v5.7.6"),
    Suite("logrus", ("./...",), "github.com/sirupsen/logrus@v1.9.3"),
    Suite("zap", ("./...",), "go.uber.org/zap@v1.27.0"),
    Suite("x/net/http2", ("./http2/...",), "golang.org/x/net@v0.47.0", _ONLY_SHORT),
    Suite("prometheus", ("./prometheus/...",), "github.com/prometheus/client_golang@v1.23.2", _ONLY_SHORT),
    Suite("testify", ("./...",), "github.com/stretchr/testify@v1.11.1"),
)  # fmt: skip


def main() -> int:
    """Exit status 1 when a test, for another reason than the headers of requests, or a build differs."""
    names = [suite.name for suite in SUITES]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"which of {', '.join(names)} (default: all)")
    parser.add_argument("--version", default="1.26.8", help="Go release (default: %(default)s)")
    parser.add_argument("--plain", type=int, default=2, help="plain runs of each suite (default: %(default)s)")
    parser.add_argument("--builds", action="store_true", help="compare what is built, not the tests; modules only")
    parser.add_argument("--race", action="store_true", help="with the race detector")
    parser.add_argument("--environment", action="append", default=[], metavar="NAME=VALUE",
                        help="set for the tests, such as OTEL_SDK_DISABLED=true")  # fmt: skip
    parser.add_argument("--verbose", "-v", action="store_true", help="what tests that differ print")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(names):
        parser.error(f"no module {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    more = dict(one.split("=", 1) for one in options.environment)
    settings = differing.environment(options.version, **more)
    chosen = [suite for suite in SUITES if suite.name in (options.modules or names)]
    race = ("-race",) if options.race else ()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="gotap-differential-") as folder:
        for one in chosen:
            suite = Suite(one.name, one.packages, one.module, one.flags + race)
            if options.builds:
                bad += bool(suite.module) and not builds(suite, Path(folder), settings)
            else:
                bad += not tests(suite, Path(folder), settings, plain=options.plain, verbose=options.verbose)
    return int(bool(bad))


def tests(suite: Suite, folder: Path, settings: dict[str, str], *, plain: int, verbose: bool) -> bool:
    """Whether a suite's outcomes are the same, told."""
    began = time.monotonic()
    found = differing.examined(suite, folder, settings, plain)
    print(f"{suite.name}: {summary(found)} ({time.monotonic() - began:.0f} s)", flush=True)
    for test in found.unsteady:
        print(f"  unsteady when plain: {' '.join(test)}")
    for one in found.differences:
        print(f"  {' '.join(one.test)}: plain {one.plain or 'not run'}, woven {one.woven or 'not run'}{why(one)}")
        if verbose:
            print("".join(f"    {line[:_LINE]}\n" for line in one.output.splitlines()), end="")
    if found.said and (verbose or found.differences):
        print("".join(f"  | {line}\n" for line in found.said.splitlines()[-20:]), end="")
    sys.stdout.flush()
    return all(one.by_headers for one in found.differences)


def why(one: Difference) -> str:
    if one.by_headers:
        return ": traceparent is sent"
    if one.again is None:
        return ""
    return f"; failed again, of 3: plain {one.again.plain}, woven {one.again.woven}, without headers {one.again.silent}"


def summary(found: Comparison) -> str:
    same = ", ".join(f"{count} {outcome}" for outcome, count in found.same.most_common() if count) or "none"
    headers = sum(one.by_headers for one in found.differences)
    others = len(found.differences) - headers
    return f"{others} differ, {headers} by traceparent, {len(found.unsteady)} unsteady; the same: {same}"


def builds(suite: Suite, folder: Path, settings: dict[str, str]) -> bool:
    """Whether what is built of a module is as it is to be, told."""
    place = differing.fetch(suite, folder, settings)
    good = True
    for name, check in BUILDS.items():
        wrong = check(suite, place, settings)
        print(f"{suite.name}: {name}: {wrong or 'yes'}", flush=True)
        good &= not wrong
    return good


if __name__ == "__main__":
    sys.exit(main())
