"""gotap trace as a user types it: calls, scripts, how it ends, and what leaving leaves behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import gobuild
from cli import ATTACHED, gotap, started, text_is_original
from kernel_access import needs_bpf
from orders import Orders, taking_orders
from trace_lines import calls_of, lines_of, maps_of, wait_for_lines

pytestmark = [pytest.mark.root, needs_bpf]


@pytest.fixture(scope="module")
def program() -> Path:
    return gobuild.build("orders", gobuild.NEWEST)


@pytest.fixture(scope="module")
def orders(program: Path) -> Iterator[Orders]:
    with taking_orders(program) as one:
        yield one


# Calls


@pytest.mark.parametrize("go", gobuild.every_version())
@pytest.mark.parametrize("mode", ["plain", "pie"])
def test_calls_as_json(go: str, mode: str) -> None:
    with (
        taking_orders(gobuild.build("orders", go, mode=mode)) as orders,
        started("trace", "-p", str(orders.pid), "--json", "main.work") as tracing,
    ):
        tracing.attached()
        orders.give("work ab 4")
        wait_for_lines(tracing, 4)
        done = tracing.finish(signal.SIGINT)
        assert text_is_original(orders.pid)
    assert done.code == 0
    events = calls_of(done.out)
    error = {"type": "*fmt.wrapError", "error": "work 1: odd\x1b[31m"}
    results = [one["results"]["~r1"] for one in events]
    assert [one and {key: one[key] for key in ("type", "error")} for one in results] == [
        None, error, None, {**error, "error": "work 3: odd\x1b[31m"},
    ]  # fmt: skip
    assert [one["results"]["~r0"] for one in events] == ["", "", "abab", ""]
    assert [one["args"] for one in events] == [{"name": "ab", "n": n} for n in range(4)]
    for one in events:
        assert (one["probe"], one["func"], one["ended"], one["pid"]) == ("main.work", "main.work", "return", orders.pid)
        assert one["file"].endswith("orders/main.go")
        assert one["latency_ns"] > 0
        assert one["goid"] > 1
        assert list(one) == ["probe", "time_unix_nano", "pid", "tid", "goid", "func", "file", "line", "args", "results",
                             "latency_ns", "ended"]  # fmt: skip
    times = [one["time_unix_nano"] for one in events]
    assert times == sorted(times)


def test_calls_as_text(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "main.work", "--count", "2") as tracing:
        tracing.attached()
        orders.give("work ab 2")
        done = tracing.finish()
    first, second = done.out.decode().splitlines()
    head, took = r"\d\d:\d\d:\d\d\.\d{6} g\d+ +", r"  [\d.]+(ns|µs|ms)"
    assert re.fullmatch(head + r'main\.work\(name="ab", n=0\) = \("", <nil>\)' + took, first)
    assert re.fullmatch(head + r'main\.work\(name="ab", n=1\) = \("", work 1: odd\\x1b\[31m\)' + took, second)


def test_a_stripped_program_knows_its_signatures_from_the_script() -> None:
    script = "sig 'main.work(name string, n int) (string, error)'\nmain.work"
    with (
        taking_orders(gobuild.build("orders", gobuild.NEWEST, mode="pie_stripped")) as orders,
        started("trace", "-p", str(orders.pid), "--json", script) as tracing,
    ):
        tracing.attached()
        orders.give("work x 3")
        wait_for_lines(tracing, 3)
        events = calls_of(tracing.finish(signal.SIGINT).out)
    assert [one["args"] for one in events] == [{"name": "x", "n": n} for n in range(3)]
    assert [one["results"]["~r0"] for one in events] == ["", "", "xx"]


def test_values_of_many_kinds(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "--json", "main.shape", "--count", "1") as tracing:
        tracing.attached()
        orders.give("shape")
        (event,) = calls_of(tracing.finish().out)
    assert event["args"] == {
        "p": {"X": 1, "Y": 2},
        "tags": {"map": [["a", 1]], "len": 1},
        "any": {"type": "main.point", "value": {"X": 3, "Y": 4}},
        "ratio": {"unavailable": "float in X0"},
    }
    assert event["results"] == {"~r0": [{"X": 1, "Y": 2}, {"X": 2, "Y": 1}]}


def test_how_calls_end(orders: Orders) -> None:
    patterns = "main.breaks, main.rescued, main.leaves"
    with started("trace", "-p", str(orders.pid), "--json", patterns) as tracing:
        tracing.attached()
        orders.give("rescued because", "leaves 5")
        wait_for_lines(tracing, 3)
        events = calls_of(tracing.finish(signal.SIGINT).out)
    told = {one["func"]: (one["ended"], one["args"], one.get("results")) for one in events}
    assert told == {
        "main.breaks": ("panic", {"why": "because"}, None),
        "main.rescued": ("return", {"why": "because"}, {"answer": "because"}),
        "main.leaves": ("goexit", {"n": 5}, None),
    }


def test_recursion_and_growing_stacks(orders: Orders) -> None:
    script = "main.recurse { @[args.n % 2] = count(); @all = count() }"
    with started("trace", "-p", str(orders.pid), "--json", script) as tracing:
        tracing.attached()
        orders.give("recurse 9999")
        done = tracing.finish(signal.SIGINT)
    assert maps_of(done.out) == {"@": {"[0]": 5000, "[1]": 5000}, "@all": {"[]": 10000}}
    assert " 0 dropped" in done.err


# Scripts


def test_what_is_printed_is_exactly_that(orders: Orders) -> None:
    script = 'main.work:entry { printf("%s/%04d|", args.name, args.n); print(args.n, args.name) }'
    with started("trace", "-p", str(orders.pid), script, "--count", "4") as tracing:
        tracing.attached()
        orders.give("work é 2")
        assert tracing.finish().out.decode() == "é/0000|\n0 é\né/0001|\n1 é\n"
    with started("trace", "-p", str(orders.pid), script, "--count", "4", "--json") as tracing:
        tracing.attached()
        orders.give("work é 2")
        texts = lines_of(tracing.finish().out)
    assert texts == [{"text": "é/0000|"}, {"text": "0 é"}, {"text": "é/0001|"}, {"text": "1 é"}]


def test_predicates_and_maps(orders: Orders) -> None:
    script = """
        main.work:return / args.n >= 2 / { @calls[args.name] = count(); @lat = hist(latency); @n = sum(args.n) }
        main.work:return / err != nil / { @failed[args.name] = max(args.n) }
    """
    with started("trace", "-p", str(orders.pid), "--json", script) as tracing:
        tracing.attached()
        orders.give("work a 5", "work b 3")
        done = tracing.finish(signal.SIGINT)
    maps = maps_of(done.out)
    assert maps["@calls"] == {'["a"]': 3, '["b"]': 1}
    assert maps["@n"] == {"[]": 2 + 3 + 4 + 2}
    assert maps["@failed"] == {'["a"]': 3, '["b"]': 1}
    assert sum(one["count"] for one in maps["@lat"]["[]"]["buckets"]) == 4


def test_births_of_goroutines(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "--json", "goroutine:create { @[func] = count() }") as tracing:
        tracing.attached()
        orders.give("work a 1", "work a 1")
        assert maps_of(tracing.finish(signal.SIGINT).out)["@"]['["main.main.func1"]'] == 2


def test_begin_interval_and_end_need_no_target() -> None:
    script = """
        begin { @ticks = 0; printf("begin\\n") }
        interval:10ms { @ticks += 1; if @ticks == 3 { print("tick", @ticks); stop } }
        end { printf("end %d\\n", @ticks) }
    """
    done = gotap("trace", script)
    assert done.code == 0
    assert done.out.decode() == "begin\ntick 3\nend 3\n@ticks: 3\n"
    assert "gotap: attached: 3 probes" in done.err


def test_cleared_maps_begin_anew(orders: Orders) -> None:
    script = "main.work:entry { @ = count() } main.shape:entry { print(@); clear(@) }"
    with started("trace", "-p", str(orders.pid), "--json", script) as tracing:
        tracing.attached()
        orders.give("work a 3", "shape", "work a 2", "shape", "work a 1")
        done = tracing.finish(signal.SIGINT)
    counts = [one["entries"][0]["value"] for one in lines_of(done.out)]
    assert counts == [3, 2, 1]


def test_a_script_file_and_its_arguments(orders: Orders, tmp_path: Path) -> None:
    script = tmp_path / "count.gt"
    script.write_text("#!/usr/bin/env gotap\n# Counts calls\n$1:entry / args.n >= ${2:0} / { @ = count() }\n")
    for given, counted in (([], 4), (["3"], 1)):
        with started("trace", str(script), "main.work", *given, "-p", str(orders.pid), "--json") as tracing:
            tracing.attached()
            orders.give("work a 4")
            assert maps_of(tracing.finish(signal.SIGINT).out) == {"@": {"[]": counted}}


def test_events_of_goroutines_are_about_those(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "--json", "goroutine:create ; goroutine:exit") as tracing:
        tracing.attached()
        orders.give("work a 1")
        wait_for_lines(tracing, 2)
        born, died = calls_of(tracing.finish(signal.SIGINT).out)
    assert (born["probe"], died["probe"]) == ("goroutine:create", "goroutine:exit")
    assert born["func"] == died["func"] == "main.main.func1"
    assert born["goid"] == died["goid"]
    assert born["args"] == {"parent_goid": 1, "caller": "main.main"}


# Ends


def test_count_is_exact(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "--json", "main.recurse:entry", "--count", "7") as tracing:
        tracing.attached()
        orders.give("recurse 500")
        done = tracing.finish()
    assert done.code == 0
    assert len(calls_of(done.out)) == 7
    assert "gotap: 7 events" in done.err


def test_nothing_comes_after_stop(orders: Orders) -> None:
    script = 'main.recurse:entry { printf("%d\\n", args.n); if args.n == 490 { stop } } end { printf("end\\n") }'
    with started("trace", "-p", str(orders.pid), script) as tracing:
        tracing.attached()
        orders.give("recurse 500")
        done = tracing.finish()
    assert done.code == 0
    assert done.out.decode().split() == [*map(str, range(500, 489, -1)), "end"]


def test_maps_count_nothing_after_stop(orders: Orders) -> None:
    script = "main.recurse:entry { @ = count(); if args.n == 490 { stop } } end { @end = count() }"
    with started("trace", "-p", str(orders.pid), "--json", script) as tracing:
        tracing.attached()
        orders.give("recurse 500")
        done = tracing.finish()
    assert done.code == 0
    assert maps_of(done.out) == {"@": {"[]": 11}, "@end": {"[]": 1}}


def test_duration(orders: Orders) -> None:
    done = gotap("trace", "-p", str(orders.pid), "main.work", "--duration", "200ms")
    assert (done.code, done.out) == (0, b"")
    assert text_is_original(orders.pid)


def test_when_the_target_ends_what_was_gathered_is_shown(program: Path) -> None:
    with taking_orders(program) as orders:
        script = "main.work:entry { @ = count() }"
        with started("trace", "-p", str(orders.pid), "--json", script) as tracing:
            tracing.attached()
            orders.give("work a 3")
            orders.send("exit 9")
            done = tracing.finish()
    assert done.code == 0
    assert maps_of(done.out) == {"@": {"[]": 3}}


@pytest.mark.parametrize("mode", ["plain", "pie"])
def test_the_same_file_executed_again_is_traced_on(mode: str) -> None:
    program = gobuild.build("orders", gobuild.NEWEST, mode=mode)
    script = "main.work { @ = count(); print(args.n, func, args.name) }"
    with (
        taking_orders(program) as orders,
        started("trace", "-p", str(orders.pid), "--json", script) as tracing,
    ):
        tracing.attached()
        orders.give("work a 2")
        orders.send(f"exec {program}")
        orders.expect("ready")
        tracing.wait_for("executed the same program again")
        orders.give("work b 3")
        done = tracing.finish(signal.SIGINT)
        assert text_is_original(orders.pid)
    assert done.code == 0
    assert re.search(r"executed the same program again, which is traced now; up to \d[\d,]* ms of it were not seen",
                     done.err)  # fmt: skip
    texts = [one["text"] for one in lines_of(done.out) if "text" in one]
    assert texts == ["0 main.work a", "1 main.work a", "0 main.work b", "1 main.work b", "2 main.work b"]
    assert maps_of(done.out) == {"@": {"[]": 5}}


def test_another_program_ends_the_tracing(program: Path) -> None:
    with (
        taking_orders(program) as orders,
        started("trace", "-p", str(orders.pid), "--json", "main.work { @ = count() }") as tracing,
    ):
        tracing.attached()
        orders.give("work a 2")
        orders.send("exec /bin/cat")
        done = tracing.finish()
    assert done.code == 0
    assert f"{orders.pid} executed another program (cat): tracing ends" in done.err
    assert maps_of(done.out) == {"@": {"[]": 2}}


def test_two_tracers_at_once(orders: Orders) -> None:
    arguments = ("trace", "-p", str(orders.pid), "--json")
    with started(*arguments, "main.work") as first, started(*arguments, "main.work, main.outer") as second:
        first.attached()
        second.attached()
        orders.give("work a 3", "outer 1")
        wait_for_lines(first, 3)
        assert len(calls_of(first.finish(signal.SIGINT).out)) == 3
        orders.give("work a 2")
        wait_for_lines(second, 6)
        assert len(calls_of(second.finish(signal.SIGINT).out)) == 6
    assert text_is_original(orders.pid)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_run_the_end(orders: Orders, number: signal.Signals) -> None:
    script = 'main.work:entry { @ = count() } end { printf("bye\\n") }'
    with started("trace", "-p", str(orders.pid), script) as tracing:
        tracing.attached()
        orders.give("work a 2")
        done = tracing.finish(number)
    assert (done.code, done.out) == (0, b"bye\n@: 2\n")


def test_a_reader_that_goes_ends_the_tracing(orders: Orders) -> None:
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    assert reader.stdin is not None
    with started("trace", "-p", str(orders.pid), "main.work", stdout=reader.stdin.fileno()) as tracing:
        tracing.attached()
        orders.give("work a 3")
        done = tracing.finish()
    reader.stdin.close()
    assert done.code == 1
    assert "stdout was closed by its reader" in done.err
    assert text_is_original(orders.pid)


# -c


def test_a_command_is_traced_from_its_beginning(program: Path) -> None:
    done = gotap("trace", "-c", f"{program}", "main.main")
    assert done.code == 0
    assert b"main.main()" in done.out
    assert b"ready" in done.out, "the command's own output"


def test_a_commands_exit_code_is_ours(program: Path) -> None:
    done = gotap("trace", "-c", f"{program} 'work a 3' 'exit 42'", "--json", "main.work")
    assert done.code == 42
    assert len(calls_of(done.out)) == 3, "nothing but objects is on stdout"
    assert "ready" in done.err


def test_a_limit_ends_the_command(program: Path) -> None:
    done = gotap("trace", "-c", "sleep 60", "begin { stop }")
    assert done.code == 128 + signal.SIGTERM


# Where it goes


def test_a_file_gets_the_same_lines(orders: Orders, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    destinations = ("--to", str(file), "--to", "terminal")
    with started("trace", "-p", str(orders.pid), *destinations, "main.work", "--count", "2") as tracing:
        tracing.attached()
        orders.give("work a 2")
        done = tracing.finish()
    assert len(done.out.splitlines()) == 2
    assert [one["args"]["n"] for one in calls_of(file.read_bytes())] == [0, 1]


def test_the_line_that_says_that_probes_are_in_place(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "main.work") as tracing:
        tracing.attached()
        (line,) = [line for line in tracing.err.splitlines() if line.startswith(ATTACHED)]
        assert re.fullmatch(rf"{ATTACHED}{orders.pid} \(orders\): 1 probe, \d+ sites", line)
        assert tracing.err.index("main.work: ") < tracing.err.index(ATTACHED), "costs are told before"
        tracing.finish(signal.SIGINT)


def test_graph(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "--json", "main.outer", "--graph") as tracing:
        tracing.attached()
        orders.give("outer 2", "work a 1")
        wait_for_lines(tracing, 6)
        done = tracing.finish(signal.SIGINT)
    assert [(one["depth"], one["func"], json.dumps(one["args"])) for one in calls_of(done.out)] == [
        (0, "main.outer", '{"n": 2}'),
        (1, "main.inner", '{"n": 0}'),
        (2, "main.leaf", '{"n": 0}'),
        (1, "main.inner", '{"n": 1}'),
        (2, "main.leaf", '{"n": 1}'),
        (1, "main.leaf", '{"n": 9}'),
    ]
    assert "inlined into their callers, so not shown" in done.err
    assert "main.tiny" in done.err


def test_a_graph_of_many_functions_goes_without_their_arguments(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "--json", "main.work", "--graph", "--within", "fmt.*") as tracing:
        tracing.attached()
        orders.give("work a 2")
        wait_for_lines(tracing, 3)
        done = tracing.finish(signal.SIGINT)
    first, second, *within = calls_of(done.out)
    assert [(one["func"], one["args"], one["depth"]) for one in (first, second)] == [
        ("main.work", {"name": "a", "n": 0}, 0), ("main.work", {"name": "a", "n": 1}, 0),
    ]  # fmt: skip
    called = {one["func"]: one for one in within}
    assert called["fmt.errorf"]["depth"] == 1
    assert called["fmt.errorf"]["args"] == {}
    assert called["fmt.(*pp).doPrintf"]["depth"] == 2
    assert called["fmt.(*pp).doPrintf"]["latency_ns"] < called["fmt.errorf"]["latency_ns"] < second["latency_ns"]
    assert "functions are shown without arguments" in done.err


def test_count_counts_trees(orders: Orders) -> None:
    with started("trace", "-p", str(orders.pid), "--json", "main.outer", "--graph", "--count", "2") as tracing:
        tracing.attached()
        orders.give("outer 1", "outer 2", "outer 3")
        events = calls_of(tracing.finish().out)
    assert [one["args"] for one in events if one["depth"] == 0] == [{"n": 1}, {"n": 2}]
    assert len(events) == (1 + 2 + 1) + (1 + 4 + 1)


def test_variables_are_there_until_a_goroutines_calls_have_ended(orders: Orders) -> None:
    script = "main.leaves:entry { self.n = args.n * 2 }; main.leaves:panic { print(args.n, self.n) }"
    with started("trace", "-p", str(orders.pid), script, "--count", "1") as tracing:
        tracing.attached()
        orders.give("leaves 4")
        assert tracing.finish().out == b"4 8\n"


def test_probes_at_one_place_run_in_the_order_of_the_script(orders: Orders) -> None:
    script = """
        begin { printf("a ") } begin { printf("b\\n") }
        main.work:entry { self.n = 1; printf("c ") } main.work:entry { self.n += 1; printf("d ") }
        main.work:return { printf("e ") } main.work:return { printf("%d\\n", self.n) }
    """
    with started("trace", "-p", str(orders.pid), script, "--count", "6") as tracing:
        tracing.attached()
        orders.give("work a 1")
        assert tracing.finish().out.decode() == "a b\nc d e 2\n"
