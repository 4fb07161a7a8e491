"""Acuity in simulated worlds: intervals cover the true threshold, and the check of the fit finds a wrong curve."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binomtest

from zoomgap.compare import acuity
from zoomgap.compare.stats import bootstrap_weights

FULL = pytest.mark.slow
N = 600
CASES = [
    # threshold px, ceiling, slope an octave, guess rate (None: half of the questions 0.25, half 0), answers a cluster
    (14.0, 0.95, 3.0, None, 1),
    (14.0, 0.95, 3.0, None, 4),
    (14.0, 0.98, 6.0, 0.0, 1),
    (14.0, 0.8, 3.0, 0.25, 1),
    (14.0, 0.7, 2.0, None, 1),
    (8.0, 0.95, 3.0, None, 1),
    (35.0, 0.95, 3.0, None, 1),
    (20.0, 0.98, 1.5, 0.25, 1),
    (14.0, 0.95, 3.0, 0.5, 1),
]


class Reader:
    """Questions with evidence from 5 to 56 px, and one who reads half of them, above chance, at `threshold`."""

    def __init__(self, threshold, ceiling, slope, guess, size, n=N, seed=0):
        self.rng = np.random.default_rng([seed, n, size])
        self.n, self.size = n, size
        middle = np.log2(threshold) - np.log(1 / (2 * ceiling - 1)) / slope
        self.seen = lambda x: ceiling * expit(slope * (x - middle))
        self.rate = guess

    def draw(self):
        """x, right, guess and clusters. Answers of a cluster share an image, and part of their luck."""
        x = self.rng.uniform(np.log2(5), np.log2(56), self.n)
        guess = np.where(self.rng.random(self.n) < 0.5, 0.25, 0.0) if self.rate is None else np.full(self.n, self.rate)
        clusters = np.arange(self.n) // self.size
        luck = np.where(
            self.rng.random(self.n) < (0.4 if self.size > 1 else 0.0),
            self.rng.random(self.n // self.size)[clusters],
            self.rng.random(self.n),
        )
        return x, (luck < guess + (1 - guess) * self.seen(x)).astype(float), guess, clusters


@pytest.mark.parametrize(
    ("case", "repetitions"),
    [*((case, 40) for case in CASES[:2]), *(pytest.param(case, 300, marks=FULL) for case in CASES)],
    ids=str,
)
def test_intervals_cover_the_threshold(case, repetitions):
    """What is not estimable or not reached has no bounds, and so covers."""
    reader, hits = Reader(*case), 0
    weights = bootstrap_weights(N // case[-1], 200, seed=0)
    for _ in range(repetitions):
        found = acuity.fit_acuity(*reader.draw(), weights).acuity
        hits += (found.low or 0.0) <= case[0] <= (found.high or np.inf)
    room = 0.0 if repetitions >= 300 else 0.07
    assert 0.92 - room <= hits / repetitions <= 0.98 + room


@pytest.mark.parametrize("repetitions", [60, pytest.param(400, marks=FULL)])
@pytest.mark.parametrize("size", [1, 4])
def test_a_right_curve_is_seldom_called_wrong(repetitions, size):
    """The p of the check is spread evenly, or a little high, where the curve is right."""
    reader = Reader(14.0, 0.95, 3.0, None, size)
    weights = bootstrap_weights(N // size, 2, seed=0)
    ps = [acuity.fit_acuity(*reader.draw(), weights).acuity.fit.p for _ in range(repetitions)]
    for level in (0.01, 0.05, 0.2):
        hits = int(np.sum(np.array(ps) <= level))
        assert binomtest(hits, repetitions).proportion_ci(0.99).low <= level, (level, hits / repetitions)
    assert np.mean(np.array(ps) <= 0.5) > 0.25


def test_a_wrong_curve_is_told():
    """An arm that reads small and large things but nothing between 12 and 24 px."""
    reader = Reader(8.0, 0.95, 3.0, 0.0, 1)
    x, right, guess, clusters = reader.draw()
    right = np.where((x > np.log2(12)) & (x < np.log2(24)), 0.0, right)
    found = acuity.fit_acuity(x, right, guess, clusters, bootstrap_weights(N, 50, 0)).acuity
    assert found.fit.p < 0.01
    assert found.fit.bins == acuity.FIT_BINS
    assert found.warning.startswith("the curve does not describe the data, p = 0.0")
    sound = acuity.fit_acuity(*reader.draw(), bootstrap_weights(N, 50, 0)).acuity
    assert sound.warning == ""
