"""A buffer that is written front to back and remembers where its numbers stand: what `fuzz_mutations` goes for."""

from __future__ import annotations


class Bytes:
    """Bytes whose first one is at address `base`. `fields`: (offset, size) of every number that was written.

    `pointers`: (offset, value) of the words that hold addresses.
    """

    def __init__(self, base: int = 0, bits: int = 64, big_endian: bool = False) -> None:
        self.data = bytearray()
        self.base, self.word_size = base, bits // 8
        self.order = "big" if big_endian else "little"
        self.fields: list[tuple[int, int]] = []
        self.pointers: list[tuple[int, int]] = []

    @property
    def here(self) -> int:
        """The address behind what was written."""
        return self.base + len(self.data)

    def number(self, size: int, *values: int) -> None:
        for value in values:
            self.fields.append((len(self.data), size))
            self.data += (value & (1 << 8 * size) - 1).to_bytes(size, self.order)  # type: ignore[arg-type]

    def word(self, *values: int) -> None:
        self.number(self.word_size, *values)

    def pointer(self, *addresses: int) -> None:
        for address in addresses:
            self.pointers.append((len(self.data), address))
            self.word(address)

    def raw(self, content: bytes) -> int:
        """The address of the bytes."""
        at = self.here
        self.data += content
        return at

    def varint(self, value: int) -> None:
        """An unsigned LEB128 number."""
        self.fields.append((len(self.data), 1))
        while value >= 0x80:
            self.data.append(value & 0x7F | 0x80)
            value >>= 7
        self.data.append(value)

    def align(self, multiple: int) -> int:
        self.data += bytes(-self.here % multiple)
        return self.here

    def set(self, offset: int, size: int, value: int) -> None:
        self.data[offset : offset + size] = (value & (1 << 8 * size) - 1).to_bytes(size, self.order)  # type: ignore[arg-type]

    def append(self, other: Bytes) -> None:
        """What another buffer holds, with its fields and pointers."""
        shift = len(self.data)
        self.fields += [(at + shift, size) for at, size in other.fields]
        self.pointers += [(at + shift, value) for at, value in other.pointers]
        self.data += other.data
