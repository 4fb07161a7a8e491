from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from zoomgap.compare import stats


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(counts):
    right, total = counts
    reference = binomtest(right, total).proportion_ci(0.95, method="wilson")
    assert stats.wilson(right, total) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_no_answers_know_nothing():
    assert stats.wilson(0, 0) == (0.0, 1.0)


def test_design_effect_of_copies_is_their_number():
    values = np.repeat(np.random.default_rng(0).integers(0, 2, 400), 4).astype(float)
    assert stats.design_effect(values, np.repeat(np.arange(400), 4)) == pytest.approx(4, rel=0.02)
    assert stats.design_effect(values, np.arange(1600)) == 1.0
    assert stats.design_effect(np.ones(1600), np.repeat(np.arange(400), 4)) == 4.0


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 30))
def test_sign_flip_with_single_members_is_mcnemar(only_a, only_b, same):
    a = np.r_[np.ones(only_a), np.zeros(only_b), np.ones(same)]
    b = np.r_[np.zeros(only_a), np.ones(only_b), np.ones(same)]
    p = stats.sign_flip_p(a, b, np.arange(a.size))
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert p == pytest.approx(expected, abs=1e-12)


def test_sign_flip_counts_every_flip_of_whole_clusters():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, (2, 30)).astype(float)
    clusters = rng.integers(0, 9, 30)
    sums = np.bincount(clusters, weights=a - b)
    flips = [abs(float(np.dot(signs, sums))) for signs in product((-1, 1), repeat=sums.size)]
    expected = np.mean(np.array(flips) >= abs(sums.sum()) - 1e-9)
    assert stats.sign_flip_p(a, b, clusters) == pytest.approx(expected)


def test_sign_flip_holds_its_level_in_clusters():
    """Without a difference, p <= 0.05 in about 5% of worlds, although the answers of a cluster are copies."""
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(60), 4)
    ps = [
        stats.sign_flip_p(*(np.repeat(rng.integers(0, 2, 60), 4).astype(float) for _ in "ab"), clusters)
        for _ in range(400)
    ]
    assert np.mean(np.array(ps) <= 0.05) < 0.08


def test_holm():
    assert stats.holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert stats.holm([]) == []


def test_bootstrap_is_seeded_and_draws_whole_samples():
    weights = stats.bootstrap_weights(50, 20, seed=7)
    assert (weights.sum(axis=1) == 50).all()
    assert (weights == stats.bootstrap_weights(50, 20, seed=7)).all()
    assert (weights != stats.bootstrap_weights(50, 20, seed=8)).any()


def test_bootstrap_means_are_the_naive_ones():
    rng = np.random.default_rng(0)
    values, clusters = rng.random(40), rng.integers(0, 12, 40)
    weights = stats.bootstrap_weights(12, 5, seed=0)
    for row, mean in zip(weights, stats.bootstrap_means(values, clusters, weights), strict=True):
        drawn = np.concatenate([values[clusters == c].repeat(int(row[c])) for c in range(12)])
        assert mean == pytest.approx(drawn.mean(), rel=1e-5)


@pytest.mark.parametrize("size", [1, 4])
def test_intervals_of_a_difference_cover_the_truth(size):
    """Arms at 0.6 and 0.5, answers of a cluster alike: about 95 of 100 intervals hold 0.1."""
    rng = np.random.default_rng(size)
    clusters = np.repeat(np.arange(150), size)
    weights = stats.bootstrap_weights(150, 400, seed=0)
    covered, adjusted = [], []
    for _ in range(300):
        ease = np.repeat(rng.random(150), size)
        a = (np.where(rng.random(ease.size) < 0.7, ease, rng.random(ease.size)) < 0.6).astype(float)
        b = (np.where(rng.random(ease.size) < 0.7, ease, rng.random(ease.size)) < 0.5).astype(float)
        d = stats.paired_difference(a, b, clusters, weights)
        covered.append(d.low <= 0.1 <= d.high)
        interval = stats.adjusted_interval(a - b, clusters, 0.95)
        adjusted.append(interval.low <= 0.1 <= interval.high)
    assert 0.90 < np.mean(covered) < 0.985
    assert 0.91 < np.mean(adjusted) < 0.99


def test_equal_arms_keep_an_interval_of_some_width():
    ones = np.ones(200)
    difference = stats.paired_difference(ones, ones, np.arange(200), stats.bootstrap_weights(200, 100, 0))
    assert difference.difference == 0.0
    assert difference.low < -0.005
    assert difference.high > 0.005


def test_no_shared_answers_have_no_difference():
    none = np.zeros(0)
    weights = stats.bootstrap_weights(3, 10, 0)
    assert stats.paired_difference(none, none, np.zeros(0, int), weights) == (0, None, None, None)
    assert stats.sign_flip_p(none, none, np.zeros(0, int)) == 1.0
