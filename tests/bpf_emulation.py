"""What an emulated kernel keeps: addresses, maps, and the memory of the probed process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gotap.bpf.asm import Code

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
EPERM, ENOENT, E2BIG, EAGAIN, EFAULT, EEXIST, EINVAL = 1, 2, 7, 11, 14, 17, 22


class Fault(Exception):
    """The program did what the verifier would not have let it do; a note tells the instruction."""

    located = False


@dataclass(slots=True)
class Region:
    """Memory that the program may touch. `written` set: bytes must be written before they are read (the stack)."""

    name: str
    data: bytearray
    writable: bool = True
    written: bytearray | None = None
    strict: bool = False  # accesses must be aligned to their size
    alive: bool = True


class Space:
    """Addresses: every region has 4 GiB of its own in the kernel's half, so that no pointer runs into another."""

    def __init__(self) -> None:
        self._regions: dict[int, Region] = {}
        self._next = 0xFFFF8000
        self._free: list[int] = []

    def add(self, region: Region) -> int:
        if self._free:
            base = self._free.pop()
        else:
            base = self._next
            self._next += 2  # a gap below and above each
        self._regions[base] = region
        return base << 32

    def remove(self, address: int) -> None:
        """Its address may be given to another one."""
        del self._regions[address >> 32]
        self._free.append(address >> 32)

    def find(self, address: int, size: int, *, write: bool) -> tuple[Region, int]:
        region, offset = self._regions.get(address >> 32), address & M32
        what = f"{'write' if write else 'read'} of {size} bytes at {address:#x}"
        if region is None:
            raise Fault(f"{what}: not a pointer that the program may follow")
        if not region.alive:
            raise Fault(f"{what}: {region.name} was given back")
        if offset + size > len(region.data):
            raise Fault(f"{what}: {region.name} has {len(region.data)} bytes, offset {offset}")
        if write and not region.writable:
            raise Fault(f"{what}: {region.name} is read-only")
        if not write and region.written is not None and not all(region.written[offset : offset + size]):
            raise Fault(f"{what}: {region.name} offset {offset - len(region.data)} was never written")
        return region, offset

    def read(self, address: int, size: int) -> bytes:
        region, offset = self.find(address, size, write=False)
        return bytes(region.data[offset : offset + size])

    def write(self, address: int, data: bytes) -> None:
        region, offset = self.find(address, len(data), write=True)
        region.data[offset : offset + len(data)] = data
        if region.written is not None:
            region.written[offset : offset + len(data)] = b"\1" * len(data)


class UserMemory:
    """The probed process's memory: segments that may touch each other; everything else faults."""

    def __init__(self, segments: Mapping[int, bytes] | None = None) -> None:
        self._segments: dict[int, bytearray] = {}
        for address, data in (segments or {}).items():
            self.write(address, data)

    def write(self, address: int, data: bytes) -> None:
        """Maps `data`; over an existing segment that holds all of it, it changes that segment."""
        for start, segment in self._segments.items():
            if start <= address and address + len(data) <= start + len(segment):
                segment[address - start : address - start + len(data)] = data
                return
            if start < address + len(data) and address < start + len(segment):
                raise ValueError(f"segments at {start:#x} and {address:#x} overlap")
        self._segments[address] = bytearray(data)

    def read(self, address: int, size: int) -> bytes | None:
        out = bytearray()
        while size > len(out):
            at = address + len(out)
            for start, segment in self._segments.items():
                if start <= at < start + len(segment):
                    out += segment[at - start : at - start + size - len(out)]
                    break
            else:
                return None
        return bytes(out)


