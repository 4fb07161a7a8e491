"""What the statistics promise, in simulated worlds whose truth is known: level, power and coverage.

The quick versions know a rate less closely than the full ones (`slow`), and so allow it more room.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from zoomgap.compare import stats

FULL = pytest.mark.slow


class World:
    """Two arms over clusters of `size` answers. Answers of a cluster are alike, and what is easy for one arm is easy
    for the other: `shared` is the share of answers that hang on the cluster's ease."""

    def __init__(self, clusters: int, size: int, a: float, b: float, shared: float = 0.6, seed: int = 0) -> None:
        self.rng = np.random.default_rng([seed, clusters, size])
        self.shape, self.a, self.b, self.shared = (clusters, size), a, b, shared
        self.codes = np.repeat(np.arange(clusters), size)

    def draw(self):
        """Right or wrong for both arms, each (answers,)."""
        ease = self.rng.random((self.shape[0], 1))
        return tuple(
            (np.where(self.rng.random(self.shape) < self.shared, ease, self.rng.random(self.shape)) < accuracy)
            .astype(float)
            .ravel()
            for accuracy in (self.a, self.b)
        )


def holds(rate: float, hits: int, n: int) -> bool:
    """Whether the rate lies inside the 99% interval of what was observed."""
    low, high = binomtest(hits, n).proportion_ci(0.99)
    return bool(low <= rate <= high)


@pytest.mark.parametrize("repetitions", [500, pytest.param(10_000, marks=FULL)])
@pytest.mark.parametrize(("clusters", "size"), [(2000, 1), (600, 1), (300, 1), (500, 4), (150, 4)])
def test_level_of_the_test_of_no_difference(clusters, size, repetitions):
    """The mid-p rejects at 5% in 5% of worlds, where the exact p would in 4%."""
    world = World(clusters, size, 0.6, 0.6)
    ps = [stats.sign_flip_p(*world.draw(), world.codes) for _ in range(repetitions)]
    hits = int(np.sum(np.array(ps) <= 0.05))
    assert holds(0.05, hits, repetitions), hits / repetitions


@pytest.mark.parametrize("repetitions", [500, pytest.param(10_000, marks=FULL)])
@pytest.mark.parametrize(("clusters", "size"), [(20, 1), (50, 1), (15, 4), (40, 4)])
def test_small_samples_reject_no_more_than_they_may(clusters, size, repetitions):
    """So few outcomes have no 5%: the observed rate is not above it."""
    world = World(clusters, size, 0.7, 0.7)
    ps = [stats.sign_flip_p(*world.draw(), world.codes) for _ in range(repetitions)]
    hits = int(np.sum(np.array(ps) <= 0.05))
    assert binomtest(hits, repetitions).proportion_ci(0.99).low <= 0.05, hits / repetitions


def test_an_outcome_that_is_decided_by_a_coin_has_exactly_the_level():
    """The randomised form of the test: p is uniform, so the flips that are counted are the right ones."""
    world = World(30, 4, 0.6, 0.6)
    coin = np.random.default_rng(0)
    ps = []
    for _ in range(2000):
        arms = world.draw()
        exact, mid = (stats.sign_flip_p(*arms, world.codes, exact=exact) for exact in (True, False))
        ps.append(exact - 2 * (exact - mid) * coin.random())
    for level in (0.05, 0.2, 0.5, 0.8):
        assert holds(level, int(np.sum(np.array(ps) <= level)), 2000)


@pytest.mark.parametrize("repetitions", [400, pytest.param(2000, marks=FULL)])
@pytest.mark.parametrize(
    ("clusters", "size", "a", "b"),
    [(600, 1, 0.6, 0.5), (200, 1, 0.9, 0.5), (100, 1, 0.6, 0.6), (30, 1, 0.6, 0.5), (150, 4, 0.6, 0.5),
     (50, 4, 0.6, 0.5), (20, 4, 0.6, 0.5), (600, 1, 0.97, 0.95)],
)  # fmt: skip
def test_intervals_of_a_difference_cover_it(clusters, size, a, b, repetitions):
    world = World(clusters, size, a, b)
    weights = stats.bootstrap_weights(clusters, 1000, seed=0)
    found = [stats.paired_difference(*world.draw(), world.codes, weights) for _ in range(repetitions)]
    covered = np.mean([d.low <= a - b <= d.high for d in found])
    room = 0.0 if repetitions >= 2000 else 0.02
    assert 0.93 - room <= covered <= 0.97 + room


