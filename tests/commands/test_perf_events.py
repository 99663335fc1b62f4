"""Kernels from 5.15 to 6.5 have links for perf events, with cookies, but no uprobe_multi; spans are the same."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

import watching
from cli import text_is_original
from goservers import Server
from gotap.commands import mechanisms
from gotap.kernel.features import Features, essential
from httpload import load
from kernel_access import needs_bpf

pytestmark = [pytest.mark.root, needs_bpf]


def without(feature: str) -> Features:
    found = essential()
    return Features({**found.found, feature: replace(found[feature], ok=False)})


def test_spans_are_those_of_uprobe_multi(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = ["/hello", "/panic", "/users/7?a=b", f"/call?url={server.url('/status?code=404')}"]
    facts = []
    for features in (essential(), without("uprobe_multi")):
        monkeypatch.setattr(mechanisms, "willing_host", lambda purpose, features=features: features)
        with watching.watching(server.pid) as watch:
            load(server.http, paths, 40, connections=1)
            spans = watch.spans()
            assert watch.losses() == {}
            facts.append(sorted((span.kind, span.name, bool(span.parent_id), str(span.attributes)) for span in spans))
            assert not text_is_original(server.pid)
        assert text_is_original(server.pid)
    assert len(facts[0]) == 40 + 2 * 10, "with the calls, and what these called"
    assert facts[0] == facts[1]
