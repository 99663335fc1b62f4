"""`python -m bench.reader FILE [all]`: gotap's reader alone. Prints the numbers of functions and of inlined calls.

`all`: also every function with its name, file and line, as objects.
"""

from __future__ import annotations

import sys

from gotap.image.containers.container import open_container
from gotap.image.functions.tables import read_tables


def main() -> None:
    tables = read_tables(open_container(sys.argv[1]))
    if tables is None:
        sys.exit(f"{sys.argv[1]} is not a Go program")
    print(len(tables), tables.inlined_calls)
    if sys.argv[2:] == ["all"]:
        print(sum(function.line for function in tables.functions()))


if __name__ == "__main__":
    main()
