"""Stored runs as the questions of a router, and the router's figures on them beside the other ways to answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

import numpy as np

from zoomgap.compare.latency import circumstances, each_ms, unlike
from zoomgap.compare.routing import (
    FOLDS,
    Axis,
    Crossed,
    Measured,
    Policy,
    Queries,
    Score,
    Target,
    choose_threshold,
    cross_fit,
    fit_score,
    measure,
)
from zoomgap.compare.stats import Array, Resamples, accuracy_interval
from zoomgap.compare.table import Key, RunData
from zoomgap.errors import UsageError
from zoomgap.grading import extract
from zoomgap.records import AnswerKind, Result, digest
from zoomgap.routers import (
    IMAGE_DIGITS,
    PROBABILITIES,
    USUAL,
    Method,
    Router,
    Signals,
    agreement_of,
    check_features,
    columns_of,
    described,
)

AXES: Mapping[Axis, str] = {
    "ms": "mean time, ms", "dollars": "mean cost, US dollars", "tokens": "mean tokens, prompt and reply",
    "calls": "mean calls of a model",
}  # fmt: skip
MIN_SHARED = 0.95
"""A larger budget is shown where it answered so many of the questions: over fewer it would be another set."""
MIN_TIMED = 10
"""Under so many timings in common, time is no axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routed:
    """A router between two runs: how it was fitted and what it gives.

    left_out: questions that only one of the runs answered without an error. unread: direct answers that cannot be read
    or scored; their questions go to the agent. folds: 0 where the router was fitted on other questions. axis_reason:
    why cost is not time, "" where it is. finding: whether the router is worth having, in a sentence.
    """

    glance: str
    agent: str
    method: Method
    features: tuple[str, ...]
    target: Mapping[str, float]
    left_out: int
    unread: int
    folds: int
    axis_reason: str
    finding: str
    measured: Measured

    @property
    def axis_name(self) -> str:
        return AXES[self.measured.axis]


class Lined(NamedTuple):
    """Two runs lined up: the direct answers (first the one that is served, then those that agreement counts), the
    agent's, and how many questions were left out."""

    glances: list[list[Result]]
    agents: list[Result]
    left_out: int


class Costing(NamedTuple):
    """The unit in which answers of two runs compare, and why it is not time ("" where it is)."""

    axis: Axis
    reason: str


class Fitted(NamedTuple):
    router: Router
    routed: Routed


def route(
    glance: RunData,
    agent: RunData,
    *,
    method: Method = "logistic",
    features: Sequence[str] | None = None,
    target: Target = Target(),  # noqa: B008
    cluster_of: Mapping[str, int],
    weights: Resamples,
    axis: Axis | None = None,
    rivals: Iterable[RunData] = (),
    confidence: float = 0.95,
) -> Fitted:
    """Fit a router on all questions that both runs answered, and measure it by cross-fitting on the same.

    features: None takes the usual ones that the answers have. cluster_of: code of each sample id; weights: from
    `bootstrap_weights` over those codes. axis: None takes time where it can be compared, else what can. rivals: runs
    whose larger budgets or tiles stand on the frontier too. Raises UsageError for runs that no router can be fitted on.
    """
    target.check()
    if glance.times is None or agent.times is None:
        # A session that holds one of the two is no measure of both.
        glance, agent, *rivals = (replace(run, times=None) for run in (glance, agent, *rivals))
    _check_runs(glance, agent)
    chosen = tuple(features) if features else usual(glance, method)
    check_features(method, chosen)
    calls = _calls(glance, chosen)
    lined = line_up(glance, agent, calls)
    costing = _costing(glance, agent, lined, axis)
    signals = [_signals(answers) for answers in lined.glances]
    queries = _queries(lined, signals, chosen, cluster_of, costing.axis, glance, agent)
    if target.share is not None and np.isnan(queries.agent_cost).all():
        raise UsageError(f"a budget is of known cost, and runs {glance.id} and {agent.id} share none: {costing.reason}")
    crossed = cross_fit(queries, method, target)
    others = list(_rivals(rivals, glance, agent, lined, costing.axis, queries, cluster_of, confidence))
    measured = measure(queries, crossed, weights, confidence, others)
    score = fit_score(queries, method)
    routed = Routed(
        glance=glance.id, agent=agent.id, method=method, features=chosen,
        target={name: value for name, value in target._asdict().items() if value is not None},
        left_out=lined.left_out, unread=int(np.isnan(queries.columns).any(axis=1).sum()), folds=FOLDS,
        axis_reason=costing.reason, finding=finding_of(measured), measured=measured,
    )  # fmt: skip
    return Fitted(_router(routed, score, queries, calls, target, glance, agent, lined), routed)


def apply(
    router: Router,
    glance: RunData,
    agent: RunData,
    *,
    cluster_of: Mapping[str, int],
    weights: Resamples,
    axis: Axis | None = None,
    rivals: Iterable[RunData] = (),
    confidence: float = 0.95,
) -> Routed:
    """What a router would have given on two other runs. Raises UsageError where the direct answers are of another
    model or budget than those it was fitted on, or lack what it reads."""
    _check_runs(glance, agent)
    router.check_glance(glance.spec)
    _check_probabilities(glance, router.features)
    if glance.spec.attempts < router.calls:
        raise UsageError(
            f"the router asks {router.calls} direct answers, and run {glance.id} has {glance.spec.attempts} a sample: "
            f"run it with --attempts {router.calls}"
        )
    lined = line_up(glance, agent, router.calls)
    costing = _costing(glance, agent, lined, axis)
    signals = [_signals(answers) for answers in lined.glances]
    queries = _queries(lined, signals, router.features, cluster_of, costing.axis, glance, agent)
    scores = np.array([router.score(signal) for signal in signals])
    ranked = np.sort(scores)
    # At other thresholds: none of it is fitted here, the points are only spread over these scores.
    cuts = (
        np.r_[-np.inf, np.quantile(ranked[np.isfinite(ranked)], np.linspace(0, 1, 19)), np.inf]
        if (np.isfinite(ranked).any())
        else np.array([-np.inf, np.inf])
    )
    crossed = Crossed(scores < router.threshold, scores < cuts[:, None])
    others = list(_rivals(rivals, glance, agent, lined, costing.axis, queries, cluster_of, confidence))
    measured = measure(queries, crossed, weights, confidence, others)
    return Routed(
        glance=glance.id, agent=agent.id, method=router.method, features=router.features, target=router.target,
        left_out=lined.left_out, unread=int(np.isinf(scores).sum()), folds=0, axis_reason=costing.reason,
        finding=finding_of(measured), measured=measured,
    )  # fmt: skip


def finding_of(measured: Measured) -> str:
    """Whether the router is worth having, as far as these answers tell."""
    router = measured.policy("router")
    if router.zoomed == 0:
        return "The router never zooms: one glance alone keeps to the target."
    if router.cost_share is None:
        return "What the router costs is not known, so nothing is said of whether it is worth having."
    if router.cost_share >= 1:
        return (
            f"The router costs {router.cost_share:.2f} times as much as always zooming, as it asks for both: always "
            "zoom instead, or allow a larger loss."
        )
    if measured.gain_at_cost is not None and measured.gain_at_cost.low > 0:
        return "The router is worth having: it is more accurate than a random mix of the same cost."
    return "The router is not shown to be more accurate than a random mix of the same cost."


def usual(glance: RunData, method: str) -> tuple[str, ...]:
    """The usual features that the run's answers have. Raises UsageError where none tells how sure the model was."""
    known = [name for name in PROBABILITIES if _has(glance, name)]
    if not known:
        _check_probabilities(glance, ("confidence",))
    if method == "threshold":
        return ("margin",) if "margin" in known else (known[0],)
    return tuple(name for name in USUAL if name in known or name not in PROBABILITIES)


def line_up(glance: RunData, agent: RunData, calls: int = 1) -> Lined:
    """First answers of both to the same questions, without those that ended in an error.

    Raises UsageError where they share none.
    """
    answered: dict[str, dict[int, Result]] = {}
    for result in glance.results:
        if result.verdict != "error" and result.attempt < calls:
            answered.setdefault(result.sample.id, {})[result.attempt] = result
    firsts = {result.sample.id: result for result in agent.results if result.attempt == 0}
    asked = {result.sample.id for result in (*glance.results, *agent.results)}
    shared = [
        id for id, first in firsts.items() if first.verdict != "error" and len(answered.get(id, ())) == calls
    ]  # fmt: skip
    if not shared:
        raise UsageError(f"runs {glance.id} and {agent.id} share no answer: run both over the same samples")
    glances = [[answered[id][k] for k in range(calls)] for id in shared]
    return Lined(glances, [firsts[id] for id in shared], len(asked) - len(shared))


def clusters_of(runs: Sequence[RunData]) -> dict[str, int]:
    """A code for the cluster of each sample of the runs."""
    samples = {result.sample.id: result.sample for run in runs for result in run.results}
    names = [sample.cluster_name for sample in samples.values()]
    codes = np.unique(names, return_inverse=True)[1]
    return dict(zip(samples, map(int, codes), strict=True))


def _check_runs(glance: RunData, agent: RunData) -> None:
    """Raises UsageError unless one is a run of direct answers and the other of an agent, over one benchmark."""
    if glance.spec.arm != "direct":
        raise UsageError(f"run {glance.id} is of arm '{glance.spec.arm}': a router starts from direct answers")
    if glance.spec.benchmark_sha256 != agent.spec.benchmark_sha256:
        raise UsageError(
            f"runs {glance.id} and {agent.id} answered unlike benchmarks ({glance.spec.benchmark}, "
            f"{agent.spec.benchmark}): name runs over one"
        )
    if agent.spec.arm != "agent":
        raise UsageError(f"run {agent.id} is of arm '{agent.spec.arm}' and a router zooms by the arm agent: name one")


def _has(glance: RunData, feature: str) -> bool:
    return any(getattr(result, feature) is not None for result in glance.results)


def _check_probabilities(glance: RunData, features: Sequence[str]) -> None:
    """Raises UsageError where no answer has a feature that is read off the model's probabilities."""
    if missing := [name for name in features if name in PROBABILITIES and not _has(glance, name)]:
        raise UsageError(
            f"no direct answer of run {glance.id} has a {missing[0]}: they came without the model's token "
            "probabilities; run them with --logprobs in a database of their own, or route by agreement"
        )


def _calls(glance: RunData, features: Sequence[str]) -> int:
    """Direct answers that the features need. Raises UsageError where agreement has nothing to say."""
    _check_probabilities(glance, features)
    if "agreement" not in features:
        return 1
    if glance.spec.attempts < 2 or glance.spec.sampling.temperature == 0:
        raise UsageError(
            f"agreement is of several sampled answers, and run {glance.id} has {glance.spec.attempts} at temperature "
            f"{glance.spec.sampling.temperature:g}: run it with --attempts 4 --temperature 0.7"
        )
    return glance.spec.attempts


def _signals(answers: Sequence[Result]) -> Signals:
    first, said = answers[0], [_said(answer) for answer in answers]
    return Signals(
        sample=first.sample, text=first.text, answer=said[0], confidence=first.confidence,
        min_probability=first.min_probability, margin=first.margin, agreement=agreement_of(said),
    )  # fmt: skip


def _said(result: Result) -> str | None:
    """What an answer says. Of open text the grader takes a doubtful phrase for an answer where it is the gold, so what
    it calls correct is read again without."""
    if result.grader and (result.sample.answer_kind != "text" or result.verdict != "correct"):
        return result.answer
    return _read(result.text, result.sample.answer_kind, result.sample.choices)


@lru_cache(maxsize=2**16)
def _read(text: str, kind: AnswerKind, choices: tuple[str, ...]) -> str | None:
    read = extract(text, kind, choices)
    return read.answer if read else None


def _queries(
    lined: Lined, signals: Sequence[Signals], features: Sequence[str], cluster_of: Mapping[str, int], axis: Axis,
    glance: RunData, agent: RunData,
) -> Queries:  # fmt: skip
    rows = [None if signal.answer is None else columns_of(signal, features) for signal in signals]
    if not any(rows):
        raise UsageError(f"no direct answer of run {glance.id} can be read and scored: there is nothing to route by")
    names = tuple(sorted({name for row in rows for name in row or ()}))
    columns = np.zeros((len(rows), len(names)))
    place = {name: k for k, name in enumerate(names)}
    for k, row in enumerate(rows):
        if row is None:
            columns[k] = np.nan
        else:
            columns[k, [place[name] for name in row]] = list(row.values())
    clocked = _times(glance, axis), _times(agent, axis)
    direct = np.array([[_cost(answer, axis, clocked[0]) for answer in answers] for answers in lined.glances])
    return Queries(
        names=names,
        columns=columns,
        glance=np.array([float(answers[0].verdict == "correct") for answers in lined.glances]),
        agent=np.array([float(answer.verdict == "correct") for answer in lined.agents]),
        one=direct[:, 0],
        asked=direct.sum(axis=1),
        agent_cost=np.array([_cost(answer, axis, clocked[1]) for answer in lined.agents]),
        clusters=np.array([cluster_of[answers[0].sample.id] for answers in lined.glances], dtype=np.int64),
        axis=axis,
    )  # fmt: skip


def _times(run: RunData, axis: Axis) -> dict[Key, float]:
    """Known times of the run's answers in ms; none for another axis."""
    if axis != "ms":
        return {}
    return {key: ms for key, ms in zip(run.places, each_ms(run).tolist(), strict=True) if not np.isnan(ms)}


def _cost(result: Result, axis: Axis, clocked: Mapping[Key, float]) -> float:
    """What an answer took; NaN where that is not known or was not measured under the run's usual circumstances."""
    if axis == "ms":
        return clocked.get((result.sample.id, result.attempt), np.nan)
    if axis == "dollars":
        return np.nan if result.cost is None else result.cost
    if axis == "tokens":
        known = result.prompt_tokens is not None and result.completion_tokens is not None
        return float((result.prompt_tokens or 0) + (result.completion_tokens or 0)) if known else np.nan
    return float(result.turns)


def _costing(glance: RunData, agent: RunData, lined: Lined, wanted: Axis | None) -> Costing:
    """Time where it was measured alike, else dollars, else tokens of one model, else calls."""
    apart = unlike(glance, agent)
    clocked = _times(glance, "ms"), _times(agent, "ms")
    pairs = sum(
        {(a.sample.id, a.attempt) for a in answers} <= clocked[0].keys() and (other.sample.id, 0) in clocked[1]
        for answers, other in zip(lined.glances, lined.agents, strict=True)
    )  # fmt: skip
    reason = f"times were taken under unlike circumstances: {', '.join(apart)}" if apart else ""
    if not reason and (not circumstances(glance) or pairs < min(MIN_TIMED, len(lined.agents))):
        reason = f"only {pairs} questions have times of like circumstances"
    if wanted == "ms" and reason:
        raise UsageError(f"time is no axis for runs {glance.id} and {agent.id}: {reason}")
    if wanted is not None:
        return Costing(wanted, "" if wanted == "ms" else "as asked for")
    if not reason:
        return Costing("ms", "")
    answers = [*(answer for some in lined.glances for answer in some), *lined.agents]
    if all(answer.cost is not None for answer in answers):
        return Costing("dollars", reason)
    if glance.model == agent.model and not any(np.isnan(_cost(answer, "tokens", {})) for answer in answers):
        return Costing("tokens", reason)
    return Costing("calls", reason)


def _rivals(
    runs: Iterable[RunData], glance: RunData, agent: RunData, lined: Lined, axis: Axis, queries: Queries,
    cluster_of: Mapping[str, int], confidence: float,
) -> Iterable[Policy]:  # fmt: skip
    """Larger budgets and tiles of the glance's model, over those of the same questions that they answered."""
    always = queries.agent_cost[~np.isnan(queries.agent_cost)]
    for run in runs:
        wider = run.spec.arm == "direct" and run.spec.view_pixels > glance.spec.view_pixels
        if run.model != glance.model or not (wider or run.spec.arm == "tiles"):
            continue
        own = {result.sample.id: result for result in run.results if result.attempt == 0 and result.verdict != "error"}
        found = [own[answer.sample.id] for answer in lined.agents if answer.sample.id in own]
        if len(found) < MIN_SHARED * len(lined.agents):
            continue
        right: Array = np.array([float(result.verdict == "correct") for result in found])
        codes = np.array([cluster_of[result.sample.id] for result in found], dtype=np.int64)
        interval = accuracy_interval(right, codes, confidence)
        alike = axis != "ms" or not unlike(run, agent)
        clocked = _times(run, axis)
        costs = np.array([_cost(result, axis, clocked) for result in found])
        cost = float(np.nanmean(costs)) if alike and not np.isnan(costs).all() else None
        times = run.spec.view_pixels / glance.spec.view_pixels
        yield Policy(
            name="tiles" if run.spec.arm == "tiles" else f"direct at {times:g}x", run=run.id,
            n=right.size, accuracy=float(right.mean()), low=interval.low, high=interval.high, cost=cost,
            cost_share=cost / float(always.mean()) if cost is not None and always.size and always.mean() > 0 else None,
        )  # fmt: skip


def _router(
    routed: Routed, score: Score, queries: Queries, calls: int, target: Target, glance: RunData, agent: RunData,
    lined: Lined,
) -> Router:  # fmt: skip
    """The router fitted on all questions, with its cross-fitted figures."""
    measured = routed.measured
    chosen = measured.policy("router")
    images = sorted({answers[0].sample.image[:IMAGE_DIGITS] for answers in lined.glances})
    return Router(
        method=routed.method,
        features=routed.features,
        calls=calls,
        intercept=score.intercept,
        coefficients=dict(zip(queries.names, map(float, score.weights), strict=True)),
        threshold=choose_threshold(queries, score.of(queries.columns), target),
        target=routed.target,
        glance=described(glance.spec) | {"answers_sha256": _answers_digest(chain.from_iterable(lined.glances))},
        agent=described(agent.spec) | {"answers_sha256": _answers_digest(lined.agents)},
        fitted_on={
            "benchmark": glance.spec.benchmark, "benchmark_sha256": glance.spec.benchmark_sha256,
            "questions": measured.n, "folds": routed.folds, "images": images,
        },
        expected={
            "accuracy": chosen.accuracy, "low": chosen.low, "high": chosen.high,
            "versus_agent": asdict(measured.versus_agent), "versus_glance": asdict(measured.versus_glance),
            "zoomed": chosen.zoomed, "axis": measured.axis, "cost": chosen.cost, "cost_share": chosen.cost_share,
        },
    )  # fmt: skip


def _answers_digest(answers: Iterable[Result]) -> str:
    return digest([[answer.sample.id, answer.attempt, answer.text, answer.verdict] for answer in answers])
