"""Content-addressed folders under gotap's cache: what is there is complete, and never changes.

The go command's index of a package's folder is keyed by names, sizes and times of its files, not by their content
(modindex.dirHash, Go 1.21 to 1.27): so a file's time derives from its content, and lies in the past, since what is
younger than two seconds is not indexed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gotap.weave.errors import CacheError

#: 2001-09-09; what is added is less than 16 years.
_EPOCH, _SPAN = 1_000_000_000, 500_000_000

#: Nothing takes as long to make, in seconds.
_ABANDONED = 3600


def cache_folder() -> Path:
    """$GOTAP_CACHE, or the folder `gotap` of the user's caches. Raises CacheError."""
    if own := os.environ.get("GOTAP_CACHE"):
        if not os.path.isabs(own):  # go refuses such a GOCACHE, too: each directory would have a cache of its own
            raise CacheError(f"GOTAP_CACHE is {own}, which is no absolute path", "set it to an absolute path")
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # such paths are to be ignored (XDG Base Directory Specification 0.8)
        base = os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "gotap"


def digest(*parts: bytes | str) -> str:
    """Of all parts and of where one ends."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.hexdigest()


def made(folder: Path, make: Callable[[Path], None]) -> Path:
    """The folder, which `make` fills if it is not there: elsewhere first, so that nobody sees a half.

    Raises CacheError. Others may make the same at the same time: the first one's is taken.
    """
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _clear(folder.parent)
        fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _unusable(folder, error) from None
    try:
        make(fresh)
        fresh.chmod(0o755)
        with contextlib.suppress(OSError):
            fresh.rename(folder)
        if not folder.is_dir():
            raise CacheError(f"{folder} cannot be made: something else is there", f"remove {folder}")
    except OSError as error:
        raise _unusable(folder, error) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _clear(folder: Path) -> None:
    """Removes what those have left there who were killed while they made something."""
    with os.scandir(folder) as entries:
        left = [one.path for one in entries if one.name.startswith(".")]
    for path in left:
        with contextlib.suppress(OSError):
            if time.time() - os.stat(path).st_mtime > _ABANDONED:
                shutil.rmtree(path)


def write(path: Path, content: bytes) -> None:
    """A file whose time tells its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    told = _EPOCH + int(hashlib.sha256(content).hexdigest()[:12], 16) % _SPAN
    os.utime(path, (told, told))


def _unusable(folder: Path, error: OSError) -> CacheError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "make room there" if full else "make it writable"
    return CacheError(
        f"gotap's cache {folder.parent} cannot be written: {error.strerror}",
        f"{remedy}, or set GOTAP_CACHE to another folder",
    )
