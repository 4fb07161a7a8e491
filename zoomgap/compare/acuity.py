"""Acuity: how small a thing an arm reads, from a psychometric curve over the size of the evidence.

P(correct) = g + (1 - g) c F(s (x - m)), x = log2 of the evidence's side in pixels of the direct view, F logistic. With
the lapse rate l = (1 - g)(1 - c) this is the usual g + (1 - g - l) F; written with c, answer forms of unlike guess
rates share one curve. c is the ceiling: failures of finding belong there, not in the threshold. The threshold is the
size where the chance-corrected accuracy c F is 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, logit

from zoomgap.compare.stats import (
    Array,
    Codes,
    Resamples,
    accuracy_interval,
    cluster_sums,
    design_effect,
    percentiles,
)

State = Literal["estimated", "not reached", "not estimable"]

TARGET = 0.5
BIN_OCTAVES = 1 / 8
"""Sizes are pooled in bins of an eighth of an octave at their mean: far finer than any curve bends."""
MIN_SAMPLES = 30
POINTS = 6
PARAMETERS = 3
FIT_BINS, FIT_DRAWS = 10, 199
BAD_FIT = 0.01
"""A comparison draws dozens of curves: at 0.05 some would always seem bad."""

# Weak priors: they hold the fit where the data say nothing and move it by under a percent where they speak.
MIDPOINT_SD = 3.0
SLOPE_LOG_MEAN, SLOPE_LOG_SD = float(np.log(3.0)), 0.8
CEILING_SUCCESSES, CEILING_FAILURES = 4.0, 0.1


class CurvePoint(NamedTuple):
    """Data of one bin of sizes. accuracy, low, high: chance-corrected."""

    px: float
    n: int
    accuracy: float
    low: float
    high: float


class GoodnessOfFit(NamedTuple):
    """Whether a curve describes its data: Pearson's statistic over so many sizes, and its p by parametric bootstrap."""

    statistic: float
    bins: int
    p: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acuity:
    """What one arm reads in one dimension. px, low, high: pixels of the direct view.

    low or high is None where the interval runs out of the sizes shown; px is None unless `state` is `estimated`, and
    `reason` says why in plain words. ceiling: chance-corrected; midpoint: log2 px; slope: per octave; all three None
    where the data end before the curve has risen. fit: how well the curve describes the data, None without a curve;
    warning: that it does not, in words.
    """

    state: State
    n: int
    reason: str = ""
    px: float | None = None
    low: float | None = None
    high: float | None = None
    ceiling: float | None = None
    midpoint: float | None = None
    slope: float | None = None
    points: tuple[CurvePoint, ...] = ()
    fit: GoodnessOfFit | None = None
    warning: str = ""

    @property
    def beyond(self) -> str:
        """In words on which side of the sizes shown the threshold lies; "" where it is among them or unknown."""
        sides = {"under": "below all shown", "over": "above all shown"}
        return sides.get(self.reason.partition(" ")[0], "")

    def at(self, px: Array) -> Array:
        """Fitted chance-corrected accuracy at sizes in pixels; NaN where there is no curve."""
        if self.midpoint is None or self.slope is None or self.ceiling is None:
            return np.full_like(px, np.nan)
        return np.asarray(self.ceiling * expit(self.slope * (np.log2(px) - self.midpoint)))


class Bins(NamedTuple):
    """Answers pooled by size and guess rate. codes: bin of each answer; the rest (bins,): means, and counts."""

    codes: Codes
    x: Array
    guess: Array
    right: Array
    total: Array


class Fit(NamedTuple):
    """An acuity, and its resampled thresholds (log2 px, shape (draws,), put on the edge where they leave the data)."""

    acuity: Acuity
    draws: Array


class Mean(NamedTuple):
    """Geometric mean over dimensions, or a ratio of two such means, with its interval.

    A bound is None where it lies beyond the sizes shown.
    """

    value: float
    low: float | None
    high: float | None
    dimensions: tuple[str, ...]


class Curves(NamedTuple):
    """Fitted curves, one a row of the data: each field has shape (rows,)."""

    midpoint: Array
    slope: Array
    ceiling: Array

    def chances(self, x: Array, guess: Array) -> Array:
        """P(correct) at each bin, (rows, bins)."""
        return _chances(np.stack([self.midpoint, np.log(self.slope), logit(self.ceiling)], axis=1), x, guess)[1]

    @property
    def threshold(self) -> Array:
        """log2 px where ceiling * F = TARGET; inf where the ceiling is not above it."""
        with np.errstate(divide="ignore", invalid="ignore"):
            reached = self.midpoint + logit(TARGET / self.ceiling) / self.slope
        return np.where(self.ceiling > TARGET, reached, np.inf)


