"""What a reader has to know of a comparison before its figures, a line each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from zoomgap.compare.rows import NoiseFloor
from zoomgap.compare.table import Table


def notes_on(table: Table, floors: Sequence[NoiseFloor]) -> tuple[str, ...]:
    """What the set cannot tell, and how much asking again changes."""
    alone = ("one run alone: nothing is compared, its own figures are below",) if len(table.runs) == 1 else ()
    return (*alone, *_of_set(table), *(_of_floor(table, floor) for floor in floors))


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
