"""How much weaving adds to executables."""

from __future__ import annotations

from bench.programs import NotPossible
from bench.weave_calls import PROGRAM
from bench.weave_tools import HELLO, Source, executable

#: Programs with the bytes that gotap may add.
PROGRAMS = {
    "net/http and database/sql": (PROGRAM, 1_000_000),
    "a hello world with one span": (Source("hello", HELLO), 5_000_000),
}


def size() -> str:
    lines = ["| MB | plain | gotap | Orchestrion |", "| --- | --- | --- | --- |"]
    for name, (source, most) in PROGRAMS.items():
        plain = executable(source, "plain").stat().st_size
        more = executable(source, "gotap").stat().st_size - plain
        cells = [f"{plain / 1e6:.2f}", f"+{more / 1e6:.2f} ({'met' if more <= most else 'NOT MET'}: {most / 1e6:g})"]
        try:
            cells.append(f"+{(executable(source, 'Orchestrion').stat().st_size - plain) / 1e6:.2f}")
        except NotPossible as reason:
            cells.append("not available")
            print(f"  {reason}", flush=True)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