def fit_curves(x: Array, guess: Array, right: Array, total: Array) -> Curves:
    """Most probable curve for each row of counts at once.

    x, guess: (bins,). right, total: (rows, bins), any non-negative weights. A coarse grid finds the start, damped
    Fisher scoring the summit; rows step on their own and keep only steps that climb.
    """
    centre = float(np.average(x, weights=total[0] + 1e-9))
    theta = _grid_start(x, guess, right, total, centre)
    best = _log_posterior(theta, x, guess, right, total, centre)
    damping = np.full(len(theta), 1e-2)
    for _ in range(60):
        gradient, information = _score(theta, x, guess, right, total, centre)
        damped = information * (1 + damping[:, None, None] * np.eye(3))
        trial = theta + np.clip(np.linalg.solve(damped, gradient[..., None])[..., 0], -2.0, 2.0)
        value = _log_posterior(trial, x, guess, right, total, centre)
        climbs = value > best
        gain = float(np.max(np.where(climbs, value - best, 0.0)))
        theta = np.where(climbs[:, None], trial, theta)
        best = np.where(climbs, value, best)
        damping = np.clip(np.where(climbs, damping / 4, damping * 5), 1e-6, 1e8)
        if gain < 1e-4:
            break
    return Curves(theta[:, 0], np.exp(theta[:, 1]), expit(theta[:, 2]))


def _chances(theta: Array, x: Array, guess: Array) -> tuple[Array, Array]:
    """F and P at each bin, both (rows, bins); P is kept off 0 and 1."""
    f = expit(np.exp(theta[:, 1:2]) * (x - theta[:, 0:1]))
    return f, np.clip(guess + (1 - guess) * expit(theta[:, 2:3]) * f, 1e-9, 1 - 1e-9)


def _log_prior(theta: Array, centre: float) -> Array:
    midpoint, slope, ceiling = theta.T
    return np.asarray(
        -0.5 * ((midpoint - centre) / MIDPOINT_SD) ** 2
        - 0.5 * ((slope - SLOPE_LOG_MEAN) / SLOPE_LOG_SD) ** 2
        - CEILING_SUCCESSES * np.logaddexp(0, -ceiling)
        - CEILING_FAILURES * np.logaddexp(0, ceiling)
    )


def _log_posterior(theta: Array, x: Array, guess: Array, right: Array, total: Array, centre: float) -> Array:
    _, p = _chances(theta, x, guess)
    likelihood = (right * np.log(p) + (total - right) * np.log1p(-p)).sum(axis=1)
    return np.asarray(likelihood + _log_prior(theta, centre))


def _grid_start(x: Array, guess: Array, right: Array, total: Array, centre: float) -> Array:
    midpoints = np.linspace(x.min() - 1, x.max() + 1, 14)
    slopes = np.log([1.5, 3.0, 6.0])
    ceilings = logit(np.array([0.25, 0.5, 0.75, 0.9, 0.98]))
    grid = np.stack(np.meshgrid(midpoints, slopes, ceilings), axis=-1).reshape(-1, 3)
    _, p = _chances(grid, x, guess)
    values = right @ np.log(p).T + (total - right) @ np.log1p(-p).T + _log_prior(grid, centre)
    return np.asarray(grid[np.argmax(values, axis=1)])


def _score(theta: Array, x: Array, guess: Array, right: Array, total: Array, centre: float) -> tuple[Array, Array]:
    """Gradient (rows, 3) and expected information (rows, 3, 3) of the log posterior."""
    f, p = _chances(theta, x, guess)
    midpoint, slope, ceiling = theta[:, 0:1], theta[:, 1:2], expit(theta[:, 2:3])
    bend = (1 - guess) * ceiling * f * (1 - f) * np.exp(slope)
    slopes = np.stack([-bend, bend * (x - midpoint), (1 - guess) * f * ceiling * (1 - ceiling)], axis=-1)
    variance = p * (1 - p)
    gradient = np.einsum("rb,rbi->ri", (right - total * p) / variance, slopes)
    information = np.swapaxes(slopes * (total / variance)[..., None], 1, 2) @ slopes
    c = ceiling[:, 0]
    gradient += np.stack(
        [
            -(theta[:, 0] - centre) / MIDPOINT_SD**2,
            -(theta[:, 1] - SLOPE_LOG_MEAN) / SLOPE_LOG_SD**2,
            CEILING_SUCCESSES * (1 - c) - CEILING_FAILURES * c,
        ],
        axis=-1,
    )
    priors = np.zeros_like(information)
    priors[:, 0, 0] = 1 / MIDPOINT_SD**2
    priors[:, 1, 1] = 1 / SLOPE_LOG_SD**2
    priors[:, 2, 2] = (CEILING_SUCCESSES + CEILING_FAILURES) * c * (1 - c) + 1e-6
    return gradient, information + priors


