"""A router between one glance and an agent, fitted and measured without looking at its own test.

Scores, and the operating point on them, are chosen on some folds of the data and measured on the others, which hold
other images (cross-fitting). The logistic score is the log-odds that keeping the direct answer loses nothing against
the agent's. Arrays are one entry a question that both runs answered without an error, (K,), unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from zoomgap.compare.stats import (
    Array,
    Codes,
    Mask,
    Resamples,
    accuracy_interval,
    bootstrap_means,
    paired_difference,
    percentiles,
)
from zoomgap.errors import UsageError

Axis = Literal["ms", "dollars", "tokens", "calls"]

FOLDS = 5
MIN_CLUSTERS = 20
"""Fewer images than this leave folds of one or two, from which nothing is learned."""
PENALTY = 1.0
"""Of the squared coefficients of standardised columns, halved, beside the summed log loss: scikit-learn's default."""
CURVE = tuple(k / 20 for k in range(21))
"""Shares of the questions that the points of the curve send to the agent, as the fitting folds have them."""


class Target(NamedTuple):
    """What the threshold is chosen for: the cheapest point whose accuracy is at most `accuracy_loss` under the agent's,
    or the most accurate one whose cost is at most `share` of always asking the agent."""

    accuracy_loss: float | None = 0.01
    share: float | None = None

    def check(self) -> None:
        """Raises UsageError for none, both, or numbers that mean nothing."""
        loss, share = self
        if (loss is None) == (share is None):
            raise UsageError("a router has one target: an accuracy loss or a share of the agent's cost")
        if loss is not None and not 0 <= loss < 1:
            raise UsageError(f"an accuracy loss of {loss} is none: give a share from 0 to 1, as in 0.01 for one point")
        if share is not None and not share > 0:
            raise UsageError(f"a budget of {share} is none: give a share of the agent's time over 0, as in 0.5")


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """K questions that both answered. Costs are in units of `axis`.

    columns: (K, C), NaN all along a row that has no score (then the question goes to the agent). glance, agent: 1 for
    right, 0 for wrong. one: cost of a direct answer; asked: of all that the router asks for; agent_cost: of the agent.
    A cost is NaN where it is not known. clusters: codes; questions of one are in one fold.
    """

    names: tuple[str, ...]
    columns: Array
    glance: Array
    agent: Array
    one: Array
    asked: Array
    agent_cost: Array
    clusters: Codes
    axis: Axis

    def __len__(self) -> int:
        return self.glance.size


class Score(NamedTuple):
    """A linear score of columns: how sure one may be of the direct answer."""

    intercept: float
    weights: Array

    def of(self, columns: Array) -> Array:
        """(K, C) -> (K,); -inf for a row without a score."""
        values = self.intercept + columns @ self.weights
        return np.where(np.isnan(values), -np.inf, values)


