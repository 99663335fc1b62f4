"""The words of a go command line: where flags end and packages begin, and which flags decide what is built.

The tables are those of `go help build`, `go help test` and `go help testflag`, Go 1.21 to 1.27. A flag that stands in
none of them takes no value, as the go command itself has it for flags of test binaries in the form `-name=value`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

#: Commands that compile the program.
BUILDING = ("build", "install", "run", "test", "vet", "list")

_SWITCHES = frozenset((
    "a", "n", "race", "msan", "asan", "cover", "v", "work", "x", "linkshared", "modcacherw", "trimpath", "json", "i",
    "c", "short", "failfast", "benchmem", "fullpath", "artifacts",
))  # fmt: skip
_VALUED = frozenset((
    "C", "p", "covermode", "coverpkg", "asmflags", "buildmode", "compiler", "gccgoflags", "gcflags", "installsuffix",
    "ldflags", "mod", "modfile", "overlay", "pgo", "pkgdir", "tags", "toolexec", "o", "exec", "bench", "benchtime",
    "blockprofile", "blockprofilerate", "count", "coverprofile", "cpu", "cpuprofile", "fuzz", "fuzzcachedir",
    "fuzzminimizetime", "fuzztime", "list", "memprofile", "memprofilerate", "mutexprofile", "mutexprofilefraction",
    "outputdir", "parallel", "run", "shuffle", "skip", "timeout", "trace", "vet", "vettool",
))  # fmt: skip
#: What `go list` must be told, so that it lists what is going to be built.
_LOADING = frozenset((
    "race", "msan", "asan", "compiler", "installsuffix", "mod", "modfile", "tags", "overlay", "linkshared",
))  # fmt: skip
#: What says where modules are, and has no meaning for those that lie elsewhere.
ELSEWHERE = frozenset(("mod", "modfile", "overlay"))


class Flag(Struct, frozen=True):
    """`name` without dashes; `value` None: it has none; `words`: as they stood."""

    name: str
    value: str | None
    words: tuple[str, ...]


class CommandLine(Struct, frozen=True):
    """`gotap go VERB …`. `packages`: patterns or files; empty: the package of the directory; `rest`: what follows them,
    arguments of a program or a test.
    """

    verb: str
    flags: tuple[Flag, ...]
    packages: tuple[str, ...]
    rest: tuple[str, ...]

    def value(self, name: str) -> str | None:
        """Of the last flag of that name; "" if it has none; None: it is not there."""
        return next((flag.value or "" for flag in reversed(self.flags) if flag.name == name), None)

    def has(self, name: str) -> bool:
        return self.value(name) not in (None, "false", "0")

    def loading(self, without: Collection[str] = ()) -> list[str]:
        """Flags for `go list`."""
        names = _LOADING.difference(without)
        return [word for flag in self.flags if flag.name in names for word in flag.words]


def parse(words: Sequence[str]) -> CommandLine:
    """Everything behind `gotap go`."""
    verb, left = words[0], list(words[1:])
    flags: list[Flag] = []
    packages: list[str] = []
    ended = False
    while left:
        if left[0] in ("-args", "--args") or (left[0] == "--" and verb == "test"):
            break
        if left[0] == "--" and not packages and not ended:
            ended = bool(left.pop(0))  # packages follow, save for tests, which get it (test.testFlags)
        elif not ended and _is_flag(left[0]):
            flags.append(_take_flag(left))
        elif verb == "run" and packages and not (packages[0].endswith(".go") and left[0].endswith(".go")):
            break
        else:
            packages.append(left.pop(0))
            if verb == "run" and not packages[0].endswith(".go"):
                break
    return CommandLine(verb, tuple(flags), tuple(packages), tuple(left))


def _is_flag(word: str) -> bool:
    return len(word) > 1 and word[0] == "-" and word != "--"


def _take_flag(left: list[str]) -> Flag:
    word = left.pop(0)
    name, sign, value = word.lstrip("-").partition("=")
    if name.startswith("test."):
        name = name.removeprefix("test.")
    if sign:
        return Flag(name, value, (word,))
    if name in _VALUED and left:
        value = left.pop(0)
        return Flag(name, value, (word, value))
    return Flag(name, None, (word,))


def goflags_without(text: str, names: Collection[str]) -> str:
    """$GOFLAGS but for some flags. Each flag is one word there."""
    words = [word for flag in split_goflags(text) if flag.name not in names for word in flag.words]
    return " ".join(quoted(word) for word in words)


def quoted(word: str) -> str:
    """A word for $GOFLAGS and the like; there is no way to write one with spaces and quotes of both kinds."""
    if not any(letter.isspace() for letter in word) and word[:1] not in ("'", '"'):
        return word
    return f'"{word}"' if "'" in word else f"'{word}'"


def split_goflags(text: str) -> Iterator[Flag]:
    """Flags of $GOFLAGS, which are separated by spaces and may be quoted (cmd/internal/quoted)."""
    word, quote, inside = "", "", False
    for letter in [*text, " "]:
        if quote:
            quote, word = ("", word) if letter == quote else (quote, word + letter)
        elif letter in "'\"" and not word:
            quote, inside = letter, True
        elif letter.isspace():
            if word or inside:
                yield _take_flag([word])
            word, inside = "", False
        else:
            word += letter
