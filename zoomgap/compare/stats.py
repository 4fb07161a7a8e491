"""Intervals and tests for graded answers that come in clusters (questions about one image are not independent).

Arrays are one entry an answer. `clusters` holds integer codes 0 .. C-1. Every random part is seeded by its caller.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]

FEW_CLUSTERS = 10
"""Under so many clusters that differ at all, resampling them cannot show the tails of their own distribution."""


class Interval(NamedTuple):
    low: float
    high: float


class Difference(NamedTuple):
    """Paired difference of two accuracies, first minus second, over the n answers that both gave without an error."""

    n: int
    difference: float | None
    low: float | None
    high: float | None


class Discordance(NamedTuple):
    """The 2x2 table of a pair of arms."""

    both: int
    only_a: int
    only_b: int
    neither: int


def cluster_sums(values: Array, clusters: Codes, size: int) -> Array:
    """Sum of `values` in each cluster, shape (size,)."""
    return np.asarray(np.bincount(clusters, weights=values, minlength=size), dtype=np.float64)


def cluster_variance(values: Array, clusters: Codes) -> float:
    """Variance of the mean of `values`, robust to any dependence within a cluster (sandwich, small-sample factor)."""
    _, codes = np.unique(clusters, return_inverse=True)
    count = int(codes.max()) + 1
    if count < 2:
        return float("inf")
    residuals = cluster_sums(values - values.mean(), codes, count)
    return float(residuals @ residuals) / values.size**2 * count / (count - 1)


def design_effect(values: Array, clusters: Codes) -> float:
    """How many times wider than binomial the variance of an accuracy is, at least 1.

    All right or all wrong shows no variance: then a cluster counts as one answer.
    """
    n, count = values.size, np.unique(clusters).size
    if n == count:
        return 1.0
    mean = float(values.mean())
    if count < 2 or mean in (0.0, 1.0):
        return n / count
    return max(1.0, cluster_variance(values, clusters) * n / (mean * (1 - mean)))


def wilson(right: float, total: float, confidence: float = 0.95, effect: float = 1.0) -> Interval:
    """Wilson score interval of right / total, with the sample size divided by the design effect.

    With no answers it is (0, 1).
    """
    if total == 0:
        return Interval(0.0, 1.0)
    n, p = total / effect, right / total
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def accuracy_interval(values: Array, clusters: Codes, confidence: float = 0.95) -> Interval:
    """Wilson interval of the mean of 0/1 `values` with the design effect of their clusters."""
    if values.size == 0:
        return Interval(0.0, 1.0)
    return wilson(float(values.sum()), values.size, confidence, design_effect(values, clusters))


def bootstrap_weights(clusters: int, draws: int, seed: int) -> NDArray[np.float32]:
    """How often each cluster was drawn in each resample, shape (draws, clusters).

    Every statistic of a comparison takes the same matrix: that is what pairs the arms, and keeps ratios honest.
    """
    rng = np.random.default_rng(seed)
    picks = rng.integers(clusters, size=(draws, clusters)) + np.arange(draws)[:, None] * clusters
    counts = np.bincount(picks.ravel(), minlength=draws * clusters)
    return counts.reshape(draws, clusters).astype(np.float32)


def bootstrap_means(values: Array, clusters: Codes, weights: NDArray[np.float32]) -> Array:
    """Mean of `values` in each resample, shape (draws,). NaN where a resample drew no answer."""
    size = weights.shape[1]
    sums = weights @ cluster_sums(values, clusters, size).astype(np.float32)
    counts = weights @ np.bincount(clusters, minlength=size).astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums / counts).astype(np.float64)


def percentiles(draws: Array, confidence: float = 0.95) -> Interval:
    """The central interval of resampled values; NaN draws are left out."""
    low, high = np.nanquantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(low), float(high))


def adjusted_interval(differences: Array, clusters: Codes, confidence: float) -> Interval:
    """Interval of a mean of paired differences in {-1, 0, 1} that stays honest in far tails and with few discordances.

    Agresti and Min (2005): half an answer is added to each cell of the 2x2 table; the variance is cluster-robust.
    """
    count = np.unique(clusters).size
    if count < 2:
        return Interval(-1.0, 1.0)
    n = differences.size
    centre = float(differences.sum()) / (n + 2)
    spread = cluster_variance(differences, clusters) * n * n + 1.0
    half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * float(np.sqrt(spread)) / (n + 2)
    return Interval(max(-1.0, centre - half), min(1.0, centre + half))


def paired_difference(
    a: Array, b: Array, clusters: Codes, weights: NDArray[np.float32], confidence: float = 0.95
) -> Difference:
    """accuracy(a) - accuracy(b) over the same answers, with a cluster bootstrap interval.

    Where fewer than FEW_CLUSTERS clusters differ at all the adjusted interval stands in for the bootstrap.
    """
    if a.size == 0:
        return Difference(0, None, None, None)
    differences = a - b
    discordant = np.count_nonzero(cluster_sums(differences, clusters, weights.shape[1]))
    if discordant < FEW_CLUSTERS:
        interval = adjusted_interval(differences, clusters, confidence)
    else:
        interval = percentiles(bootstrap_means(differences, clusters, weights), confidence)
    return Difference(a.size, float(differences.mean()), *interval)


def discordance(a: Array, b: Array) -> Discordance:
    """Counts of answers that both, one or neither arm got right; a and b are 0/1."""
    return Discordance(
        both=int((a * b).sum()),
        only_a=int((a * (1 - b)).sum()),
        only_b=int(((1 - a) * b).sum()),
        neither=int(((1 - a) * (1 - b)).sum()),
    )


def sign_flip_p(a: Array, b: Array, clusters: Codes) -> float:
    """Two-sided p of "no difference": the sign of each cluster's summed difference is flipped by a fair coin.

    All flips are counted, not sampled: sums of one size form a binomial, and binomials convolve. With one answer in
    each cluster this is exactly McNemar's exact test.
    """
    sums = np.rint(np.bincount(clusters, weights=a - b)).astype(np.int64) if a.size else np.zeros(0, np.int64)
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        spaced = np.zeros(2 * size * count + 1)
        spaced[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, spaced)
    totals = np.arange(chances.size) - chances.size // 2
    return min(1.0, float(chances[np.abs(totals) >= abs(int(sums.sum()))].sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted
