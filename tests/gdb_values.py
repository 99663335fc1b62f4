"""Runs inside gdb: notes what stands in places at addresses, each time they are passed.

gdb -batch -x gdb_values.py --args PROGRAM ARG…  with PLACES naming a JSON file: {ADDRESS: {NAME: part}},
part: ["register", name, size] | ["stack", offset, size] | ["global", address, size] | ["constant", value] | null.
A pointer is followed by a list around it: [part, size]. Writes [[ADDRESS, {NAME: number or null}]…] to the file REPORT.
"""

import json
import os

import gdb

WORD = (1 << 64) - 1
passed = []


def memory(address, size):
    return int.from_bytes(gdb.selected_inferior().read_memory(address, size).tobytes(), "little")


def value(part):
    if part is None:
        return None
    if isinstance(part[0], list):
        return memory(value(part[0]), part[1])
    kind, at, *size = part
    if kind == "register":
        return int(gdb.selected_frame().read_register(at)) & WORD & ((1 << 8 * size[0]) - 1)
    if kind == "stack":
        return memory((int(gdb.selected_frame().read_register("rsp")) & WORD) + at, size[0])
    return memory(at, size[0]) if kind == "global" else at


class Noting(gdb.Breakpoint):
    def __init__(self, address, parts):
        super().__init__(f"*{address}", internal=True)
        self.address = int(address)
        self.parts = parts
        self.silent = True

    def stop(self):
        passed.append((self.address, {name: value(part) for name, part in self.parts.items()}))
        return False


gdb.execute("set pagination off")
with open(os.environ["PLACES"]) as file:
    noting = [Noting(address, parts) for address, parts in json.load(file).items()]
gdb.execute("run")
with open(os.environ["REPORT"], "w") as file:
    json.dump(passed, file)
