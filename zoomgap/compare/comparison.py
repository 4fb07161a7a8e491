"""Runs in, one comparison out: scores, pairs, gaps, recovered share, acuity and verdicts under one protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from zoomgap.compare.acuity import Fit, acuity_ratio, fit_acuity, geometric_mean
from zoomgap.compare.contribution import contributions
from zoomgap.compare.dual import dual_views
from zoomgap.compare.latency import latency_ratio, mean_of, timing
from zoomgap.compare.matching import refusal, same_protocol
from zoomgap.compare.rows import (
    AcuityRatio,
    Comparison,
    DimensionScore,
    EvidenceScore,
    Gap,
    GapPart,
    PairRow,
    PairVerdict,
    ProtocolDifference,
    Role,
    RunRow,
    Score,
    Settings,
    Share,
)
from zoomgap.compare.sessions import latency_session, throughput_session
from zoomgap.compare.stats import (
    Array,
    Difference,
    Mask,
    accuracy_interval,
    bootstrap_means,
    bootstrap_weights,
    discordance,
    holm,
    paired_difference,
    percentiles,
    sign_flip_p,
)
from zoomgap.compare.table import Guess, RunData, Table, default_guess, graders_of, make_table
from zoomgap.compare.verdicts import Bin, cell_verdicts, evidence_bins, missing
from zoomgap.errors import UsageError
from zoomgap.records import RunSpec

GAPS = {
    "zooming": ("region", "direct"),
    "localisation": ("region-lowres", "direct"),
    "resolution": ("region", "region-lowres"),
    "tool": ("agent", "agent-lowres"),
}
"""The first three add up: zooming = localisation + resolution. `tool` is what the agent gains from new pixels."""
TIED: tuple[tuple[Role, Role], ...] = (("student", "base"), ("agent", "base"), ("agent", "student"))
"""Pairs of roles whose acuity is set in relation."""

Weights = NDArray[np.float32]
Fits = dict[str, Fit]


def compare(
    runs: Sequence[RunData],
    roles: Mapping[str, Role] | None = None,
    guess: Guess = default_guess,
    settings: Settings | None = None,
) -> Comparison:
    """Compare runs of one benchmark.

    roles: run id -> base (the model before distillation, at one glance), agent, or a student and its controls. Unless
    given, the agent is the run of that arm that may zoom most, the first of several, and the base is the direct run of
    the agent's model. guess: used for answer forms of which no `no-image` run tells the guess rate. Raises UsageError
    for runs that cannot be compared.
    """
    settings = settings or Settings()
    table = make_table(runs, guess)
    seats = _seats(runs, roles or {})
    weights = bootstrap_weights(table.clusters, settings.draws, settings.seed)
    bins = evidence_bins(table)
    fits = [_fits(table, row, weights[: settings.curve_draws], settings) for row in range(len(runs))]
    role_of = {row: role for role, row in seats.items()}
    return Comparison(
        settings=settings,
        bench=runs[0].spec.benchmark,
        grader=next(iter(graders_of(runs)), ""),
        runs=tuple(_run_row(table, row, role_of.get(row), bins, fits[row], settings) for row in range(len(runs))),
        pairs=_pairs(table, weights, settings),
        gaps=tuple(_gaps(table, bins, weights, settings)),
        recovered=_recovered(table, seats, weights, settings),
        acuity_ratios=tuple(_ratios(table, seats, fits, settings)),
        verdicts=cell_verdicts(table, seats, settings),
        verdict_note=missing(seats),
        dual=dual_views(table, bins, weights, settings),
        contribution=contributions(table, bins, weights, settings),
        protocol_differences=protocol_differences([run.spec for run in runs]),
        timing_session=latency_session(runs, _cluster_of(table), settings.draws, settings.confidence),
        throughput=throughput_session(runs, settings.confidence),
    )


def _cluster_of(table: Table) -> dict[str, int]:
    """Cluster code of each sample id."""
    return {sample.id: int(code) for sample, code in zip(table.samples, table.cluster, strict=True)}


def protocol_differences(specs: Sequence[RunSpec]) -> tuple[ProtocolDifference, ...]:
    """Every field of RunSpec in which the runs differ; those of sampling by their own names."""
    flat = [_flat(asdict(spec)) for spec in specs]
    return tuple(
        ProtocolDifference(field=name, values={spec.id: fields[name] for spec, fields in zip(specs, flat, strict=True)})
        for name in flat[0]
        if any(fields[name] != flat[0][name] for fields in flat)
    )


def _flat(fields: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def _seats(runs: Sequence[RunData], roles: Mapping[str, Role]) -> dict[Role, int]:
    """The row of each role."""
    rows = {run.id: row for row, run in enumerate(runs)}
    seats: dict[Role, int] = {}
    for run_id, role in roles.items():
        if run_id not in rows:
            raise UsageError(f"role {role} names run {run_id}, which is not compared: add the run or drop the role")
        if role not in get_args(Role):
            raise UsageError(f"role {role!r} is unknown: choose from {', '.join(get_args(Role))}")
        if role in seats:
            raise UsageError(f"role {role} is given to two runs: give it to one")
        seats[role] = rows[run_id]
    if "agent" not in seats:
        agents = [row for row, run in enumerate(runs) if run.spec.arm == "agent"]
        if agents:
            seats["agent"] = max(agents, key=lambda row: runs[row].spec.max_zooms)
    if "base" not in seats and "agent" in seats:
        agent = runs[seats["agent"]]
        glances = [row for row, run in enumerate(runs) if same_protocol(run, agent) and run.spec.arm == "direct"]
        if glances and glances[0] not in seats.values():
            seats["base"] = glances[0]
    return seats


def _score(right: Array, clusters: NDArray[np.int64], confidence: float) -> Score:
    interval = accuracy_interval(right, clusters, confidence)
    accuracy = float(right.mean()) if right.size else None
    return Score(n=right.size, correct=int(right.sum()), accuracy=accuracy, low=interval.low, high=interval.high)


def _run_row(table: Table, row: int, role: Role | None, bins: list[Bin], fits: Fits, settings: Settings) -> RunRow:
    run, right, seen = table.runs[row], table.right[row], table.shared(row)
    attempted = seen | table.error[row]
    service = _score(np.nan_to_num(right[attempted]), table.cluster[attempted], settings.confidence)
    model = _score(right[seen], table.cluster[seen], settings.confidence)
    assert service.accuracy is not None
    unparsed = sum(result.verdict == "unparsed" for result in run.results)
    answers = [result for result in run.results if result.verdict != "error"]
    clock, acuity = timing(run), geometric_mean(fits, settings.confidence)
    ceilings = [fit.acuity.ceiling for fit in fits.values() if fit.acuity.ceiling is not None]
    means = ("prompt_tokens", "completion_tokens", "image_tokens", "turns", "zooms", "cost")
    return RunRow(
        run=run.id,
        label=run.label,
        role=role,
        bench=run.spec.benchmark,
        arm=run.spec.arm,
        model=run.spec.model,
        n=len({result.sample.id for result in run.results}) * run.spec.attempts,
        attempted=service.n,
        answered=model.n - unparsed,
        unparsed=unparsed,
        errors=service.n - model.n,
        correct=model.correct,
        accuracy=service.accuracy,
        low=service.low,
        high=service.high,
        model_accuracy=model.accuracy,
        service_accuracy=service.accuracy,
        p50_ms=clock.p50_ms,
        p95_ms=clock.p95_ms,
        **{name: mean_of(answers, name) for name in means},
        seconds=_seconds(run),
        resumed=_resumed(run),
        acuity_px=acuity.value if acuity else None,
        acuity_low=acuity.low if acuity else None,
        acuity_high=acuity.high if acuity else None,
        acuity_dimensions=acuity.dimensions if acuity else (),
        ceiling=float(np.mean(ceilings)) if ceilings else None,
        by_dimension=_by_dimension(table, row, fits, settings),
        by_evidence=_by_evidence(table, row, bins, settings),
        timing=clock,
    )


def _seconds(run: RunData) -> float | None:
    spans = [invocation.seconds for invocation in run.invocations]
    known = [span for span in spans if span is not None]
    return sum(known) if known and len(known) == len(spans) else None


def _resumed(run: RunData) -> int:
    latest = max(run.invocations, key=lambda i: i.started, default=None)
    return sum(result.invocation != latest.id for result in run.results) if latest else 0


def _by_dimension(table: Table, row: int, fits: Fits, settings: Settings) -> dict[str, DimensionScore]:
    scores = {}
    for name in table.dimensions:
        mask = table.shared(row) & (table.dimension == name)
        score = _score(table.right[row][mask], table.cluster[mask], settings.confidence)
        guess = float(table.guess[row][mask].mean()) if mask.any() else None
        acuity = fits[name].acuity if name in fits else None
        scores[name] = DimensionScore(**asdict(score), guess=guess, acuity=acuity)
    return scores


def _by_evidence(table: Table, row: int, bins: list[Bin], settings: Settings) -> tuple[EvidenceScore, ...]:
    scores = []
    for span in bins:
        mask = table.shared(row) & span.mask
        score = _score(table.right[row][mask], table.cluster[mask], settings.confidence)
        scores.append(EvidenceScore(evidence_low=span.low, evidence_high=span.high, **asdict(score)))
    return tuple(scores)


def _fits(table: Table, row: int, weights: Weights, settings: Settings) -> Fits:
    """Curves of one run by dimension; none for dimensions without tight boxes, nor for arms shown no image."""
    if table.runs[row].spec.arm == "no-image":
        return {}
    usable = table.shared(row) & table.tight & ~np.isnan(table.octave)
    fits = {}
    for name in table.dimensions:
        mask = usable & (table.dimension == name)
        if mask.any():
            fits[name] = fit_acuity(
                table.octave[mask],
                table.right[row][mask],
                table.guess[row][mask],
                table.cluster[mask],
                weights,
                settings.confidence,
            )
    return fits


def _ratios(table: Table, seats: Mapping[Role, int], fits: Sequence[Fits], settings: Settings) -> Iterator[AcuityRatio]:
    for a, b in TIED:
        if a in seats and b in seats:
            mean = acuity_ratio(fits[seats[a]], fits[seats[b]], settings.confidence)
            if mean is not None:
                yield AcuityRatio(
                    a=table.runs[seats[a]].id,
                    b=table.runs[seats[b]].id,
                    ratio=mean.value,
                    low=mean.low,
                    high=mean.high,
                    dimensions=mean.dimensions,
                )


def _pairs(table: Table, weights: Weights, settings: Settings) -> tuple[PairRow, ...]:
    """All pairs in the order of the runs, with Holm's adjustment over them."""
    rows = list(combinations(range(len(table.runs)), 2))
    masks = [table.shared(a, b) for a, b in rows]
    raw = [
        sign_flip_p(table.right[a][m], table.right[b][m], table.cluster[m])
        for (a, b), m in zip(rows, masks, strict=True)
    ]
    cluster_of = _cluster_of(table)
    pairs = []
    for (a, b), mask, p_raw, p_value in zip(rows, masks, raw, holm(raw), strict=True):
        right_a, right_b, clusters = table.right[a][mask], table.right[b][mask], table.cluster[mask]
        difference = paired_difference(right_a, right_b, clusters, weights, settings.confidence)
        verdict, reason = _pair_verdict(table, a, b, difference, p_value, settings)
        ratio = latency_ratio(table.runs[a], table.runs[b], cluster_of, weights, settings.confidence)
        singles = np.unique(clusters).size == clusters.size
        pairs.append(
            PairRow(
                a=table.runs[a].id,
                b=table.runs[b].id,
                **difference._asdict(),
                **discordance(right_a, right_b)._asdict(),
                p_value=p_value,
                p_raw=p_raw,
                test="exact McNemar" if singles else "exact cluster sign-flip",
                latency_ratio=ratio.ratio,
                latency_low=ratio.low,
                latency_high=ratio.high,
                latency_refused=ratio.refused,
                latency_parts=ratio.parts,
                verdict=verdict,
                reason=reason,
            )
        )
    return tuple(pairs)


def _faulty(table: Table, rows: Sequence[int], settings: Settings) -> str:
    """Why a verdict on these runs is refused, or ""."""
    return refusal(table, rows, settings)


def _pair_verdict(
    table: Table, a: int, b: int, difference: Difference, p_value: float, settings: Settings
) -> tuple[PairVerdict, str]:
    reason = _faulty(table, (a, b), settings)
    if reason:
        return "refused", reason
    if difference.low is None or difference.high is None or difference.difference is None:
        return "refused", "the runs share no answer"
    if -settings.margin < difference.low and difference.high < settings.margin:
        return "equivalent", f"the whole interval lies within {settings.margin:.0%} of no difference"
    if p_value < 1 - settings.confidence:
        return ("a better" if difference.difference > 0 else "b better"), ""
    return "undecided", "neither a difference nor equivalence is shown"


def _gaps(table: Table, bins: list[Bin], weights: Weights, settings: Settings) -> Iterator[Gap]:
    """The gaps of each model whose arms are there. Arms of one family are cut to the answers that all of them gave."""
    direct = [run for run in table.runs if run.spec.arm in ("direct", "agent")]
    leaders = [r for i, r in enumerate(direct) if not any(same_protocol(r, other) for other in direct[:i])]
    for leader in leaders:
        arms: dict[str, int] = {}
        for row, run in sorted(enumerate(table.runs), key=lambda item: -item[1].spec.max_zooms):
            if same_protocol(run, leader):
                arms.setdefault(run.spec.arm, row)
        for family in (("direct", "region", "region-lowres"), ("agent", "agent-lowres")):
            rows = {arm: arms[arm] for arm in family if arm in arms}
            for name, (a, b) in GAPS.items():
                if a in rows and b in rows:
                    shared = table.shared(*rows.values())
                    yield _gap(table, name, rows[a], rows[b], shared, bins, weights, settings)


