"""A small C program to put probes on: it does what it is told, one byte at a time, and answers when it has done it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

SOURCE = r"""
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

/* pushed: an instruction that uprobes emulate; stepped: one they single-step; invalid: no instruction in 64-bit mode */
__asm__(".text\n"
        ".globl pushed\n.type pushed,@function\npushed: push %rbp\n pop %rbp\n ret\n.size pushed,.-pushed\n"
        ".globl stepped\n.type stepped,@function\nstepped: cmp %rax,%rbx\n ret\n.size stepped,.-stepped\n"
        ".globl invalid\n.type invalid,@function\ninvalid: .byte 0x06\n ret\n.size invalid,.-invalid\n");
void pushed(void);
void stepped(void);

static void *thread(void *unused) { pushed(); return unused; }

int main(void) {
    char command;
    pthread_t id;
    write(1, "r", 1);
    while (read(0, &command, 1) == 1) {
        switch (command) {
        case 'm': pushed(); break;
        case 's': stepped(); break;
        case 't': pthread_create(&id, 0, thread, 0); pthread_join(id, 0); break;
        case 'f': if (fork() == 0) { pushed(); _exit(0); } wait(0); break;
        }
        write(1, &command, 1);
    }
    return 0;
}
"""


def build(directory: Path) -> Path:
    """The executable, not position-independent, so that addresses are those of the file."""
    source, executable = directory / "target.c", directory / "target"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-no-pie", "-pthread", "-o", executable, source], check=True)
    return executable


def symbol(executable: Path, name: str) -> tuple[int, int]:
    """(address, file offset), by pyelftools."""
    with executable.open("rb") as file:
        elf = ELFFile(file)
        table = elf.get_section_by_name(".symtab")
        assert isinstance(table, SymbolTableSection)
        found = table.get_symbol_by_name(name)
        assert found
        address = int(found[0]["st_value"])
        (offset,) = elf.address_offsets(address)
    return address, int(offset)


class Target:
    """A running instance; `do` returns when the program has done it."""

    def __init__(self, *command: str | Path) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._answer()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def exe(self) -> str:
        return f"/proc/{self.pid}/exe"

    def _answer(self) -> bytes:
        assert self.process.stdout is not None
        answer = self.process.stdout.read(1)
        assert answer, "the target has ended"
        return answer

    def do(self, commands: str) -> None:
        """m: call `pushed`, t: in a new thread, f: in a forked child, s: call `stepped`."""
        assert self.process.stdin is not None
        for command in commands:
            self.process.stdin.write(command.encode())
            self.process.stdin.flush()
            assert self._answer() == command.encode()

    def text(self, address: int, size: int) -> bytes:
        with open(f"/proc/{self.pid}/mem", "rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(size)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:
        self.close()
