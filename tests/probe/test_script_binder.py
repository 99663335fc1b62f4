"""Scripts bound to real programs: which routines, sites, maps and events come out, and what is refused how."""

import re
from pathlib import Path

import pytest

from gobuild import NEWEST, OLDEST, build
from gotap.errors import GotapError
from gotap.image.image import Image
from gotap.probe import ir
from gotap.probe.script.binding.binder import Options, bind_script
from gotap.probe.script.bound import BoundScript, EventKind, MapKind, PartKind
from gotap.probe.script.language.parser import parse_script
from gotap.probe.script.language.source import ScriptError
from gotap.probe.script.routine import Branch, Emit, Enter, Leave, Store, Tally, Unwind, Watch
from gotap.probe.script.tracepoint import FieldInfo


@pytest.fixture(scope="module", params=[OLDEST, NEWEST])
def article(request: pytest.FixtureRequest) -> Image:
    return Image.open(build("article", request.param))


@pytest.fixture(scope="module")
def stress() -> Image:
    return Image.open(build("stress", NEWEST))


@pytest.fixture(scope="module")
def functions() -> Image:
    return Image.open(build("functions", NEWEST))


def bound(text: str, image: Image | None, **options: object) -> BoundScript:
    return bind_script(parse_script(text), image, Options(**options))  # type: ignore[arg-type]


def routines(script: BoundScript, kind: type) -> list:
    return [one for one in script.routines if isinstance(one.routine, kind)]


def refused(text: str, image: Image | None, **options: object) -> ScriptError:
    with pytest.raises(ScriptError) as caught:
        bound(text, image, **options)
    return caught.value


def test_a_call_is_entered_left_and_unwound(article: Image) -> None:
    script = bound("main.prepareAnswer", article)
    (enter,), (leave,) = routines(script, Enter), routines(script, Leave)
    assert len(enter.sites) == 1
    assert leave.sites
    assert enter.routine.layout == leave.routine.layout
    assert {one.probe for one in routines(script, Unwind)} == {"(recover)", "(fatal)", "(exit)"}
    (event,) = script.events.values()
    assert event.kind is EventKind.CALL
    assert [(name, part.type) for name, part in event.args] == [("name", "string"), ("year", "int"), ("status", "int")]
    assert [name for name, _ in event.results] == ["~r0"]
    assert script.sites[enter.sites[0][1]].function == "main.prepareAnswer"
    assert script.sites[enter.sites[0][1]].file.endswith("main.go")


def test_a_predicate_on_arguments_alone_is_evaluated_at_the_entry(article: Image) -> None:
    early = bound("main.prepareAnswer:return / args.status >= 500 / { @ = count() }", article)
    assert routines(early, Enter)[0].routine.when
    assert not routines(early, Leave)[0].routine.when
    late = bound("main.prepareAnswer:return / args.status >= 500 && latency > 1ms / { @ = count() }", article)
    assert not routines(late, Enter)[0].routine.when
    assert routines(late, Leave)[0].routine.when


def test_arguments_at_the_return_are_those_of_the_entry(article: Image) -> None:
    script = bound("main.prepareAnswer:return { @[args.name, args.year] = hist(latency) }", article)
    (enter,) = routines(script, Enter)
    assert [one.column.kind.value for one in enter.routine.captures] == ["text", "int"]
    (tally,) = routines(script, Leave)[0].routine.body
    assert isinstance(tally, Tally)
    assert isinstance(tally.keys[0], ir.KeptText)
    assert isinstance(tally.keys[1], ir.Kept)
    assert isinstance(tally.keys[2], ir.LogLinear)
    (spec,) = script.maps
    assert (spec.name, spec.kind, [part.kind for part in spec.keys]) == (
        "@", MapKind.HIST, [PartKind.TEXT, PartKind.INT],
    )  # fmt: skip
    assert spec.value.kind is PartKind.DURATION


def test_what_an_argument_leads_to_may_be_read_at_the_return(article: Image) -> None:
    script = bound("main.handler:return { print(args.r.Method, now(args.r.Method)) }", article)
    (enter,) = routines(script, Enter)
    assert {one.column.kind.value for one in enter.routine.captures} == {"text", "uint"}
    (emit,) = routines(script, Leave)[0].routine.body
    assert len(emit.captures) == 1  # the one that is read now


