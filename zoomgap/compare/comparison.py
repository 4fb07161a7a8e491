"""Runs in, one comparison out: scores, pairs, gaps, recovered share, acuity and verdicts under one protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import combinations
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from zoomgap.compare.acuity import Fit, acuity_ratio, fit_acuity, geometric_mean
from zoomgap.compare.contribution import contributions
from zoomgap.compare.dual import dual_views
from zoomgap.compare.identity import identity, incomplete
from zoomgap.compare.latency import latency_ratio, mean_of, timing
from zoomgap.compare.matching import counterpart, same_protocol
from zoomgap.compare.noise import noise_floors
from zoomgap.compare.notes import notes_on
from zoomgap.compare.plan import margin_told
from zoomgap.compare.protocol import protocol_differences, protocol_faults, refusal
from zoomgap.compare.routed import Routed, route
from zoomgap.compare.rows import (
    AcuityRatio,
    Comparison,
    DimensionScore,
    EvidenceScore,
    Gap,
    GapPart,
    NoiseFloor,
    PairRow,
    PairVerdict,
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
    Resamples,
    accuracy_interval,
    bootstrap_means,
    bootstrap_weights,
    design_effect,
    detectable,
    discordance,
    holm,
    paired_difference,
    percentiles,
    sign_flip_p,
)
from zoomgap.compare.table import Guess, RunData, Table, default_guess, graders_of, make_table
from zoomgap.compare.verdicts import Bin, cell_verdicts, evidence_bins, missing
from zoomgap.errors import UsageError
from zoomgap.records import Plan

GAPS = {
    "zooming": ("region", "direct"),
    "localisation": ("region-lowres", "direct"),
    "resolution": ("region", "region-lowres"),
    "tool": ("agent", "agent-lowres"),
}
"""The first three add up: zooming = localisation + resolution. `tool` is what the agent gains from new pixels."""
TIED: tuple[tuple[Role, Role], ...] = (("student", "base"), ("agent", "base"), ("agent", "student"))
"""Pairs of roles whose acuity is set in relation."""

Fits = dict[str, Fit]


def compare(
    runs: Sequence[RunData],
    roles: Mapping[str, Role] | None = None,
    guess: Guess = default_guess,
    settings: Settings | None = None,
    plan: Plan | None = None,
) -> Comparison:
    """Compare runs of one benchmark.

    roles: run id -> base (the model before distillation, at one glance), agent, or a student and its controls. Unless
    given, the agent is the run of that arm that may zoom most, the first of several, and the base is the direct run of
    the agent's model that is most like it. guess: used for answer forms of which no `no-image` run tells the guess
    rate.
    plan: stored before the first answer; its margin, power and level take the place of those of the settings. Raises
    UsageError for runs that cannot be compared.
    """
    settings = settings or Settings()
    if plan is not None:
        settings = replace(settings, margin=plan.margin, power=plan.power, confidence=1 - plan.level)
    table = make_table(runs, guess)
    seats = _seats(runs, roles or {})
    weights = bootstrap_weights(table.clusters, settings.draws, settings.seed)
    bins = evidence_bins(table)
    fits = [_fits(table, row, weights.first(settings.curve_draws), settings) for row in range(len(runs))]
    role_of = {row: role for role, row in seats.items()}
    router, no_router = _router(table, seats, weights, settings)
    noise = noise_floors(table, settings.confidence)
    return Comparison(
        settings=settings,
        bench=runs[0].spec.benchmark,
        grader=next(iter(graders_of(runs)), ""),
        roles=dict(roles or {}),
        plan=plan,
        margin_note=margin_told(settings.margin, plan),
        notes=notes_on(table, noise),
        noise=noise,
        runs=tuple(_run_row(table, row, role_of.get(row), bins, fits[row], settings) for row in range(len(runs))),
        pairs=_pairs(table, weights, noise, settings),
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
        protocol_faults=protocol_faults([run.spec for run in runs], settings.allow),
        identities=tuple(identity(run) for run in runs),
        router=router,
        no_router=no_router,
    )


def _cluster_of(table: Table) -> dict[str, int]:
    """Cluster code of each sample id."""
    return {sample.id: int(code) for sample, code in zip(table.samples, table.cluster, strict=True)}


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
        glance = counterpart(runs, runs[seats["agent"]], "direct")
        if glance is not None and rows[glance.id] not in seats.values():
            seats["base"] = rows[glance.id]
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
    unparsed, answers = int((run.verdicts == "unparsed").sum()), run.verdicts != "error"
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
        n=len({sample for sample, _ in run.places}) * run.spec.attempts,
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
        **{name: mean_of(run, answers, name) for name in means},
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
        incomplete=incomplete(run),
    )


def _seconds(run: RunData) -> float | None:
    spans = [invocation.seconds for invocation in run.invocations]
    known = [span for span in spans if span is not None]
    return sum(known) if known and len(known) == len(spans) else None


def _resumed(run: RunData) -> int:
    latest = max(run.invocations, key=lambda i: i.started, default=None)
    return int((run.invoked != latest.id).sum()) if latest else 0


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


def _fits(table: Table, row: int, weights: Resamples, settings: Settings) -> Fits:
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
        if a in seats and b in seats and not refusal(table, (seats[a], seats[b]), settings):
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


def _pairs(table: Table, weights: Resamples, noise: Sequence[NoiseFloor], settings: Settings) -> tuple[PairRow, ...]:
    """All pairs in the order of the runs, with Holm's adjustment over them."""
    rows = list(combinations(range(len(table.runs)), 2))
    masks = [table.shared(a, b) for a, b in rows]
    raw, exact = (
        [
            sign_flip_p(table.right[a][m], table.right[b][m], table.cluster[m], exact=exact)
            for (a, b), m in zip(rows, masks, strict=True)
        ]
        for exact in (False, True)
    )
    cluster_of = _cluster_of(table)
    pairs = []
    for (a, b), mask, p_raw, p_exact, p_value in zip(rows, masks, raw, exact, holm(raw), strict=True):
        right_a, right_b, clusters = table.right[a][mask], table.right[b][mask], table.cluster[mask]
        difference = paired_difference(right_a, right_b, clusters, weights, settings.confidence)
        counts = discordance(right_a, right_b)
        effect = design_effect(right_a - right_b, clusters) if clusters.size else 1.0
        least = detectable(
            counts.only_a + counts.only_b, clusters.size, effect, settings.power, 1 - settings.confidence
        )
        verdict, reason = _pair_verdict(table, a, b, difference, p_value, least, settings)
        floors = [one.floor for one in noise if {table.runs[a].id, table.runs[b].id} & set(one.runs)]
        floor = max(floors, default=None)
        if verdict != "refused" and floor is not None and abs(difference.difference or 0.0) < floor:
            under = f"under the noise floor: asking again alone brings differences of {floor * 100:.1f} points"
            reason = f"{reason}; {under}" if reason else under
        ratio = latency_ratio(table.runs[a], table.runs[b], cluster_of, weights, settings.confidence)
        singles = np.unique(clusters).size == clusters.size
        pairs.append(
            PairRow(
                a=table.runs[a].id,
                b=table.runs[b].id,
                **difference._asdict(),
                **counts._asdict(),
                p_value=p_value,
                p_raw=p_raw,
                p_exact=p_exact,
                test="McNemar mid-p" if singles else "cluster sign-flip mid-p",
                detectable=least,
                design_effect=effect,
                noise_floor=floor,
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


def _pair_verdict(
    table: Table,
    a: int,
    b: int,
    difference: Difference,
    p_value: float,
    least: float | None,
    settings: Settings,
) -> tuple[PairVerdict, str]:
    """least: the smallest detectable difference."""
    reason = refusal(table, (a, b), settings)
    if reason:
        return "refused", reason
    if difference.low is None or difference.high is None or difference.difference is None:
        return "refused", "the runs share no answer"
    if -settings.margin < difference.low and difference.high < settings.margin:
        return "equivalent", f"the whole interval lies within {settings.margin * 100:g} points of no difference"
    if p_value < 1 - settings.confidence:
        return ("a better" if difference.difference > 0 else "b better"), ""
    answers = "one answer" if difference.n == 1 else f"{difference.n:,} answers"
    if least is None:
        return "undecided", f"{answers} would show no difference, however large"
    return "undecided", (
        f"neither a difference nor equivalence is shown: {answers} that differ so often show a difference of "
        f"{least * 100:.1f} points or more in {settings.power:.0%} of cases"
    )


def _gaps(table: Table, bins: list[Bin], weights: Resamples, settings: Settings) -> Iterator[Gap]:
    """The gaps of each model whose arms are there. Arms of one family are cut to the answers that all of them gave."""
    for rows in _families(table):
        shared = table.shared(*rows.values())
        for name, (a, b) in GAPS.items():
            if a in rows and b in rows:
                yield _gap(table, name, rows[a], rows[b], shared, bins, weights, settings)


def _families(table: Table) -> Iterator[dict[str, int]]:
    """Rows by arm, for each model and view that answered directly or zoomed: one run, and of each other arm the run
    that is most like it, so that a rerun in other words takes the place of none."""
    direct = [run for run in table.runs if run.spec.arm in ("direct", "agent")]
    leaders = [r for i, r in enumerate(direct) if not any(same_protocol(r, other) for other in direct[:i])]
    by_zooms = sorted(table.runs, key=lambda run: -run.spec.max_zooms)
    for leader in leaders:
        for family in (("region", "region-lowres", "direct"), ("agent", "agent-lowres")):
            members = [run for arm in family for run in by_zooms if run.spec.arm == arm and same_protocol(run, leader)]
            if members:
                first = members[0]
                found = [first, *(counterpart(table.runs, first, arm) for arm in family if arm != first.spec.arm)]
                yield {run.spec.arm: table.row(run) for run in found if run is not None}


def _gap(
    table: Table, name: str, a: int, b: int, shared: Mask, bins: list[Bin], weights: Resamples, settings: Settings
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
        refused=refusal(table, (a, b), settings),
    )


def _router(
    table: Table, seats: Mapping[Role, int], weights: Resamples, settings: Settings
) -> tuple[Routed | None, str]:
    """A cross-fitted router between the student's glance, or else the base's, and the agent; or why there is none."""
    if "agent" not in seats or not {"student", "base"} & set(seats):
        return None, "a router needs direct answers of a base or student, and an agent"
    rows = [seats["student"] if "student" in seats else seats["base"], seats["agent"]]
    if faulty := refusal(table, rows, settings):
        return None, faulty
    glance, agent = (table.runs[row] for row in rows)
    try:
        fitted = route(
            glance,
            agent,
            cluster_of=_cluster_of(table),
            weights=weights,
            rivals=table.runs,
            confidence=settings.confidence,
        )
    except UsageError as error:
        return None, str(error)
    return fitted.routed, ""


def _recovered(table: Table, seats: Mapping[Role, int], weights: Resamples, settings: Settings) -> tuple[Share, ...]:
    """What the student, and for comparison the placebo, recovered of the way from the floor to the ceiling."""
    if not {"student", "floor", "ceiling"} <= set(seats):
        return ()
    roles: list[Role] = [role for role in ("student", "placebo") if role in seats]
    shared = table.shared(*(seats[role] for role in (*roles, "floor", "ceiling")))
    faulty = refusal(table, [seats[role] for role in (*roles, "floor", "ceiling")], settings)
    return tuple(_share(table, role, seats, shared, faulty, weights, settings) for role in roles)


def _share(
    table: Table,
    role: Role,
    seats: Mapping[Role, int],
    shared: Mask,
    faulty: str,
    weights: Resamples,
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