class Crossed(NamedTuple):
    """What held-out questions got. zoomed: whether the router asked the agent; curve: the same at each of CURVE,
    (len(CURVE), K)."""

    zoomed: Mask
    curve: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Bounds:
    """A figure with its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A way to answer all questions. cost: mean a question; cost_share: of always asking the agent; both None where
    they cannot be compared. zoomed: share of the questions that the agent was asked, None where it is no part."""

    name: str
    run: str | None = None
    n: int
    accuracy: float
    low: float
    high: float
    cost: float | None
    cost_share: float | None
    zoomed: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a router gives on questions that it was not fitted on.

    versus_agent, versus_glance: paired differences of accuracy. gain: over sending as many questions to the agent,
    chosen at random; gain_at_cost: over a random mix of the two that costs as much. never, always, router, oracle: the
    oracle knows which of the two will be right and asks that one alone, the cheaper if both are. policies: all of
    them, then larger budgets and tiles. curve: the router at other thresholds.
    """

    n: int
    axis: Axis
    policies: tuple[Policy, ...]
    curve: tuple[Policy, ...]
    versus_agent: Bounds
    versus_glance: Bounds
    gain: Bounds
    gain_at_cost: Bounds | None

    def policy(self, name: str) -> Policy:
        return next(policy for policy in self.policies if policy.name == name)


def fit_score(queries: Queries, method: str, rows: Mask | None = None) -> Score:
    """The score of a method, fitted on some questions or on all."""
    if method == "threshold":
        return Score(0.0, np.ones(1))
    usable = ~np.isnan(queries.columns).any(axis=1)
    usable &= np.ones(len(queries), dtype=bool) if rows is None else rows
    kept = (queries.glance >= queries.agent).astype(np.float64)
    return logistic(queries.columns[usable], kept[usable])


def logistic(columns: Array, label: Array, penalty: float = PENALTY) -> Score:
    """Regularised logistic regression: columns (K, C), label (K,) of 0 and 1. The intercept is not regularised.

    Columns are standardised for the penalty, so that their units do not matter; one that never varies gets 0.
    """
    if not label.size:
        return Score(0.0, np.zeros(columns.shape[1]))
    middle, spread = columns.mean(axis=0), columns.std(axis=0)
    varies = spread > 1e-9
    design = np.hstack([np.ones((label.size, 1)), (columns - middle)[:, varies] / spread[varies]])
    shrunk = np.r_[0.0, np.full(int(varies.sum()), penalty)]
    # A label that never varies would send the intercept to infinity.
    shrunk[0] = 1e-6

    def loss(theta: Array) -> tuple[float, Array]:
        logits = design @ theta
        value = float((np.logaddexp(0, logits) - label * logits).sum() + 0.5 * (shrunk * theta * theta).sum())
        return value, design.T @ (expit(logits) - label) + shrunk * theta

    theta = minimize(loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500}).x
    weights = np.zeros(columns.shape[1])
    weights[varies] = theta[1:] / spread[varies]
    return Score(float(theta[0] - weights @ middle), weights)


def choose_threshold(queries: Queries, scores: Array, target: Target, rows: Mask | None = None) -> float:
    """The threshold under which these questions are sent to the agent; -inf sends none, inf all.

    For an accuracy loss it is the smallest from which on no larger one loses more: a lucky dip is not taken.
    """
    rows = np.ones(len(queries), dtype=bool) if rows is None else rows
    order = np.argsort(scores[rows], kind="stable")
    ranked, glance, agent = scores[rows][order], queries.glance[rows][order], queries.agent[rows][order]
    # Entry m: the m least sure questions zoom. Questions of one score go together.
    right = np.r_[0.0, np.cumsum(agent - glance)] + glance.sum()
    possible = np.r_[True, ranked[1:] > ranked[:-1], True]
    if target.share is not None:
        cost = np.r_[0.0, np.cumsum(_filled(queries.agent_cost[rows])[order])] + _filled(queries.asked[rows]).sum()
        possible &= cost <= target.share * _filled(queries.agent_cost[rows]).sum() + 1e-9
        best = int(np.argmax(np.where(possible, right, -np.inf))) if possible.any() else 0
    else:
        enough = (right >= agent.sum() - (target.accuracy_loss or 0.0) * ranked.size - 1e-9) | ~possible
        lasting = np.logical_and.accumulate(enough[::-1])[::-1]
        best = int(np.argmax(lasting & possible))
    return _between(ranked, best)


def cross_fit(queries: Queries, method: str, target: Target, folds: int = FOLDS, seed: int = 0) -> Crossed:
    """Each fold of clusters is decided by a score and thresholds that were chosen on the others.

    Raises UsageError where there are under MIN_CLUSTERS clusters.
    """
    names, codes = np.unique(queries.clusters, return_inverse=True)
    if names.size < MIN_CLUSTERS:
        raise UsageError(
            f"{len(queries)} questions about {names.size} images are too few to fit a router on and to measure it: "
            f"{MIN_CLUSTERS} images are needed, and hundreds to say something"
        )
    fold = (np.random.default_rng(seed).permutation(names.size) % folds)[codes]
    zoomed = np.zeros(len(queries), dtype=bool)
    curve = np.zeros((len(CURVE), len(queries)), dtype=bool)
    for k in range(folds):
        held, rest = fold == k, fold != k
        scores = fit_score(queries, method, rest).of(queries.columns)
        zoomed[held] = scores[held] < choose_threshold(queries, scores, target, rest)
        ranked = np.sort(scores[rest])
        cuts = np.array([_between(ranked, round(share * ranked.size)) for share in CURVE])
        curve[:, held] = scores[held] < cuts[:, None]
    return Crossed(zoomed, curve)


def measure(
    queries: Queries,
    crossed: Crossed,
    weights: Resamples,
    confidence: float = 0.95,
    rivals: Sequence[Policy] = (),
) -> Measured:
    """Figures of a router's decisions. weights: from `bootstrap_weights` over the codes of queries.clusters."""
    router = np.where(crossed.zoomed, queries.agent, queries.glance)
    cost = queries.asked + np.where(crossed.zoomed, queries.agent_cost, 0.0)
    best_cost = np.where(queries.glance >= queries.agent, queries.one, queries.agent_cost)
    cheaper = np.minimum(queries.one, queries.agent_cost)
    oracle = np.where(queries.glance == queries.agent, cheaper, best_cost)
    none = np.zeros(len(queries))
    chosen = (queries.agent > queries.glance).astype(np.float64)
    policies = (
        _policy("never zoom", queries, queries.glance, queries.one, none, confidence),
        _policy("router", queries, router, cost, crossed.zoomed.astype(np.float64), confidence),
        _policy("always zoom", queries, queries.agent, queries.agent_cost, none + 1, confidence),
        _policy("oracle", queries, np.maximum(queries.glance, queries.agent), oracle, chosen, confidence),
        *rivals,
    )
    curve = tuple(
        _policy(
            "router", queries, np.where(zoomed, queries.agent, queries.glance),
            queries.asked + np.where(zoomed, queries.agent_cost, 0.0), zoomed, confidence,
        )
        for zoomed in crossed.curve
    )  # fmt: skip
    return Measured(
        n=len(queries),
        axis=queries.axis,
        policies=policies,
        curve=curve,
        versus_agent=_versus(router, queries.agent, queries, weights, confidence),
        versus_glance=_versus(router, queries.glance, queries, weights, confidence),
        gain=_gain(queries, router, crossed.zoomed, weights, confidence),
        gain_at_cost=_gain_at_cost(queries, router, cost, weights, confidence),
    )


