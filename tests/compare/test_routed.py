"""Runs in, a router out: what it reads, what it is measured by, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from zoomgap.compare import RunData, figures, render
from zoomgap.compare.comparison import compare
from zoomgap.compare.routed import apply, clusters_of, route
from zoomgap.compare.routing import Target
from zoomgap.compare.rows import Settings
from zoomgap.compare.stats import bootstrap_weights
from zoomgap.compare.table import SessionTimes
from zoomgap.errors import UsageError
from zoomgap.records import Sampling, TimedAnswer, TimingSession
from zoomgap.routers import Router

MODEL = {"model": "m", "weights": "w"}
QUICK = Settings(draws=100, curve_draws=30)


def sure(run: RunData, informs: float = 2.0, seed: int = 0, **more) -> RunData:
    """The run with a confidence and a margin that tell right from wrong, as a model's own do."""
    rng = np.random.default_rng(seed)
    results = []
    for result in run.results:
        logit = rng.normal() + informs * (1 if result.verdict == "correct" else -1)
        known = {"confidence": float(expit(logit)), "min_probability": float(expit(logit - 1)), "margin": float(logit)}
        results.append(replace(result, **{"answer": "A", "grader": "rules", **known, **more}))
    return replace(run, results=results)


@pytest.fixture
def runs(world):
    w = world(400)
    return sure(w.run("glance", 22, wall=50, **MODEL)), w.run("agent", 7, wall=200, turns=3, arm="agent", **MODEL)


def routed(glance, agent, **options):
    codes = clusters_of([glance, agent, *options.get("rivals", ())])
    weights = bootstrap_weights(max(codes.values()) + 1, 100, 0)
    return route(glance, agent, cluster_of=codes, weights=weights, **options)


def applied(router, glance, agent, **options):
    codes = clusters_of([glance, agent])
    return apply(router, glance, agent, cluster_of=codes, weights=bootstrap_weights(400, 100, 0), **options)


def test_a_router_is_measured_and_written_down(runs):
    router, found = routed(*runs)
    chosen, never, always = (found.measured.policy(name) for name in ("router", "never zoom", "always zoom"))
    assert never.accuracy < chosen.accuracy
    assert found.measured.gain.low > 0
    assert (found.measured.axis, found.axis_reason) == ("ms", "")
    assert always.cost == pytest.approx(np.mean([r.wall_ms for r in runs[1].results]))
    assert router.features == ("confidence", "min_probability", "margin", "answer_kind", "image_size", "reply_length")
    assert router.expected["accuracy"] == chosen.accuracy
    assert len(router.fitted_on["images"]) == 1  # of the simulated images the first digits are alike
    again = Router.from_json(router.to_json())
    assert again == router


def test_the_finding_says_whether_it_is_worth_having(world):
    w = world(800)
    glance = sure(w.run("glance", 14, wall=10, **MODEL), informs=3.0)
    agent = w.run("agent", 7, wall=200, turns=3, arm="agent", **MODEL)
    assert "is worth having" in routed(glance, agent).routed.finding
    slow = replace(glance, results=[replace(result, wall_ms=result.wall_ms * 19) for result in glance.results])
    found = routed(slow, agent).routed
    assert found.measured.policy("router").cost_share > 1
    assert "always zoom instead" in found.finding
    worse = w.run("worse", 40, wall=200, arm="agent", **MODEL)
    assert "never zooms" in routed(glance, worse).routed.finding
    far = w.run("far", 7, arm="agent", model="n", circumstances={"concurrency": 9})
    unsure = sure(w.run("glance", 14, **MODEL), informs=0.0)
    assert "not shown" in routed(unsure, far).routed.finding or "always zoom" in routed(unsure, far).routed.finding


def test_what_was_fitted_decides_alike_in_the_arm_and_in_the_figures(runs):
    """On the runs that it was fitted on, the file's threshold sends the share that it was chosen to send."""
    router, found = routed(*runs, method="threshold", features=["margin"])
    one = applied(router, *runs)
    assert one.folds == 0
    assert one.measured.policy("router").zoomed == pytest.approx(found.measured.policy("router").zoomed, abs=0.15)
    assert one.measured.versus_agent.value >= -0.01 - 1e-9


