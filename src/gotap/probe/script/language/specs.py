"""Where probes sit: `main.*:entry`, `main.go:42`, `interval:1s`, … from text to the tree.

Names of functions hold almost any character, so they are read as they stand: up to a blank, a comma, a semicolon or a
brace outside of brackets. What stands between double quotes is taken literally (a path with blanks).
"""

from __future__ import annotations

import re
from typing import cast

from msgspec import Struct

from gotap.errors import GotapError
from gotap.probe import literals
from gotap.probe.lexer import Lexer, shown
from gotap.probe.script.language import tree
from gotap.probe.script.language.source import suggestion
from gotap.probe.script.language.vocabulary import GOROUTINE_EVENTS, KINDS, OTHER_KINDS, POINTS

#: Shortest interval, most samples a second, greatest line.
LEAST_INTERVAL = 1_000_000
MOST_HERTZ = 10_000
_MOST_LINE = (1 << 31) - 1

_INTERVAL_UNITS = ("s", "ms", "us", "m", "h")
_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
#: Of a system call or a tracepoint; some categories hold a hyphen.
_KERNEL_NAME = re.compile(r"[\w-]+", re.ASCII)
#: What the linker puts before a colon in names of its own: type:.eq.main.T, go:buildid (Go 1.20 on).
_NAMESPACES = ("type", "go")
#: Kinds, of this tool or another, behind whose colon a path stands.
_WITH_PATHS = ("uprobe", "uretprobe", "usdt")


class _Part(Struct):
    """What stands between colons."""

    text: str
    at: int
    quoted: bool = False


