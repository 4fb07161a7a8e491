from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest, t
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

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
    """The exact p is statsmodels' own; the mid-p is that less half of the chance of what was seen, on both sides."""
    a = np.r_[np.ones(only_a), np.zeros(only_b), np.ones(same)]
    b = np.r_[np.zeros(only_a), np.ones(only_b), np.ones(same)]
    n = only_a + only_b
    expected = mcnemar([[same, only_a], [only_b, 0]], exact=True).pvalue if n else 1.0
    assert stats.sign_flip_p(a, b, np.arange(a.size), exact=True) == pytest.approx(expected, abs=1e-12)
    seen = binom.pmf(only_a, n, 0.5) * (0.5 if only_a == only_b else 1.0) if n else 0.0
    assert stats.sign_flip_p(a, b, np.arange(a.size)) == pytest.approx(expected - seen, abs=1e-12)


def test_sign_flip_counts_every_flip_of_whole_clusters():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 2, (2, 30)).astype(float)
    clusters = rng.integers(0, 9, 30)
    sums = np.bincount(clusters, weights=a - b)
    flips = [abs(float(np.dot(signs, sums))) for signs in product((-1, 1), repeat=sums.size)]
    expected = np.mean(np.array(flips) >= abs(sums.sum()) - 1e-9)
    assert stats.sign_flip_p(a, b, clusters, exact=True) == pytest.approx(expected)
    ties = np.mean(np.abs(np.array(flips) - abs(sums.sum())) < 1e-9)
    assert stats.sign_flip_p(a, b, clusters) == pytest.approx(expected - ties / 2)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_holm_is_statsmodels(n):
    ps = np.round(np.random.default_rng(n).random(n) ** 3, 2).tolist()
    assert stats.holm(ps) == pytest.approx(multipletests(ps, method="holm")[1].tolist())
    assert stats.holm([]) == []


def drawn(weights):
    """How often each cluster was drawn, (draws, clusters)."""
    return weights.sums(np.eye(weights.shape[1]))


def test_bootstrap_is_seeded_and_draws_whole_samples():
    weights = stats.bootstrap_weights(50, 20, seed=7)
    assert weights.shape == (20, 50)
    assert (drawn(weights).sum(axis=1) == 50).all()
    assert (drawn(weights) == drawn(stats.bootstrap_weights(50, 20, seed=7))).all()
    assert (drawn(weights) != drawn(stats.bootstrap_weights(50, 20, seed=8))).any()


@pytest.mark.parametrize("block", [1, 7, 300])
def test_no_figure_depends_on_the_blocks(block):
    """Nor on how many draws follow those that are used."""
    rng = np.random.default_rng(0)
    clusters = rng.permutation(np.repeat(np.arange(60), 3))
    a, b = rng.integers(0, 2, (2, 180)).astype(float)
    whole, parted = stats.bootstrap_weights(60, 300, 0), stats.bootstrap_weights(60, 300, 0, block)
    assert stats.paired_difference(a, b, clusters, whole) == stats.paired_difference(a, b, clusters, parted)
    few = clusters < 20
    assert (
        stats.bootstrap_means(a[few], clusters[few], whole) == stats.bootstrap_means(a[few], clusters[few], parted)
    ).all()
    times = rng.random(180)
    assert stats.bootstrap_means(times, clusters, parted) == pytest.approx(
        stats.bootstrap_means(times, clusters, whole), rel=1e-12
    )
    assert (drawn(parted.first(150)) == drawn(whole)[:150]).all()
    assert (drawn(stats.bootstrap_weights(60, 150, 0, block)) == drawn(whole)[:150]).all()


def test_bootstrap_means_are_the_naive_ones():
    rng = np.random.default_rng(0)
    values, clusters = rng.random(40), rng.integers(0, 12, 40)
    weights = stats.bootstrap_weights(12, 5, seed=0)
    for row, mean in zip(drawn(weights), stats.bootstrap_means(values, clusters, weights), strict=True):
        taken = np.concatenate([values[clusters == c].repeat(int(row[c])) for c in range(12)])
        assert mean == pytest.approx(taken.mean(), rel=1e-5)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60))
def test_the_adjusted_interval_is_that_of_the_score_test(up, down, same):
    """At either end the score statistic, with the counts' most likely chances there, is Student's quantile."""
    differences = np.r_[np.ones(up), -np.ones(down), np.zeros(same)]
    n = differences.size
    if n < 2:
        return
    low, high = stats.adjusted_interval(differences, np.arange(n), 0.95)
    assert -1 <= low <= differences.mean() <= high <= 1

    def unlikely(chance_down, true):
        chances = np.clip([chance_down + true, chance_down, 1 - 2 * chance_down - true], 1e-300, 1)
        return -float(np.log(chances) @ [up, down, same])

    for true, sign in ((high, 1), (low, -1)):
        bounds = (max(0.0, -true) + 1e-12, (1 - true) / 2 - 1e-12)
        if bounds[0] >= bounds[1]:
            continue
        best = minimize_scalar(unlikely, bounds=bounds, args=(true,), method="bounded", options={"xatol": 1e-10}).x
        spread = np.sqrt((2 * best + true - true**2) / n)
        assert sign * (true - differences.mean()) / spread == pytest.approx(t.ppf(0.975, n - 1), rel=2e-3)


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


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_clusters_widen_the_variance_as_a_sandwich_does(level):
    """cluster_variance is that of statsmodels' cluster-robust covariance of a mean, with its small-sample factor."""
    rng = np.random.default_rng(4)
    clusters = rng.integers(0, 30, 200)
    values = np.where(rng.random(200) < 0.6, (clusters % 2), rng.integers(0, 2, 200)).astype(float)
    fitted = OLS(values, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "df_correction": True})
    ours = stats.cluster_variance(values, clusters)
    assert ours == pytest.approx(float(fitted.cov_params()[0, 0]) * (200 - 1) / (200 - 1), rel=1e-9)
    assert stats.design_effect(values, clusters) == pytest.approx(max(1.0, ours * 200 / values.var()))
    wide = stats.accuracy_interval(values, clusters, level)
    plain = stats.wilson(values.sum(), 200, level)
    assert wide.high - wide.low > plain.high - plain.low


@given(st.integers(0, 300), st.integers(2, 3000), st.floats(1, 4))
def test_what_is_detectable_needs_as_many_answers_as_there_are(discordant, n, effect):
    """The two formulas are one: a plan for the detectable difference asks for the answers that there are."""
    share = (discordant + 1) / (n + 2)
    found = stats.detectable(discordant, n, effect) if discordant <= n else None
    if found is not None:
        assert 0 < found < share
        assert stats.samples_for_difference(found, share, effect) == pytest.approx(n, abs=1.01)


def test_more_answers_detect_less():
    found = [stats.detectable(n // 5, n) for n in (100, 400, 1600)]
    assert found[0] > found[1] > found[2]
    assert stats.detectable(320, 1600, effect=4.0) == pytest.approx(found[1], rel=0.02)
    assert stats.detectable(0, 1) is None
    assert stats.detectable(1, 4) is None
