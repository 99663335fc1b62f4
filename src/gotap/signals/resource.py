"""The resource of a watched process: who made the signals, by OpenTelemetry's names (semantic conventions 1.44.0)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gotap import __version__
from gotap.signals.batch import Resource

#: The namespace that the conventions give for service.instance.id (docs/registry/attributes/service.md).
_INSTANCES = bytes.fromhex("4d63009a8d0f11eeaad74c796ed8e320")

#: Machine names (uname) by the names of host.arch.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "i386": "x86", "i686": "x86", "armv7l": "arm32"}


class ProcessFacts(Struct, frozen=True):
    """What is known of a process and its host; empty or None: not known, and no attribute."""

    pid: int
    executable_path: str
    command_args: tuple[str, ...] = ()
    owner: str = ""
    go_version: str = ""  # as in its build info: go1.26.8
    parent_pid: int | None = None
    boot_id: str = ""  # /proc/sys/kernel/random/boot_id
    start_time: int | None = None  # clock ticks since boot, as in /proc/PID/stat; execve does not change it
    creation_time: str = ""  # ISO 8601, UTC
    container_id: str = ""
    host_name: str = ""
    host_id: str = ""  # /etc/machine-id
    machine: str = ""  # uname -m
    os_description: str = ""
    os_version: str = ""


def process_resource(facts: ProcessFacts, identity: Mapping[str, str], *, arguments: bool = False) -> Resource:
    """The resource of a process. `identity` is what its user says of it (`service.name`, OTEL_RESOURCE_ATTRIBUTES).

    What the user says wins over what was found out. Arguments may hold passwords, so the conventions want only their
    number unless asked for: `arguments`. The SDK's name is gotap: `opentelemetry` is reserved for OpenTelemetry's own.
    """
    found: dict[str, str | int | bool | tuple[str, ...] | None] = {
        "service.name": facts.executable_path.rpartition("/")[2] or "unknown_service:go",
        "service.instance.id": _instance_id(facts),
        "process.pid": facts.pid,
        "process.parent_pid": facts.parent_pid,
        "process.creation.time": facts.creation_time,
        "process.executable.name": facts.executable_path.rpartition("/")[2],
        "process.executable.path": facts.executable_path,
        "process.command": facts.command_args[0] if facts.command_args else "",
        "process.args_count": len(facts.command_args) or None,
        "process.command_args": facts.command_args if arguments else (),
        "process.owner": facts.owner,
        "process.runtime.name": "go",
        "process.runtime.version": facts.go_version,
        "process.runtime.description": f"go version {facts.go_version}" if facts.go_version else "",
        "container.id": facts.container_id,
        "host.name": facts.host_name,
        "host.id": facts.host_id,
        "host.arch": _ARCHITECTURES.get(facts.machine, facts.machine),
        "os.type": "linux",
        "os.description": facts.os_description,
        "os.version": facts.os_version,
        "telemetry.sdk.language": "go",
        "telemetry.sdk.name": "gotap",
        "telemetry.sdk.version": __version__,
        "telemetry.distro.name": "gotap",
        "telemetry.distro.version": __version__,
    }
    known = {key: value for key, value in found.items() if value is not None and value not in ("", ())}
    return Resource({key: _printable(value) for key, value in (known | dict(identity)).items()})


def _instance_id(facts: ProcessFacts) -> str:
    """The same however often the process is attached to, and another one for each process and boot.

    Made as the conventions ask of identifiers that are to be stable: UUID version 5 in their namespace. The host's
    boot, the pid and the start time identify a process; nothing of them can be read from it.
    """
    if not facts.boot_id or facts.start_time is None:
        return ""
    digest = bytearray(_sha1(_INSTANCES + f"{facts.boot_id}/{facts.pid}/{facts.start_time}".encode())[:16])
    digest[6] = digest[6] & 0x0F | 0x50  # version 5 (RFC 9562, section 5.5)
    digest[8] = digest[8] & 0x3F | 0x80  # variant
    text = digest.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _sha1(content: bytes) -> bytes:
    """Python's own where there is one: hashlib loads OpenSSL, several milliseconds of every start."""
    try:
        from _sha1 import sha1  # type: ignore[import-not-found]
    except ImportError:
        from hashlib import sha1
    return bytes(sha1(content).digest())


def _printable(value: str | int | bool | tuple[str, ...]) -> str | int | bool | tuple[str, ...]:
    """Without the lone surrogates that stand for bytes that are no UTF-8 (os.fsdecode): no sink could write them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, tuple):
        return tuple(one.encode("utf-8", "replace").decode() for one in value)
    return value
