"""JSON lines into real files and pipes, with real reasons to fail: RLIMIT_FSIZE, /dev/full, a closed reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gotap.sinks.json_lines import JsonLines
from gotap.sinks.stream import OutputFailed
from metric_samples import histograms
from otlp_json_reader import read_metrics, read_traces
from span_samples import random_spans


def spans_in(lines: list[bytes]) -> int:
    return sum(len(read_traces(line).resource_spans[0].scope_spans[0].spans) for line in lines)


class TestFile:
    def test_a_line_a_batch(self, tmp_path: Path) -> None:
        path = tmp_path / "out.jsonl"
        sink = JsonLines.file(str(path))
        sink.export(random_spans(1, 20))
        sink.export(random_spans(2, 20, sampled=0.0))
        sink.export_metrics(histograms(1))
        sink.export_metrics([])
        sink.export(random_spans(3, 5))
        sink.close(1.0)
        sink.close(1.0)
        first, second, third = path.read_bytes().splitlines()
        assert spans_in([first, third]) == 25 == sink.written
        assert len(read_metrics(second).resource_metrics) == 2
        assert sink.lost == 0

    def test_appends_and_ends_a_torn_line(self, tmp_path: Path) -> None:
        path = tmp_path / "out.jsonl"
        path.write_bytes(b'{"whole":1}\n{"torn')
        sink = JsonLines.file(str(path))
        sink.export(random_spans(1, 2))
        sink.close(1.0)
        whole, torn, ours = path.read_bytes().splitlines()
        assert (whole, torn) == (b'{"whole":1}', b'{"torn')
        assert spans_in([ours]) == 2

    def test_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(OutputFailed, match="No such file or directory") as caught:
            JsonLines.file(str(tmp_path / "missing" / "out.jsonl"))
        assert "--to" in caught.value.remedy
        with pytest.raises(OutputFailed, match="Is a directory"):
            JsonLines.file(str(tmp_path))

    def test_disk_full(self) -> None:
        sink = JsonLines(os.open("/dev/full", os.O_WRONLY), "out.jsonl", owned=True)
        with pytest.raises(OutputFailed, match=r"no room left to write out\.jsonl: No space left on device") as caught:
            sink.export(random_spans(1, 20))
        assert caught.value.remedy
        sink.export(random_spans(1, 7))  # told once only
        sink.close(1.0)
        assert (sink.written, sink.lost) == (0, 27)

    @pytest.mark.parametrize("redirected", [False, True])
    def test_disk_full_leaves_whole_lines_and_loses_nothing_once_there_is_room(
        self, tmp_path: Path, redirected: bool
    ) -> None:
        """RLIMIT_FSIZE makes a write succeed in part and the next one fail, as a full disk does."""
        done = subprocess.run(
            [sys.executable, "-c", FULL_THEN_ROOM, str(tmp_path / "out.jsonl"), str(int(redirected))],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        report = json.loads(done.stdout)
        assert report["whole lines while full"] == 1
        assert report["ends with newline while full"]
        assert report["spans in the end"] == report["written"] == 60
        assert report["lost"] == 0


FULL_THEN_ROOM = """
import json, os, pathlib, resource, signal, sys
from span_samples import random_spans
from otlp_json_reader import read_traces
from gotap.sinks.json_lines import JsonLines
from gotap.sinks.stream import OutputFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = pathlib.Path(sys.argv[1])
if int(sys.argv[2]):  # as a shell's > opens it: not for appending
    sink = JsonLines(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "stdout")
else:
    sink = JsonLines.file(str(path))
sink.export(random_spans(1, 20))
limit = path.stat().st_size + 100
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    sink.export(random_spans(2, 20))
    raise SystemExit("no failure")
except OutputFailed:
    pass
sink.export(random_spans(3, 20))
full = path.read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
sink.close(1.0)
lines = path.read_bytes().splitlines()
print(json.dumps({
    "whole lines while full": full.count(b"\\n"),
    "ends with newline while full": full.endswith(b"\\n"),
    "spans in the end": sum(len(read_traces(one).resource_spans[0].scope_spans[0].spans) for one in lines),
    "written": sink.written,
    "lost": sink.lost,
}))
"""


class TestPipe:
    def test_closed_by_its_reader(self) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        sink = JsonLines(writer, "stdout")
        with pytest.raises(OutputFailed, match="stdout was closed by its reader"):
            sink.export(random_spans(1, 3))
        sink.close(1.0)
        assert sink.lost == 3
        os.close(writer)  # it was not the sink's to close

    def test_non_blocking_and_slowly_read(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        sink = JsonLines(writer, "stdout")

        def write() -> None:
            for seed in range(4):
                sink.export(random_spans(seed, 300))
            os.close(writer)

        thread = threading.Thread(target=write)
        thread.start()
        with os.fdopen(reader, "rb") as stream:
            lines = stream.read().splitlines()
        thread.join()
        assert spans_in(lines) == 1200