@pytest.mark.parametrize("repetitions", [400, pytest.param(2000, marks=FULL)])
@pytest.mark.parametrize(("clusters", "size"), [(600, 1), (200, 1), (150, 4), (40, 4)])
def test_intervals_of_an_accuracy_cover_it(clusters, size, repetitions):
    world = World(clusters, size, 0.7, 0.7)
    found = [stats.accuracy_interval(world.draw()[0], world.codes) for _ in range(repetitions)]
    covered = np.mean([interval.low <= 0.7 <= interval.high for interval in found])
    room = 0.0 if repetitions >= 2000 else 0.02
    assert 0.93 - room <= covered <= 0.97 + room


@pytest.mark.parametrize("repetitions", [300, pytest.param(2000, marks=FULL)])
@pytest.mark.parametrize("false", [6, 3])
def test_holm_holds_the_chance_of_any_false_rejection(false, repetitions):
    """Six pairs that share an arm, all equal or half of them apart: some true hypothesis falls in at most 5%."""
    rng = np.random.default_rng(false)
    n, wrong = 400, 0
    for _ in range(repetitions):
        ease = rng.random(n)
        levels = [0.6] * (1 + false) + [0.75] * (6 - false)
        arms = [(np.where(rng.random(n) < 0.6, ease, rng.random(n)) < level).astype(float) for level in levels]
        ps = stats.holm([stats.sign_flip_p(arms[0], other, np.arange(n)) for other in arms[1:]])
        wrong += any(p <= 0.05 for p in ps[:false])
    assert binomtest(wrong, repetitions).proportion_ci(0.99).low <= 0.05


@pytest.mark.parametrize("repetitions", [300, pytest.param(2000, marks=FULL)])
@pytest.mark.parametrize("size", [1, 4])
def test_a_planned_comparison_has_its_power(size, repetitions):
    """As many answers as planned find the difference, and show equal arms equivalent, in 80% of worlds."""
    pilot = World(20_000 // size, size, 0.7, 0.6)
    a, b = pilot.draw()
    share, effect = float(np.mean(a != b)), stats.design_effect(a - b, pilot.codes)
    n = stats.samples_for_difference(0.1, share, effect)
    world = World(-(-n // size), size, 0.7, 0.6)
    found = np.mean([stats.sign_flip_p(*world.draw(), world.codes) <= 0.05 for _ in range(repetitions)])
    assert found == pytest.approx(0.8, abs=0.03 if repetitions >= 2000 else 0.07)
    found_at = stats.detectable(round(share * n), n, effect)
    assert found_at == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize("repetitions", [200, pytest.param(2000, marks=FULL)])
@pytest.mark.parametrize("size", [1, 4])
def test_equivalence_is_shown_as_planned_and_seldom_in_error(size, repetitions):
    """Equal arms: in 80% of worlds. Arms that differ by just the margin: in 2.5%, one tail of the 95% interval."""
    margin = 0.06
    pilot = World(20_000 // size, size, 0.7, 0.7)
    a, b = pilot.draw()
    n = stats.samples_for_equivalence(margin, float(np.mean(a != b)), stats.design_effect(a - b, pilot.codes))
    rates = []
    for accuracy in (0.7, 0.7 - margin):
        world = World(-(-n // size), size, 0.7, accuracy)
        weights = stats.bootstrap_weights(world.shape[0], 1000, seed=0)
        found = [stats.paired_difference(*world.draw(), world.codes, weights) for _ in range(repetitions)]
        rates.append(np.mean([-margin < d.low and d.high < margin for d in found]))
    assert rates[0] == pytest.approx(0.8, abs=0.03 if repetitions >= 2000 else 0.08)
    assert holds(0.025, round(rates[1] * repetitions), repetitions) or rates[1] < 0.025
