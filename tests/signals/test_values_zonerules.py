"""Zones by rule against the C library's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from gotap.signals.values.zonerules import zone_by_rule

_ASK = """
import json, sys, time
told = []
for second in json.load(sys.stdin):
    local = time.localtime(second)
    told.append([local.tm_zone, local.tm_gmtoff])
print(json.dumps(told))
"""


@pytest.mark.parametrize(
    "rule",
    [
        "UTC0",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "EST5EDT,M3.2.0,M11.1.0",
        "AEST-10AEDT,M10.1.0,M4.1.0/3",
        "<+0330>-3:30",
        "<-02>2<-01>,M3.5.0/-1,M10.5.0/0",
        "IST-1GMT0,M10.5.0,M3.5.0/1",
        "XXX3YYY,J60/0,J300",
        "XXX-3YYY-4:30,59,300/1:02:03",
        "EET-2EEST,M3.4.4/50,M10.4.4/50",
        "<+01>-1",
    ],
)
def test_rules_are_read_as_the_c_library_reads_them(rule: str) -> None:
    seconds = [year * 31556952 + day * 86400 * 11 + 3599 * day for year in range(70) for day in range(34)]
    environment = {**os.environ, "TZ": rule}
    command = [sys.executable, "-c", _ASK]
    asked = subprocess.run(
        command, input=json.dumps(seconds), env=environment, capture_output=True, text=True, check=True
    )
    zones = [zone_by_rule(rule, second) for second in seconds]
    assert [[zone.name, zone.offset] for zone in zones if zone is not None] == json.loads(asked.stdout)


@pytest.mark.parametrize("rule", ["", "X", "CET", "CET-1CEST,M3", "CET-1CEST,M3.5.0", "<>1", "CET-1 ", "ab1"])
def test_what_is_no_rule_has_no_zone(rule: str) -> None:
    assert zone_by_rule(rule, 0) is None


def test_times_beyond_all_dates_have_no_zone() -> None:
    for second in (-(1 << 62), 1 << 62, 253402300799 - 86400):
        zone_by_rule("CET-1CEST,M12.5.0,M10.5.0/3", second)
    assert zone_by_rule("CET-1CEST,M3.5.0,M10.5.0/3", 1 << 62) is None
    assert zone_by_rule("CET-1CEST,M13.5.0,M0.5.0/3", 0) is not None
