"""The program of the 2020 article on BPF and Go, and the questions the article asks, as one-liners.

The article's bpftrace had to be told registers and offsets, saw threads, and missed what was stripped.
"""

import contextlib
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from cli import Gotap, started
from gobuild import NEWEST, OLDEST, build
from kernel_access import needs_bpf
from trace_lines import calls_of, lines_of, maps_of, wait_for_lines

pytestmark = [pytest.mark.root, needs_bpf]

#: What a stripped program has to be told.
SIGNATURES = (
    "sig 'main.prepareAnswer(name string, year int, status int) string'\n"
    "sig 'main.checkSite(url string, timeout time.Duration) (*main.siteStatus, error)'\n"
    "sig 'main.handler(w net/http.ResponseWriter, r *net/http.Request)'\n"
)


class Article:
    """The running program; `ask` sends a request and returns the answer."""

    def __init__(self, process: subprocess.Popen[str], stripped: bool) -> None:
        assert process.stdout is not None
        self.pid = process.pid
        self.url = process.stdout.readline().strip()
        self.stripped = stripped

    def ask(self, query: str) -> str:
        with urllib.request.urlopen(f"{self.url}/?{query}", timeout=30) as answer:
            return str(answer.read().decode())

    @contextlib.contextmanager
    def traced(self, script: str, *options: str) -> Iterator[Gotap]:
        text = (SIGNATURES if self.stripped else "") + script
        with started("trace", "-p", str(self.pid), "--json", *options, text) as tracing:
            tracing.attached()
            yield tracing


@pytest.fixture(scope="module", params=[(go, mode) for go in (OLDEST, NEWEST) for mode in ("plain", "stripped")],
                ids="-".join)  # fmt: skip
def article(request: pytest.FixtureRequest) -> Iterator[Article]:
    go, mode = request.param
    with subprocess.Popen(
        [str(build("article", go, mode=mode))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Article(process, mode == "stripped")
        finally:
            process.kill()


def maps_after(article: Article, script: str, *queries: str) -> dict[str, dict[str, Any]]:
    with article.traced(script) as tracing:
        for query in queries:
            article.ask(query)
        return maps_of(tracing.finish(signal.SIGINT).out)


def test_each_call_with_arguments_by_name_results_latency_and_goroutine(article: Article) -> None:
    with article.traced("main.prepareAnswer") as tracing:
        answers = [article.ask("name=Ann&year=2021"), article.ask("name=Bob&path=/broken")]
        wait_for_lines(tracing, 2)
        events = calls_of(tracing.finish(signal.SIGINT).out)
    assert [one["args"] for one in events] == [
        {"name": "Ann", "year": 2021, "status": 200}, {"name": "Bob", "year": 2020, "status": 500},
    ]  # fmt: skip
    assert [one["results"] for one in events] == [{"~r0": answer} for answer in answers]
    assert all(one["latency_ns"] > 0 and one["goid"] > 1 and one["ended"] == "return" for one in events)


def test_many_functions_at_once(article: Article) -> None:
    maps = maps_after(article, "main.*:entry { @[func] = count() }", "name=Ann", "name=Bob")
    assert maps["@"] == {
        f'["{name}"]': 2
        for name in ("main.handler", "main.checkSite", "main.checkSite.func1", "main.prepareAnswer", "main.main.func1")
    }


def test_printf(article: Article) -> None:
    with article.traced('main.prepareAnswer:entry { printf("%s %d\\n", args.name, args.year) }') as tracing:
        article.ask("name=Ann&year=2021")
        wait_for_lines(tracing, 1)
        lines = lines_of(tracing.finish(signal.SIGINT).out)
    assert lines == [{"text": "Ann 2021\n"}]


def test_latency_by_argument_where_something_went_wrong(article: Article) -> None:
    script = "main.prepareAnswer:return / args.status >= 500 / { @[args.name] = hist(latency) }"
    maps = maps_after(article, script, "name=Ann", "name=Bob&path=/broken", "name=Bob&path=/broken")
    assert list(maps["@"]) == ['["Bob"]']
    assert sum(bucket["count"] for bucket in maps["@"]['["Bob"]']["buckets"]) == 2


def test_which_functions_become_goroutines_and_who_starts_them(article: Article) -> None:
    maps = maps_after(article, "goroutine:create { @[func, caller] = count() }", *["name=Ann"] * 3)
    assert maps["@"]['["main.checkSite.func1", "main.checkSite"]'] == 3


def test_comparison_with_texts_on_both_sides(article: Article) -> None:
    script = 'main.prepareAnswer:return / args.name == "Ann" / { @ = count() }'
    assert maps_after(article, script, "name=Ann", "name=Bob", "name=Ann")["@"] == {"[]": 2}


def test_the_trace_of_the_request_reaches_the_goroutine_it_starts(article: Article) -> None:
    script = "main.checkSite.func1:entry { print(traceid) } main.prepareAnswer:entry { print(traceid) }"
    with article.traced(script) as tracing:
        article.ask("name=Ann")
        article.ask("name=Bob")
        wait_for_lines(tracing, 4)
        texts = [one["text"].strip() for one in lines_of(tracing.finish(signal.SIGINT).out)]
    assert texts[0] == texts[1] != texts[2] == texts[3]
    assert all(len(bytes.fromhex(text)) == 16 for text in texts)


def test_what_it_calls_as_a_tree(article: Article) -> None:
    with started("trace", "-p", str(article.pid), "--graph", (SIGNATURES if article.stripped else "") + "main.handler"
                 ) as tracing:  # fmt: skip
        tracing.attached()
        article.ask("name=Ann&year=2021")
        wait_for_lines(tracing, 3)
        lines = tracing.finish(signal.SIGINT).out.decode().splitlines()
    named = [next((name for name in ("handler", "checkSite", "prepareAnswer") if f"main.{name}(" in line), "")
             for line in lines]  # fmt: skip
    assert [name for name in named if name][:3] == ["handler", "checkSite", "prepareAnswer"]
    assert lines[1].index("main.checkSite") > lines[0].index("main.handler")


def test_a_line_with_locals(article: Article) -> None:
    source = (build.__globals__["PROGRAMS"] / "article" / "main.go").read_text().splitlines()
    line = 1 + next(number for number, text in enumerate(source) if "fmt.Fprint(w, prepareAnswer" in text)
    if article.stripped:
        with started("trace", "-p", str(article.pid), f"main.go:{line} {{ print(name) }}") as tracing:
            done = tracing.finish()
        assert done.code == 1
        assert "`name` is not known here" in done.err
        return
    with article.traced(f"main.go:{line} {{ print(name, len(name), status) }}") as tracing:
        article.ask("name=Ann&year=2021")
        wait_for_lines(tracing, 1)
        (event,) = lines_of(tracing.finish(signal.SIGINT).out)
    assert event["text"].split() == ["Ann", "3", "200"]