def test_a_score_that_says_nothing_gains_nothing(world):
    w = world(600)
    glance, agent = w.run("glance", 22, **MODEL), w.run("agent", 7, turns=3, arm="agent", **MODEL)
    found = routed(sure(glance, informs=0.0), agent).routed
    assert found.measured.gain.low <= 0


def test_larger_budgets_and_tiles_stand_beside_it(world):
    w = world(200)
    glance, agent = sure(w.run("glance", 22, **MODEL)), w.run("agent", 7, turns=3, arm="agent", **MODEL)
    wider = w.run("wider", 12, wall=90, view_pixels=4 * 65_536, **MODEL)
    tiles = w.run("tiles", 15, wall=80, arm="tiles", **MODEL)
    other = w.run("other", 5, model="n", view_pixels=4 * 65_536)
    part = w.run("part", 5, view_pixels=9 * 65_536, **MODEL)
    part = replace(part, results=part.results[:50])
    elsewhere = w.run("far", 12, view_pixels=16 * 65_536, circumstances={"concurrency": 9}, **MODEL)
    found = routed(glance, agent, rivals=[wider, tiles, other, part, elsewhere]).routed
    named = {policy.name: policy for policy in found.measured.policies[4:]}
    assert set(named) == {"direct at 4x", "tiles", "direct at 16x"}
    assert named["tiles"].cost is not None
    assert named["direct at 16x"].cost is None  # timed otherwise


def test_where_times_do_not_compare_cost_is_something_else_and_says_so(world):
    w = world(100)
    glance = sure(w.run("glance", 22, **MODEL))
    far = {"arm": "agent", "turns": 3, "circumstances": {"concurrency": 9}}
    found = routed(glance, w.run("agent", 7, **far, **MODEL)).routed
    assert found.measured.axis == "tokens"
    assert "unlike circumstances: concurrency" in found.axis_reason
    assert found.measured.policy("always zoom").cost == 3 * 98
    other = w.run("agent", 7, model="n", **far)
    found = routed(glance, other).routed
    assert (found.measured.axis, found.measured.policy("always zoom").cost) == ("calls", 3)
    priced = [replace(run, results=[replace(r, cost=0.01 * r.turns) for r in run.results]) for run in (glance, other)]
    assert routed(*priced).routed.measured.axis == "dollars"
    with pytest.raises(UsageError, match="time is no axis"):
        routed(glance, other, axis="ms")


def test_errors_are_left_out_and_counted_and_unread_answers_go_to_the_agent(world):
    w = world(300)
    glance = sure(w.run("glance", 22, errors=0.1, **MODEL))
    unread = [replace(r, answer=None, text="", verdict="unparsed") for r in glance.results[:20]]
    glance = replace(glance, results=[*unread, *glance.results[20:]])
    agent = w.run("agent", 7, turns=3, arm="agent", errors=0.1, **MODEL)
    found = routed(glance, agent).routed
    failed = {r.sample.id for run in (glance, agent) for r in run.results if r.verdict == "error"}
    assert found.left_out == len(failed)
    assert found.measured.n == 300 - len(failed)
    assert found.unread == sum(r.sample.id not in failed for r in unread)


def test_agreement_counts_the_calls_that_it_takes(world):
    w = world(120)
    hot = {"sampling": Sampling(temperature=0.7), "attempts": 3}
    one = w.run("glance", 22, wall=50, **MODEL, **hot)
    results = []
    for result in one.results:
        same = result.verdict == "correct"
        texts = ["A", "A" if same else "B", "A"]
        results += [replace(result, attempt=k, text=text, answer=text, grader="rules") for k, text in enumerate(texts)]
    glance, agent = replace(one, results=results), w.run("agent", 7, wall=200, turns=3, arm="agent", **MODEL)
    router, found = routed(glance, agent, method="threshold", features=["agreement"])
    assert router.calls == 3
    curve = found.measured.curve[0]
    assert curve.cost == pytest.approx(3 * found.measured.policy("never zoom").cost)
    with pytest.raises(UsageError, match="asks 3 direct answers"):
        applied(router, sure(w.run("glance", 22, **MODEL, sampling=hot["sampling"])), agent)


