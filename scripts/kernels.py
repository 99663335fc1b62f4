"""Whether the programs of scripts verify and count on other kernels: boots them under emulation, needs root and qemu.

`python scripts/kernels.py VMLINUZ…` boots each twice, with the one program of tests/programs/kernelguest inside. The
first time that tries what gotap tries (gotap.kernel.trials), the second time it loads what gotap generates for a kernel
with those features, attaches it to itself, makes a known number of calls, and what was counted is compared. Kernels are
those of distributions: `apt-get download linux-image-6.1.0-54-cloud-amd64-unsigned`, then `dpkg-deb -x`. Done with 5.15
and 6.8 of Ubuntu 22.04, 6.1 and 6.12 of Debian 12.
"""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent / part) for part in ("src", "tests")]

import gobuild  # noqa: E402  # needs the path
from kernel_plans import CALLS, EXPECTED, FEATURES, Recording, script_cases, trial_cases  # noqa: E402

_BOOT_SECONDS = 600
_COMMAND_LINE = "console=ttyS0 quiet panic=-1 rdinit=/init"


def main() -> int:
    """Exit status 1 when a kernel refuses a program or counts something else."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("kernels", nargs="+", type=Path, metavar="VMLINUZ")
    parser.add_argument("--without", default="", metavar="FEATURE,…",
                        help="as if the kernel lacked these: 5.15 has neither bpf_loop nor percpu_lookup")  # fmt: skip
    options = parser.parse_args()
    guest = gobuild.build("kernelguest", mode="cgo0")
    without = frozenset(options.without.split(","))
    return max([check(kernel, guest, without) for kernel in options.kernels])


def check(kernel: Path, guest: Path, without: frozenset[str]) -> int:
    features = features_of(boot(kernel, guest, trial_cases(guest))) - without
    print(f"{kernel.name}: {', '.join(sorted(features)) or 'none of the features that are optional'}")
    cases = script_cases(guest, features)
    answers = boot(kernel, guest, cases)
    bad = 0
    for answer in answers:
        if answer.get("Error"):
            bad += 1
            print(f"  {answer['Case']} {answer.get('Program', '')}: {answer['Error']}")
            print("".join(f"    {line}\n" for line in answer.get("Log", "").splitlines()[-12:]), end="")
    loaded = sum(1 for answer in answers if answer.get("Program") and not answer.get("Error"))
    print(f"  {loaded} programs of {len(cases)} scripts verify, {bad} refused")
    return int(bool(bad) | bool(miscounted(cases, answers)))


def features_of(answers: list[dict[str, object]]) -> frozenset[str]:
    """Those whose case went without an error."""
    failed = {answer["Case"] for answer in answers if answer.get("Error")}
    return frozenset(name for name in FEATURES if name not in failed)


def miscounted(cases: list[Recording], answers: list[dict[str, object]]) -> int:
    """How many maps hold something else than they must, told."""
    wrong = 0
    by_name = {case.name: case for case in cases}
    for answer in answers:
        if answer.get("Map") and answer["Case"] in EXPECTED:
            name = by_name[str(answer["Case"])].map_names[answer["Map"]]  # type: ignore[index]
            found = sum(count(base64.b64decode(value)) for _, value in answer.get("Entries") or [])  # type: ignore[attr-defined]
            expected = EXPECTED[str(answer["Case"])].get(name)
            if expected is not None and found != expected:
                print(f"  {answer['Case']}: {name} holds {found}, not {expected}, after {CALLS} calls")
                wrong += 1
    if not wrong:
        print("  all counts are right")
    return wrong


def count(value: bytes) -> int:
    """The first word of an aggregation's value, on the guest's one CPU."""
    return int.from_bytes(value[:8], "little")


def boot(kernel: Path, guest: Path, cases: list[Recording]) -> list[dict[str, object]]:
    """What the guest says about each case. RuntimeError when it does not come to an end."""
    with tempfile.TemporaryDirectory(prefix="gotap-kernels-") as directory:
        initrd = Path(directory) / "initrd"
        plan = json.dumps([case.plan() for case in cases]).encode()
        initrd.write_bytes(archive({"init": (guest.read_bytes(), 0o755), "plan.json": (plan, 0o644)}))
        # Without cmpxchg16b, which qemu 7.2 gets wrong: the allocator of Linux 6.12 falls over it.
        command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "qemu64,-cx16", "-m", "1024", "-nographic",
                   "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", _COMMAND_LINE]  # fmt: skip
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_BOOT_SECONDS)
    lines = [line.partition(b"@")[2] for line in done.stdout.splitlines() if b"@{" in line]
    answers: list[dict[str, object]] = [json.loads(line) for line in lines]
    if not answers or not answers[-1].get("Finished"):
        raise RuntimeError(f"{kernel.name} did not come to an end:\n{done.stdout[-3000:].decode(errors='replace')}")
    return answers[:-1]


def archive(files: dict[str, tuple[bytes, int]]) -> bytes:
    """A cpio archive of the form `newc`, as kernels unpack it (Documentation/driver-api/early-userspace)."""
    parts = []
    device = 5 << 8 | 1  # /dev/console, which init's output goes to
    entries: list[tuple[str, bytes, int, int]] = [("dev", b"", 0o040755, 0), ("dev/console", b"", 0o020600, device)]
    entries += [(name, content, 0o100000 | mode, 0) for name, (content, mode) in files.items()]
    for inode, (name, content, mode, number) in enumerate([*entries, ("TRAILER!!!", b"", 0, 0)], 1):
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, number >> 8, number & 255, len(name) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        parts += [head, bytes(-len(head) % 4), content, bytes(-len(content) % 4)]
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main())