class EmulatedMap:
    """What helpers need of a map; `values` may be inspected and filled by tests."""

    def __init__(self, key_size: int, value_size: int, max_entries: int) -> None:
        self.key_size, self.value_size, self.max_entries = key_size, value_size, max_entries
        self.values: dict[bytes, bytearray] = {}
        self.addresses: dict[tuple[bytes, int], int] = {}

    def value(self, key: bytes, cpu: int) -> bytearray | None:
        return self.values.get(key)

    def update(self, key: bytes, value: bytes, flags: int, cpu: int) -> int:
        present = key in self.values
        if flags not in (0, 1, 2):
            return -EINVAL
        if flags == 1 and present:
            return -EEXIST
        if flags == 2 and not present:
            return -ENOENT
        if not present and len(self.values) >= self.max_entries and not self.make_room():
            return -E2BIG
        self.values[key] = bytearray(value)
        return 0

    def make_room(self) -> bool:
        return False

    def delete(self, key: bytes) -> int:
        return 0 if self.values.pop(key, None) is not None else -ENOENT


class HashMap(EmulatedMap):
    pass


class LruHashMap(EmulatedMap):
    """Drops the oldest; the kernel's choice is only approximately that."""

    def make_room(self) -> bool:
        del self.values[next(iter(self.values))]
        return True


class ArrayMap(EmulatedMap):
    """Keys are 4-byte indexes, every value exists from the start."""

    def __init__(self, value_size: int, max_entries: int) -> None:
        super().__init__(4, value_size, max_entries)
        self.values = {index.to_bytes(4, "little"): bytearray(value_size) for index in range(max_entries)}

    def update(self, key: bytes, value: bytes, flags: int, cpu: int) -> int:
        old = self.value(key, cpu)
        if flags == 1:
            return -EEXIST
        if old is None:
            return -E2BIG
        old[:] = value
        return 0

    def delete(self, key: bytes) -> int:
        return -EINVAL


class ProgramArrayMap(EmulatedMap):
    """Programs to go on with by a tail call, by index."""

    def __init__(self, max_entries: int) -> None:
        super().__init__(4, 4, max_entries)
        self.programs: dict[int, Code] = {}


class PerCpuArrayMap(ArrayMap):
    """`cpu_values[cpu][key]`; `values` is CPU 0's."""

    def __init__(self, value_size: int, max_entries: int, cpus: int = 2) -> None:
        super().__init__(value_size, max_entries)
        self.cpu_values = [self.values] + [{key: bytearray(value_size) for key in self.values} for _ in range(cpus - 1)]

    def value(self, key: bytes, cpu: int) -> bytearray | None:
        return self.cpu_values[cpu].get(key)


class PerCpuHashMap(EmulatedMap):
    """A new key is zero on the other CPUs."""

    def __init__(self, key_size: int, value_size: int, max_entries: int, cpus: int = 2) -> None:
        super().__init__(key_size, value_size, max_entries)
        self.cpu_values: list[dict[bytes, bytearray]] = [self.values, *({} for _ in range(cpus - 1))]

    def value(self, key: bytes, cpu: int) -> bytearray | None:
        return self.cpu_values[cpu].get(key)

    def update(self, key: bytes, value: bytes, flags: int, cpu: int) -> int:
        old = self.value(key, cpu)
        if old is not None and flags in (0, 2):
            old[:] = value
            return 0
        if (result := super().update(key, bytes(self.value_size), flags, cpu)) == 0:
            for number, values in enumerate(self.cpu_values):
                values[key] = bytearray(value if number == cpu else bytes(self.value_size))
        return result

    def delete(self, key: bytes) -> int:
        result = super().delete(key)
        for values in self.cpu_values[1:]:
            values.pop(key, None)
        return result


class RingMap(EmulatedMap):
    """`records` are those that were submitted; room is taken until `drain`."""

    def __init__(self, size: int) -> None:
        super().__init__(0, 0, size)
        self.size, self.used, self.dropped = size, 0, 0
        self.records: list[bytes] = []
        self.flags: list[int] = []  # of each record that was put there at once

    def take(self, size: int) -> bool:
        room = (size + 8 + 7) // 8 * 8
        if self.used + room > self.size:
            self.dropped += 1
            return False
        self.used += room
        return True

    def drain(self) -> list[bytes]:
        records, self.records, self.used = self.records, [], 0
        return records
