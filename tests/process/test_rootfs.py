"""Links within a root directory, by openat2 and by hand; nothing leads outside. The oracle is chroot(2)."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gotap.process.libc_in_root import find_libc
from gotap.process.rootfs import names_in_root, open_in_root, open_regular, walk
from processes import python
from sandbox import refusing

OPENAT2 = 437

Opener = Callable[[int, str], int]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A root directory beside a file that must never be reached, and its descriptor."""
    (tmp_path / "secret").write_text("outside")
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "secret").write_text("inside")
    (root / "a/file").write_text("file")
    for name, target in {
        "absolute": "/a/file",
        "up": "../../../../secret",
        "a/b/up": "../../../../../secret",
        "a/absolute_up": "/../../secret",
        "to_directory": "a/b",
        "chain": "absolute",
        "loop": "loop",
        "mutual": "a/mutual",
        "a/mutual": "../mutual",
        "own_root": "/proc/self/root/secret",
        "dangling": "/nowhere",
        "a/dots": "./b/.././/file",
    }.items():
        (root / name).symlink_to(target)
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    yield root, descriptor
    os.close(descriptor)


def content(opener: Opener, root: int, path: str) -> str:
    found = opener(root, path)
    try:
        return Path(f"/proc/self/fd/{found}").read_text()
    finally:
        os.close(found)


@pytest.mark.parametrize("opener", [open_in_root, walk])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a/file", "file"),
        ("a/file", "file"),
        ("/absolute", "file"),
        ("/chain", "file"),
        ("/up", "inside"),
        ("/a/b/up", "inside"),
        ("/a/absolute_up", "inside"),
        ("/to_directory/../file", "file"),
        ("/../../secret", "inside"),
        ("/a/dots", "file"),
    ],
)
def test_path_means_what_it_means_within(tree: tuple[Path, int], opener: Opener, path: str, expected: str) -> None:
    assert content(opener, tree[1], path) == expected


@pytest.mark.parametrize("opener", [open_in_root, walk])
@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/loop", errno.ELOOP),
        ("/mutual", errno.ELOOP),
        ("/dangling", errno.ENOENT),
        ("/own_root", errno.ENOENT),
        ("/a/file/x", errno.ENOTDIR),
        ("/a/file/..", errno.ENOTDIR),
    ],
)
def test_path_that_leads_nowhere(tree: tuple[Path, int], opener: Opener, path: str, error: int) -> None:
    with pytest.raises(OSError, match=r"\w") as raised:
        os.close(opener(tree[1], path))
    assert raised.value.errno == error


@pytest.mark.root
@pytest.mark.parametrize("opener", [open_in_root, walk])
def test_every_path_is_the_one_of_chroot(tree: tuple[Path, int], opener: Opener) -> None:
    root, descriptor = tree
    paths = [f"/{path.relative_to(root)}" for path in root.rglob("*")] + ["/a/b/../../up", "/to_directory/up", "/."]
    code = (
        "import os, sys\n"
        "os.chroot(sys.argv[1]); os.chdir('/')\n"
        "for path in sys.argv[2:]:\n"
        "    try: print(os.stat(path).st_ino)\n"
        "    except OSError: print(None)\n"
        "sys.stdout.flush()\n"
    )
    with python(code, str(root), *paths) as child:
        told = child.communicate()[0].split()
    assert told == [str(inode(opener, descriptor, path)) for path in paths]


def inode(opener: Opener, root: int, path: str) -> int | None:
    try:
        found = opener(root, path)
    except OSError:
        return None
    try:
        return os.fstat(found).st_ino
    finally:
        os.close(found)


def test_magic_links_are_not_followed(tmp_path: Path) -> None:
    """With the host's own root: /proc is there, and /proc/self/root would be anybody's."""
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    try:
        with pytest.raises(OSError, match=r"\w"):
            os.close(open_in_root(root, f"/proc/self/fd/{root}/etc/passwd"))
        os.close(walk(root, "/proc/self/root/etc/passwd"))  # by its text, `/`, as within
    finally:
        os.close(root)


def test_pipe_and_directory_are_refused_without_waiting(tree: tuple[Path, int]) -> None:
    root, descriptor = tree
    os.mkfifo(root / "pipe")
    for path in ("/pipe", "/a"):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(descriptor, path)
    assert names_in_root(descriptor, "/a") == sorted(os.listdir(root / "a"))
    assert names_in_root(descriptor, "/a/file") == []


@pytest.mark.parametrize("error", [errno.ENOSYS, errno.EPERM])
def test_kernel_without_openat2(tree: tuple[Path, int], error: int) -> None:
    code = (
        "import os, sys\n"
        "from gotap.process.rootfs import open_in_root\n"
        "root = os.open(sys.argv[1], os.O_PATH)\n"
        "print(open(f'/proc/self/fd/{open_in_root(root, \"/up\")}').read())\n"
    )
    command = [*refusing(OPENAT2, error), "python3", "-c", code, str(tree[0])]
    assert subprocess.check_output(command, text=True) == "inside\n"


ELF = b"\x7fELF\2\1\1"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("lib/x86_64-linux-gnu/libc.so.6", "glibc"),
        ("lib64/libc.so.6", "glibc"),
        ("usr/lib/aarch64-linux-gnu/libc.so.6", "glibc"),
        ("lib/ld-musl-x86_64.so.1", "musl"),
        ("usr/lib/x86_64-linux-musl/libc.so", "musl"),
    ],
)
def test_libc_is_found_where_distributions_have_it(tmp_path: Path, path: str, kind: str) -> None:
    library = tmp_path / path
    library.parent.mkdir(parents=True)
    library.write_bytes(ELF)
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert find_libc(root) == (f"/{path}", kind)
        library.write_text("GROUP ( /lib64/libc.so.6 )")  # a linker script is no libc
        assert find_libc(root) is None
        library.unlink()
        library.symlink_to("/proc/self/exe")
        assert find_libc(root) is None
    finally:
        os.close(root)


def test_libc_of_the_host_is_not_taken_for_that_of_an_image(tmp_path: Path) -> None:
    """A link that leads to the host's libc when it is followed from outside."""
    host = next(path for path in ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6") if os.path.exists(path))
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64/libc.so.6").symlink_to(host)
    (tmp_path / "lib").symlink_to("/" + "../" * 20 + "lib")
    assert (tmp_path / "lib64/libc.so.6").read_bytes()[:4] == ELF[:4]
    root = os.open(tmp_path, os.O_PATH)
    try:
        assert find_libc(root) is None
    finally:
        os.close(root)
