"""For `traceid` and `spanid`: the server operation of net/http is watched too, and its open requests are looked up."""

from __future__ import annotations

from types import TracebackType

from gotap.bpf.codegen.target import scoping
from gotap.bpf.codegen.tracing import Sampling
from gotap.bpf.machine import Executable, Machine
from gotap.errors import GotapError
from gotap.image.function_code import SitesFor
from gotap.image.image import Image
from gotap.observe.tracing.tracer import OpenServers
from gotap.observe.watch import Attachment, Watcher
from gotap.probe.binding import Binding, bind
from gotap.probe.catalogue import libraries, runtime
from gotap.probe.sources import types_of

_SERVER = "http.server"


class NoServer(GotapError):
    """A script that asks for trace ids, of a program that serves no requests."""


class Servers:
    """Watches the requests that one process serves, for as long as a script looks them up. Its records are dropped."""

    def __init__(self, image: Image, machine: Machine, sites_for: SitesFor) -> None:
        """`machine`: what the script runs on as well. Raises NoServer."""
        self._binding = _server_alone(image, sites_for)
        self._watcher = Watcher(machine, Sampling())
        self._attachment: Attachment | None = None

    def attach(self, executable: Executable) -> None:
        """Probes in place; those of an earlier program are gone."""
        if self._attachment is not None:
            self._watcher.detach(self._attachment)
        self._attachment = self._watcher.attach(executable, self._binding)

    def open(self) -> OpenServers:
        """Where the requests that are being served can be found."""
        assert self._attachment is not None
        actions = [probe.action for one in self._binding.bound for probe in one.probes]
        return OpenServers(self._watcher.maps, self._attachment.number, scoping(actions))

    def drop(self) -> None:
        """Makes room for the records of requests to come."""
        for _ in self._watcher.records():
            pass

    def __enter__(self) -> Servers:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
                 ) -> None:  # fmt: skip
        self._watcher.close()


def _server_alone(image: Image, sites_for: SitesFor) -> Binding:
    binding = bind(image, types_of(image, runtime()), libraries(), runtime(), sites_for)
    binding.operations = [one for one in binding.operations if one.operation.name == _SERVER]
    binding.inherit = True
    if not binding.bound:
        raise NoServer(
            "traceid and spanid are those of a request that net/http serves, and this program serves none",
            "leave them out",
        )
    return binding
