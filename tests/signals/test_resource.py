from __future__ import annotations

import os
import uuid

import msgspec

from gotap import __version__
from gotap.signals.resource import ProcessFacts, process_resource

FACTS = ProcessFacts(
    pid=4711,
    executable_path="/srv/shop/shop-server",
    command_args=("./shop-server", "-password", "s3cr3t"),
    owner="shop",
    go_version="go1.26.8",
    host_name="web1",
    host_id="fdbf79e8af94cb7f9e8df36789187052",
    machine="x86_64",
    os_description="Debian GNU/Linux 12 (bookworm)",
)


def test_everything_known() -> None:
    assert process_resource(FACTS, {}).attributes == {
        "service.name": "shop-server",
        "process.pid": 4711,
        "process.executable.name": "shop-server",
        "process.executable.path": "/srv/shop/shop-server",
        "process.command": "./shop-server",
        "process.args_count": 3,
        "process.owner": "shop",
        "process.runtime.name": "go",
        "process.runtime.version": "go1.26.8",
        "process.runtime.description": "go version go1.26.8",
        "host.name": "web1",
        "host.id": "fdbf79e8af94cb7f9e8df36789187052",
        "host.arch": "amd64",
        "os.type": "linux",
        "os.description": "Debian GNU/Linux 12 (bookworm)",
        "telemetry.sdk.language": "go",
        "telemetry.sdk.name": "gotap",
        "telemetry.sdk.version": __version__,
        "telemetry.distro.name": "gotap",
        "telemetry.distro.version": __version__,
    }


def test_an_instance_is_one_process_of_one_boot() -> None:
    facts = ProcessFacts(pid=4711, executable_path="/x", boot_id="b5b6b2a2-0000-4000-8000-000000000001", start_time=815)

    def instance(facts: ProcessFacts) -> object:
        return process_resource(facts, {}).attributes["service.instance.id"]

    known = instance(facts)
    namespace = uuid.UUID("4d63009a-8d0f-11ee-aad7-4c796ed8e320")
    assert known == str(uuid.uuid5(namespace, f"{facts.boot_id}/4711/815"))
    assert instance(msgspec.structs.replace(facts, go_version="go1.27")) == known
    assert process_resource(facts, {"service.instance.id": "mine"}).attributes["service.instance.id"] == "mine"
    others = [{"pid": 4712}, {"start_time": 816}, {"boot_id": "b5b6b2a2-0000-4000-8000-000000000002"}]
    assert len({instance(msgspec.structs.replace(facts, **other)) for other in others} | {known}) == 4


def test_what_is_not_known_is_left_out() -> None:
    found = process_resource(ProcessFacts(pid=1, executable_path="/x"), {}).attributes
    assert found["service.name"] == "x"
    assert not [key for key in found if key.startswith(("host.", "container.", "process.command", "process.owner"))]


def test_what_the_user_says_wins() -> None:
    found = process_resource(FACTS, {"service.name": "shop", "host.name": "edge", "deployment.environment.name": "qa"})
    assert found.attributes["service.name"] == "shop"
    assert found.attributes["host.name"] == "edge"
    assert found.attributes["deployment.environment.name"] == "qa"


def test_arguments_only_when_asked_for() -> None:
    assert "s3cr3t" not in str(process_resource(FACTS, {}).attributes)
    asked = process_resource(FACTS, {}, arguments=True).attributes
    assert asked["process.command_args"] == ("./shop-server", "-password", "s3cr3t")


def test_bytes_that_are_no_utf8() -> None:
    facts = ProcessFacts(pid=1, executable_path=os.fsdecode(b"/srv/\xff"), command_args=(os.fsdecode(b"\xfe"),))
    found = process_resource(facts, {}, arguments=True).attributes
    assert found["service.name"] == "?"
    assert found["process.command_args"] == ("?",)
