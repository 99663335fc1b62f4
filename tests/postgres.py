"""A PostgreSQL of its own for a test: in a temporary directory, reached by a Unix socket only, gone at the end."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gobuild import MissingTool
from processes import PATIENCE, eventually


@contextmanager
def postgres() -> Iterator[str]:
    """Its data source name, as lib/pq takes it. Raises MissingTool where PostgreSQL cannot be run."""
    programs = _programs()
    with tempfile.TemporaryDirectory(prefix="gotap-postgres-") as directory:
        owner = _owner()
        if owner:
            os.chown(directory, owner["user"], owner["group"])
        data = f"{directory}/data"
        options = {**owner, "cwd": directory, "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        create = [f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"]
        try:
            subprocess.run(create, check=True, timeout=300, stderr=subprocess.DEVNULL, **options)
        except PermissionError as error:
            raise MissingTool(f"PostgreSQL cannot be run by a user other than root: {error}") from None
        serve = [f"{programs}/postgres", "-D", data, "-F", "-k", directory, "-h", ""]
        log = Path(directory, "log")
        with log.open("wb") as errors:
            server = subprocess.Popen(serve, stderr=errors, **options)
        try:
            ready = [f"{programs}/pg_isready", "-q", "-h", directory, "-U", "postgres"]
            eventually(lambda: subprocess.run(ready, **options).returncode == 0, "PostgreSQL")
            yield f"host={directory} user=postgres dbname=postgres sslmode=disable"
            assert server.poll() is None, f"PostgreSQL ended by itself:\n{log.read_text(errors='replace')}"
        finally:
            server.terminate()
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _programs() -> Path:
    """Where initdb is: beside the server, which may be installed outside of PATH."""
    found = [shutil.which("postgres"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres"))]
    for one in found:
        if one and (folder := Path(one).resolve().parent).joinpath("initdb").exists():
            return folder
    raise MissingTool("PostgreSQL's server is not installed (Debian package postgresql)")


def _owner() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: whom it runs as then, its own user if there is one."""
    if os.geteuid():
        return {}
    names = {one.pw_name: one for one in pwd.getpwall()}
    owner = names.get("postgres") or names["nobody"]
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
