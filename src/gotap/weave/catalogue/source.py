"""Go text of the functions that woven places call: one file for each package, of all operations that have places there.

Operations are told apart by goroutine, so ends and annotations find what a begin has opened by themselves. Names of the
catalogue stand beside generated ones in one scope: all generated ones begin with `gotap_`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from gotap.probe.catalogue import AnnotateSpec, BeginSpec, CaptureSpec, EndSpec, InjectSpec, Library, Operation
from gotap.weave.catalogue.attributes import Finish, column_field
from gotap.weave.catalogue.expressions import PANICKED, go_text
from gotap.weave.catalogue.questions import identifier, noted, return_of, value
from gotap.weave.catalogue.symbols import symbol
from gotap.weave.helper.protocol import Lowered, Reply

_MAKERS = {
    "text": "gotaprt.TextOf(string({}), {})",
    "int": "gotaprt.IntOf(int64({}))",
    "bool": "gotaprt.BoolOf(bool({}))",
}
_OP = "gotap_op"


class Writer:
    """Writes what one operation needs in one package. `replies`: of the package's build, by the question's name."""

    def __init__(self, library: Library, operation: Operation, package: str, replies: Mapping[str, Reply]) -> None:
        self.library = library
        self.operation = operation
        self.package = package
        self.replies = replies
        self.prefix = "gotap_" + operation.name.replace(".", "_")
        self.finish = Finish(self.prefix, operation)
        self.imports: dict[str, str] = {}
        self.passing_functions: set[str] = set()

    def write(self) -> Iterator[str]:
        """Declarations. Nothing if the operation has no place in the package."""
        begins = self.begins()
        others = [*self.annotations(), *self.ends_elsewhere(), *self.injections()]
        if not begins and not others:
            return
        yield self.class_variable(bool(begins))
        if begins:
            yield self.state(begins)
            yield from (*self.finish.constants(), *self.finish.recent())
            yield self.finish.function(self.foreign_notes(), list(self.given_back()))
            yield self.at(begins)
            for number in begins:
                yield self.begin(number)
                if (end := return_of(self.operation, number)) is not None:
                    yield self.returns(number, end)
        yield from others

    # What there is

    def reply(self, role: str, number: int) -> Reply | None:
        """The answer about a place, if the build has it and it is in this package."""
        found = self.replies.get(identifier(self.operation, role, number))
        if found is None or found.missing:
            return None
        self.imports |= {alias: path for alias, path in found.imports.items() if alias not in self.imports}
        return found

    def here(self, specs: Sequence[BeginSpec | AnnotateSpec | EndSpec | InjectSpec]) -> Iterator[int]:
        return (number for number, spec in enumerate(specs) if spec.place.function.package == self.package)

    def begins(self) -> list[int]:
        return [number for number in self.here(self.operation.begins) if self.reply("begin", number) is not None]

    # The operation's type

    def class_variable(self, begun_here: bool) -> str:
        at = f"\tAt: {self.prefix}_at,\n" if begun_here else ""
        return (
            f"var {self.prefix}_class = gotaprt.Class{{\n"
            f"\tLibrary: {go_text(self.library.name)},\n\tName: {go_text(self.operation.name)},\n"
            f"{self.finish.description()}{at}}}"
        )

    def state(self, begins: Sequence[int]) -> str:
        kept: dict[str, str] = {}
        for number in begins:
            reply = self.begun(number)
            kept |= {name: one.type for name, one in reply.keep.items() if not one.error}
        fields = [f"\tkeep_{name} {type_text}" for name, type_text in sorted(kept.items())]
        sent = next((one for one in map(self.sent, map(self.begun, begins)) if one is not None), None)
        if sent is not None:
            fields.append(f"\tsent, own {sent.type}")
        own = "".join(f"{field}\n" for field in fields)
        struct = f"type {self.prefix}_state struct {{\n\tgotaprt.Operation\n{self.finish.struct()}{own}}}"
        return f"{struct}\n\nvar {self.prefix}_states gotap_sync.Pool" if self.reused else struct

    @property
    def reused(self) -> bool:
        """Whether memory of operations that have ended serves others: if nobody has it then. An operation that ends at
        returns of the function that begins it is known there, one that ends elsewhere by its goroutine's span only."""
        ends = self.operation.ends
        if all(end.place.results is None for end in ends):
            return True
        return all(end.place.results is not None for end in ends) and not self.operation.annotations

    def given_back(self) -> Iterator[str]:
        if self.reused:
            yield f"*{_OP} = {self.prefix}_state{{}}\n{self.prefix}_states.Put({_OP})"

    def begun(self, number: int) -> Reply:
        return self.replies[identifier(self.operation, "begin", number)]

    def sent(self, reply: Reply) -> Lowered | None:
        """Where an answer refers to the request that was sent."""
        found = reply.values.get("request")
        return found if found is not None and not found.error else None

    # Begins

    def begin(self, number: int) -> str:
        spec, reply = self.operation.begins[number], self.begun(number)
        values = reply.values
        new = f"new({self.prefix}_state)"
        made = f"{_OP}, _ := {self.prefix}_states.Get().(*{self.prefix}_state)\nif {_OP} == nil {{\n{_OP} = {new}\n}}"
        lines = ["if !gotaprt.Active() {\n\treturn nil\n}", made if self.reused else f"{_OP} := {new}"]
        lines += ["var gotap_ctx gotap_context.Context", "var gotap_headers map[string][]string",
                  "var gotap_subject unsafe.Pointer"]  # fmt: skip
        if spec.subject is None and any(end.place.results is not None for end in self.operation.ends):
            # What ends at its function's returns knows its own end, so a call below it is an operation like any other.
            lines.append(f"gotap_subject = unsafe.Pointer({_OP})")
        context = values.get("parent") if spec.parent_context is not None else values.get("context")
        for found, to in ((context, "gotap_ctx = {}"), (values.get("headers"), "gotap_headers = {}"),
                          (values.get("subject"), "gotap_subject = unsafe.Pointer({})")):  # fmt: skip
            if found is not None and not found.error:
                lines.append(_guarded(found, to.format(found.value)))
        way = "BeginRemote" if spec.parent_headers is not None else "Begin"
        own = values.get("context")
        carries = own is not None and not own.error
        lines.append(
            f"{'gotap_next' if carries else '_'}, gotap_ok := {self.prefix}_class.{way}"
            f"(&{_OP}.Operation, gotap_ctx, gotap_headers, gotap_subject)"
        )
        put = f"{self.prefix}_states.Put({_OP})\n" if self.reused else ""
        lines.append(f"if !gotap_ok {{\n{put}return nil\n}}")
        if own is not None and carries:
            lines.append(_guarded(own, f"if gotap_next != nil {{ {own.value} = gotap_next }}"))
        lines += [_guarded(one, f"{_OP}.keep_{name} = {one.value}") for name, one in sorted(reply.keep.items())
                  if not one.error and name in spec.keep]  # fmt: skip
        lines += self.captures(reply, "begin", spec.captures)
        lines.append(f"return {_OP}")
        parameters = _parameters([one.name for one in spec.place.function.parameters], reply.parameters or ())
        head = f"//go:noinline\nfunc {self.prefix}_begin_{number}({parameters}) *{self.prefix}_state"
        return f"{head} {{\n" + "\n".join(lines) + "\n}"

    def captures(self, reply: Reply, role: str, captures: Sequence[CaptureSpec]) -> Iterator[str]:
        """What a histogram wants, and behind a question whether there is a span what only that wants."""
        measured = self.finish.measured
        yield from self.columns(reply, role, (one for one in captures if one.column in measured))
        if rest := list(self.columns(reply, role, (one for one in captures if one.column not in measured))):
            yield "\n".join([f"if {_OP}.Recording() {{", *rest, "}"])

    def columns(self, reply: Reply, role: str, captures: Iterable[CaptureSpec]) -> Iterator[str]:
        for capture in captures:
            for number, _ in enumerate(capture.choices):
                found = reply.values[value(role, capture.column, number)]
                condition = reply.values.get(value(role, capture.column, number, "when"))
                made = self.column(capture, found)
                if made is None or (condition is not None and condition.error):
                    continue
                text = _guarded(found, made)
                if condition is not None:
                    text = _guarded(condition, f"if {condition.value} {{\n{text}\n}}")
                absent = f"{column_field(capture.column)} == (gotaprt.{self.finish.columns[capture.column]}{{}})"
                yield text if number == 0 else f"if {absent} {{\n{text}\n}}"

    def column(self, capture: CaptureSpec, found: Lowered) -> str | None:
        """The assignment to a column; None: this build has no such value."""
        wanted = self.finish.columns[capture.column]
        if found.error:
            return None
        if found.kind == "column":
            return f"{column_field(capture.column)} = {found.value}" if wanted == "Text" else None
        if found.kind == "found":
            limit = f", {capture.limit}" if wanted == "Text" else ""
            return f"{column_field(capture.column)} = gotaprt.Found{wanted}({found.value}{limit})"
        if found.kind == "bool" and wanted == "Int":
            made = f"gotaprt.BoolOf(bool({found.value})).Int()"
        elif found.kind and found.kind.capitalize() == wanted:
            made = _MAKERS[found.kind].format(found.value, capture.limit)
        else:
            return None
        return f"{column_field(capture.column)} = {made}"

    # Ends

    def returns(self, number: int, end: EndSpec) -> str:
        """The function that is deferred where the operation ends with the function that begins it."""
        reply = self.begun(number)
        types = reply.results or ()
        names = [one.name for one in end.place.results or ()]
        parameters = "".join(f", gotap_result{index} *{one}" for index, one in enumerate(types))
        lines = [f"if {_OP} == nil {{\n\treturn\n}}"]
        if types:
            lines.append(f"{_OP}.Unwind(unsafe.Pointer(gotap_result0))")
        for index, name in enumerate(names[: len(types)]):
            if name not in ("", "_"):
                lines += [f"{name} := *gotap_result{index}", f"_ = {name}"]
        if (sent := self.sent(reply)) is not None:
            own = f"if {sent.value} == {_OP}.sent && {sent.value} != nil {{\n{sent.value} = {_OP}.own\n}}"
            lines.append(_guarded(sent, own))
        lines += self.captures(reply, f"end{self.operation.ends.index(end)}", end.captures)
        lines.append(f"{self.prefix}_finish({_OP})")
        head = f"func {self.prefix}_return_{number}({_OP} *{self.prefix}_state{parameters})"
        return f"{head} {{\n" + "\n".join(lines) + "\n}"

    def at(self, begins: Sequence[int]) -> str:
        """What ends elsewhere read of an operation that was begun in this package."""
        cases = []
        for index, end in enumerate(self.operation.ends):
            if end.place.results is not None:
                continue
            if end.outcome == "discarded":
                cases.append(f"case {index}:\n{_OP}.Discard()\nreturn")
            elif lines := list(self.merged(begins, index, end)):
                cases.append(f"case {index}:\n" + "\n".join(lines))
        return (
            f"func {self.prefix}_at(gotap_operation *gotaprt.Operation, gotap_place int, {PANICKED} interface{{}}) {{\n"
            f"{_OP} := (*{self.prefix}_state)(unsafe.Pointer(gotap_operation))\n"
            f"_ = {PANICKED}\nswitch gotap_place {{\n" + "\n".join(cases) + f"\n}}\n{self.prefix}_finish({_OP})\n}}"
        )

    def merged(self, begins: Sequence[int], index: int, end: EndSpec) -> Iterator[str]:
        """Begins keep different things: what one of them does not keep is nil, and its alternatives do not hold."""
        seen: set[str] = set()
        for number in begins:
            reply = self.begun(number)
            for text in self.captures(reply, f"end{index}", end.captures):
                if text not in seen:
                    seen.add(text)
                    yield text

    def ends_elsewhere(self) -> Iterator[str]:
        for number in self.here(self.operation.ends):
            end = self.operation.ends[number]
            if end.place.results is not None or self.reply("end", number) is None:
                continue
            name = f"{self.prefix}_end_{number}"
            if end.place.callee is not None and symbol(end.place.callee).name == "gorecover":
                ended = f"\t{self.prefix}_class.End({number}, {PANICKED})\n\treturn {PANICKED}\n"
                yield f"func {name}({PANICKED} interface{{}}) interface{{}} {{\n{ended}}}"
            elif results := self.passed("end", number):
                yield self.passing(name, results, [], f"{self.prefix}_class.End({number}, nil)")
            else:
                yield f"func {name}() {{\n\t{self.prefix}_class.End({number}, nil)\n}}"

    def passed(self, role: str, number: int) -> tuple[str, ...]:
        """The types of the results of the function behind whose calls the place is."""
        found = self.replies.get(f"{identifier(self.operation, role, number)}/callee")
        return (found.results or ()) if found is not None and not found.missing else ()

    def passing(self, name: str, types: Sequence[str], names: Sequence[str], statement: str) -> str:
        """A function through which the results of a call pass."""
        self.passing_functions.add(passing_name(name))
        shown = [
            names[i] if i < len(names) and names[i] not in ("", "_") else f"gotap_result{i}" for i in range(len(types))
        ]
        given = ", ".join(f"{one} {text}" for one, text in zip(shown, types, strict=True))
        return f"func {name}({given}) ({', '.join(types)}) {{\n{statement}\nreturn {', '.join(shown)}\n}}"

    # The rest

    def annotations(self) -> Iterator[str]:
        for number in self.here(self.operation.annotations):
            spec = self.operation.annotations[number]
            types = self.passed("annotate", number)
            if self.reply("annotate", number) is None or not types or spec.place.callee is None or not self.begins():
                continue
            keep = self.begun(self.begins()[0]).keep
            lines = [
                _guarded(keep[name], f"{_OP}.keep_{name} = {keep[name].value}") for name in spec.keep
                if name in keep and not keep[name].error
            ]  # fmt: skip
            if lines:
                names = [one.name for one in spec.place.callee.results]
                own = f"if gotap_open.Of(&{self.prefix}_class) {{\n"
                own += f"{_OP} := (*{self.prefix}_state)(unsafe.Pointer(gotap_open))\n" + "\n".join(lines)
                text = "\n".join([
                    f"if gotap_open := {self.prefix}_class.Annotate(); gotap_open != nil {{",
                    own, "} else {", *self.notes(number, spec), "}", "gotap_open.Annotated()", "}",
                ])  # fmt: skip
                yield self.passing(f"{self.prefix}_annotate_{number}", types, names, text)

    def notes(self, number: int, spec: AnnotateSpec) -> Iterator[str]:
        """For an operation that began in another package: columns, since that cannot keep what this one names."""
        reply = self.replies[f"{identifier(self.operation, 'annotate', number)}/callee"]
        for capture in noted(self.operation, spec):
            found = reply.values[capture.column]
            if not found.error and found.kind == "text":
                made = _MAKERS["text"].format(found.value, capture.limit)
                yield _guarded(found, f"gotap_open.Note({go_text(capture.column)}, {made})")

    def foreign_notes(self) -> Iterator[str]:
        """What annotations in other packages have noted for an operation that began here."""
        for spec in self.operation.annotations:
            if spec.place.function.package != self.package:
                for capture in noted(self.operation, spec):
                    field = column_field(capture.column)
                    yield f"if {field} == (gotaprt.Text{{}}) {{\n{field} = {_OP}.Noted({go_text(capture.column)})\n}}"

    def injections(self) -> Iterator[str]:
        for number in self.here(self.operation.injects):
            spec = self.operation.injects[number]
            reply = self.reply("inject", number)
            callee = self.replies.get(f"{identifier(self.operation, 'inject', number)}/callee")
            asked = reply if spec.place.callee is None else callee
            if reply is None or asked is None or asked.missing or asked.values["request"].error:
                continue
            found = asked.values["request"]
            name = f"{self.prefix}_inject_{number}"
            keep = known = ""
            if self.begins() and self.sent(self.begun(self.begins()[0])) is not None:
                known = f"{_OP} := (*{self.prefix}_state)(unsafe.Pointer(gotap_open))\n"
                known += f"if {_OP}.sent == gotap_request {{\n\treturn gotap_request\n}}\n"
                keep = f"{_OP}.sent, {_OP}.own = gotap_sent, gotap_request\n"
            yield _SENT.format(name=name, type=found.type.removeprefix("*"), prefix=self.prefix, keep=keep, known=known)
            if spec.place.callee is None:
                parameters = _parameters([one.name for one in spec.place.function.parameters], reply.parameters or ())
                text = _guarded(found, f"{found.value} = {name}({found.value})")
                yield f"func {name}_entry({parameters}) {{\n{text}\n}}"


