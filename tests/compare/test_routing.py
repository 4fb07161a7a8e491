"""Routers whose truth is known: how well the score tells right from wrong is set, and so is what zooming brings."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from zoomgap.compare.routing import (
    MIN_CLUSTERS,
    Crossed,
    Queries,
    Target,
    choose_threshold,
    cross_fit,
    fit_score,
    logistic,
    measure,
)
from zoomgap.compare.stats import bootstrap_weights
from zoomgap.errors import UsageError

LOSS = Target(0.01)


def world(n=600, informs=2.0, seed=0, columns=1, cluster=1, price=(1.0, 4.0), glance=0.6, agent=0.85) -> Queries:
    """The first column tells by `informs` (in logits for a unit) whether the glance is right; the others are noise."""
    rng = np.random.default_rng(seed)
    shown = rng.normal(size=(n, columns))
    ease = np.log(glance / (1 - glance)) * (1 + abs(informs) / 3)
    right = rng.random(n) < expit(ease + informs * shown[:, 0])
    return Queries(
        names=tuple(f"c{k}" for k in range(columns)),
        columns=shown,
        glance=right.astype(float),
        agent=(rng.random(n) < agent).astype(float),
        one=np.full(n, price[0]),
        asked=np.full(n, price[0]),
        agent_cost=np.full(n, price[1]),
        clusters=np.arange(n) // cluster,
        axis="calls",
    )  # fmt: skip


def figures(queries, method="logistic", target=LOSS, draws=400, seed=0):
    weights = bootstrap_weights(int(queries.clusters.max()) + 1, draws, seed)
    return measure(queries, cross_fit(queries, method, target, seed=seed), weights)


def test_a_score_that_informs_beats_a_random_choice_and_a_random_mix():
    found = figures(world(2000))
    assert found.gain.low > 0.02
    assert found.gain_at_cost.low > 0
    router, always, oracle = (found.policy(name) for name in ("router", "always zoom", "oracle"))
    assert router.cost < always.cost
    assert router.cost_share == pytest.approx(router.cost / 4)
    assert oracle.accuracy >= max(router.accuracy, always.accuracy)
    assert oracle.cost < always.cost


@pytest.mark.parametrize("method", ["threshold", "logistic"])
def test_a_useless_score_is_not_made_to_look_useful(method):
    """Twenty columns of noise, and thresholds chosen from hundreds: the mean gain of 120 worlds is none, and few of
    their intervals are over 0. A threshold on one score keeps its level; a fitted score that says nothing has intervals
    a quarter too short, as folds share what they are fitted on (docs/router.md)."""
    columns = 1 if method == "threshold" else 20
    worlds = [figures(world(300, informs=0.0, seed=k, columns=columns), method, Target(0.05), 200) for k in range(120)]
    holds = np.mean([found.gain.low <= 0 <= found.gain.high for found in worlds])
    assert holds >= (0.9 if method == "threshold" else 0.82)
    assert np.mean([found.gain.low > 0 for found in worlds]) <= 0.08
    gains = np.array([found.gain.value for found in worlds])
    assert abs(gains.mean()) < 3 * gains.std() / np.sqrt(gains.size)
    assert np.mean([found.gain_at_cost.value for found in worlds]) < 0


def test_what_is_chosen_in_sample_would_have_looked_better():
    """The same noise, fitted and measured on the same answers: that is the optimism which cross-fitting takes away."""
    inside, outside = [], []
    for seed in range(30):
        queries = world(300, informs=0.0, seed=seed, columns=20)
        scores = fit_score(queries, "logistic").of(queries.columns)
        zoomed = scores < np.median(scores)
        honest = Crossed(zoomed, zoomed[None])
        weights = bootstrap_weights(300, 50, 0)
        inside.append(measure(queries, honest, weights).gain.value)
        outside.append(figures(queries, draws=50).gain.value)
    assert np.mean(inside) > 0.03
    assert np.mean(outside) < 0.015


def test_questions_of_one_image_are_decided_by_the_same_fold():
    """An image of four questions has its own noise column, by which it would know itself again."""
    rng = np.random.default_rng(0)
    queries = world(400, informs=0.0, cluster=4)
    outcome = rng.random(100) < 0.5
    alike = np.repeat(outcome, 4).astype(float)
    tell = np.repeat(rng.normal(size=100), 4)
    told = Queries(
        names=("c0",), columns=tell[:, None], glance=alike, agent=1 - alike, one=queries.one, asked=queries.asked,
        agent_cost=queries.agent_cost, clusters=queries.clusters, axis="calls",
    )  # fmt: skip
    crossed = cross_fit(told, "logistic", Target(0.05))
    for cluster in range(100):
        assert len(set(crossed.zoomed[told.clusters == cluster])) == 1
    found = measure(told, crossed, bootstrap_weights(100, 200, 0))
    assert found.gain.low <= 0.03


def test_the_accuracy_target_is_kept_and_a_budget_too():
    queries = world(3000)
    at_loss = figures(queries, target=Target(0.02))
    assert at_loss.versus_agent.value > -0.04
    tight, wide = (figures(queries, target=Target(None, share)) for share in (0.4, 0.9))
    assert tight.policy("router").cost_share == pytest.approx(0.4, abs=0.03)
    assert tight.policy("router").accuracy < wide.policy("router").accuracy
    assert figures(queries, target=Target(None, 0.01)).policy("router").zoomed == 0  # a glance is dearer than that


def test_the_curve_runs_from_never_to_always():
    queries = world(500)
    found = figures(queries)
    assert found.curve[0].accuracy == pytest.approx(queries.glance.mean())
    assert found.curve[-1].accuracy == pytest.approx(queries.agent.mean())
    shares = [point.zoomed for point in found.curve]
    assert shares == sorted(shares)
    assert found.curve[-1].cost == pytest.approx(5.0)  # the router pays for both


def test_an_agent_that_brings_nothing_is_never_asked_and_one_that_costs_nothing_always():
    queries = world(400)
    same = Queries(**{name: getattr(queries, name) for name in queries.__slots__} | {"agent": queries.glance})
    found = figures(same)
    assert found.policy("router").zoomed == 0
    assert (found.gain.value, found.versus_agent.value) == (0, 0)
    free = world(400, price=(1.0, 0.5))
    assert figures(free).gain_at_cost is None


@pytest.mark.parametrize(("glance", "agent"), [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_all_right_and_all_wrong_are_no_trouble(glance, agent):
    queries = world(60)
    flat = {"glance": np.full(60, glance), "agent": np.full(60, agent)}
    found = figures(Queries(**{name: getattr(queries, name) for name in queries.__slots__} | flat))
    assert found.policy("router").accuracy == max(glance, agent)
    assert found.policy("router").zoomed == (1.0 if agent > glance else 0.0)


def test_unread_answers_go_to_the_agent_unless_it_is_never_asked():
    queries = world(400)
    columns = queries.columns.copy()
    columns[:40] = np.nan
    glance = queries.glance.copy()
    glance[:40] = 0
    some = Queries(**{n: getattr(queries, n) for n in queries.__slots__} | {"columns": columns, "glance": glance})
    crossed = cross_fit(some, "logistic", LOSS)
    assert crossed.zoomed[:40].all()
    assert not crossed.zoomed.all()


def test_too_few_images_are_refused():
    with pytest.raises(UsageError, match=f"{MIN_CLUSTERS} images are needed"):
        cross_fit(world(4 * (MIN_CLUSTERS - 1), cluster=4), "logistic", LOSS)


@pytest.mark.parametrize("target", [Target(None, None), Target(0.1, 0.5), Target(-0.1), Target(1.0), Target(None, 0)])
def test_a_target_that_means_nothing_is_refused(target):
    with pytest.raises(UsageError):
        target.check()


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.booleans()), min_size=1, max_size=30), st.data())
def test_the_threshold_is_what_a_search_through_all_finds(rows, data):
    """Ties go together, and answers without a score (here -3) before all others."""
    scores = np.array([-np.inf if score == -3 else float(score) for score, _, _ in rows])
    glance, agent = (np.array([float(row[k]) for row in rows]) for k in (1, 2))
    n = len(rows)
    queries = Queries(
        names=("c",), columns=np.zeros((n, 1)), glance=glance, agent=agent, one=np.ones(n), asked=np.ones(n),
        agent_cost=np.full(n, 3.0), clusters=np.arange(n), axis="calls",
    )  # fmt: skip
    loss = data.draw(st.sampled_from([0.0, 0.1, 0.3]))
    cuts = [-np.inf, *sorted({score for score in scores if score > -np.inf}), np.inf]
    right = [np.where(scores < cut, agent, glance).mean() for cut in cuts]
    enough = [value >= agent.mean() - loss - 1e-9 for value in right]
    place = next(k for k in range(len(cuts)) if all(enough[k:]))
    zoomed = scores < choose_threshold(queries, scores, Target(loss))
    assert (zoomed == (scores < cuts[place])).all()
    share = data.draw(st.sampled_from([0.2, 0.7, 1.0, 2.0]))
    zoomed = scores < choose_threshold(queries, scores, Target(None, share))
    allowed = [v for cut, v in zip(cuts, right, strict=True) if n + 3 * (scores < cut).sum() <= share * 3 * n + 1e-9]
    assert np.where(zoomed, agent, glance).mean() == pytest.approx(max(allowed, default=glance.mean()))


def test_the_logistic_fit_is_the_minimum_of_its_loss_in_any_units():
    rng = np.random.default_rng(1)
    columns = rng.normal(size=(400, 3)) * [1.0, 100.0, 0.01] + [0, 50, 3]
    label = (rng.random(400) < expit(columns[:, 0] - columns[:, 1] / 100)).astype(float)
    score = logistic(columns, label)
    z = (columns - columns.mean(axis=0)) / columns.std(axis=0)

    def loss(theta):
        logits = theta[0] + z @ theta[1:]
        return (np.logaddexp(0, logits) - label * logits).sum() + 0.5 * (theta[1:] ** 2).sum()

    other = minimize(loss, np.zeros(4), method="Nelder-Mead", options={"maxiter": 9000, "maxfev": 9000, "xatol": 1e-8})
    assert score.of(columns) == pytest.approx(other.x[0] + z @ other.x[1:], abs=1e-3)
    scaled = logistic(columns * [1, 1e-4, 1e3], label)
    assert scaled.of(columns * [1, 1e-4, 1e3]) == pytest.approx(score.of(columns), abs=1e-3)
    constant = logistic(np.ones((50, 2)), np.ones(50))
    assert np.isfinite(constant.of(np.ones((3, 2)))).all()
