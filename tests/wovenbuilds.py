"""Programs built woven: by gotap's catalogue, or by a rule of the tests' own that puts server spans into net/http."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import gobuild
from cli import GOTAP

#: To be used without the catalogue (GOTAP_LIBRARIES is empty), whose functions would have the same names.
SERVER_RULE = """aspects:
  - id: server
    join-point:
      all-of:
        - import-path: net/http
        - function-body:
            function:
              - receiver: net/http.serverHandler
              - name: ServeHTTP
    advice:
      - inject-declarations:
          imports: {gotaprt: gotaprt}
          template: |-
            //go:noinline
            func gotap_http_server_begin_0(req *Request) *gotaprt.Span {
              _, span := gotaprt.BeginRemote(req.Context(), gotaprt.Server, "woven request", "", "")
              return span
            }
      - prepend-statements:
          template: gotap_own := gotap_http_server_begin_0(req); defer gotap_own.End()
"""


def weave(folder: Path, files: Mapping[str, str], *flags: str, program: str = "", **variables: str) -> Path:
    """Builds a module woven: these files, on top of those of tests/programs/PROGRAM, if one is named. The executable is
    named as the folder; `variables` are the go command's."""
    if program:
        shutil.copytree(gobuild.PROGRAMS / program, folder, dirs_exist_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    built = folder / folder.name
    settings = {**os.environ, "GOFLAGS": "-buildvcs=false", "GOTAP_CACHE": str(folder.parent / "cache"), **variables}
    words = [*GOTAP, "go", "build", *flags, "-o", str(built), "."]
    done = subprocess.run(words, cwd=folder, env=settings, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return built
