"""Intervals and tests for graded answers that come in clusters (questions about one image are not independent).

Arrays are one entry an answer. `clusters` holds integer codes 0 .. C-1. Every random part is seeded by its caller.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Codes = NDArray[np.int64]
Mask = NDArray[np.bool_]

FEW_CLUSTERS = 50
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
    """How many times wider than that of unrelated answers the variance of the mean of `values` is, at least 1.

    values: right or wrong, or paired differences. Where they are all alike they show no variance: then a cluster counts
    as one answer.
    """
    n, count = values.size, np.unique(clusters).size
    if n == count:
        return 1.0
    spread = float(values.var())
    if count < 2 or spread == 0.0:
        return n / count
    return max(1.0, cluster_variance(values, clusters) * n / spread)


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


class Resamples:
    """A cluster bootstrap: how often each of C clusters was drawn in each of `draws` resamples, shape (draws, C).

    Every statistic of a comparison takes the same one: that is what pairs the arms, and keeps ratios honest. Counts
    are kept as bytes in blocks of draws, clusters by draws, and become floats a block at a time: 2,000 draws of 100,000
    clusters are 200 MB. Sums of whole numbers are exact, so no figure depends on the blocks.
    """

    BLOCK = 128

    def __init__(self, blocks: Sequence[NDArray[np.uint8]]) -> None:
        self.blocks = list(blocks)
        self._counted: dict[bytes, Array] = {}

    @property
    def shape(self) -> tuple[int, int]:
        return sum(block.shape[1] for block in self.blocks), self.blocks[0].shape[0]

    def first(self, draws: int) -> Resamples:
        """The first so many resamples, or all."""
        starts = range(0, draws, self.blocks[0].shape[1])
        return Resamples([block[:, : draws - start] for start, block in zip(starts, self.blocks, strict=False)])

    def dense(self) -> NDArray[np.float32]:
        """The counts as one matrix (draws, C), for few clusters."""
        return np.concatenate([block.T for block in self.blocks]).astype(np.float32)

    def sums(self, values: Array, among: Codes | None = None) -> Array:
        """Sum over the drawn clusters of a figure of each: (C,) to (draws,), or several at once, (C, k) to (draws, k).

        among: the clusters that the rows of `values` belong to, where they are not all.
        """
        kept = np.flatnonzero(values if values.ndim == 1 else values.any(axis=1))
        rows = kept if among is None else among[kept]
        # Single precision is exact for whole numbers, as counts are, and twice as fast.
        kind = np.float32 if (values == np.rint(values)).all() else np.float64
        small = values[kept].astype(kind).T
        parts = [(small @ block[rows].astype(kind)).T for block in self.blocks]
        return np.concatenate(parts).astype(np.float64)

    def counts(self, members: Array) -> Array:
        """As sums, for how many answers each cluster has; what was asked before is remembered."""
        if (members == members[0]).all():
            return np.full(self.shape[0], float(members[0]) * members.size)
        key = hashlib.sha256(members.tobytes()).digest()
        if key not in self._counted:
            self._counted[key] = self.sums(members)
        return self._counted[key]


def bootstrap_weights(clusters: int, draws: int, seed: int, block: int = Resamples.BLOCK) -> Resamples:
    """Resamples of as many clusters as there are, drawn with replacement; each from its own part of the stream."""
    rng = np.random.default_rng(seed)
    blocks = []
    for start in range(0, draws, block):
        # A count over 255 has a chance under 1e-500.
        counts = np.empty((min(block, draws - start), clusters), np.uint8)
        for row in counts:
            row[:] = np.bincount(rng.integers(clusters, size=clusters), minlength=clusters)
        blocks.append(np.ascontiguousarray(counts.T))
    return Resamples(blocks)


def bootstrap_means(values: Array, clusters: Codes, weights: Resamples) -> Array:
    """Mean of `values` in each resample, shape (draws,). NaN where a resample drew no answer."""
    size = weights.shape[1]
    sums = weights.sums(cluster_sums(values, clusters, size))
    counts = weights.counts(np.bincount(clusters, minlength=size).astype(np.float64))
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums / counts


def percentiles(draws: Array, confidence: float = 0.95, clusters: int | None = None) -> Interval:
    """The central interval of resampled values; NaN draws are left out.

    clusters: how many were resampled. A bootstrap of few is too narrow, by sqrt((C - 1) / C) and by the normal's
    tails in place of Student's; the interval is then taken so much further out (Hesterberg 2015, "expanded").
    """
    tail = (1 - confidence) / 2
    if clusters is not None and clusters > 1:
        tail = float(stats.norm.cdf(stats.t.ppf(tail, clusters - 1) * np.sqrt(clusters / (clusters - 1))))
    # Order statistic (R + 1) tail: the usual interpolation of R draws cuts off more, at 200 draws 3% in place of 2.5%.
    low, high = np.nanquantile(draws, [tail, 1 - tail], method="weibull")
    return Interval(float(low), float(high))


def adjusted_interval(differences: Array, clusters: Codes, confidence: float) -> Interval:
    """Interval of a mean of paired differences in {-1, 0, 1} that stays honest in far tails and with few discordances.

    Tango's score interval (1998) of the counts divided by the design effect, with Student's quantile for as many
    clusters as there are. Without any discordance it still has some width, z^2 / (n + z^2) to each side.
    """
    count = np.unique(clusters).size
    if count < 2:
        return Interval(-1.0, 1.0)
    effect = design_effect(differences, clusters)
    n, up, down = (float(v) / effect for v in (differences.size, (differences > 0).sum(), (differences < 0).sum()))
    z = float(stats.t.ppf((1 + confidence) / 2, count - 1))
    return Interval(-_score_bound(n, down, up, z), _score_bound(n, up, down, z))


def _score_bound(n: float, up: float, down: float, z: float) -> float:
    """The largest true difference that lies within z standard errors, as it would have them, of (up - down) / n."""
    low, high = (up - down) / n, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        # The chance of `down`, most likely where the difference is `middle`.
        b = (2 * n - up + down) * middle - up - down
        chance = (math.sqrt(b * b + 8 * n * down * middle * (1 - middle)) - b) / (4 * n)
        spread = math.sqrt(max(n * (2 * chance + middle * (1 - middle)), 1e-300))
        inside = n * middle - (up - down) <= z * spread
        low, high = (middle, high) if inside else (low, middle)
    return high


def paired_difference(a: Array, b: Array, clusters: Codes, weights: Resamples, confidence: float = 0.95) -> Difference:
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
        members = np.unique(clusters).size
        interval = percentiles(bootstrap_means(differences, clusters, weights), confidence, members)
    return Difference(a.size, float(differences.mean()), *interval)


def discordance(a: Array, b: Array) -> Discordance:
    """Counts of answers that both, one or neither arm got right; a and b are 0/1."""
    return Discordance(
        both=int((a * b).sum()),
        only_a=int((a * (1 - b)).sum()),
        only_b=int(((1 - a) * b).sum()),
        neither=int(((1 - a) * (1 - b)).sum()),
    )


def detectable(discordant: int, n: int, effect: float = 1.0, power: float = 0.8, level: float = 0.05) -> float | None:
    """The smallest difference of two accuracies that a pair of n answers would show so often, as a share.

    It solves d = (z of level + z of power) x standard error, whose variance is effect x (share that differs - d^2) / n
    (Connor 1987). discordant: answers that only one arm got right; one is added, as none seen is not none to come.
    effect: design effect of the differences. None where even the largest difference would not be found.
    """
    reach = _reach(level, power) ** 2 * effect
    share = (discordant + 1) / (n + 2)
    difference = float(np.sqrt(reach * share / (n + reach)))
    return difference if n > 1 and difference < share else None


def samples_for_difference(
    difference: float, discordance: float, effect: float = 1.0, power: float = 0.8, level: float = 0.05
) -> int:
    """Answers that show a true difference with that power. discordance: share of answers on which two arms differ."""
    return math.ceil(_reach(level, power) ** 2 * effect * (discordance - difference**2) / difference**2)


def samples_for_equivalence(
    margin: float, discordance: float, effect: float = 1.0, power: float = 0.8, level: float = 0.05
) -> int:
    """Answers at which the interval of two equal arms, at confidence 1 - level, lies within the margin so often."""
    return math.ceil(_reach(level, (1 + power) / 2) ** 2 * effect * discordance / margin**2)


def samples_for_noninferiority(
    margin: float, discordance: float, effect: float = 1.0, power: float = 0.8, tail: float = 0.025
) -> int:
    """Answers at which the one-sided bound of two equal arms, at confidence 1 - tail, lies over -margin so often."""
    return math.ceil(_reach(2 * tail, power) ** 2 * effect * discordance / margin**2)


def _reach(level: float, power: float) -> float:
    """Standard errors between no difference and one that a two-sided test finds with that power."""
    return float(stats.norm.isf(level / 2) + stats.norm.ppf(power))


def sign_flip_p(a: Array, b: Array, clusters: Codes, *, exact: bool = False) -> float:
    """Two-sided p of "no difference": the sign of each cluster's summed difference is flipped by a fair coin.

    All flips are counted, not sampled: sums of one size form a binomial, and binomials convolve. What is reported is
    the mid-p value, in which the outcome that was seen counts by half: the outcomes are few, and the exact p, which
    counts it in full, rejects a true hypothesis at 5% in 4% of worlds of 600 answers and in 2% of 50, while the mid-p
    stays at or a little under 5% (Fagerland, Lydersen and Laake 2013). exact: the exact p; with one answer in each
    cluster it is McNemar's.
    """
    sums = np.rint(np.bincount(clusters, weights=a - b)).astype(np.int64) if a.size else np.zeros(0, np.int64)
    sizes, counts = np.unique(np.abs(sums[sums != 0]), return_counts=True)
    chances = np.ones(1)
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        spaced = np.zeros(2 * size * count + 1)
        spaced[:: 2 * size] = stats.binom.pmf(np.arange(count + 1), count, 0.5)
        chances = np.convolve(chances, spaced)
    totals = np.abs(np.arange(chances.size) - chances.size // 2)
    seen = abs(int(sums.sum()))
    beyond, there = float(chances[totals > seen].sum()), float(chances[totals == seen].sum())
    return min(1.0, beyond + (there if exact or not sizes.size else there / 2))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given."""
    adjusted, worst = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = worst
    return adjusted