def fit_acuity(
    x: Array,
    right: Array,
    guess: Array,
    clusters: Codes,
    weights: Resamples,
    confidence: float = 0.95,
    seed: int = 0,
) -> Fit:
    """Acuity of one arm in one dimension, with a cluster bootstrap interval and a check of its fit.

    x: log2 px; right: 0/1; guess: chance of a right answer without seeing; all (answers,). weights: from
    `bootstrap_weights` over all clusters of the comparison. seed: of the check of the fit.
    """
    if x.size < MIN_SAMPLES:
        reason = f"only {x.size} answers with tight evidence boxes, {MIN_SAMPLES} are needed"
        return Fit(Acuity(state="not estimable", n=x.size, reason=reason), np.zeros(0))
    points = data_points(x, right, guess, clusters, confidence)
    if right.min() == right.max():
        reason = "every answer is right" if right[0] else "every answer is wrong"
        return Fit(Acuity(state="not estimable", n=x.size, reason=reason, points=points), np.zeros(0))
    binned = _binned(x, right, guess)
    present, local = np.unique(clusters, return_inverse=True)
    right_rows, total_rows = (
        np.vstack([np.bincount(binned.codes, weights=v)[None], _resampled(v, binned, local, present, weights)])
        for v in (right, np.ones_like(right))
    )
    curves = fit_curves(binned.x, binned.guess, right_rows, total_rows)
    fit = _judge(curves, float(x.min()), float(x.max()), x.size, points, confidence)
    if fit.acuity.midpoint is None:
        return fit
    check = _check_fit(curves, binned, right, clusters, seed)
    bad = check is not None and check.p < BAD_FIT
    warning = f"the curve does not describe the data, p = {check.p:.3f}" if bad and check else ""
    return fit._replace(acuity=replace(fit.acuity, fit=check, warning=warning))


def _binned(x: Array, right: Array, guess: Array) -> Bins:
    columns = np.stack([np.rint(x / BIN_OCTAVES), guess], axis=1)
    _, codes = np.unique(columns, axis=0, return_inverse=True)
    total = np.bincount(codes).astype(np.float64)
    mean_x, mean_guess = (np.bincount(codes, weights=v) / total for v in (x, guess))
    return Bins(codes, mean_x, mean_guess, cluster_sums(right, codes, total.size), total)


def _resampled(values: Array, bins: Bins, local: Codes, present: Codes, weights: Resamples) -> Array:
    """Sum of `values` in each bin for each resample, (draws, bins). Only clusters that occur are multiplied."""
    cells = local * bins.x.size + bins.codes
    table: Array = np.bincount(cells, weights=values, minlength=present.size * bins.x.size).astype(np.float64)
    return weights.sums(table.reshape(present.size, -1), present)


def _check_fit(curves: Curves, bins: Bins, right: Array, clusters: Codes, seed: int) -> GoodnessOfFit | None:
    """Pearson's statistic over FIT_BINS sizes, against FIT_DRAWS data sets drawn from the curve and fitted anew.

    Answers of a cluster stray together: the statistic is divided by the design effect of what the curve leaves.
    """
    chance = curves.chances(bins.x, bins.guess)[0]
    order = np.argsort(bins.x, kind="stable")
    reached = np.cumsum(bins.total[order]) - bins.total[order] / 2
    group = np.empty(bins.x.size, dtype=np.int64)
    group[order] = (reached / bins.total.sum() * FIT_BINS).astype(np.int64)
    _, group = np.unique(group, return_inverse=True)
    count = int(group.max()) + 1
    if count <= PARAMETERS:
        return None
    rng = np.random.default_rng(seed)
    drawn = rng.binomial(bins.total.astype(np.int64), chance, (FIT_DRAWS, chance.size)).astype(np.float64)
    totals = np.tile(bins.total, (FIT_DRAWS, 1))
    refitted = fit_curves(bins.x, bins.guess, drawn, totals).chances(bins.x, bins.guess)
    effect = design_effect(right - chance[bins.codes], clusters)
    seen = float(_pearson(bins.right[None], chance[None], bins.total, group)[0]) / effect
    others = _pearson(drawn, refitted, bins.total, group)
    return GoodnessOfFit(seen, count, float(1 + np.count_nonzero(others >= seen)) / (FIT_DRAWS + 1))


def _pearson(right: Array, chance: Array, total: Array, group: Codes) -> Array:
    """Squared residuals over their variance, summed over groups of bins; all but total and group (rows, bins)."""
    sums = np.eye(int(group.max()) + 1)[group]
    residual, variance = (right - chance * total) @ sums, (chance * (1 - chance) * total) @ sums
    return np.asarray((residual**2 / variance).sum(axis=1))


