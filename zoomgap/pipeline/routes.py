"""Routers between stored runs: fitted, applied to others, and when what was spent on a student comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoomgap.errors import UsageError
from zoomgap.models.prices import Price
from zoomgap.pipeline.reports import run_data
from zoomgap.records import RunSpec
from zoomgap.routers import IMAGE_DIGITS, Router, read_router
from zoomgap.storage import Store

if TYPE_CHECKING:
    from zoomgap.compare import RunData
    from zoomgap.compare.breakeven import BreakEven, Spent
    from zoomgap.compare.routed import Fitted, Routed
    from zoomgap.compare.routing import Axis, Target
    from zoomgap.routers import Method

DRAWS = 2000


def fit_router(
    store: Store, glance: str, agent: str, *, method: Method, features: Sequence[str] | None, target: Target,
    axis: Axis | None = None,
) -> Fitted:  # fmt: skip
    """Fit a router on two stored runs (ids or their beginnings).

    Larger budgets and tiles of the glance's model over the same benchmark are measured beside it. Raises UsageError as
    compare.routed.route does.
    """
    from zoomgap.compare.routed import clusters_of, route

    runs = run_data(store, glance), run_data(store, agent)
    rivals = list(_rivals(store, *runs))
    codes = clusters_of([*runs, *rivals])
    return route(
        *runs, method=method, features=features, target=target, cluster_of=codes, weights=_weights(codes), axis=axis,
        rivals=rivals,
    )  # fmt: skip


def apply_router(
    store: Store, path: Path, glance: str, agent: str, *, axis: Axis | None = None, same_samples: bool = False
) -> Routed:
    """What the router of a file would have given on two stored runs.

    same_samples: allow images that it was fitted on, which flatters it. Raises UsageError for those otherwise, and as
    compare.routed.apply does.
    """
    from zoomgap.compare.routed import apply, clusters_of

    router = read_router(path)
    runs = run_data(store, glance), run_data(store, agent)
    images = {result.sample.image[:IMAGE_DIGITS] for result in runs[0].results}
    if (known := images & set(router.fitted_on.get("images", ()))) and not same_samples:
        raise UsageError(
            f"the router was fitted on {len(known)} of the {len(images)} images of run {runs[0].id}, where it looks "
            "better than it is: name runs over other images, or add --same-samples"
        )
    rivals = list(_rivals(store, *runs))
    codes = clusters_of([*runs, *rivals])
    return apply(router, *runs, cluster_of=codes, weights=_weights(codes), axis=axis, rivals=rivals)


def _weights(codes: Mapping[str, int]) -> Any:
    from zoomgap.compare.stats import bootstrap_weights

    return bootstrap_weights(max(codes.values()) + 1, DRAWS, 0)


def _rivals(store: Store, glance: RunData, agent: RunData) -> Iterator[RunData]:
    """Runs of the glance's model over the same benchmark that could be deployed instead."""
    for info in store.runs():
        spec = info.spec
        alike = spec.benchmark_sha256 == glance.spec.benchmark_sha256 and spec.model == glance.spec.model
        if alike and spec.arm in ("direct", "tiles") and spec.id != glance.id and info.attempted:
            yield run_data(store, spec.id)


def break_even(
    store: Store, student: str, agent: str, *, price: Price | None = None, student_price: Price | None = None,
    per_hour: float | None = None, spent: float = 0.0,
) -> BreakEven:  # fmt: skip
    """When the cost of a student, or of a router, comes back against always asking the agent.

    Without a price it is counted in seconds of the machine: an answer's wall time over the number in flight. price: of
    the agent and its teacher; student_price: of the student, default the same. per_hour: dollars for an hour of
    training. spent: what else was spent, in the unit. Raises UsageError for runs that share no comparable answers.
    """
    from zoomgap.compare.breakeven import Spent
    from zoomgap.compare.breakeven import break_even as measured
    from zoomgap.compare.latency import unlike
    from zoomgap.compare.routed import clusters_of

    runs = [run_data(store, student), run_data(store, agent)]
    if runs[0].spec.benchmark_sha256 != runs[1].spec.benchmark_sha256:
        raise UsageError(f"runs {runs[0].id} and {runs[1].id} answered unlike benchmarks: name runs over one")
    if price is None and (apart := unlike(*runs)):
        raise UsageError(
            f"times of {runs[0].id} and {runs[1].id} were taken under unlike circumstances ({', '.join(apart)}): run "
            "both alike, or count dollars with --price IN/OUT"
        )
    each = [
        _each(run, None if price is None else one)
        for run, one in zip(runs, (student_price or price, price), strict=True)
    ]
    shared = sorted(each[0].keys() & each[1].keys())
    if not shared:
        what = "time" if price is None else "token counts"
        raise UsageError(f"runs {runs[0].id} and {runs[1].id} share no answer with a known {what}: run both")
    codes = clusters_of(runs)
    items = list(spent_once(store, runs[0].spec, price, per_hour))
    if spent:
        items.append(Spent("else", spent, "as given"))
    own, others = (np.array([found[id] for id in shared]) for found in each)
    clusters = np.array([codes[id] for id in shared], dtype=np.int64)
    return measured(
        "seconds" if price is None else "dollars", runs[0].id, runs[1].id, own, others, clusters, _weights(codes), items
    )


def _each(run: RunData, price: Price | None) -> dict[str, float]:
    """Cost of the first answer to each sample, dollars where there is a price, else seconds of the machine."""
    from zoomgap.compare.latency import circumstances, own_timed

    if price is None:
        flight = circumstances(run).get("concurrency") or 1
        timed = zip(run.results, own_timed(run).tolist(), strict=True)
        return {r.sample.id: r.wall_ms / 1000 / flight for r, known in timed if known and r.attempt == 0}
    return {
        r.sample.id: price(r.prompt_tokens, r.completion_tokens)
        for r in run.results
        if r.attempt == 0 and r.verdict != "error" and r.prompt_tokens is not None and r.completion_tokens is not None
    }


def spent_once(store: Store, spec: RunSpec, price: Price | None, per_hour: float | None) -> Iterator[Spent]:
    """What was spent once on what a run deploys: a student's teacher, votes and training, a router's two runs."""
    from zoomgap.compare.breakeven import Spent

    if spec.router is not None:
        router = Router.from_json(json.loads(store.prompt(spec.router)))
        known = {info.id for info in store.runs()}
        for side, one in (("direct answers", router.glance), ("agent", router.agent)):
            if one.get("run") not in known:
                raise UsageError(
                    f"run {one.get('run')}, on which the router was fitted, is not in this database: name the one "
                    "that it was fitted in"
                )
            yield _run_spent(store, str(one["run"]), f"fitting the router: {side}", price)
    folder = Path(spec.model.removeprefix("hf:")).resolve() if spec.model.startswith("hf:") else None
    training = next((one for one in reversed(store.trainings()) if Path(one.out).resolve() == folder), None)
    if training is None:
        return
    dataset = next((one for one in store.datasets() if one.name == training.config.get("dataset")), None)
    if dataset is not None:
        teacher = str(dataset.config["run"])
        run = _run_spent(store, teacher, "teacher", price)
        yield run
        yield _votes_spent(store, teacher, str(dataset.config["labels"]), run, price)
    seconds = float(training.metrics["seconds"])
    if price is not None and per_hour is None:
        raise UsageError(f"training took {seconds:.0f} s, which have no price: give dollars an hour with --per-hour")
    amount = seconds if price is None else seconds / 3600 * (per_hour or 0.0)
    yield Spent("training", amount, f"{seconds:,.0f} s, {training.metrics['steps']} steps")


def _run_spent(store: Store, run: str, what: str, price: Price | None) -> Spent:
    """All that a run took, answers that failed included."""
    from zoomgap.compare.breakeven import Spent

    rows = store.trajectories(run)
    failed = sum(row.verdict == "error" for row in rows)
    note = f"run {run}: {len(rows)} answers, {failed} failed"
    if price is not None:
        tokens = [(row.prompt_tokens or 0, row.completion_tokens or 0) for row in rows]
        return Spent(what, sum(price(*pair) for pair in tokens), note)
    total = 0.0
    for invocation in store.invocations(run):
        own = [row.wall_ms / 1000 for row in rows if row.invocation == invocation.id]
        # One that was killed has no end: its answers tell how long it worked.
        flight = int(invocation.circumstances.get("concurrency") or 1)
        total += sum(own) / flight if invocation.seconds is None else invocation.seconds
    return Spent(what, total, note)


def _votes_spent(store: Store, run: str, labels: str, teacher: Spent, price: Price | None) -> Spent:
    """The votes on questions from a run's regions, failed ones and those of questions that fell included.

    Votes are stored without clocks and tokens: each counts as one of the teacher's calls, which see more.
    """
    from zoomgap.compare.breakeven import Spent

    ids = set(store.trajectory_ids(run))
    regions = {region.id for region in store.regions() if region.trajectory in ids}
    questions = {question.id for question in store.questions() if question.region in regions}
    votes = [vote for vote in store.votes() if vote.labels == labels and vote.question in questions]
    asked = len(votes) if labels != "gold" else 0
    calls = sum(row.turns for row in store.trajectories(run)) or 1
    failed = sum(vote.error is not None for vote in votes)
    note = f"{asked} votes, {failed} failed, each as a call of the teacher ({teacher.amount / calls:.3g} a call)"
    return Spent("votes", asked * teacher.amount / calls, note)