def _gap(
    table: Table, name: str, a: int, b: int, shared: Mask, bins: list[Bin], weights: Weights, settings: Settings
) -> Gap:
    def within(mask: Mask) -> dict[str, Any]:
        mask = mask & shared
        right_a, right_b = table.right[a][mask], table.right[b][mask]
        return paired_difference(right_a, right_b, table.cluster[mask], weights, settings.confidence)._asdict()

    return Gap(
        name=name,
        model=table.runs[a].spec.model,
        a=table.runs[a].id,
        b=table.runs[b].id,
        **within(shared),
        by_dimension=tuple(GapPart(name=d, **within(table.dimension == d)) for d in table.dimensions),
        by_evidence=tuple(GapPart(name=span.name, **within(span.mask)) for span in bins),
        refused=_faulty(table, (a, b), settings),
    )


def _recovered(table: Table, seats: Mapping[Role, int], weights: Weights, settings: Settings) -> tuple[Share, ...]:
    """What the student, and for comparison the placebo, recovered of the way from the floor to the ceiling."""
    if not {"student", "floor", "ceiling"} <= set(seats):
        return ()
    roles: list[Role] = [role for role in ("student", "placebo") if role in seats]
    shared = table.shared(*(seats[role] for role in (*roles, "floor", "ceiling")))
    faulty = _faulty(table, [seats[role] for role in (*roles, "floor", "ceiling")], settings)
    return tuple(_share(table, role, seats, shared, faulty, weights, settings) for role in roles)


def _share(
    table: Table,
    role: Role,
    seats: Mapping[Role, int],
    shared: Mask,
    faulty: str,
    weights: Weights,
    settings: Settings,
) -> Share:
    clusters, n = table.cluster[shared], int(shared.sum())
    own, floor, ceiling = (table.right[seats[name]][shared] for name in (role, "floor", "ceiling"))
    way = paired_difference(ceiling, floor, clusters, weights, settings.confidence)
    reason = faulty
    if not reason and (way.low is None or way.low <= 0):
        reason = "the ceiling is not clearly above the floor: there is no way to have gone"
    if reason:
        return Share(role=role, n=n, share=None, low=None, high=None, reason=reason)
    draws = bootstrap_means(own - floor, clusters, weights) / bootstrap_means(ceiling - floor, clusters, weights)
    interval = percentiles(draws, settings.confidence)
    share = float((own - floor).mean() / (ceiling - floor).mean())
    return Share(role=role, n=n, share=share, low=interval.low, high=interval.high, reason="")
