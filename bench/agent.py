"""What gotap itself costs: CPU per span with OTLP export to a local collector, resident memory, kernel maps."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from bench.command import Gotap, gotap
from bench.measure import Values, verdict
from bench.programs import Load, service

#: Bounds of docs/benchmarks.md: µs of CPU per span, MB resident, MiB of kernel maps.
MOST_CPU, MOST_RESIDENT, MOST_MAPS = 5.0, 60, 8

#: Seconds under load before the memory is told again.
MINUTE = 60.0


@dataclass
class Collector:
    """Answers 200 to everything and counts the spans."""

    address: str = ""
    spans: int = 0
    size: int = 0


@contextmanager
def collector() -> Iterator[Collector]:
    state = Collector()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                data = TracesData.FromString(body)
                state.spans += sum(len(scope.spans) for one in data.resource_spans for scope in one.scope_spans)
                state.size += len(body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass  # gotap ends while a connection is kept

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


def run(arguments: argparse.Namespace) -> None:
    with collector() as sink, service() as target:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.address}
        with gotap("attach", str(target.pid), "--to", "otlp", environment=environment) as agent:
            agent.wait_attached()
            memory("attached", agent)
            sent = 0
            for load in (Load(500), Load(2000), Load(0)):
                sent += measure(agent, target.url("/hello"), load, arguments)
            memory("after these", agent)
            sent += Load(1000).run(target.url("/hello"), MINUTE).requests
            memory("after one more minute", agent)
            said = agent.stop()
        print(
            f"  {sent} requests, {sink.spans} spans at the collector, {sink.size / max(sink.spans, 1):.0f} bytes each"
        )
        print("".join(f"    {line}\n" for line in said.splitlines()), end="")


def measure(agent: Gotap, url: str, load: Load, arguments: argparse.Namespace) -> int:
    """Prints the agent's CPU per span under one load; returns how many requests were sent."""
    costs, requests, spent, seconds = [], 0, 0, 0.0
    for _ in range(arguments.rounds):
        before = agent.cpu()
        done = load.run(url, arguments.seconds)
        spent += (used := agent.cpu() - before)
        costs.append(used / done.requests / 1e3)
        requests += done.requests
        seconds += done.seconds
    values = Values(tuple(costs))
    pace = f"GET /hello, {load}"
    print(
        f"  {pace:<46}{values.text('µs a span'):<32}{spent / seconds / 1e7:4.1f} % of one CPU  "
        f"{verdict(values.median, MOST_CPU, 'µs')}",
        flush=True,
    )
    return requests


def memory(when: str, agent: Gotap) -> None:
    now, most = (value / 1e6 for value in agent.resident())
    maps = agent.map_memory() / (1 << 20)
    print(
        f"  {when:<24}resident {now:.1f} MB ({verdict(now, MOST_RESIDENT, 'MB', 0)}), at most {most:.1f}; "
        f"kernel maps {maps:.1f} MiB ({verdict(maps, MOST_MAPS, 'MiB', 0)})",
        flush=True,
    )