def _judge(curves: Curves, low: float, high: float, n: int, points: tuple[CurvePoint, ...], confidence: float) -> Fit:
    """What the fitted rows (the data first, then the resamples) allow to say about sizes from low to high (log2 px)."""
    threshold = float(curves.threshold[0])
    draws = np.clip(curves.threshold[1:], low, high)
    bounds = percentiles(draws, confidence)
    state: State = "estimated"
    reason = ""
    if curves.ceiling[0] <= TARGET:
        state, reason = "not reached", f"the curve levels off at {curves.ceiling[0]:.2f}, under {TARGET}"
    elif threshold >= high:
        state, reason = "not estimable", f"over {2**high:.1f} px, the largest evidence shown"
    elif threshold <= low:
        state, reason = "not estimable", f"under {2**low:.1f} px, the smallest evidence shown"
    elif bounds.low <= low and bounds.high >= high:
        state, reason = "not estimable", f"anywhere from {2**low:.1f} to {2**high:.1f} px: too few answers"
    # A curve that has not risen by the largest size says nothing of its ceiling: only the prior would speak.
    beyond = np.isfinite(threshold) and threshold >= high
    estimated = state == "estimated"
    acuity = Acuity(
        state=state,
        n=n,
        reason=reason,
        px=2**threshold if estimated else None,
        low=2**bounds.low if estimated and bounds.low > low else None,
        high=2**bounds.high if estimated and bounds.high < high else None,
        ceiling=None if beyond else float(curves.ceiling[0]),
        midpoint=None if beyond else float(curves.midpoint[0]),
        slope=None if beyond else float(curves.slope[0]),
        points=points,
    )
    return Fit(acuity, draws)


def data_points(
    x: Array, right: Array, guess: Array, clusters: Codes, confidence: float = 0.95
) -> tuple[CurvePoint, ...]:
    """The data in POINTS bins of equal count: mean size and chance-corrected accuracy with its interval."""
    points = []
    for part in np.array_split(np.argsort(x, kind="stable"), POINTS):
        g = float(guess[part].mean())
        interval = accuracy_interval(right[part], clusters[part], confidence)
        corrected = [(p - g) / (1 - g) for p in (float(right[part].mean()), *interval)]
        points.append(CurvePoint(float(2 ** x[part].mean()), part.size, *corrected))
    return tuple(points)


def geometric_mean(fits: dict[str, Fit], confidence: float = 0.95) -> Mean | None:
    """Geometric mean of the thresholds over the dimensions where one was estimated; None where there is none."""
    usable = tuple(d for d, fit in fits.items() if fit.acuity.state == "estimated")
    if not usable:
        return None
    return _summary([fits[d].acuity for d in usable], [fits[d].draws for d in usable], usable, confidence)


def acuity_ratio(a: dict[str, Fit], b: dict[str, Fit], confidence: float = 0.95) -> Mean | None:
    """Geometric mean over dimensions of threshold(a) / threshold(b), where both were estimated; under 1, a sees better.

    The resamples of a and b are the same clusters, so the interval is paired.
    """
    usable = tuple(d for d in a if d in b and a[d].acuity.state == "estimated" and b[d].acuity.state == "estimated")
    if not usable:
        return None
    top = _summary([a[d].acuity for d in usable], [a[d].draws for d in usable], usable, confidence)
    bottom = _summary([b[d].acuity for d in usable], [b[d].draws for d in usable], usable, confidence)
    logs = np.mean([a[d].draws - b[d].draws for d in usable], axis=0)
    interval = percentiles(logs, confidence)
    # A resampled threshold off the scale was put at its end, so a bound that leans on such draws is no bound.
    low_known = all(a[d].acuity.low is not None and b[d].acuity.high is not None for d in usable)
    high_known = all(a[d].acuity.high is not None and b[d].acuity.low is not None for d in usable)
    return Mean(
        top.value / bottom.value,
        2**interval.low if low_known else None,
        2**interval.high if high_known else None,
        usable,
    )


def _summary(
    acuities: Sequence[Acuity], draws: Sequence[Array], dimensions: tuple[str, ...], confidence: float
) -> Mean:
    value = float(np.mean([np.log2(a.px) for a in acuities if a.px is not None]))
    interval = percentiles(np.mean(draws, axis=0), confidence)
    low_known, high_known = (all(getattr(a, bound) is not None for a in acuities) for bound in ("low", "high"))
    return Mean(2**value, 2**interval.low if low_known else None, 2**interval.high if high_known else None, dimensions)
