"""What a reader has to know of a comparison before its figures, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zoomgap.compare.rows import NoiseFloor
from zoomgap.compare.table import RunData, Table


def notes_on(table: Table, floors: Sequence[NoiseFloor]) -> tuple[str, ...]:
    """Runs that are not whole, what the set cannot tell, and how much asking again changes."""
    return (*_of_runs(table.runs), *_of_set(table), *(_of_floor(table, floor) for floor in floors))


def _of_runs(runs: Sequence[RunData]) -> Iterator[str]:
    if len(runs) == 1:
        yield "one run alone: nothing is compared, its own figures are below"
    for run in runs:
        name = f"{run.label} ({run.id})"
        if run.asked is not None and len(run.results) < run.asked:
            yield f"{name} has {len(run.results):,} of the {run.asked:,} answers that the benchmark asks for"
        latest = max(run.invocations, key=lambda one: one.started, default=None)
        if latest is not None and latest.seconds is None:
            yield f"{name} is still going, or was killed: a command on it has not ended"


def _of_set(table: Table) -> Iterator[str]:
    missing = int(np.isnan(table.octave).sum())
    if missing == table.octave.size:
        yield "the benchmark has no evidence boxes: there is no acuity, and no verdict by size"
    elif missing:
        yield f"{missing:,} of {table.octave.size:,} answers have no evidence boxes and are in no figure by size"
    if missing < table.octave.size and not table.tight.any():
        yield "the benchmark's evidence boxes are regions, not tight: there is no acuity"


def _of_floor(table: Table, floor: NoiseFloor) -> str:
    label = next(run.label for run in table.runs if run.id == floor.runs[0])
    return (
        f"noise floor of {label}, asked {floor.reruns} times with other {' and '.join(floor.differ) or 'luck'}: "
        f"{floor.flips:.1%} of {floor.n:,} verdicts flip ({floor.flips_low:.1%} to {floor.flips_high:.1%}), accuracy "
        f"{floor.accuracy_low:.1%} to {floor.accuracy_high:.1%}; differences under {floor.floor * 100:.1f} points are "
        "what asking again brings"
    )
