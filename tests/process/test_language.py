"""Languages of processes that are not Go: of real runtimes where the machine has them, else by their known names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gotap.process.language import language_of, needs_mappings
from gotap.process.proc import Process
from gotap.process.reading import read_surroundings
from processes import eventually, python, running


def language(pid: int) -> tuple[str | None, str]:
    with Process(pid) as process:
        found = read_surroundings(process)
    return found.language, found.evidence["language"]


def test_python_also_when_it_is_renamed(tmp_path: Path) -> None:
    with python("print(flush=True); input()") as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert language(child.pid)[0] == "python"
    link = tmp_path / "worker"
    link.symlink_to(sys.executable)  # the kernel tells the file behind it
    with running(str(link), "-c", "print(flush=True); input()") as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert language(child.pid)[0] == "python"


def test_script_is_told_by_its_interpreter(tmp_path: Path) -> None:
    script = tmp_path / "app.py"
    script.write_text(f"#!{sys.executable}\nprint(flush=True)\ninput()\n")
    script.chmod(0o755)
    with running(str(script)) as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert language(child.pid)[0] == "python"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed (Debian package nodejs)")
def test_node() -> None:
    with running("node", "-e", "console.log('ready'); setInterval(() => 0, 1000)") as child:
        child.stdout.readline()  # type: ignore[union-attr]
        assert language(child.pid)[0] == "nodejs"


@pytest.mark.skipif(shutil.which("java") is None, reason="java is not installed (Debian package default-jre-headless)")
def test_java_by_the_library_of_its_machine(tmp_path: Path) -> None:
    """Whatever started it: the launcher is a small C program, and others load the machine as well."""
    options = tmp_path / "options"
    os.mkfifo(options)  # the machine waits for somebody to write to it
    with running("java", f"-XX:VMOptionsFile={options}", "-version", stderr=subprocess.DEVNULL) as child:
        found = eventually(lambda: _mapped(child.pid, "libjvm.so") and language(child.pid), "the machine")
    assert found == ("java", "libjvm.so is mapped")


def _mapped(pid: int, name: str) -> bool:
    return name in Path(f"/proc/{pid}/maps").read_text()


def maps(path: str) -> bytes:
    return (
        b"7f0000000000-7f0000001000 r--p 00000000 08:01 11 /lib/x86_64-linux-gnu/libc.so.6\n"
        b"7f1000000000-7f1000001000 r-xp 00000000 08:01 12 " + path.encode() + b"\n"
        b"7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0 [stack]\n"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/usr/lib/jvm/java-17/lib/server/libjvm.so", "java"),
        ("/usr/share/dotnet/shared/Microsoft.NETCore.App/8.0.1/libcoreclr.so", "dotnet"),
        ("/usr/lib/libmonosgen-2.0.so.1.0.0", "dotnet"),
        ("/usr/lib/x86_64-linux-gnu/libpython3.11.so.1.0", "python"),
        ("/usr/lib/libpython3.7m.so.1.0 (deleted)", "python"),
        ("/usr/lib/x86_64-linux-gnu/libruby-3.1.so.3.1.2", "ruby"),
        ("/usr/lib/x86_64-linux-gnu/libnode.so.108", "nodejs"),
        ("/usr/lib/apache2/modules/libphp8.2.so", "php"),
        ("/usr/lib/libpythonic-helper.so", "c/c++"),
        ("/opt/libjvm.so.backup/x.so", "c/c++"),
    ],
)
def test_runtime_that_a_c_program_has_loaded(path: str, expected: str) -> None:
    assert language_of("c/c++", "/opt/app", ("app",), maps(path))[0] == expected


@pytest.mark.parametrize(
    ("exe", "command", "expected"),
    [
        ("/usr/bin/php-fpm8.2", ("php-fpm: master",), "php"),
        ("/usr/bin/ruby3.1", ("ruby", "app.rb"), "ruby"),
        ("/usr/local/bin/node", ("node", "server.js"), "nodejs"),
        ("/usr/bin/python3.12", ("python3", "-m", "http.server"), "python"),
        ("/usr/bin/dotnet", ("dotnet", "app.dll"), "dotnet"),
        ("/opt/jdk/bin/java", ("java", "-jar", "app.jar"), "java"),
        ("/opt/own-runtime", ("own-runtime", "app.py"), "python"),
        ("/usr/bin/vim", ("vim", "-c", "x"), "generic"),
        ("/usr/bin/nodeinfo", ("nodeinfo",), "generic"),
    ],
)
def test_names_and_scripts_where_the_file_was_not_read(exe: str, command: tuple[str, ...], expected: str) -> None:
    assert language_of(None, exe, command)[0] == expected


@pytest.mark.parametrize("decided", ["go", "java", "python", "nodejs"])
def test_content_that_decides_outweighs_all_else(decided: str) -> None:
    found = language_of(decided, "/usr/bin/ruby", ("ruby", "x.rb"), maps("/usr/lib/libruby.so"))
    assert found[0] == decided
    assert not needs_mappings(decided)


def test_editor_that_was_given_a_script_is_not_its_language() -> None:
    assert language_of("c/c++", "/usr/bin/vim", ("vim", "app.py"))[0] == "c/c++"
    assert language_of("rust", "/usr/bin/ruff", ("ruff", "app.py"))[0] == "rust"


def test_evidence_names_the_script() -> None:
    assert language_of(None, "/usr/bin/python3", ("python3", "-u", "app.py"))[1].endswith("runs app.py")
    assert os.path.basename(sys.executable).startswith("python")
