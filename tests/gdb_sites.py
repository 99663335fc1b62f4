"""Runs inside gdb: stops a Go program at sites and at every `ret`, and compares what is found at both.

gdb -batch -x gdb_sites.py --args PROGRAM ARG…  with SITES naming a JSON file:
  {"functions": {NAME: {"entry": site, "late": site or null, "returns": [site…], "rets": [address…], "recovers": bool}}}
  site: {"address", "sp_offset", "edge": [condition, taken] or null, "words": [location…], "arguments": [location…],
         "exit"}
  location: ["register", name, size] | ["stack", offset, size] | ["global", address, size] | ["static", address]
            | ["constant", value] | null
Writes {"errors": […], "entries", "late", "returns", "arguments", "compared", "open": numbers} to the file REPORT.
A call is known by (g, stack.hi − SP at entry), which stays when the stack moves.
"""

import collections
import json
import os

import gdb

ARGUMENTS = ("rax", "rbx", "rcx", "rdi")
RESULTS = ("rax", "rbx", "rcx")
WORD = (1 << 64) - 1
CONDITIONS = (
    lambda f: bool(f & 0x800),
    lambda f: bool(f & 0x1),
    lambda f: bool(f & 0x40),
    lambda f: bool(f & 0x41),
    lambda f: bool(f & 0x80),
    lambda f: bool(f & 0x4),
    lambda f: bool(f & 0x80) != bool(f & 0x800),
    lambda f: bool(f & 0x40) or bool(f & 0x80) != bool(f & 0x800),
)

errors = []
counts = collections.Counter()
begun = {}  # call → registers at entry
ended = {}  # call → results at the return site
late = collections.Counter()


def register(name):
    return int(gdb.selected_frame().read_register(name)) & WORD


def memory(address, size):
    return int.from_bytes(gdb.selected_inferior().read_memory(address, size).tobytes(), "little")


def value(location):
    if location is None:
        return None
    kind, at, *size = location
    if kind == "register":
        return register(at) & ((1 << 8 * size[0]) - 1)
    if kind == "stack":
        return memory(register("rsp") + at, size[0])
    if kind == "global":
        return memory(at, size[0])
    return at


def call(name, sp_offset):
    g = register("r14")
    return name, g, memory(g + 8, 8) - register("rsp") - sp_offset


def on_stack(word):
    g = register("r14")
    return memory(g, 8) <= word < memory(g + 8, 8)


def wrong(name, what, *details):
    if len(errors) < 50:
        errors.append(f"{name}: {what} {' '.join(map(str, details))} at {register('rip'):#x}")


def counted(site):
    if site["edge"] is None:
        return True
    condition, taken = site["edge"]
    return (CONDITIONS[condition >> 1](register("eflags")) != bool(condition & 1)) == taken


class Stop(gdb.Breakpoint):
    def __init__(self, address, actions):
        super().__init__(f"*{address:#x}", internal=True)
        self.actions = actions

    def stop(self):
        for action in self.actions:
            try:
                action()
            except gdb.error as error:
                errors.append(f"gdb: {error}")
        return False


def on_entry(name, site):
    if not counted(site):
        return
    key = call(name, site["sp_offset"])
    if key in begun:
        wrong(name, "a call begins that has begun already", key)
    counts["entries"] += 1
    begun[key] = [register(r) for r in ARGUMENTS]


def on_late(name, site):
    key = call(name, site["sp_offset"])
    late[key] += 1
    counts["late"] += 1
    check_arguments(name, site, key, "late site")


def check_arguments(name, site, key, where):
    if key not in begun:
        wrong(name, "never began", where)
        return
    for location, expected in zip(site["arguments"], begun[key], strict=True):
        found = value(location)
        if found is not None and found != expected and not (on_stack(found) or on_stack(expected)):
            wrong(name, "argument differs", where, location, hex(found), hex(expected))
        counts["arguments"] += found is not None


def on_return_site(name, site):
    if not counted(site):
        return
    key = call(name, site["sp_offset"])
    if key in ended:
        wrong(name, "a second return site", key)
    check_arguments(name, site, key, "return site")
    counts["returns"] += 1
    if site["exit"] == "tail call":
        forget(name, key, site)
    else:
        ended[key] = ([value(location) for location in site["words"]], site)


def on_ret(name):
    key = call(name, 0)
    if key not in ended:
        wrong(name, "returns without a return site", key)
        forget(name, key, None)
        return
    found, site = ended.pop(key)
    for word, location, result in zip(found, site["words"], RESULTS, strict=True):
        if word != register(result):
            wrong(name, "result differs", location, hex(word), result, hex(register(result)))
    counts["compared"] += 1
    forget(name, key, site)


def forget(name, key, site):
    if key not in begun:
        wrong(name, "returns but never began", key)
    begun.pop(key, None)
    times = late.pop(key, 0)
    if functions[name]["late"] is not None and times != 1 and not functions[name]["recovers"]:
        wrong(name, f"late site passed {times} times", key)


with open(os.environ["SITES"]) as file:
    functions = json.load(file)["functions"]

gdb.execute("set pagination off")
gdb.execute("set breakpoint always-inserted on")
gdb.execute("handle SIGURG nostop noprint pass")
actions = collections.defaultdict(list)
for name, function in functions.items():
    for site in function["returns"]:
        actions[site["address"]].append(lambda name=name, site=site: on_return_site(name, site))
    if function["late"]:
        site = function["late"]
        actions[site["address"]].insert(0, lambda name=name, site=site: on_late(name, site))
    site = function["entry"]
    actions[site["address"]].insert(0, lambda name=name, site=site: on_entry(name, site))
    for address in function["rets"]:
        actions[address].append(lambda name=name: on_ret(name))
for address, todo in actions.items():
    Stop(address, todo)
gdb.execute("run")
report = {"errors": errors, **counts, "open": len(begun)}
with open(os.environ["REPORT"], "w") as file:
    json.dump(report, file)
