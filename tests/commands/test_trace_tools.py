"""The ready tools of `gotap trace --tool`, each on a program that does what it watches, asked for what it must tell."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import gobuild
from cli import gotap, started, text_is_original
from gotap.commands.trace.script import with_arguments
from gotap.commands.trace.tools import purpose, tools
from gotap.probe.script.language.parser import parse_script
from kernel_access import needs_bpf
from orders import taking_orders
from processes import eventually
from trace_lines import lines_of

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(tools())

#: What is tried on each of them, and by `make test-matrix` on every release.
PROGRAMS = [
    (gobuild.NEWEST, "plain"),
    (gobuild.OLDEST, "stripped"),
    *(
        pytest.param(go, mode, marks=pytest.mark.matrix)
        for go in gobuild.ALL
        for mode in ("plain", "stripped")
        if (go, mode) not in ((gobuild.NEWEST, "plain"), (gobuild.OLDEST, "stripped"))
    ),
]
DURATION = r"[\d.]+(?:ns|µs|ms|s)"

live = [pytest.mark.root, needs_bpf]
on_each = pytest.mark.parametrize(("go", "mode"), PROGRAMS)


@dataclass(frozen=True)
class Told:
    """What a tool printed, and its maps: (key, value) of each entry; frames of stacks by function."""

    texts: list[str]
    maps: dict[str, list[tuple[list[Any], Any]]]
    err: str

    def map(self, name: str) -> dict[tuple[Any, ...], Any]:
        """Entries whose keys hold no stack."""
        return {tuple(key): value for key, value in self.maps.get(name, [])}


def told(out: bytes, err: str) -> Told:
    lines = lines_of(out)
    maps = {
        one["map"]: [([_part(part) for part in entry["key"]], entry["value"]) for entry in one["entries"]]
        for one in lines
        if "map" in one
    }
    return Told([one["text"] for one in lines if "text" in one], maps, err)


def _part(part: Any) -> Any:
    return [frame["func"] for frame in part] if isinstance(part, list) else part


def watched(go: str, mode: str, orders: list[str], tool: str, *words: str) -> Told:
    """What a tool tells of the toolbox while it carries out orders."""
    with (
        taking_orders(gobuild.build("toolbox", go, mode=mode)) as toolbox,
        started("trace", "-p", str(toolbox.pid), "--json", "--max-overhead", "off", "--tool", tool, *words) as tracing,
    ):
        tracing.attached()
        toolbox.give(*orders)
        done = tracing.finish(signal.SIGINT)
        assert done.code == 0, done.err
        assert ", 0 dropped" in done.err, done.err
        assert text_is_original(toolbox.pid)
    return told(done.out, done.err)


def is_old(go: str, minor: int) -> bool:
    return int(go.split(".")[1]) < minor


# All of them


@pytest.mark.parametrize("tool", NAMES)
def test_has_a_purpose_a_page_and_a_script_that_can_be_read(tool: str) -> None:
    text = tools()[tool].read_text()
    assert text.startswith("# ")
    what = purpose(text)
    assert what
    taken = [int(number) for number in re.findall(r"\$\{?(\d)", text)]
    if taken:  # whoever gives too few or too many words is shown that line
        assert re.search(rf": {tool}( \[?\w)+", what), what
    page = (ROOT / "docs" / "tools" / f"{tool}.md").read_text()
    assert page.startswith(f"# {tool}\n")
    for part in ("## Run it", "## What it does not see", "## Cost"):
        assert part in page
    assert f"(tools/{tool}.md)" in (ROOT / "docs" / "tools.md").read_text()
    parse_script(with_arguments(text, ["main.f"] * ("$1" in text), tool), tool)


def test_list_shows_all_with_what_they_are_for() -> None:
    done = gotap("trace", "--tool", "list")
    assert done.code == 0
    shown = dict(line.split(None, 1) for line in done.out.decode().splitlines())
    assert shown == {name: purpose(one.read_text()) for name, one in tools().items()}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("funclatency",), "funclatency needs an argument"),
        (("funclatency", "main.f", "args.a", "args.b"), "funclatency does not take 'args.b'"),
        (("goroutines", "main.f"), "goroutines does not take 'main.f'"),
        (("slohttp",), "did you mean slowhttp"),
    ],
)
def test_wrong_words_are_told_with_what_the_tool_takes(words: tuple[str, ...], what: str) -> None:
    done = gotap("trace", "-p", str(os.getpid()), "--tool", *words)
    assert done.code == 2
    assert what in done.err
    if words[0] in tools():
        assert purpose(tools()[words[0]].read_text()) in done.err


# One by one


@on_each
class TestOfGoPrograms:
    pytestmark = live

    def test_callflow(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["walk 1", "walk 1"], "callflow", "main.walk*")
        assert {text.split()[0] for text in seen.texts} == {"1"}  # also those that were unwound are main's
        steps = [re.sub(rf" {DURATION}$", "", text.rstrip("\n").split(" ", 1)[1]) for text in seen.texts]
        down = ["1 -> main.walking", "2 -> main.walkTo", "3 -> main.walkTo", "4 -> main.walkEnd"]
        up = ["4 <- main.walkEnd", "3 <- main.walkTo", "2 <- main.walkTo"]
        recovering = ["-> main.walking.func1", "<- main.walking.func1"]
        assert steps == [
            *down, *up, *(f"2 {one}" for one in recovering), "1 <- main.walking",
            *down, *(f"5 {one}" for one in recovering), *(one.replace("<-", "<!") for one in up), "1 <- main.walking",
        ]  # fmt: skip

    def test_dnslatency(self, go: str, mode: str) -> None:
        names = ["tea.example", "nosuch.example", "localhost"]
        seen = watched(go, mode, [f"resolve {name}" for name in names], "dnslatency")
        lines = dict(re.fullmatch(rf"{DURATION} +(\S+) (.*)\n", text).groups() for text in seen.texts)  # type: ignore[union-attr]
        assert set(lines) == set(names)
        assert lines["tea.example"] == lines["localhost"] == "<nil>"
        assert re.fullmatch(r"lookup nosuch.example on \S+: no such host", lines["nosuch.example"])
        assert set(seen.map("@dns")) == {(name,) for name in names}

    def test_gcpauses(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["collect"], "gcpauses")
        assert buckets(seen.map("@pauses")[()]) >= 3  # two of each collection, one of ReadMemStats
        assert buckets(seen.map("@marked")[()]) >= 1
        by = [(stack, value["count"]) for (stack,), value in seen.maps["@by"]]
        assert sum(count for _, count in by) == buckets(seen.map("@pauses")[()])
        assert any("runtime.ReadMemStats" in stack and "main.collect" in stack for stack, _ in by)
        assert any("runtime.GC" in stack and "main.collect" in stack for stack, _ in by)

    def test_goroutines(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["births"], "goroutines")
        assert seen.map("@born") == {("main.worker", "main.hire"): 2, ("main.births.func1", "main.births"): 1}
        assert seen.map("@died") == {("main.worker", "main.hire"): 2}

    def test_lockwaits(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["mutex", "receive", "select"], "lockwaits")
        waits = {(reason, frame): value for (reason, stack), value in seen.maps["@waited"] for frame in stack}
        mutex = "semacquire" if is_old(go, 20) else "sync.Mutex.Lock"
        for where in (mutex, "main.lockStores"), ("chan receive", "main.takeOrder"), ("select", "main.takeEither"):
            value = waits[where]
            assert value["count"] == 1
            assert 0 < value["min"] == value["max"] == value["total"]

    def test_waits(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["mutex", "receive", "select", "weigh"], "waits")
        waits = {reason: buckets(value) for (reason,), value in seen.map("@waited").items()}
        assert waits["semacquire" if is_old(go, 20) else "sync.Mutex.Lock"] == 1
        assert waits["select"] == 1
        assert waits["chan receive"] >= 1
        assert waits["sleep"] >= 1
        assert min(one["from"] for one in seen.map("@waited")["sleep",]["buckets"]) > 0

    def test_logcalls(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["log", "format"], "logcalls")
        texts = seen.texts
        logging = ["log.Printf", "log.Println", "log.(*Logger).Print"] if is_old(go, 21) else ["main.complain"] * 3
        assert texts == [
            f'{logging[0]}: "out of %s, %d left" [tea 0]\n',
            f"{logging[1]}: [closing 17]\n",
            f"{logging[2]}: [own logger]\n",
            'main.announce: "%s costs %d\\n" [tea 7]\n',
            "main.announce: [open 8]\n",
            'main.announce: "%v-%v" [1 a]\n',
        ]
        if not is_old(go, 21):
            assert watched(go, mode, ["slog"], "logcalls").texts == ['main.record: "brewed" [tea green cups 3]\n']

    def test_opens(self, go: str, mode: str, tmp_path: Path) -> None:
        there, absent = tmp_path / "there", tmp_path / "absent"
        there.touch()
        seen = watched(go, mode, [f"open {there}", f"open {absent}"], "opens")
        assert seen.texts == [f"{there} <nil>\n", f"{absent} open {absent}: no such file or directory\n"]
        assert sorted(key[0] for key, _ in seen.maps["@opens"]) == [str(absent), str(there)]
        for (_, stack), count in seen.maps["@opens"]:
            assert count == 1
            assert stack[:4] == ["os.OpenFile", "os.Open", "main.readConfiguration", "main.open"]

    def test_panics(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["panic", "panic tea"], "panics")
        first, second = (text.split("\n") for text in seen.texts)
        assert first[0] == "panic: no tea: empty name (goroutine 1)"
        assert second[0] == "panic: runtime error: invalid memory address or nil pointer dereference (goroutine 1)"
        for lines in first, second:
            frames = [line.split()[0] for line in lines[1:] if line]
            assert frames[0] == "runtime.gopanic"
            assert frames[frames.index("main.brew") :][:3] == ["main.brew", "main.panicking", "main.main"]
        assert seen.map("@panics") == {
            ("*fmt.wrapError", "main.brew"): 1,
            ("runtime.errorString", "runtime.sigpanic"): 1,
        }

    def test_panics_of_what_ends_the_program(self, go: str, mode: str) -> None:
        with (
            taking_orders(gobuild.build("toolbox", go, mode=mode)) as toolbox,
            started("trace", "-p", str(toolbox.pid), "--json", "--tool", "panics") as tracing,
        ):
            tracing.attached()
            toolbox.send("crash")
            done = tracing.finish()
        assert done.code == 0, done.err
        (text,) = told(done.out, done.err).texts
        assert text.startswith("fatal error: sync: unlock of unlocked mutex (goroutine 1)\n")
        assert "\n\tmain.crashing " in text

    def test_slowhttp(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["request /fast", "request /slow/a", "request /slow/b"], "slowhttp", "20ms")
        line = re.compile(rf"{DURATION} +GET +(\S+) route=(\S+) trace=[0-9a-f]{{32}}\n")
        lines = [line.fullmatch(one) for one in seen.texts]
        shown = [one.groups() for one in lines if one]
        assert len(shown) == len(seen.texts)
        assert [one for one in shown if one != ("/fast", "/fast")] == [("/slow/a", "/slow/"), ("/slow/b", "/slow/")]
        assert ("GET", "/slow/") in seen.map("@slow")
        for value in seen.map("@slow").values():
            assert value["max"] > 20e6

    def test_sql(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["query"], "sql")
        lines = [re.sub(rf"^{DURATION} +", "", text) for text in seen.texts]
        assert lines == [
            *["SELECT price FROM tea WHERE id = ? <nil>\n"] * 3,
            "UPDATE salt SET price = 1 no such table\n",
            "DELETE FROM tea WHERE price > ? <nil>\n",
            "INSERT INTO tea VALUES (?) <nil>\n",
        ]
        assert {key for (key,) in seen.map("@sql")} == {line.rsplit(" ", 1)[0] for line in lines if "nil" in line} | {
            "UPDATE salt SET price = 1"
        }

    def test_tls(self, go: str, mode: str) -> None:
        seen = watched(go, mode, ["tls"], "tls")
        took = f'version=0x304 alpn="" resumed=false {DURATION}'
        client, server = "crypto/tls.(*Conn).clientHandshake", "crypto/tls.(*Conn).serverHandshake"
        for side in client, server:
            line = re.compile(rf'{re.escape(side)} "tea.example" {took}\n')
            assert sum(bool(line.fullmatch(text)) for text in seen.texts) == 1
            assert buckets(seen.map("@took")[side,]) == 1
        assert seen.map("@failed") == {
            (client, "crypto/x509.UnknownAuthorityError"): 1,
            (server, "crypto/tls.alert"): 1,
        }
        assert len(seen.texts) == 4

    def test_errors(self, go: str, mode: str) -> None:
        if mode == "stripped":
            seen = watched(go, mode, ["fail"], "errors", "main.*")
            why = "no result is known here; the binary has no debug information"
            assert re.search(rf"main\.\*: skipped main\.\S+, main\.\S+.* {why}", seen.err)
            return
        seen = watched(go, mode, ["fail"], "errors", "main.*")
        assert seen.map("@errors") == {
            ("main.find", "*main.notFound"): 2,
            ("main.find", "*errors.errorString"): 1,
            ("main.price", "*fmt.wrapError"): 3,
        }
        assert seen.texts == [
            *["main.find: &{name:salt}\n", "main.price: price of salt: salt is not there\n"] * 2,
            "main.find: empty name\n",
            "main.price: price of : empty name\n",
        ]

    def test_funclatency(self, go: str, mode: str) -> None:
        if mode == "stripped":
            seen = watched(go, mode, ["weigh"], "funclatency", "main.weigh")
            assert {key: buckets(value) for key, value in seen.map("@latency").items()} == {("main.weigh",): 3}
            return
        seen = watched(go, mode, ["weigh"], "funclatency", "main.weigh", "args.tea")
        counts = {key: buckets(value) for key, value in seen.map("@latency").items()}
        assert counts == {("green",): 2, ("black",): 1}
        assert min(one["from"] for one in seen.map("@latency")["black",]["buckets"]) >= 1 << 24  # it takes 20 ms


def buckets(value: Any) -> int:
    """How many values a histogram holds."""
    return sum(one["count"] for one in value["buckets"])


class TestOfPrograms:
    pytestmark = live

    def test_a_stripped_program_is_told_what_arguments_need(self) -> None:
        executable = gobuild.build("toolbox", gobuild.OLDEST, mode="stripped")
        with taking_orders(executable) as toolbox:
            done = gotap("trace", "-p", str(toolbox.pid), "--tool", "funclatency", "main.weigh", "args.tea")
        assert done.code == 1
        assert "say them by a line `sig 'main.weigh(" in done.err

    def test_what_a_program_lacks_is_left_out(self) -> None:
        seen = watched(gobuild.OLDEST, "stripped", ["request /slow/a"], "slowhttp")
        assert "left out: net/http.(*ServeMux).findHandler, net/http.(*serveMux121).findHandler\n" in seen.err

    def test_variables_belong_to_the_goroutine_that_a_moment_is_about(self) -> None:
        script = """
            goroutine:park { self.mine = goid }
            goroutine:ready / self.mine == goid / { @same = count() }
            goroutine:ready / self.mine != goid / { @others = count() }
            goroutine:create { self.by = caller }
            goroutine:exit { @ended[func, self.by] = count() }
        """
        with (
            taking_orders(gobuild.build("toolbox", gobuild.NEWEST)) as toolbox,
            started("trace", "-p", str(toolbox.pid), "--json", script) as tracing,
        ):
            tracing.attached()
            toolbox.give("births", "receive")
            done = tracing.finish(signal.SIGINT)
        seen = told(done.out, done.err)
        assert seen.map("@same")[()] >= 1
        assert seen.map("@ended")["main.worker", "main.hire"] == 2

    def test_bashreadline(self) -> None:
        with started("trace", "--json", "--tool", "bashreadline", "/bin/bash") as tracing:
            tracing.wait_for("gotap: attached: ")
            with shell() as (pid, terminal):
                os.write(terminal, b"echo tea time\n")
                eventually(lambda: f"{pid} echo tea time\\n".encode() in tracing.out, "the line")
            done = tracing.finish(signal.SIGINT)
        assert done.code == 0

    def test_dnslatency_of_libc(self) -> None:
        code = (
            "import socket; socket.getaddrinfo('localhost', 80)\n"
            "try: socket.getaddrinfo('no-number', 80, flags=socket.AI_NUMERICHOST)\n"  # no name server is asked
            "except OSError as error: print(error.errno)"
        )
        with started("trace", "--json", "--tool", "dnslatency-libc") as tracing:
            tracing.wait_for("gotap: attached: ")
            with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as program:
                failure = program.communicate()[0].strip()
            done = tracing.finish(signal.SIGINT)
        seen = told(done.out, done.err)
        mine = [text.split() for text in seen.texts if f"[{program.pid}]" in text]
        assert [(name, error) for _, name, _, error in mine] == [
            ("localhost", "error=0"),
            ("no-number", f"error={failure}"),
        ]
        assert {("localhost",), ("no-number",)} <= set(seen.map("@dns"))


@contextmanager
def shell() -> Iterator[tuple[int, int]]:
    """An interactive bash: its pid, and the terminal that it reads."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv("/bin/bash", ["bash", "--norc", "-i"])
    try:
        yield pid, terminal
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
