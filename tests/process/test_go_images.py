"""Every Go image of a process, in real ones: plugins, libraries in C programs, code without a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from gobuild import ALL, NEWEST, OLDEST, MissingTool, build, every_version, go_tool
from gotap.image.image import Image
from gotap.process.modules import NEXT
from gotap.process.proc import Process
from gotap.process.reading import read_surroundings
from gotap.process.surroundings import MappedImage, Surroundings
from processes import running

HOST = """
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    int (*answer)(void) = library ? (int (*)(void))dlsym(library, "GoAnswer") : 0;
    printf("%d\\n", answer ? answer() : -1);
    fflush(stdout);
    return getchar();
}
"""


def look(pid: int) -> Surroundings:
    with Process(pid) as process:
        return read_surroundings(process)


def only(surroundings: Surroundings, role: str) -> MappedImage:
    (image,) = (image for image in surroundings.images if image.role == role)
    return image


def mapped_at(pid: int, path: Path) -> int:
    """The address of the file's first page, as the kernel tells it."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return min(int(line.split("-")[0], 16) for line in lines if line.endswith(str(path)))


def next_word(program: Path) -> int:
    """Index of moduledata's last word, by DWARF."""
    with program.open("rb") as file:
        for unit in ELFFile(file).get_dwarf_info().iter_CUs():
            for entry in unit.iter_DIEs():
                if entry.tag != "DW_TAG_structure_type":
                    continue
                name = entry.attributes.get("DW_AT_name")
                if name is not None and name.value == b"runtime.moduledata":
                    members = {m.attributes["DW_AT_name"].value: m for m in entry.iter_children()}
                    return int(members[b"next"].attributes["DW_AT_data_member_location"].value) // 8
    raise AssertionError("no runtime.moduledata in the DWARF")


@pytest.mark.parametrize("go", every_version())
def test_position_of_next_is_that_of_dwarf(go: str) -> None:
    known = {tuple(map(int, since.split("."))): word for since, word in NEXT.items()}
    release = tuple(map(int, go.split(".")[:2]))
    assert known[max(since for since in known if since <= release)] == next_word(build("hello", go))


@pytest.mark.parametrize("go", every_version())
def test_plugin_is_seen_once_it_is_loaded(go: str) -> None:
    host, plugin = build("pluginhost", go), build("pluginpart", go, flags=("-buildmode=plugin",))
    with running(str(host)) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        before = look(child.pid)
        assert before.plugin_loaded is False
        assert [image.role for image in before.images] == ["exe"]
        assert before.images[0].version == go
        print(plugin, file=child.stdin, flush=True)
        assert child.stdout.readline() == "42\n"
        after = look(child.pid)
        assert after.plugin_loaded is True
        assert str(plugin) in after.evidence["plugin_loaded"]
        image = only(after, "plugin")
        assert (image.path, image.version) == (str(plugin), go)
        assert image.bias == mapped_at(child.pid, plugin)


def test_plugin_whose_file_is_gone_is_still_told(tmp_path: Path) -> None:
    host = build("pluginhost")
    plugin = tmp_path / "part.so"
    plugin.write_bytes(build("pluginpart", flags=("-buildmode=plugin",)).read_bytes())
    with running(str(host)) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        print(plugin, file=child.stdin, flush=True)
        assert child.stdout.readline() == "42\n"
        plugin.unlink()
        assert look(child.pid).plugin_loaded is True


@pytest.mark.parametrize("go", [OLDEST, NEWEST])
def test_go_library_in_a_c_program(tmp_path: Path, go: str) -> None:
    library = build("cshared", go, flags=("-buildmode=c-shared",))
    source, program = tmp_path / "host.c", tmp_path / "host"
    source.write_text(HOST)
    subprocess.check_call(["gcc", "-o", program, source, "-ldl"])
    with running(str(program), str(library)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "42\n"
        found = look(child.pid)
        (image,) = found.images
        assert (image.path, image.role, image.version) == (str(library), "c-shared", go)
        assert image.bias == mapped_at(child.pid, library)
        assert found.plugin_loaded is False
        assert found.language == "generic"  # the file was not read here


def test_code_without_a_file_that_is_in_the_chain() -> None:
    version = go_tool("", "env", "GOVERSION").strip().removeprefix("go")
    release = tuple(map(int, version.split(".")[:2]))
    word = NEXT[max((since for since in NEXT if tuple(map(int, since.split("."))) <= release), key=_release)]
    with running(str(build("jitmodule")), str(word)) as child:
        assert child.stdout is not None
        assert int(child.stdout.readline())
        found = look(child.pid)
        assert only(found, "jit") == MappedImage("", "jit")
        assert found.plugin_loaded is False
        assert "1 in memory without a Go file" in found.evidence["plugin_loaded"]


def _release(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def test_program_started_by_the_dynamic_loader_is_an_executable_image_and_the_loader_is_told() -> None:
    program = build("pluginhost")
    interpreter = Image.open(program).elf.interpreter
    if interpreter is None:
        raise MissingTool("gcc is not installed (Debian package gcc)")
    with running(interpreter, str(program)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        found = look(child.pid)
        assert only(found, "exe").path == str(program)
        assert found.exe_replaced is not None
        assert str(program) in found.exe_replaced


def test_every_release_is_known() -> None:
    assert {_release(go)[:2] for go in ALL} >= {_release(since) for since in NEXT}
