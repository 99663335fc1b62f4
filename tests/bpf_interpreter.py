"""Runs assembled BPF programs in Python: the tests of generated code need no root and no kernel.

It is stricter than the machine it imitates: what the verifier would refuse is a `Fault` here when it happens, e.g. a
register or stack byte read before it was written, an access outside a map value, stack or context, a misaligned stack
access, a ring reservation that is kept, a program that does not end.
`tests/kernel/test_interpreter.py` compares it with the kernel.

    machine = Machine({"counts": ArrayMap(8, 4), "ring": RingMap(4096)}, memory=UserMemory({0xC000010000: b"GET"}))
    machine.run(code, {"rax": 0xC000010000, "rsp": …})
    machine.ring            # records that were submitted
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bpf_emulation import (
    E2BIG,
    EAGAIN,
    EFAULT,
    EINVAL,
    ENOENT,
    M32,
    M64,
    ArrayMap,
    EmulatedMap,
    Fault,
    HashMap,
    LruHashMap,
    PerCpuArrayMap,
    PerCpuHashMap,
    ProgramArrayMap,
    Region,
    RingMap,
    Space,
    UserMemory,
)
from gotap.bpf import isa
from gotap.bpf.asm import Code
from gotap.bpf.disasm import instruction_text
from gotap.bpf.isa import Alu, Atomic, Class, Helper, Instruction, Jump

__all__ = [
    "ArrayMap", "EmulatedMap", "Fault", "HashMap", "LruHashMap", "Machine", "PerCpuArrayMap", "PerCpuHashMap",
    "ProgramArrayMap", "RingMap", "UserMemory",
]  # fmt: skip

MAX_LOOPS = 1 << 23  # BPF_MAX_LOOPS
MAX_FRAMES = 8  # MAX_CALL_FRAMES
MAX_TAIL_CALLS = 33  # MAX_TAIL_CALL_CNT


class _TailCall(Exception):
    """The program goes on as another one."""

    def __init__(self, code: Code) -> None:
        self.code = code


@dataclass(slots=True)
class _Frame:
    registers: list[int | None]
    stack: Region
    lowest: int = isa.STACK_SIZE  # of the stack's bytes that were touched


@dataclass
class Machine:
    """One kernel: maps by the names that the code uses, the probed process, and the clock."""

    maps: Mapping[str, EmulatedMap] = field(default_factory=dict)
    memory: UserMemory = field(default_factory=UserMemory)
    pid_tgid: int = 4242 << 32 | 4243
    cookie: int = 0
    cpu: int = 0
    cpus: int = 2
    comm: bytes = b"server"
    pid_namespace: tuple[int, int] | None = None
    clock: Callable[[], int] | None = None  # default: starts at 1 000 000 ns, 1000 ns later at every call
    seed: int = 1
    limit: int = 1_000_000  # instructions
    meanwhile: Callable[[int], None] | None = None  # is called before each instruction: what another CPU does then
    ran: int = field(default=0, init=False)  # instructions of the last run
    signals: list[int] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.space = Space()
        self.random = random.Random(self.seed)
        self._time = 999_000
        self._map_addresses = {name: self.space.add(Region(f"map {name}", bytearray(0))) for name in self.maps}
        self._map_at = {address: self.maps[name] for name, address in self._map_addresses.items()}
        self._names = {id(self.maps[name]): name for name in self.maps}
        self._values: dict[int, int] = {}  # id of a value's bytes → address
        self._reserved: dict[int, tuple[RingMap, Region]] = {}
        self._tail_calls = 0

    @property
    def ring(self) -> list[bytes]:
        """Records of all rings."""
        return [record for one in self.maps.values() if isinstance(one, RingMap) for record in one.records]

    def run(self, code: Code, regs: Mapping[str, int] | None = None, context: bytes | None = None) -> int:
        """R0 at the end. `regs` fill struct pt_regs; `context` replaces it."""
        if context is None:
            image = bytearray(isa.PT_REGS_SIZE)
            for name, value in (regs or {}).items():
                image[isa.PT_REGS[name] : isa.PT_REGS[name] + 8] = (value & M64).to_bytes(8, "little")
            context = bytes(image)
        self._frames: list[_Frame] = []
        self.ran = 0
        pointer = self.space.add(Region("context", bytearray(context), writable=False, strict=True))
        for _ in range(1 + MAX_TAIL_CALLS):
            self._instructions = code.instructions
            self._relocations = {relocation.index: relocation for relocation in code.relocations}
            self._tail_calls += 1
            try:
                result = self._function(0, [None, pointer, None, None, None, None])
                break
            except _TailCall as call:
                code = call.code
        self._tail_calls = 0
        if self._reserved:
            raise Fault("a ring reservation was neither submitted nor discarded")
        return result

    # Functions and instructions

    def _function(self, index: int, arguments: list[int | None]) -> int:
        """Runs from `index` to its exit, in a frame of its own."""
        if len(self._frames) >= MAX_FRAMES:
            raise Fault(f"more than {MAX_FRAMES} call frames")
        size = isa.STACK_SIZE
        stack = Region("stack", bytearray(size), written=bytearray(size), strict=True)
        bottom = self.space.add(stack)
        frame = _Frame([*arguments, None, None, None, None, bottom + size], stack)
        self._frames.append(frame)
        try:
            while True:
                if not 0 <= index < len(self._instructions):
                    raise Fault(f"ran out of the program at {index}")
                self.ran += 1
                if self.meanwhile is not None:
                    self.meanwhile(self.ran)
                if self.ran > self.limit:
                    raise Fault(f"did not end within {self.limit} instructions")
                one = self._instructions[index]
                if one.opcode == Class.JMP | Jump.EXIT:
                    return self._read(frame, 0)
                try:
                    index = self._step(frame, index, one)
                except Fault as fault:
                    if not fault.located:
                        text = "ld_imm64" if one.opcode == isa.LD_IMM64 else instruction_text(one)
                        fault.add_note(f"at {index}: {text}")
                        fault.located = True
                    raise
        finally:
            self._frames.pop()
            self.space.remove(bottom)

    def _read(self, frame: _Frame, register: int) -> int:
        value = frame.registers[register]
        if value is None:
            raise Fault(f"R{register} is read and was never set")
        return value

    def _step(self, frame: _Frame, index: int, one: Instruction) -> int:
        group = one.opcode & 7
        if one.opcode == isa.LD_IMM64:
            frame.registers[one.dst] = self._imm64(index, one)
            return index + 2
        if group in (Class.ALU, Class.ALU64):
            self._set(frame, one.dst, self._alu(frame, one, 64 if group == Class.ALU64 else 32))
        elif group in (Class.JMP, Class.JMP32):
            operation = one.opcode & 0xF0
            if operation == Jump.CALL:
                self._call(frame, index, one)
            elif operation == Jump.JA or self._holds(frame, one, 64 if group == Class.JMP else 32):
                return index + 1 + one.offset
        else:
            self._memory(frame, one)
        return index + 1

    def _set(self, frame: _Frame, register: int, value: int) -> None:
        if register >= 10:
            raise Fault("R10 is read-only")
        frame.registers[register] = value & M64

    def _imm64(self, index: int, one: Instruction) -> int:
        relocation = self._relocations.get(index)
        if relocation is not None:
            if relocation.map not in self.maps:
                raise Fault(f"no map {relocation.map}")
            if relocation.offset is None:
                return self._map_addresses[relocation.map]
            the_map = self.maps[relocation.map]
            value = the_map.values[bytes(4)]
            if relocation.offset >= the_map.value_size:
                raise Fault(f"offset {relocation.offset} is outside the value of map {relocation.map}")
            return self._value_address(the_map, value) + relocation.offset
        if one.src == isa.PSEUDO_FUNC:
            return _FUNCTION + index + 1 + one.imm
        return (self._instructions[index + 1].imm & M32) << 32 | one.imm & M32

    def _source(self, frame: _Frame, one: Instruction) -> int:
        """The right operand, 64 bits."""
        return self._read(frame, one.src) if one.opcode & isa.REG else one.imm & M64

    def _alu(self, frame: _Frame, one: Instruction, bits: int) -> int:
        operation, mask = one.opcode & 0xF0, M64 if bits == 64 else M32
        if operation == Alu.END:
            return _byte_order(self._read(frame, one.dst), one, bits)
        if operation == Alu.NEG:
            return -self._read(frame, one.dst) & mask
        right = self._source(frame, one) & mask
        if operation == Alu.MOV:
            return _signed(right, one.offset) & mask if one.offset else right
        left = self._read(frame, one.dst) & mask
        if operation in (Alu.LSH, Alu.RSH, Alu.ARSH):
            right &= bits - 1
        return _ALU[operation, one.offset == 1](left, right, bits) & mask

    def _holds(self, frame: _Frame, one: Instruction, bits: int) -> bool:
        mask = M64 if bits == 64 else M32
        left, right = self._read(frame, one.dst) & mask, self._source(frame, one) & mask
        operation = one.opcode & 0xF0
        if operation in (Jump.JSGT, Jump.JSGE, Jump.JSLT, Jump.JSLE):
            left, right = _signed(left, bits), _signed(right, bits)
        return _JUMPS[operation](left, right)

    # Memory

    def _check(self, frame: _Frame, address: int, size: int, *, write: bool) -> None:
        region, offset = self.space.find(address, size, write=write)
        if region.strict and offset % size:
            raise Fault(f"misaligned access of {size} bytes at {region.name} offset {offset - len(region.data)}")
        self._touch(region, offset)

    def _touch(self, region: Region, offset: int) -> None:
        """The stack of all live frames together is limited; each is rounded up (check_max_stack_depth)."""
        for frame in self._frames:
            if frame.stack is region and offset < frame.lowest:
                frame.lowest = offset
                total = sum((max(1, isa.STACK_SIZE - one.lowest) + 31) // 32 * 32 for one in self._frames)
                if total > isa.STACK_SIZE:
                    raise Fault(f"combined stack of {len(self._frames)} frames is {total} bytes")

    def _memory(self, frame: _Frame, one: Instruction) -> None:
        group, mode, size = one.opcode & 7, one.opcode & 0xE0, isa.SIZE_BYTES[one.opcode & 0x18]
        if group == Class.LDX:
            address = self._read(frame, one.src) + one.offset & M64
            self._check(frame, address, size, write=False)
            value = int.from_bytes(self.space.read(address, size), "little")
            self._set(frame, one.dst, _signed(value, 8 * size) if mode == isa.MODE_MEMSX else value)
            return
        address = self._read(frame, one.dst) + one.offset & M64
        self._check(frame, address, size, write=True)
        if mode == isa.MODE_ATOMIC:
            self._atomic(frame, one, address, size)
            return
        value = one.imm if group == Class.ST else self._read(frame, one.src)
        self.space.write(address, (value & (1 << 8 * size) - 1).to_bytes(size, "little"))

    def _atomic(self, frame: _Frame, one: Instruction, address: int, size: int) -> None:
        mask = (1 << 8 * size) - 1
        old = int.from_bytes(self.space.read(address, size), "little")
        operand = self._read(frame, one.src) & mask
        if one.imm == Atomic.CMPXCHG:
            new = operand if self._read(frame, 0) & mask == old else old
            frame.registers[0] = old
        elif one.imm == Atomic.XCHG:
            new = operand
            self._set(frame, one.src, old)
        else:
            new = _ALU[one.imm & ~Atomic.FETCH, False](old, operand, 8 * size) & mask
            if one.imm & Atomic.FETCH:
                self._set(frame, one.src, old)
        self.space.write(address, new.to_bytes(size, "little"))

    # Calls

    def _call(self, frame: _Frame, index: int, one: Instruction) -> None:
        if one.src == isa.PSEUDO_CALL:
            result = self._function(index + 1 + one.imm, frame.registers[:6])
        else:
            try:
                helper = getattr(self, f"_{Helper(one.imm).name.lower()}")
            except (ValueError, AttributeError):
                raise Fault(f"helper {one.imm} is not emulated") from None
            count = helper.__code__.co_argcount - 1
            result = helper(*(self._read(frame, register) for register in range(1, 1 + count)))
        frame.registers[1:6] = [None] * 5
        frame.registers[0] = result & M64

    def _value_address(self, the_map: EmulatedMap, value: bytearray) -> int:
        if id(value) not in self._values:
            name = f"value of map {self._names[id(the_map)]}"
            region = Region(name, value)
            self._values[id(value)] = self.space.add(region)  # the region keeps the bytes, so the id stays theirs
        return self._values[id(value)]

    def _map(self, address: int) -> EmulatedMap:
        try:
            return self._map_at[address]
        except KeyError:
            raise Fault(f"R1 is {address:#x}, not a map") from None

    def _argument(self, address: int, size: int) -> bytes:
        """What a helper reads."""
        region, offset = self.space.find(address, size, write=False)
        self._touch(region, offset)
        return self.space.read(address, size)

    def _result(self, address: int, data: bytes) -> None:
        """What a helper writes."""
        region, offset = self.space.find(address, len(data), write=True)
        self._touch(region, offset)
        self.space.write(address, data)

    def _map_lookup(self, the_map: int, key: int) -> int:
        found = self._map(the_map)
        value = found.value(self._argument(key, found.key_size), self.cpu)
        return 0 if value is None else self._value_address(found, value)

    def _map_update(self, the_map: int, key: int, value: int, flags: int) -> int:
        found = self._map(the_map)
        return found.update(self._argument(key, found.key_size), self._argument(value, found.value_size), flags,
                            self.cpu)

    def _map_delete(self, the_map: int, key: int) -> int:
        found = self._map(the_map)
        return found.delete(self._argument(key, found.key_size))

    def _ktime_get_ns(self) -> int:
        self._time += 1000
        return self.clock() if self.clock is not None else self._time

    def _ktime_get_boot_ns(self) -> int:
        return self._ktime_get_ns()

    def _get_prandom_u32(self) -> int:
        return self.random.getrandbits(32)

    def _get_smp_processor_id(self) -> int:
        return self.cpu

    def _get_current_pid_tgid(self) -> int:
        return self.pid_tgid

    def _get_attach_cookie(self, context: int) -> int:
        self.space.find(context, 8, write=False)
        return self.cookie

    def _tail_call(self, context: int, the_map: int, index: int) -> int:
        found = self._map(the_map)
        code = found.programs.get(index & M32) if isinstance(found, ProgramArrayMap) else None
        if len(self._frames) > 1:
            raise Fault("tail calls of subprograms are not emulated")
        if code is None or self._tail_calls > MAX_TAIL_CALLS:
            return -ENOENT
        raise _TailCall(code)

    def _send_signal(self, number: int) -> int:
        self.signals.append(number & M32)
        return 0

    def _probe_read_user(self, destination: int, size: int, source: int) -> int:
        size &= M32
        data = self.memory.read(source, size)
        self._result(destination, bytes(size) if data is None else data)
        return -EFAULT if data is None else 0

    def _probe_read_kernel(self, destination: int, size: int, source: int) -> int:
        """Memory of maps and stacks is all the kernel memory that there is."""
        size &= M32
        try:
            data = self.space.read(source, size)
        except Fault:
            data = None
        self._result(destination, bytes(size) if data is None else data)
        return -EFAULT if data is None else 0

    def _probe_read_kernel_str(self, destination: int, size: int, source: int) -> int:
        size &= M32
        if size == 0:
            return 0
        out = bytearray()
        try:
            while len(out) < size - 1 and (byte := self.space.read(source + len(out), 1)) != b"\0":
                out += byte
        except Fault:
            self._result(destination, bytes(size))
            return -EFAULT
        self._result(destination, bytes(out) + b"\0")
        return len(out) + 1

    def _get_current_comm(self, destination: int, size: int) -> int:
        self._result(destination, self.comm[: size - 1].ljust(size, b"\0"))
        return 0

    def _get_ns_current_pid_tgid(self, device: int, inode: int, destination: int, size: int) -> int:
        """struct bpf_pidns_info: u32 pid of the thread, u32 tgid; numbers of the one other namespace are 1000 less."""
        if size != 8:
            return -EINVAL
        if (device, inode) != self.pid_namespace:
            self._result(destination, bytes(8))
            return -EINVAL
        pids = (self.pid_tgid & M32) - 1000, (self.pid_tgid >> 32) - 1000
        self._result(destination, b"".join(pid.to_bytes(4, "little") for pid in pids))
        return 0

    def _map_lookup_percpu(self, the_map: int, key: int, cpu: int) -> int:
        found = self._map(the_map)
        if cpu & M32 >= self.cpus:
            return 0
        value = found.value(self._argument(key, found.key_size), cpu & M32)
        return 0 if value is None else self._value_address(found, value)

    def _probe_read_user_str(self, destination: int, size: int, source: int) -> int:
        """Length with the zero byte; strncpy_from_user_nofault."""
        size, out = size & M32, bytearray()
        if size == 0:
            return 0
        while len(out) < size - 1:
            byte = self.memory.read(source + len(out), 1)
            if byte is None:
                self._result(destination, bytes(size))
                return -EFAULT
            if byte == b"\0":
                break
            out += byte
        self._result(destination, bytes(out) + b"\0")
        return len(out) + 1

    def _ring(self, address: int) -> RingMap:
        ring = self._map(address)
        if not isinstance(ring, RingMap):
            raise Fault("R1 is not a ring buffer")
        return ring

    def _ringbuf_output(self, ring: int, data: int, size: int, flags: int) -> int:
        found, record = self._ring(ring), self._argument(data, size)
        if flags & ~3:
            return -EINVAL
        if not found.take(size):
            return -EAGAIN
        found.records.append(record)
        found.flags.append(flags)
        return 0

    def _ringbuf_reserve(self, ring: int, size: int, flags: int) -> int:
        found = self._ring(ring)
        if flags or not found.take(size):
            return 0
        region = Region("ring reservation", bytearray(size))
        address = self.space.add(region)
        self._reserved[address] = found, region
        return address

    def _give_back(self, address: int) -> tuple[RingMap, Region]:
        try:
            ring, region = self._reserved.pop(address)
        except KeyError:
            raise Fault(f"R1 is {address:#x}, not a ring reservation") from None
        region.alive = False
        return ring, region

    def _ringbuf_submit(self, record: int, flags: int) -> int:
        ring, region = self._give_back(record)
        ring.records.append(bytes(region.data))
        return 0

    def _ringbuf_discard(self, record: int, flags: int) -> int:
        self._give_back(record)
        return 0

    def _ringbuf_query(self, ring: int, what: int) -> int:
        found = self._ring(ring)
        return {0: found.used, 1: found.size}.get(what, 0)

    def _loop(self, count: int, callback: int, context: int, flags: int) -> int:
        count &= M32
        if flags:
            return -EINVAL
        if count > MAX_LOOPS:
            return -E2BIG
        if callback >> 32 != _FUNCTION >> 32:
            raise Fault("R2 is not a subprogram")
        for index in range(count):
            result = self._function(callback - _FUNCTION, [None, index, context, None, None, None])
            if result not in (0, 1):
                raise Fault(f"the callback returned {result}, 0 or 1 expected")
            if result:
                return index + 1
        return count


_FUNCTION = 0xFFFF7FFF << 32


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _byte_order(value: int, one: Instruction, bits: int) -> int:
    size = one.imm // 8
    value &= (1 << one.imm) - 1
    swap = bits == 64 or one.opcode & isa.REG
    return int.from_bytes(value.to_bytes(size, "little"), "big") if swap else value


def _sdiv(left: int, right: int, bits: int) -> int:
    a, b = _signed(left, bits), _signed(right, bits)
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _smod(left: int, right: int, bits: int) -> int:
    a, b = _signed(left, bits), _signed(right, bits)
    return a if b == 0 else abs(a) % abs(b) * (-1 if a < 0 else 1)


#: (operation, signed) → f(left, right, bits), operands already cut to their width.
_ALU: dict[tuple[int, bool], Callable[[int, int, int], int]] = {
    (Alu.ADD, False): lambda a, b, _: a + b,
    (Alu.SUB, False): lambda a, b, _: a - b,
    (Alu.MUL, False): lambda a, b, _: a * b,
    (Alu.DIV, False): lambda a, b, _: a // b if b else 0,
    (Alu.MOD, False): lambda a, b, _: a % b if b else a,
    (Alu.DIV, True): _sdiv,
    (Alu.MOD, True): _smod,
    (Alu.OR, False): lambda a, b, _: a | b,
    (Alu.AND, False): lambda a, b, _: a & b,
    (Alu.XOR, False): lambda a, b, _: a ^ b,
    (Alu.LSH, False): lambda a, b, _: a << b,
    (Alu.RSH, False): lambda a, b, _: a >> b,
    (Alu.ARSH, False): lambda a, b, bits: _signed(a, bits) >> b,
}

#: Operation → f(left, right), operands already cut to their width and sign.
_JUMPS: dict[int, Callable[[int, int], bool]] = {
    Jump.JEQ: lambda a, b: a == b,
    Jump.JNE: lambda a, b: a != b,
    Jump.JGT: lambda a, b: a > b,
    Jump.JGE: lambda a, b: a >= b,
    Jump.JLT: lambda a, b: a < b,
    Jump.JLE: lambda a, b: a <= b,
    Jump.JSET: lambda a, b: bool(a & b),
    Jump.JSGT: lambda a, b: a > b,
    Jump.JSGE: lambda a, b: a >= b,
    Jump.JSLT: lambda a, b: a < b,
    Jump.JSLE: lambda a, b: a <= b,
}
