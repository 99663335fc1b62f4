"""Flow graphs: dominance and cycles against brute force, hand-assembled functions, switches of real binaries."""

from __future__ import annotations

import random

import pytest

from gotap.image.code import Callees
from gotap.image.code.flow import FlowGraph, Leave, dominators_of, strong_components


def graph_of(code: str, callees: Callees = Callees()) -> FlowGraph:  # noqa: B008 - immutable
    return FlowGraph(bytes.fromhex(code), 0x1000, callees, None)


def random_graph(seed: int) -> list[list[int]]:
    random_numbers = random.Random(seed)
    n = random_numbers.randint(2, 12)
    return [sorted(set(random_numbers.choices(range(n), k=random_numbers.randint(0, 3)))) for _ in range(n)]


def reach(successors: list[list[int]], start: int, without: int | None = None) -> set[int]:
    seen: set[int] = set()
    todo = [start] if start != without else []
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += [target for target in successors[node] if target != without]
    return seen


@pytest.mark.parametrize("seed", range(60))
def test_dominators(seed: int) -> None:
    successors = random_graph(seed)
    live = reach(successors, 0)
    predecessors = [[s for s in sorted(live) if node in successors[s]] for node in range(len(successors))]
    for node in live:
        expected = {other for other in live if other == node or node not in reach(successors, 0, without=other)}
        found = dominators_of(node, predecessors)
        assert set(found) == expected
        assert all(set(dominators_of(d, predecessors)) == set(found[: i + 1]) for i, d in enumerate(found)), "order"


@pytest.mark.parametrize("seed", range(60))
def test_strong_components(seed: int) -> None:
    successors = random_graph(seed)
    components = strong_components(successors)
    assert sorted(node for component in components for node in component) == list(range(len(successors)))
    by_node = {node: set(component) for component in components for node in component}
    for a in range(len(successors)):
        for b in range(len(successors)):
            mutual = b in reach(successors, a) and a in reach(successors, b)
            assert (b in by_node[a]) == mutual


def test_blocks() -> None:
    # 1000 test %rax,%rax; 1003 je 1008; 1005 inc %rax; 1008 ret
    graph = graph_of("4885c0 7403 48ffc0 c3")
    assert [(block.first, block.last, block.successors) for block in graph.blocks] == [
        (0, 1, [1, 2]),
        (2, 2, [2]),
        (3, 3, []),
    ]
    assert graph.blocks[2].leave == Leave.RETURN
    assert graph.always_passed() == [0, 2]
    assert graph.complete


def test_loop() -> None:
    # 1000 dec %rax; 1003 jne 1000; 1005 ret
    graph = graph_of("48ffc8 75fb c3")
    assert [block.cyclic for block in graph.blocks] == [True, False]


def test_tail_jump() -> None:
    graph = graph_of("e9fb0f0000")  # jmp 2000
    assert graph.blocks[0].leave == Leave.TAIL_JUMP
    assert graph.complete


def test_call_that_never_returns_ends_a_path() -> None:
    # 1000 je 1003; 1002 ret; 1003 call 2000; 1008 nop
    code = "7401 c3 e8f80f0000 90"
    assert graph_of(code, Callees(never_return=frozenset((0x2000,)))).complete
    unknown = graph_of(code)
    assert not unknown.complete, "the nop would run off the end"
    assert unknown.always_passed() == []


def test_jump_into_an_instruction() -> None:
    assert not graph_of("7401 4885c0 c3").complete  # je into the middle of test


def test_padding_is_no_code() -> None:
    assert len(graph_of("c3 cccccccccccc").blocks) == 1


def test_restart_is_not_fallen_into() -> None:
    # 1000 cmp 0x10(%r14),%rsp; 1004 jbe 100c; 1006 ret; 1007 call 2000 (never returns, but who knows);
    # 100c call 3000 (morestack); 1011 jmp 1000
    graph = graph_of("493b6610 7606 c3 e8f40f0000 e8ef1f0000 ebed")
    assert graph.complete
    restart = graph.blocks[graph.block_of(graph.index_of(0x100C) or 0)]
    assert restart.restart
    assert restart.predecessors == [0]
