"""What the helper is asked and what it answers, as JSON; program/protocol.go is the other side.

Import paths are those of `go list`: variants for tests carry ` [p.test]`. Lines count from 1, columns in bytes from 1,
offsets in bytes from 0, all in files as they are on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from gotap.weave.rules.model import Aspect


class PackageFacts(Struct, frozen=True):
    """One entry of `go list -deps`. `files`: absolute paths; `imports`: resolved; `lang`: `go1.21`; "": newest."""

    import_path: str
    name: str
    dir: str
    files: Sequence[str]
    import_map: Mapping[str, str] = field(default_factory=dict)
    imports: Sequence[str] = ()
    module: str = ""
    lang: str = ""
    std: bool = False
    main: bool = False
    test_main: bool = False
    for_test: str = ""


class Named(Struct, frozen=True):
    """A parameter or result by the catalogue's name for it (`_`: nobody names it) and the full name of its type."""

    name: str
    type: str


class Keeper(Struct, frozen=True):
    """A function whose results are kept."""

    function: str
    results: Sequence[Named]
    keep: Mapping[str, Node]


class Question(Struct, frozen=True, kw_only=True):
    """Whether a package has a function of the catalogue's, and how expressions that stand there are written in Go.

    `entry` and `keep` stand at its entry, `later` where results, what is kept and `panicked` can be named.
    """

    id: str
    package: str
    function: str
    parameters: Sequence[Named] | None = None
    results: Sequence[Named] = ()
    entry: Mapping[str, Node] = field(default_factory=dict)
    keep: Mapping[str, Node] = field(default_factory=dict)
    kept: Sequence[Keeper] = ()
    later: Mapping[str, Node] = field(default_factory=dict)


class Node(Struct, frozen=True, omit_defaults=True):
    """An expression's node. `name`: of a name, field, function or operator, or a literal's Go text; `type`: of an
    assertion, or a literal's kind."""

    op: str
    name: str = ""
    type: str = ""
    of: Node | None = None
    other: Node | None = None
    arguments: Sequence[Node] = ()


class Lowered(Struct, frozen=True):
    """Go that cannot panic: conditions of nested `if`s and a value; or, as `error`, why there is no such value in this
    build. `kind`: text, int, bool, column (a gotaprt.Text already), found (an `any` by gotaprt.Field) or ""; `type`: as
    Go text, of what can be named in the package."""

    error: str
    steps: tuple[str, ...] | None
    value: str
    kind: str
    type: str


class Reply(Struct, frozen=True):
    """`missing`: why the function is not there as described. Types are Go text in that package; `imports`: alias →
    path of what all the text here needs."""

    id: str
    missing: str
    parameters: tuple[str, ...] | None
    results: tuple[str, ...] | None
    values: Mapping[str, Lowered]
    keep: Mapping[str, Lowered]
    imports: Mapping[str, str]


class Request(Struct, frozen=True, kw_only=True):
    """`packages`: all of the build, since types are needed; `targets`: those that may be changed, and among them
    `internal`: those into which only aspects with `tracer_internal` are woven. `version`: what templates get as
    Version. `main_modules`: whose packages `package-filter` means by `root`. `goarch`: decides the sizes of types.
    """

    goversion: str
    goroot: str
    packages: Sequence[PackageFacts]
    targets: Sequence[str]
    aspects: Sequence[Aspect]
    internal: Sequence[str] = ()
    main_modules: Sequence[str] = ()
    configuration: Mapping[str, str] = field(default_factory=dict)
    goarch: str = ""
    version: str = ""
    questions: Sequence[Question] = ()


class Edit(Struct, frozen=True):
    """`delete` bytes at `offset` give way to `insert`: one line, but for what stands at a file's end. Edits of a file
    are sorted and do not overlap; several at one offset are written in their order. `advice`: its index in the aspect.
    """

    package: str
    file: str
    offset: int
    delete: int
    insert: str
    aspect: str
    advice: int


class Match(Struct, frozen=True):
    aspect: str
    advice: int
    package: str
    file: str
    line: int
    column: int
    what: str


class Unmatched(Struct, frozen=True):
    """`stage`: 0: no package may match; 1: no file of one that may; 2: no place in one."""

    aspect: str
    reason: str
    stage: int


class Reference(Struct, frozen=True, rename={"path": "import"}):
    """`package` gets code that imports `path`, or needs it linked, for an aspect's sake."""

    package: str
    path: str
    aspect: str


class Language(Struct, frozen=True):
    """`package` gets code of that language version, which is newer than its own."""

    package: str
    lang: str
    aspect: str


class Failure(Struct, frozen=True):
    """A rule that cannot be followed, at the rule's line; `file` is empty where no place of the program is to blame."""

    aspect: str
    rule_file: str
    rule_line: int
    file: str
    line: int
    column: int
    message: str


class Answer(Struct, frozen=True):
    """`imports` and `links`: packages that woven code imports or only needs linked. `bodiless`: packages that get
    declarations of functions without bodies, which Go compiles only beside an assembly file, an empty one too."""

    edits: tuple[Edit, ...]
    matches: tuple[Match, ...]
    unmatched: tuple[Unmatched, ...]
    links: tuple[Reference, ...]
    imports: tuple[Reference, ...]
    languages: tuple[Language, ...]
    bodiless: tuple[str, ...]
    errors: tuple[Failure, ...]
    replies: tuple[Reply, ...] = ()
