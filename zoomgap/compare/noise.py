"""The noise floor: how far apart two runs of one arm lie that differ only in how and how often they asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations

import numpy as np
from scipy import stats

from zoomgap.compare.rows import NoiseFloor
from zoomgap.compare.stats import Codes, accuracy_interval, design_effect
from zoomgap.compare.table import Table
from zoomgap.records import RunSpec

RERUN = {"variant": "option order and wording", "sampling.seed": "seed", "attempts": "attempts"}
"""Fields in which reruns of one arm may differ, and what they are called."""


def rerun_of(a: RunSpec, b: RunSpec) -> tuple[str, ...] | None:
    """In what two runs of one arm and model differ that no one means to measure, or None where they differ in more."""
    one, other = (asdict(spec) | {"sampling.seed": spec.sampling.seed} for spec in (a, b))
    for fields in (one, other):
        fields["sampling"] = fields["sampling"] | {"seed": 0}
    differing = [name for name in one if one[name] != other[name]]
    if a.variant != b.variant:  # another wording is another text
        differing = [name for name in differing if name != "prompts"]
    return tuple(differing) if set(differing) <= set(RERUN) else None


def noise_floors(table: Table, confidence: float) -> tuple[NoiseFloor, ...]:
    """One for each arm that was asked twice or more: by several runs, or by several attempts of one.

    Greedy answers that came again the same say nothing and have none.
    """
    return tuple(floor for group in _groups(table) if (floor := _floor(table, group, confidence)) is not None)


def _groups(table: Table) -> list[list[int]]:
    """Rows of the table that are reruns of one another; a run by itself is a group of one."""
    groups: list[list[int]] = []
    for row, run in enumerate(table.runs):
        home = next((g for g in groups if rerun_of(table.runs[g[0]].spec, run.spec) is not None), None)
        if home is None:
            groups.append([row])
        else:
            home.append(row)
    return groups


def _floor(table: Table, group: Sequence[int], confidence: float) -> NoiseFloor | None:
    series = [answers for row in group for answers in _attempts(table, row)]
    pairs = [(a, b, shared) for a, b in combinations(series, 2) if (shared := ~np.isnan(a) & ~np.isnan(b)).any()]
    if not pairs:
        return None
    clusters = _cluster_of_samples(table)
    flips = np.concatenate([np.abs(a - b)[shared] for a, b, shared in pairs])
    codes = np.concatenate([clusters[shared] for _, _, shared in pairs])
    differences = [float((a - b)[shared].mean()) for a, b, shared in pairs]
    interval = accuracy_interval(flips, codes, confidence)
    n = min(int(shared.sum()) for _, _, shared in pairs)
    effect = max(design_effect((a - b)[shared], clusters[shared]) for a, b, shared in pairs)
    z = float(stats.norm.ppf((1 + confidence) / 2))
    # One flip is added, as none seen is not none to come.
    share = (float(flips.sum()) + 1) / (flips.size + 2)
    accuracies = [float(np.nanmean(answers)) for answers in series]
    specs = [table.runs[row].spec for row in group]
    names: set[str] = {name for a, b in combinations(specs, 2) for name in rerun_of(a, b) or ()}
    if len(series) > len(group):
        names.add("attempts")
    if specs[0].sampling.temperature == 0 and "variant" not in names and not flips.any():
        return None  # greedy answers came again: that is no measure of luck
    return NoiseFloor(
        runs=tuple(table.runs[row].id for row in group),
        differ=tuple(RERUN[name] for name in RERUN if name in names),
        reruns=len(series),
        n=n,
        flips=float(flips.mean()),
        flips_low=interval.low,
        flips_high=interval.high,
        accuracy_low=min(accuracies),
        accuracy_high=max(accuracies),
        floor=max(max(map(abs, differences)), z * float(np.sqrt(share * effect / n))),
    )


def _attempts(table: Table, row: int) -> Iterator[np.ndarray]:
    """Right or wrong by sample for each attempt of a run, NaN where there is no answer."""
    for attempt in np.unique(table.attempt).tolist():
        answers = np.full(table.sample.max() + 1, np.nan)
        mine = table.attempt == attempt
        answers[table.sample[mine]] = table.right[row][mine]
        if not np.isnan(answers).all():
            yield answers


def _cluster_of_samples(table: Table) -> Codes:
    clusters = np.zeros(table.sample.max() + 1, dtype=np.int64)
    clusters[table.sample] = table.cluster
    return clusters
