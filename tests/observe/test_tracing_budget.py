"""Who is thinned and who is detached, by hand-made measurements."""

from __future__ import annotations

import pytest

from gotap.image.code import Cost
from gotap.kernel.machine import trap_cost
from gotap.observe.tracing.budget import MOST_THINNED, Action, Budget, Detach, Load, Thin


def _after(budget: Budget, loads: list[Load]) -> float:
    """Share of a core once the decision has taken effect."""
    actions: dict[int, Action] = {action.number: action for action in budget.decide(loads)}
    total = 0.0
    for load in loads:
        match actions.get(load.number):
            case Detach():
                pass
            case Thin(factor=factor):
                total += load.share(factor)
            case _:
                total += load.now
    return total


def test_nothing_is_done_below_the_budget() -> None:
    assert Budget(0.05).decide([Load(0, "a", 10_000, 600, 1000), Load(1, "b", 10_000, 600, 1000)]) == []
    assert Budget(0.05).decide([]) == []


def test_a_dear_program_is_thinned_by_the_least_power_of_two() -> None:
    """20,000 hits a second: the traps take 1.2 % of a core, the programs 20 %."""
    (action,) = Budget(0.05).decide([Load(7, "main.f", 20_000, 600, 10_000)])
    assert action == Thin(7, 8, "main.f is thinned: one firing of 8 is taken, since it would take 21% of a core")


def test_the_one_that_costs_is_thinned_not_the_other() -> None:
    loads = [Load(0, "cheap", 100, 600, 1000), Load(1, "dear", 50_000, 350, 5000)]
    assert [action.number for action in Budget(0.05).decide(loads)] == [1]


def test_a_probe_whose_traps_alone_are_too_much_is_detached_and_the_rest_stays() -> None:
    loads = [Load(0, "main.hot", 1_000_000, 600, 500), Load(1, "main.cool", 1000, 600, 500)]
    (action,) = Budget(0.05).decide(loads)
    assert isinstance(action, Detach)
    assert action.number == 0
    assert action.text.startswith("main.hot is detached: the probes took 110% of a core, more than the 5.0%")
    assert "1,000,000 hits a second" in action.text


def test_what_cannot_be_thinned_is_detached() -> None:
    (action,) = Budget(0.05).decide([Load(0, "profile:9999hz", 20_000, 0, 10_000, 0)])
    assert isinstance(action, Detach)


def test_a_thinned_probe_is_measured_as_what_it_would_be() -> None:
    """Runs of a probe that is thinned by 8 are short on the average; their full length is known all the same."""
    whole = Load(0, "f", 20_000, 600, 10_000)
    thinned = Load(0, "f", 20_000, 600, 80 + (10_000 - 80) / 8, 8)
    assert thinned.full == pytest.approx(whole.full)
    assert thinned.now == pytest.approx(whole.share(8))


def test_thinning_goes_on_when_load_grows() -> None:
    budget = Budget(0.05)
    (first,) = budget.decide([Load(0, "f", 20_000, 600, 10_000)])
    assert isinstance(first, Thin)
    run = 80 + (10_000 - 80) / first.factor
    (second,) = budget.decide([Load(0, "f", 50_000, 600, run, first.factor)])
    assert isinstance(second, Thin)
    assert first.factor < second.factor <= MOST_THINNED


def test_when_load_falls_thinning_ends_slowly() -> None:
    budget = Budget(0.05)
    quiet = Load(0, "f", 10, 600, 2000, 4)
    decisions = [budget.decide([quiet]) for _ in range(10)]
    assert decisions[:9] == [[]] * 9
    assert decisions[9] == [Thin(0, 2, "f is thinned less: one firing of 2 is taken again")]
    for _ in range(9):
        assert budget.decide([Load(0, "f", 10, 600, 2000, 2)]) == []
    assert budget.decide([Load(0, "f", 10, 600, 2000, 2)])[0].text.endswith("every firing is taken again")


def test_load_that_would_come_back_keeps_it_thinned() -> None:
    budget = Budget(0.05)
    busy = Load(0, "f", 20_000, 600, 80 + 9_920 / 8, 8)
    assert all(budget.decide([busy]) == [] for _ in range(50))


@pytest.mark.parametrize("seed", range(20))
def test_afterwards_the_budget_holds_whatever_the_loads(seed: int) -> None:
    import random

    rng = random.Random(seed)
    for _ in range(50):
        share = rng.choice((0.001, 0.05, 0.5, 2.0))
        loads = [
            Load(number, "f", 10 ** rng.uniform(0, 6.5), rng.choice((350.0, 600.0, 18_000.0)), rng.uniform(50, 20_000),
                 rng.choice((0, 1, 1, 1, 4, 64)))
            for number in range(rng.randint(1, 6))
        ]  # fmt: skip
        assert _after(Budget(share), loads) <= share * 1.0001


def test_traps_by_class() -> None:
    assert trap_cost(Cost.NOP5, virtual=True) < trap_cost(Cost.EMULATED, virtual=True)
    assert trap_cost(Cost.SINGLE_STEP, virtual=False) < trap_cost(Cost.SINGLE_STEP, virtual=True)
