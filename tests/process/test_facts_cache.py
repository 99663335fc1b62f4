"""The cache of facts: right by key, and harmless whatever is done to its directory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gotap.image.facts.model import Facts, GoFacts, ModuleFacts
from gotap.process import facts_cache
from gotap.process.facts_cache import FileCache, FileKey, default_directory, file_key

FACTS = Facts(
    format="elf",
    os="linux",
    arch="amd64",
    bits=64,
    big_endian=False,
    language="go",
    go=GoFacts(compiler="gc", version="1.26.8", module=ModuleFacts("example.com/x"), settings={"-trimpath": "true"}),
    evidence={"language": "é\n"},
)
KEY = FileKey(1, 2, 3, 4, 5)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[FileCache[Facts]]:
    opened = facts_cache.facts_cache(tmp_path / "gotap")
    assert not opened.refused
    yield opened
    opened.close()


def entries(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def test_what_was_put_is_got_by_the_same_key_alone(cache: FileCache[Facts], tmp_path: Path) -> None:
    assert cache.get(KEY) is None
    cache.put(KEY, FACTS)
    assert cache.get(KEY) == FACTS
    for field in KEY._fields:
        assert cache.get(KEY._replace(**{field: 99})) is None
    again = facts_cache.facts_cache(tmp_path / "gotap")
    assert again.get(KEY) == FACTS
    again.close()


def test_other_types_and_other_code_have_entries_of_their_own(cache: FileCache[Facts], tmp_path: Path) -> None:
    cache.put(KEY, FACTS)
    other = FileCache(Facts, "facts", ("image", "process"), tmp_path / "gotap")
    assert other.get(KEY) is None
    other.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "text", "huge", "link", "directory", "pipe"])
def test_damaged_entry_is_read_again(cache: FileCache[Facts], tmp_path: Path, damage: str) -> None:
    cache.put(KEY, FACTS)
    (entry,) = entries(tmp_path)
    content = entry.read_bytes()
    entry.unlink()
    if damage == "flip":
        at = content.index(b"1.26.8")
        entry.write_bytes(content[:at] + b"9" + content[at + 1 :])
    elif damage == "link":
        (tmp_path / "real").write_bytes(content)
        entry.symlink_to(tmp_path / "real")
    elif damage == "directory":
        entry.mkdir()
    elif damage == "pipe":
        os.mkfifo(entry)
    else:
        damaged = {"cut": content[:-5], "empty": b"", "text": b"hello", "huge": content + bytes(2 << 20)}
        entry.write_bytes(damaged[damage])
    assert cache.get(KEY) is None
    if damage != "directory":
        cache.put(KEY, FACTS)
        assert cache.get(KEY) == FACTS


def test_directory_that_others_may_write_to_is_not_trusted(tmp_path: Path) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    refused = facts_cache.facts_cache(directory)
    assert "others" in refused.refused
    refused.put(KEY, FACTS)
    assert refused.get(KEY) is None
    assert not entries(directory)
    refused.close()


def test_link_to_a_directory_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    assert facts_cache.facts_cache(tmp_path / "link").refused


@pytest.mark.root
def test_what_another_user_owns_is_not_trusted(cache: FileCache[Facts], tmp_path: Path) -> None:
    cache.put(KEY, FACTS)
    (entry,) = entries(tmp_path)
    os.chown(entry, 65534, 65534)
    assert cache.get(KEY) is None
    os.chown(entry, 0, 0)
    entry.chmod(0o666)
    assert cache.get(KEY) is None
    os.chown(tmp_path / "gotap", 65534, 65534)
    assert facts_cache.facts_cache(tmp_path / "gotap").refused


def test_where_nothing_can_be_written_things_work_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    off = facts_cache.facts_cache(tmp_path / "file/gotap")
    assert off.refused
    assert off.look_up(tmp_path / "file", lambda: FACTS) == FACTS


def test_look_up_reads_once(cache: FileCache[Facts], tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"x")
    settle(program)
    read: list[int] = []

    def reader() -> Facts:
        read.append(1)
        return FACTS

    assert cache.look_up(program, reader) == cache.look_up(program, reader) == FACTS
    assert len(read) == 1
    program.write_bytes(b"y")
    os.utime(program, ns=(0, 0))  # a forged time: ctime tells
    assert cache.look_up(program, reader) == FACTS
    assert len(read) == 2


def test_file_that_changes_while_it_is_read_is_not_kept(cache: FileCache[Facts], tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"x")
    settle(program)

    def reader() -> Facts:
        program.write_bytes(b"longer")
        return FACTS

    cache.look_up(program, reader)
    assert not entries(tmp_path / "gotap")


def test_file_that_changed_a_moment_ago_is_not_kept(cache: FileCache[Facts]) -> None:
    cache.put(KEY._replace(changed=time.time_ns()), FACTS)
    assert cache.get(KEY._replace(changed=time.time_ns())) is None


def settle(path: Path) -> None:
    """Waits until its time of change is long enough ago for the cache."""
    while time.time_ns() - file_key(path).changed < 2 * facts_cache._TOO_FRESH_NS:
        os.sched_yield()


def test_too_large_a_value_is_not_kept(cache: FileCache[Facts]) -> None:
    cache.put(KEY, Facts(format="elf", os=None, arch=None, bits=None, big_endian=None, language="x" * (2 << 20)))
    assert cache.get(KEY) is None


def test_number_of_entries_is_bounded_and_abandoned_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts_cache, "_MAX_ENTRIES", 8)
    directory = tmp_path / "gotap"
    first = facts_cache.facts_cache(directory)
    for number in range(20):
        first.put(KEY._replace(inode=number), FACTS)
    first.close()
    left = directory / "tmp-1-abandoned"
    left.write_text("")
    os.utime(left, (0, 0))
    second = facts_cache.facts_cache(directory)
    second.put(KEY._replace(inode=99), FACTS)
    assert len(entries(directory)) <= 8
    assert not left.exists()
    assert second.get(KEY._replace(inode=99)) == FACTS
    second.close()


def test_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_directory() == tmp_path / "gotap"  # root's own, or the user's
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/users/somebody")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_directory() == Path("/var/cache/gotap")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_directory() == Path("/users/somebody/.cache/gotap")
    monkeypatch.setenv("XDG_CACHE_HOME", "/users/somebody/c")
    assert default_directory() == Path("/users/somebody/c/gotap")