#: The request that is sent is a copy: the program's own may be used by others, and again.
_SENT = """func {name}(gotap_request *{type}) *{type} {{
	gotap_open := {prefix}_class.Open()
	if gotap_open == nil || gotap_request == nil {{
		return gotap_request
	}}
	{known}gotap_parent, gotap_state := gotap_open.Headers()
	if gotap_parent == "" {{
		return gotap_request
	}}
	gotap_sent := new({type})
	*gotap_sent = *gotap_request
	gotap_sent.Header = gotap_request.Header.Clone()
	if gotap_sent.Header == nil {{
		gotap_sent.Header = map[string][]string{{}}
	}}
	gotap_sent.Header["Traceparent"] = []string{{gotap_parent}}
	delete(gotap_sent.Header, "Tracestate")
	if gotap_state != "" {{
		gotap_sent.Header["Tracestate"] = []string{{gotap_state}}
	}}
	{keep}return gotap_sent
}}"""


def passing_name(function: str) -> str:
    """How a function through which results pass is marked among the names of those that were written."""
    return f"{function} passes"


def _guarded(found: Lowered, statement: str) -> str:
    """The statement where all conditions of a value hold."""
    return "".join(f"if {step} {{\n" for step in found.steps or ()) + statement + "\n}" * len(found.steps or ())


def _parameters(names: Sequence[str], types: Sequence[str]) -> str:
    return ", ".join(f"{name or '_'} {one}" for name, one in zip(names, types, strict=False))