def test_functions_that_read_nothing_share_one_routine(article: Image) -> None:
    script = bound("main.*:entry { @[func] = count() }", article)
    (watch,) = routines(script, Watch)
    names = {script.sites[number].function for _, number in watch.sites}
    assert {"main.handler", "main.checkSite", "main.prepareAnswer", "main.main"} <= names
    assert script.maps[0].keys[0].kind is PartKind.SITE


def test_inlined_copies_count_as_entries(stress: Image) -> None:
    script = bound("main.twice:entry { @ = count() }", stress)
    sites = [script.sites[number] for one in routines(script, Watch) for _, number in one.sites]
    assert "main.answer" in {one.inlined_into for one in sites}
    assert {one.function for one in sites} == {"main.twice"}


def test_a_function_that_is_inlined_everywhere_has_no_return(stress: Image) -> None:
    error = refused("main.count:return", stress)
    assert "inlined everywhere" in str(error)
    assert "main.count:inline" in error.remedy
    script = bound("main.*:return { @ = count() }", stress)
    assert any("main.count" in notice for notice in script.notices)


def test_instances_of_generic_functions_are_told_apart(functions: Image) -> None:
    every = bound("main.Map", functions)
    names = {name for event in every.events.values() for _, name in event.instances}
    assert {"main.Map[int,string]", "main.Map[int32,int]"} <= names
    one = bound("main.Map[int,string]:entry { @ = count() }", functions)
    assert all(routine.routine.when for routine in routines(one, Watch))


def test_goroutines_moments(article: Image) -> None:
    script = bound("goroutine:create { @[func, caller] = count() } "
                   "goroutine:park { @w[args.reason] = count() }", article)  # fmt: skip
    create, park = routines(script, Watch)
    assert len(create.sites) == 1
    assert len(park.sites) == 1
    assert [part.kind for part in script.maps[0].keys] == [PartKind.CODE, PartKind.CODE]
    assert "select" in script.maps[1].keys[0].names
    ready = bound("goroutine:ready / @since[goid] / { @ = sum(nsecs - @since[goid]) } "
                  "goroutine:park { @since[goid] = nsecs }", article)  # fmt: skip
    kinds = {spec.name: spec.value.kind for spec in ready.maps}
    assert kinds == {"@": PartKind.DURATION, "@since": PartKind.TIME}


def test_maps_of_texts_are_known_before_they_are_written(article: Image) -> None:
    script = bound("main.handler:entry { print(@last[goid]); @last[goid] = args.r.Method }", article)
    assert script.maps[0].value.kind is PartKind.TEXT
    store = routines(script, Watch)[0].routine.body[1]
    assert isinstance(store, Store)


def test_statements(article: Image) -> None:
    script = bound(
        "main.prepareAnswer:entry { $x = args.year * 2; if $x > 4000 { print($x) } else { print(args.name) } "
        "for $i in 0..3 { @n += $i } self.seen += 1; stop }", article,
    )  # fmt: skip
    body = routines(script, Watch)[0].routine.body
    assert any(isinstance(one, Branch) for one in body)
    assert isinstance(body[-1], Emit)
    assert script.locals == 2
    assert script.own == 1
    assert {event.kind for event in script.events.values()} == {EventKind.PRINT, EventKind.STOP}


