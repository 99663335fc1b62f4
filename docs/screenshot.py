"""Draws docs/images/terminal.svg: `gotap attach` on the demo service under load, as a terminal showed it.

    python docs/screenshot.py

Needs root, Go and tmux. The picture is of a real run, so it is another one each time.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent
WIDTH, HEIGHT = 118, 22
#: Seconds that the table has run when the picture is taken.
WATCHED = 12


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="gotap-screenshot-") as folder:
        shop, ready = Path(folder) / "shop", Path(folder) / "address"
        subprocess.run(["go", "build", "-buildvcs=false", "-o", str(shop), "."], cwd=DOCS.parent / "demo", check=True)
        service = subprocess.Popen([shop, "-ready", ready], stderr=subprocess.DEVNULL)
        load = subprocess.Popen([shop, "load", "-ready", ready, "-for", f"{WATCHED + 20}s", "-rate", "400"])
        try:
            screen = watch(service.pid, Path(folder) / "tmux")
        finally:
            for process in (load, service):
                process.terminate()
                process.wait()
    target = DOCS / "images" / "terminal.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(draw(screen))


def watch(pid: int, socket: Path) -> list[str]:
    """The lines of the screen, with their colours as escape sequences."""
    tmux = ["tmux", "-f", os.devnull, "-S", str(socket)]
    gotap = f"{sys.executable} -m gotap attach {pid}"
    size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
    subprocess.run([*tmux, "new-session", "-d", "-s", "picture", *size, gotap], check=True)
    try:
        subprocess.run([*tmux, "set", "-g", "status", "off"], check=True)
        time.sleep(WATCHED)
        answer = subprocess.run(
            [*tmux, "capture-pane", "-p", "-e", "-N", "-t", "picture"], check=True, capture_output=True, text=True
        )
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)
    return answer.stdout.splitlines()


def draw(screen: list[str]) -> str:
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    for line in screen:
        console.print(Text.from_ansi(line), no_wrap=True, highlight=False)
    picture = console.export_svg(title="gotap attach shop", unique_id="gotap")
    # No fonts from elsewhere: a page must not load anything. And blanks at a line's beginning are kept by all viewers.
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    return picture.replace("<text class", '<text xml:space="preserve" class')


if __name__ == "__main__":
    main()
