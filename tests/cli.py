"""gotap as a user types it: a subprocess, its two outputs and its exit code. No traceback may ever be in them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, TracesData

from otlp_json_reader import read_metrics, read_traces
from processes import PATIENCE, eventually

GOTAP = (sys.executable, "-m", "gotap")

#: What says that all probes are in place.
ATTACHED = "gotap: attached to PID "


@dataclass(frozen=True, slots=True)
class Finished:
    """What one gotap came to. `code` is as a shell tells it: 128+n for signal n."""

    code: int
    out: bytes
    err: str

    @property
    def traces(self) -> list[TracesData]:
        return traces_in(self.out)

    @property
    def metrics(self) -> list[MetricsData]:
        return metrics_in(self.out)

    @property
    def spans(self) -> list[Span]:
        return spans_in(self.out)

    @property
    def summary(self) -> Summary:
        return Summary.read(self.err)


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of the summary line; `causes` of drops."""

    spans: int
    errors: int
    dropped: int
    causes: dict[str, int]

    @classmethod
    def read(cls, err: str) -> Summary:
        line = re.search(r"^gotap: ([\d,]+) spans?, ([\d,]+) errors?.*?, ([\d,]+) dropped(?: \((.*?)\))?; attached for "
                         r"\S+", err, re.MULTILINE)  # fmt: skip
        assert line, f"no summary in:\n{err}"
        causes = re.findall(r"(\d[\d,]*) ([^,]+)", line[4] or "")
        return cls(*(number(one) for one in line.group(1, 2, 3)), {cause: number(count) for count, cause in causes})


def number(text: str) -> int:
    return int(text.replace(",", ""))


class Gotap:
    """A running gotap; its outputs go to files, so that it never waits for this test to read."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> bytes:
        return self._out.read_bytes()

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Waits until stderr holds the text; fails at once if gotap ended without it."""

        def look() -> bool:
            ended = self.process.poll() is not None
            if text in self.err:
                return True
            assert not ended, f"exit code {self.process.returncode} without {text!r}:\n{self.err}"
            return False

        eventually(look, f"{text!r} on stderr")

    def attached(self) -> Gotap:
        self.wait_for(ATTACHED)
        return self

    def wait_for_spans(self, count: int) -> None:
        eventually(lambda: len(spans_in(self.out)) >= count, f"{count} spans on stdout, of {self.err}")

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self, number: signal.Signals | None = None, timeout: float = PATIENCE) -> Finished:
        """Sends a signal, if one is named, and waits for the end."""
        if number is not None:
            self.send(number)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"gotap is still there after {timeout} s:\n{self.err}") from None
        return _finished(code, self.out, self.err)


@contextmanager
def started(
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    prefix: Sequence[str] = (),
    stdout: int | None = None,
    **options: Any,
) -> Iterator[Gotap]:
    """Starts `gotap ARGUMENTS…`; killed at the end if it is still there, with what `run` has started and left.

    `environment` is added to one without OTEL_*; `prefix` is a command that executes gotap; `stdout` a descriptor to
    take instead of a file.
    """
    with tempfile.TemporaryDirectory(prefix="gotap-cli-") as directory:
        out, err = Path(directory, "out"), Path(directory, "err")
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [*prefix, *GOTAP, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out_file if stdout is None else stdout,
                stderr=err_file,
                env=clean_environment(environment),
                start_new_session=True,
                **options,
            )
        try:
            yield Gotap(process, out, err)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def gotap(*arguments: str, timeout: float = PATIENCE, **options: Any) -> Finished:
    """Runs `gotap ARGUMENTS…` to its end; options as for `started`."""
    with started(*arguments, **options) as running:
        return running.finish(timeout=timeout)


def _finished(code: int, out: bytes, err: str) -> Finished:
    for text in (err, out.decode(errors="replace")):
        assert "Traceback (most recent call last)" not in text, text
        assert "Exception ignored" not in text, text
    return Finished(128 - code if code < 0 else code, out, err)


def clean_environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without OTEL_*, and with `added`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**kept, **(added or {})}


# OTLP/JSON lines, read by protobuf's own parser


def traces_in(lines: bytes) -> list[TracesData]:
    return [read_traces(line) for line in whole_lines(lines) if line.startswith(b'{"resourceSpans"')]


def metrics_in(lines: bytes) -> list[MetricsData]:
    return [read_metrics(line) for line in whole_lines(lines) if line.startswith(b'{"resourceMetrics"')]


def whole_lines(text: bytes) -> list[bytes]:
    """Without the one that is being written."""
    return text.split(b"\n")[:-1]


def resource_spans(lines: bytes) -> list[ResourceSpans]:
    return [one for data in traces_in(lines) for one in data.resource_spans]


def spans_in(lines: bytes) -> list[Span]:
    return [span for one in resource_spans(lines) for scope in one.scope_spans for span in scope.spans]


def attributes(pairs: Sequence[KeyValue]) -> dict[str, Any]:
    return {pair.key: _plain(pair.value) for pair in pairs}


def _plain(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None


def measured(lines: bytes, name: str) -> int:
    """How many operations the last collection of a cumulative histogram has counted."""
    last = 0
    for data in metrics_in(lines):
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                points = [metric.histogram.data_points for metric in scope.metrics if metric.name == name]
                if points:
                    last = sum(point.count for one in points for point in one)
    return last


# Targets


def text_is_original(pid: int) -> bool:
    """Whether the process's code is, byte for byte, what its executable holds: no breakpoint, no jump is left."""
    executable = os.path.realpath(f"/proc/{pid}/exe")
    with open(f"/proc/{pid}/exe", "rb") as file:
        content = file.read()
    compared = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            fields = line.split()
            if "x" not in fields[1] or fields[-1] != executable:
                continue
            start, end = (int(one, 16) for one in fields[0].split("-"))
            offset = int(fields[2], 16)
            part = content[offset : offset + end - start]
            memory.seek(start)
            compared += len(part)
            if memory.read(len(part)) != part:
                return False
    assert compared, f"{executable} has no code in process {pid}"
    return True