@pytest.mark.parametrize(
    ("text", "message", "remedy"),
    [
        ("main.prepareAnswer { print(args.nme) }", "no argument `nme`", "did you mean `name`?"),
        ("main.prepareAnswer { print(name) }", "`name` is not known here", "write args.name"),
        ("main.prepareAnswr", "no function matches `main.prepareAnswr`", "main.prepareAnswer"),
        ("main.prepareAnswer:entry { print(latency) }", "latency is known when a call ends", ":return"),
        ("main.prepareAnswer:entry { print(ret) }", "no result is known here", ":return"),
        ("main.checkSite { print(ret) }", "the function has 2 results", "ret.~r0"),
        ("main.prepareAnswer { @x = count() } main.handler { @x = 1 }", "@x is a count", "another map"),
        ("main.prepareAnswer { @x[args.year] = count(); @x[args.name] = count() }", "@x has 1 key", "same keys"),
        ("main.prepareAnswer { print(@never[1]) }", "nothing is ever stored in @never", "store something"),
        ("main.prepareAnswer { printf(\"%d %d\", 1) }", "takes 2 arguments, and there are 1", "one argument"),
        ("main.prepareAnswer { @ = hist(args.name) }", "a string cannot be aggregated", "top"),
        ("main.prepareAnswer / args.name > 5 / { @ = count() }", "string cannot be compared with 5", ""),
        ("main.prepareAnswer { print($x) }", "`$x` is read before it is set", "set it first"),
        ("begin { print(goid) }", "no goroutine runs here", "functions"),
        ("main.prepareAnswer { print(args.year.x) }", "int", ""),
    ],
)  # fmt: skip
def test_errors_point_into_the_script(article: Image, text: str, message: str, remedy: str) -> None:
    error = refused(text, article)
    assert message in str(error)
    assert remedy in error.remedy
    assert error.excerpt[1].strip() == "^"


def test_too_many_matches(article: Image) -> None:
    error = refused("*:entry { @ = count() }", article, most_probes=100)
    assert "more than 100" in str(error)
    assert "--max-probes" in error.remedy


def test_a_stripped_program_needs_signatures(article: Image) -> None:
    stripped = Image.open(build("article", NEWEST, mode="stripped"))
    error = refused("main.prepareAnswer { print(args.name) }", stripped)
    assert "sig" in str(error) + error.remedy
    script = bound("sig 'main.prepareAnswer(name string, year int, status int) string'\nmain.prepareAnswer", stripped)
    (event,) = script.events.values()
    assert [name for name, _ in event.args] == ["name", "year", "status"]


def test_tracepoints_and_what_needs_no_program() -> None:
    fields = {"pid": FieldInfo("pid", "pid_t", 24, 4, True, "integer"),
              "comm": FieldInfo("comm", "char[16]", 8, 16, False, "text")}  # fmt: skip
    script = bound("tracepoint:sched:sched_switch { @[args.pid] = count(); print(args.comm) } begin { @b = 1 }", None,
                   tracepoints=lambda category, name: fields)  # fmt: skip
    assert [one.origin.kind for one in script.routines] == ["tracepoint", "begin"]
    assert script.goid is None
    with pytest.raises(GotapError, match="none is named"):
        bound("main.f { @ = count() }", None)


def test_words_of_the_goroutine(article: Image) -> None:
    script = bound('main.handler:entry { @[goid, label("job")] = count() }', article)
    assert [part.kind is PartKind.TEXT for part in script.maps[0].keys] == [False, True]
    # A call that is unwound takes its goroutine along: the runtime unwinds on a stack of its own.
    script = bound("main.handler:panic { @[goid] = count() }", article)
    (enter,) = routines(script, Enter)
    assert enter.routine.captures


def test_the_caller_of_an_inlined_copy_is_the_function_it_was_put_into(functions: Image) -> None:
    script = bound("main.*:inline { @[func, caller] = count() }", functions)
    names = {one.address: one.name for one in functions.pclntab.functions()}
    pairs = set()
    for one in script.routines:
        (caller,) = re.findall(r"StaticAddress\(address=(\d+)\)", repr(one.routine))
        pairs |= {(script.sites[number].inlined_into, names[int(caller)]) for _, number in one.sites}
    assert any(into == caller for into, caller in pairs)
    assert {caller for _, caller in pairs} <= set(names.values())


@pytest.mark.parametrize("tool", sorted(path.stem for path in Path("src/gotap/tools").glob("*.gt")))
def test_every_tool_can_be_read(tool: str) -> None:
    text = (Path(__file__).parents[2] / "src/gotap/tools" / f"{tool}.gt").read_text()
    parse_script(re.sub(r"\$\{\d:([^{}]*)\}", r"\1", text).replace("$1", "main.f"), tool)
