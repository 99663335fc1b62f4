"""What a script's expressions can name where a probe fires."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct, field

from gotap.probe import expression as tree
from gotap.probe import ir
from gotap.probe.script.language import tree as script
from gotap.probe.value import Value

Names = Mapping[str, Callable[[], Value]]


class Stage(Struct):
    """`names`: what stands by itself (the locals of a line); `args`, `results`: None where there are none, with
    `no_args`, `no_results` saying why. `words`: builtins that mean something else here than what the running goroutine
    and the site say (of a goroutine's birth `goid` is the new one's).
    """

    package: str = ""
    imports: Mapping[str, str] = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    args: Names | None = None
    results: Names | None = None
    words: Names = field(default_factory=dict)
    parameters: Callable[[], Sequence[str]] = tuple  # names of arguments, for suggestions
    no_args: str = "this probe has no arguments"
    no_results: str = "results are known at :return only"
    is_go: bool = True  # a goroutine runs
    has_stack: bool = True  # somebody's code runs
    is_call: bool = False  # latency is known
    functions: frozenset[str] = frozenset()  # of the sites
    instances: tuple[tuple[int, str], ...] = ()  # of a generic function: dictionary's address, name
    when: tuple[ir.Word, ...] = ()  # what must hold besides the predicate
    #: Takes over expressions of arguments alone, which were evaluated at the call's entry.
    keep: Callable[[tree.Expression], Value | None] | None = None


def only_args(node: tree.Expression) -> bool:
    """Whether an expression is a chain that begins with an argument: `args.req.URL.Path`, `len(args.items)`."""
    match node:
        case tree.Select(tree.Name("args"), _):
            return True
        case tree.Select(operand, _) | tree.Assert(operand, _) | tree.Unary("*", operand):
            return only_args(operand)
        case tree.Index(operand, index):
            return only_args(operand) and (isinstance(index, tree.Literal) or only_args(index))
        case tree.Call("len" | "typeof" | "unwrap", (argument,)):
            return only_args(argument)
        case _:
            return False


def is_of_goroutine(node: tree.Expression) -> bool:
    """Whether an expression says which goroutine runs."""
    return isinstance(node, tree.Name) and node.name in ("goid", "parent_goid")


def needs_only_args(node: tree.Expression) -> bool:
    """Whether an expression has its value at the entry of a call: arguments, constants, what is calculated of them."""
    match node:
        case tree.Literal() | tree.Local():
            return isinstance(node, tree.Literal)
        case tree.Binary(_, left, right):
            return needs_only_args(left) and needs_only_args(right)
        case tree.Unary(_, operand):
            return needs_only_args(operand)
        case tree.Name(name):
            return name in ("goid", "pid", "tid", "comm", "func", "pkg", "file", "line", "parent_goid", "caller")
        case tree.Call("label", _):
            return True
        case _:
            return only_args(node)


def reads_signature(probe: script.Probe) -> bool:
    """Whether a probe reads what a function takes or gives, so that its signature must be known."""
    return probe.block is None or mentions((probe.predicate, probe.block), "args", "ret", "err")


def names_in(node: object) -> frozenset[str]:
    """The names that stand by themselves anywhere in a tree."""
    if isinstance(node, tree.Name):
        return frozenset({node.name})
    if isinstance(node, tuple):
        return frozenset().union(*map(names_in, node))
    if isinstance(node, Struct):
        return frozenset().union(*(names_in(getattr(node, name)) for name in node.__struct_fields__ if name != "at"))
    return frozenset()


def uses_own(node: object) -> bool:
    """Whether a tree reads or sets variables of the goroutine."""
    if isinstance(node, tree.Own | script.OwnTarget):
        return True
    if isinstance(node, tuple):
        return any(map(uses_own, node))
    return isinstance(node, Struct) and any(uses_own(getattr(node, name)) for name in node.__struct_fields__)


def mentions(node: object, *names: str) -> bool:
    """Whether one of these names stands anywhere in a tree, as one or as a call: of expressions, statements, tuples."""
    if isinstance(node, tree.Name):
        return node.name in names
    if isinstance(node, tree.Call) and node.function in names:
        return True
    if isinstance(node, tuple):
        return any(mentions(one, *names) for one in node)
    if isinstance(node, Struct):
        return any(mentions(getattr(node, name), *names) for name in node.__struct_fields__ if name != "at")
    return False