class SpecReader:
    """Reads one spec from the lexer's position on, and leaves it behind the spec."""

    def __init__(self, lexer: Lexer) -> None:
        self.lexer = lexer

    def spec(self) -> tree.Spec:
        at = self.lexer.position
        parts = self.parts()
        first = parts[0]
        if first.text in ("", "/"):
            raise self.nothing(at)
        for empty in parts:
            if not empty.text:
                raise self.lexer.fail(empty.at, "something is missing behind the colon", "")
        if not first.quoted:
            if first.text in ("BEGIN", "END") and len(parts) == 1:
                first.text = first.text.lower()
            if first.text in KINDS:
                return self.of_kind(parts, at)
        return self.place(parts, at)

    # -- characters ---------------------------------------------------------------------------------------------

    def parts(self) -> list[_Part]:
        text, place = self.lexer.text, self.lexer.position
        parts = [_Part("", place)]
        written: list[str] = []
        while place < len(text):
            character = text[place]
            part = parts[-1]
            if character == ":":
                part.text, written = "".join(written), []
                parts.append(_Part("", place + 1))
            elif character == '"':
                place = self.quoted(place, written)
                part.quoted = True
            elif character in "([":
                self.check_bracket(place, parts)
                place = self.bracketed(place, written)
            elif character in " \t\r\n\f\v\xa0\ufeff;,{}" or (character == "/" and self.ends_spec(parts)):
                break
            else:
                written.append(character)
            place += 1
        parts[-1].text = "".join(written)
        self.lexer.position = place
        return parts

    def ends_spec(self, parts: list[_Part]) -> bool:
        """Whether a slash here begins a predicate: behind a colon there is none in names, but in paths."""
        return len(parts) > 1 and parts[0].text not in _WITH_PATHS

    def quoted(self, place: int, written: list[str]) -> int:
        """The index of the closing quote."""
        end = self.lexer.text.find('"', place + 1)
        if end < 0 or "\n" in self.lexer.text[place:end]:
            raise self.lexer.fail(place, "the quoted name is not closed", 'close it by " in the same line')
        written.append(self.lexer.text[place + 1 : end])
        return end

    def bracketed(self, opening: int, written: list[str]) -> int:
        """The index of the closing bracket. Inside, only blanks behind commas are not part of the name."""
        text, depth = self.lexer.text, 0
        for place in range(opening, len(text)):
            character = text[place]
            if character == "\n":
                break
            if character == " " and (text[place - 1] in ", "):
                continue
            written.append(character)
            depth += (character in "([") - (character in ")]")
            if depth == 0:
                return place
        raise self.lexer.fail(opening, f"`{text[opening]}` is not closed", "a probe's name stands in one line")

    def check_bracket(self, place: int, parts: list[_Part]) -> None:
        """Outside of instantiations a parenthesis is that of a pointer's methods: main.(*T).M."""
        text = self.lexer.text
        if text[place] == "(" and not text.startswith("(*", place) and parts[0].text not in _WITH_PATHS:
            name = text[parts[0].at : place]
            raise self.lexer.fail(
                place, "a function is named without its parameters",
                f"write {name[:80]}; its arguments are args.NAME" if name else "begin with a function's name",
            )  # fmt: skip

    # -- meaning ------------------------------------------------------------------------------------------------

    def of_kind(self, parts: list[_Part], at: int) -> tree.Spec:
        kind, rest = parts[0].text, parts[1:]
        if kind in ("begin", "end"):
            if rest:
                raise self.lexer.fail(rest[0].at, f"{kind} has no parts", f"write {kind} {{ … }}")
            return tree.Begin(at) if kind == "begin" else tree.End(at)
        if kind == "interval":
            return self.interval(rest, at)
        if kind == "profile":
            return self.profile(rest, at)
        if kind == "goroutine":
            (event,) = self.exactly(rest, 1, "goroutine:create", at)
            if event.text not in GOROUTINE_EVENTS:
                raise self.unknown(event, "goroutine event", GOROUTINE_EVENTS)
            return tree.Goroutine(cast(tree.GoroutineEvent, event.text), at)
        if kind == "syscall":
            (name,) = self.exactly(rest, 1, "syscall:openat", at)
            return tree.Syscall(self.kernel_name(name, "a system call's name"), at)
        if kind == "tracepoint":
            category, name = self.exactly(rest, 2, "tracepoint:sched:sched_switch", at)
            within = self.kernel_name(category, "a tracepoint's category")
            return tree.Tracepoint(within, self.kernel_name(name, "a tracepoint's name"), at)
        return self.uprobe(rest, at)

    def interval(self, rest: list[_Part], at: int) -> tree.Interval:
        example = "interval:1s"
        if len(rest) == 2 and rest[0].text in _INTERVAL_UNITS and rest[1].text.isascii() and rest[1].text.isdigit():
            word = rest[1].text + rest[0].text  # as in bpftrace: interval:s:1
            part = rest[1]
        else:
            (part,) = self.exactly(rest, 1, example, at)
            word = part.text
        probe = Lexer(word, self.lexer.fail)
        probe.advance()
        if probe.kind != "duration" or probe.position != len(word):
            raise self.lexer.fail(part.at, f"{shown(part.text)} is not a duration", f"write {example}, or 100ms")
        try:
            nanoseconds = literals.duration(word, shown(word))
        except literals.Malformed as error:
            raise self.lexer.fail(part.at, error.message, error.remedy) from None
        if nanoseconds < LEAST_INTERVAL:
            raise self.lexer.fail(part.at, "an interval is at least 1ms long", f"write {example}")
        return tree.Interval(nanoseconds, at)

    def profile(self, rest: list[_Part], at: int) -> tree.Profile:
        example = "profile:99hz"
        if len(rest) == 2 and rest[0].text == "hz":  # as in bpftrace
            rest = rest[1:]
        (part,) = self.exactly(rest, 1, example, at)
        match = re.fullmatch(r"([0-9]{1,9})(?:[hH]z)?", part.text)
        if match is None or not 1 <= int(match[1]) <= MOST_HERTZ:
            raise self.lexer.fail(
                part.at, f"{shown(part.text)} is not a rate of 1 to {MOST_HERTZ} a second", f"write {example}"
            )
        return tree.Profile(int(match[1]), at)

    def uprobe(self, rest: list[_Part], at: int) -> tree.Uprobe:
        example = "uprobe:/bin/bash:readline:return"
        returns = len(rest) == 3 and rest[2].text == "return"
        if len(rest) == 3 and not returns:
            if rest[2].text != "entry":
                raise self.unknown(rest[2], "point of a uprobe", ("entry", "return"))
            rest = rest[:2]
        path, symbol = self.exactly(rest[:2] if returns else rest, 2, example, at)
        name, offset = symbol.text, 0
        match = None if symbol.quoted else re.fullmatch(r"(.+)\+(0[xX][0-9a-fA-F]{1,8}|[0-9]{1,9})", name)
        if match is not None:
            name = match[1]
            try:
                offset = int(match[2], 0)
            except ValueError:  # 010
                raise self.lexer.fail(symbol.at, f"`{match[2]}` is no number", "write 16 or 0x10") from None
        if offset and returns:
            raise self.lexer.fail(symbol.at, "a return has no offset", f"write uprobe:{path.text}:{name}:return")
        return tree.Uprobe(path.text, name, offset, returns, at)

    def place(self, parts: list[_Part], at: int) -> tree.Function | tree.Line:
        """A function or a line."""
        if len(parts) > 1 and parts[0].text in _NAMESPACES and not parts[0].quoted:
            parts = [_Part(f"{parts[0].text}:{parts[1].text}", parts[0].at), *parts[2:]]
        first = parts[0]
        if len(parts) == 1:
            self.check_bare(first)
            return tree.Function(first.text, "call", at)
        if len(parts) > 2:
            raise self.not_a_kind(first) or self.lexer.fail(parts[2].at, "a part too many", "write FUNCTION:entry")
        last = parts[1]
        if last.text.isascii() and last.text.isdigit():
            if (wrong := self.not_a_kind(first)) is not None:
                raise wrong
            if len(last.text) > 10 or not 1 <= int(last.text) <= _MOST_LINE:
                raise self.lexer.fail(last.at, f"{shown(last.text)} is not a line", "lines count from 1")
            return tree.Line(first.text, int(last.text), at)
        if last.text not in POINTS:
            raise self.not_a_kind(first) or self.unknown(last, "point of a function", POINTS)
        return tree.Function(first.text, cast(tree.Point, last.text), at)

    # -- errors -------------------------------------------------------------------------------------------------

    def exactly(self, parts: list[_Part], count: int, example: str, at: int) -> list[_Part]:
        if len(parts) < count:
            raise self.lexer.fail(at, f"{example.partition(':')[0]} needs more", f"write it like {example}")
        if len(parts) > count:
            raise self.lexer.fail(parts[count].at, "a part too many", f"write it like {example}")
        return parts

    def kernel_name(self, part: _Part, what: str) -> str:
        if not _KERNEL_NAME.fullmatch(part.text):
            remedy = "* stands in names of functions only" if "*" in part.text else "it holds letters, digits and _"
            raise self.lexer.fail(part.at, f"{shown(part.text)} is not {what}", remedy)
        return part.text

    def nothing(self, at: int) -> GotapError:
        found = self.lexer.text[at : at + 1]
        what = f"unexpected {shown(found)}" if found.strip() else "something is missing"
        remedy = "write PROBE { STATEMENTS }, such as main.* { print(func) }"
        return self.lexer.fail(at, f"{what} where a probe should begin", remedy)

    def unknown(self, part: _Part, what: str, known: tuple[str, ...]) -> GotapError:
        remedy = suggestion(part.text, known) or f"known are {', '.join(known)}"
        return self.lexer.fail(part.at, f"there is no {what} {shown(part.text)}", remedy)

    def check_bare(self, part: _Part) -> None:
        """A word alone may be an assembly function's name; one that is almost a keyword is rather meant to be that."""
        if part.quoted or not _WORD.fullmatch(part.text):
            return
        if part.text in OTHER_KINDS or (len(part.text) > 2 and suggestion(part.text, KINDS)):
            raise self.no_kind(part)

    def not_a_kind(self, part: _Part) -> GotapError | None:
        """The error for a word that looks like a kind of probe, and is none; None: it looks like a function."""
        return None if part.quoted or not _WORD.fullmatch(part.text) else self.no_kind(part)

    def no_kind(self, part: _Part) -> GotapError:
        remedy = OTHER_KINDS.get(part.text) or suggestion(part.text, KINDS) or f"known are {', '.join(KINDS)}"
        return self.lexer.fail(part.at, f"there is no kind of probe {shown(part.text)}", remedy)
