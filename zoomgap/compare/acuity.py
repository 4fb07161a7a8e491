"""Acuity: how small a thing an arm reads, from a psychometric curve over the size of the evidence.

P(correct) = g + (1 - g) c F(s (x - m)), x = log2 of the evidence's side in pixels of the direct view, F logistic. With
the lapse rate l = (1 - g)(1 - c) this is the usual g + (1 - g - l) F; written with c, answer forms of unlike guess
rates share one curve. c is the ceiling: failures of finding belong there, not in the threshold. The threshold is the
size where the chance-corrected accuracy c F is 0.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from zoomgap.compare.stats import Array, Codes, percentiles, wilson

State = Literal["estimated", "not reached", "not estimable"]

TARGET = 0.5
BIN_OCTAVES = 1 / 8
"""Sizes are pooled in bins of an eighth of an octave at their mean: far finer than any curve bends."""
MIN_SAMPLES = 30
POINTS = 6

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Acuity:
    """What one arm reads in one dimension. px, low, high: pixels of the direct view.

    low or high is None where the interval runs out of the sizes shown; px is None unless `state` is `estimated`, and
    `reason` says why in plain words. ceiling: chance-corrected; midpoint: log2 px; slope: per octave; all three None
    where the data end before the curve has risen.
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

    def at(self, px: Array) -> Array:
        """Fitted chance-corrected accuracy at sizes in pixels; NaN where there is no curve."""
        if self.midpoint is None or self.slope is None or self.ceiling is None:
            return np.full_like(px, np.nan)
        return np.asarray(self.ceiling * expit(self.slope * (np.log2(px) - self.midpoint)))


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
    x: Array, right: Array, guess: Array, clusters: Codes, weights: NDArray[np.float32], confidence: float = 0.95
) -> Fit:
    """Acuity of one arm in one dimension, with a cluster bootstrap interval.

    x: log2 px; right: 0/1; guess: chance of a right answer without seeing; all (answers,). weights: from
    `bootstrap_weights` over all clusters of the comparison.
    """
    if x.size < MIN_SAMPLES:
        reason = f"only {x.size} answers with tight evidence boxes, {MIN_SAMPLES} are needed"
        return Fit(Acuity(state="not estimable", n=x.size, reason=reason), np.zeros(0))
    columns = np.stack([np.rint(x / BIN_OCTAVES), guess], axis=1)
    _, codes = np.unique(columns, axis=0, return_inverse=True)
    bins = int(codes.max()) + 1
    size = np.bincount(codes)
    mean_x = np.bincount(codes, weights=x) / size
    mean_guess = np.bincount(codes, weights=guess) / size
    rows = np.vstack([np.ones((1, weights.shape[1]), np.float32), weights])
    right_rows, total_rows = (_resampled(v, codes, clusters, bins, rows) for v in (right, np.ones_like(right)))
    curves = fit_curves(mean_x, mean_guess, right_rows, total_rows)
    points = data_points(x, right, guess)
    return _judge(curves, float(x.min()), float(x.max()), x.size, points, confidence)


def _resampled(values: Array, codes: Codes, clusters: Codes, bins: int, rows: NDArray[np.float32]) -> Array:
    """Sum of `values` in each bin for each resample, (rows, bins). Only clusters that occur are multiplied."""
    present, local = np.unique(clusters, return_inverse=True)
    table = np.bincount(local * bins + codes, weights=values, minlength=present.size * bins)
    return (rows[:, present] @ table.reshape(-1, bins).astype(np.float32)).astype(np.float64)


def _judge(curves: Curves, low: float, high: float, n: int, points: tuple[CurvePoint, ...], confidence: float) -> Fit:
    """What the fitted rows (the data first, then the resamples) allow to say about sizes from low to high (log2 px)."""
    threshold = float(curves.threshold[0])
    draws = np.clip(curves.threshold[1:], low, high)
    state: State = "estimated"
    reason = ""
    if curves.ceiling[0] <= TARGET:
        state, reason = "not reached", f"the curve levels off at {curves.ceiling[0]:.2f}, under {TARGET}"
    elif threshold >= high:
        state, reason = "not estimable", f"over {2**high:.1f} px, the largest evidence shown"
    elif threshold <= low:
        state, reason = "not estimable", f"under {2**low:.1f} px, the smallest evidence shown"
    # A curve that has not risen by the largest size says nothing of its ceiling: only the prior would speak.
    beyond = np.isfinite(threshold) and threshold >= high
    bounds = percentiles(draws, confidence)
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


def data_points(x: Array, right: Array, guess: Array) -> tuple[CurvePoint, ...]:
    """The data in POINTS bins of equal count: mean size and chance-corrected accuracy with its interval."""
    points = []
    for part in np.array_split(np.argsort(x, kind="stable"), POINTS):
        g = float(guess[part].mean())
        interval = wilson(float(right[part].sum()), part.size)
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
