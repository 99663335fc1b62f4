"""Which fraction of firings the epochs of maps hold, as probes are thinned more and less."""

from __future__ import annotations

from gotap.observe.tracing.sampling import Sampling


class Epochs:
    """Two maps: probes 1 and 2 feed the first, probe 2 the second."""

    def __init__(self) -> None:
        self.epochs = {0: 0, 1: 0}
        self.sampling = Sampling({0: frozenset((1, 2)), 1: frozenset((2,))}, self.epochs.__getitem__)

    def thin(self, probe: int, factor: int) -> None:
        self.sampling.thin(probe, factor, lambda: None)

    def factors(self, number: int) -> list[int]:
        return [self.sampling.factor(number, epoch) for epoch in range(self.epochs[number] + 1)]


def test_nothing_is_thinned() -> None:
    assert Epochs().factors(0) == [1]


def test_an_epoch_has_the_greatest_factor_of_its_time() -> None:
    one = Epochs()
    one.epochs[0] = 1
    one.thin(1, 8)
    one.thin(1, 2)
    one.epochs[0] = 3
    one.thin(1, 1)
    one.epochs[0] = 4
    assert one.factors(0) == [1, 8, 2, 2, 1]
    assert one.factors(1) == [1]


def test_the_most_thinned_of_the_probes_that_feed_a_map_counts() -> None:
    one = Epochs()
    one.thin(1, 8)
    one.thin(2, 4)
    one.epochs = dict.fromkeys(one.epochs, 1)
    assert (one.factors(0), [one.sampling.factor(1, epoch) for epoch in (0, 1)]) == ([8, 8], [4, 4])


def test_a_map_that_is_cleared_while_a_factor_changes_has_both_in_its_new_epoch() -> None:
    one = Epochs()
    one.thin(2, 8)

    def act() -> None:
        one.epochs[1] += 1

    one.sampling.thin(2, 2, act)
    one.epochs[1] += 1
    assert one.factors(1) == [8, 8, 2]