def test_runs_that_no_router_fits_are_refused_with_the_remedy(world, runs):
    w = world(60)
    bare = w.run("glance", 22, **MODEL)
    agent = w.run("agent", 7, arm="agent", **MODEL)
    for problem, arguments, options in (
        ("has a confidence", (bare, agent), {}),
        ("is of arm 'agent': a router starts from direct answers", (agent, sure(bare)), {}),
        ("zooms by the arm agent", (sure(bare), w.run("tiles", arm="tiles", **MODEL)), {}),
        ("agreement is of several sampled answers", (sure(bare), agent), {"features": ["agreement"]}),
        ("feature 'luck' is not known", (sure(bare), agent), {"features": ["luck"]}),
        ("a threshold is on one score", (sure(bare), agent), {"features": ["dimension"], "method": "threshold"}),
        ("method 'magic' is not known", (sure(bare), agent), {"method": "magic"}),
        ("a router has one target", (sure(bare), agent), {"target": Target(0.1, 0.5)}),
        ("unlike benchmarks", (sure(bare), w.run("agent", arm="agent", benchmark_sha256="1")), {}),
        ("share no answer", (sure(bare), replace(agent, results=[])), {}),
        ("can be read and scored", (sure(bare, answer=None, text=""), agent), {}),
    ):
        with pytest.raises(UsageError, match=problem):
            routed(*arguments, **options)
    few = [replace(run, results=run.results[:5]) for run in (sure(bare), agent)]
    with pytest.raises(UsageError, match="too few to fit a router"):
        routed(*few)
    router = routed(*runs).router
    with pytest.raises(UsageError, match="fitted on direct answers with weights"):
        applied(router, sure(w.run("other", 22, model="n", weights="v")), agent)


def test_a_comparison_has_a_router_where_there_can_be_one_and_says_why_not_elsewhere(world):
    w = world(400)
    base = sure(w.run("base", 22, wall=50, **MODEL))
    agent = w.run("agent", 7, wall=200, turns=3, arm="agent", **MODEL)
    student = sure(w.run("student", 12, wall=50, model="s"), seed=3)
    assert compare([base, agent], settings=QUICK).router.glance == base.id
    found = compare([base, agent, student], {student.id: "student"}, settings=QUICK)
    assert found.router.glance == student.id
    assert found.to_json()["router"]["measured"]["versus_agent"].keys() == {"value", "low", "high"}
    page = render(found)
    assert "A router between the two" in page
    assert 'aria-label="Accuracy of a router over its cost' in page
    assert "as many questions sent at random" in page
    reasons = {
        "needs direct answers": [base], "token probabilities": [w.run("bare", 22, **MODEL), agent],
        "over 2% endpoint errors": [sure(w.run("flaky", 22, errors=0.2, **MODEL)), agent],
    }  # fmt: skip
    for reason, some in reasons.items():
        none = compare(some, settings=QUICK)
        assert none.router is None
        assert reason in none.no_router
        assert figures.routing(none) == ""
        assert f"No router: {none.no_router.split(';')[0][:20]}" in render(none)


def test_times_of_a_session_go_by_the_number_of_calls(runs):
    """Forty samples are timed in turn; every answer gets the mean of those with as many calls."""
    glance, agent = runs
    agent = replace(agent, results=[replace(r, turns=2 + k % 2) for k, r in enumerate(agent.results)])
    session = TimingSession(
        id="t", benchmark="sim", mode="latency", started="2025-01-01", seed=0, samples=40, rounds=1, warm_up=2,
        in_flight=1, runs={glance.id: {}, agent.id: {}}, circumstances={"concurrency": 1},
    )  # fmt: skip

    def timed(run: RunData, ms) -> RunData:
        answers = [
            TimedAnswer(
                session="t", run=run.id, sample=r.sample.id, round=0, position=0, wall_ms=ms(r.turns) + (k // 2) % 2,
                verdict="correct", turns=r.turns,
            )
            for k, r in enumerate(run.results[:40])
        ]  # fmt: skip
        return replace(run, times=SessionTimes(session, answers))

    _, found = routed(timed(glance, lambda _: 50.0), timed(agent, lambda turns: 100.0 * turns))
    assert found.measured.axis == "ms"
    assert found.measured.policy("never zoom").cost == pytest.approx(50.5)
    assert found.measured.policy("always zoom").cost == pytest.approx(250.5)
    _, own = routed(timed(glance, lambda _: 50.0), agent)
    assert own.measured.policy("never zoom").cost == pytest.approx(np.mean([r.wall_ms for r in glance.results]))