def _policy(name: str, queries: Queries, right: Array, cost: Array, zoomed: Array, confidence: float) -> Policy:
    interval = accuracy_interval(right, queries.clusters, confidence)
    known = ~np.isnan(cost + queries.agent_cost + queries.one)
    mean = float(cost[known].mean()) if known.any() else None
    always = float(queries.agent_cost[known].mean()) if known.any() else 0.0
    share = mean / always if mean is not None and always > 0 else None
    return Policy(
        name=name, n=right.size, accuracy=float(right.mean()), low=interval.low, high=interval.high, cost=mean,
        cost_share=share, zoomed=float(np.mean(zoomed)),
    )  # fmt: skip


def _versus(a: Array, b: Array, queries: Queries, weights: Resamples, confidence: float) -> Bounds:
    found = paired_difference(a, b, queries.clusters, weights, confidence)
    assert found.difference is not None
    assert found.low is not None
    assert found.high is not None
    return Bounds(found.difference, found.low, found.high)


def _gain(queries: Queries, router: Array, zoomed: Mask, weights: Resamples, confidence: float) -> Bounds:
    """Accuracy over that of sending the same share of the questions to the agent at random."""
    parts = (router, queries.glance, queries.agent, zoomed.astype(np.float64))

    def gain(right: Array, glance: Array, agent: Array, share: Array) -> Array:
        return np.asarray(right - glance - share * (agent - glance))

    draws = gain(*(bootstrap_means(part, queries.clusters, weights) for part in parts))
    return Bounds(float(gain(*(np.asarray(part.mean()) for part in parts))), *percentiles(draws, confidence))


def _gain_at_cost(queries: Queries, router: Array, cost: Array, weights: Resamples, confidence: float) -> Bounds | None:
    """Accuracy over that of a random mix of the two that costs as much; None where the agent costs no more.

    The mix asks only one of the two, so what the router pays for asking both is held against it.
    """
    known = ~np.isnan(cost + queries.one + queries.agent_cost)
    if not known.any() or queries.agent_cost[known].mean() <= queries.one[known].mean():
        return None
    costs = [np.where(known, part, np.nan)[known] for part in (cost, queries.one, queries.agent_cost)]

    def gain(right: Array, glance: Array, agent: Array, own: Array, least: Array, most: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip((own - least) / (most - least), 0.0, 1.0)
        # Nobody mixes in an agent that is dearer and no better.
        return np.asarray(right - np.maximum(glance, glance + share * (agent - glance)))

    rights = (router, queries.glance, queries.agent)
    draws = gain(
        *(bootstrap_means(part, queries.clusters, weights) for part in rights),
        *(bootstrap_means(part, queries.clusters[known], weights) for part in costs),
    )
    value = gain(*(np.asarray(part.mean()) for part in (*rights, *costs)))
    return Bounds(float(value), *percentiles(draws, confidence))


def _filled(cost: Array) -> Array:
    """Unknown costs as the mean of the known ones; all 0 where none is known."""
    known = cost[~np.isnan(cost)]
    return np.where(np.isnan(cost), known.mean() if known.size else 0.0, cost)


def _between(ranked: Array, place: int) -> float:
    """A threshold under which the first `place` of the ascending scores lie, and with them their equals."""
    if place <= 0:
        return -np.inf
    if place >= ranked.size:
        return np.inf
    low, high = float(ranked[place - 1]), float(ranked[place])
    if low == high:
        above = ranked[ranked > low]
        return np.inf if above.size == 0 else float(above[0]) if np.isinf(low) else (low + float(above[0])) / 2
    return high if np.isinf(low) else (low + high) / 2
