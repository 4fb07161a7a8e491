"""How many samples a comparison needs, and which plan was there before the first answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zoomgap.compare.rows import Settings
from zoomgap.compare.stats import (
    design_effect,
    samples_for_difference,
    samples_for_equivalence,
    samples_for_noninferiority,
)
from zoomgap.compare.table import RunData, make_table
from zoomgap.compare.verdicts import RULES
from zoomgap.errors import UsageError
from zoomgap.records import Plan

DISCORDANCE = 0.2
"""Share of answers on which a glance and an agent differ, where no pilot tells it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pilot:
    """What two runs tell of a pair: n shared answers, the share on which they differ, the effect of clusters."""

    n: int
    discordance: float
    design_effect: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Samples that a comparison needs. margin: difference to find, and margin of equivalence.

    difference: to find a true difference of the margin. equivalence: to show two equal arms equivalent. cell: for one
    verdict of `cells` that hold together; in_all: cell x cells.
    """

    margin: float
    power: float
    level: float
    discordance: float
    design_effect: float
    pilot_n: int | None
    difference: int
    equivalence: int
    cells: int
    cell: int
    in_all: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def pilot_of(a: RunData, b: RunData) -> Pilot:
    """Raises UsageError for runs that cannot be compared or share under two answers."""
    table = make_table([a, b])
    shared = table.shared(0, 1)
    if shared.sum() < 2:
        raise UsageError(f"runs {a.id} and {b.id} share {shared.sum()} answers: a pilot needs two at least")
    differences = (table.right[0] - table.right[1])[shared]
    share = (float(abs(differences).sum()) + 1) / (differences.size + 2)
    return Pilot(n=differences.size, discordance=share, design_effect=design_effect(differences, table.cluster[shared]))


def needed(
    margin: float,
    pilot: Pilot | None = None,
    *,
    power: float = 0.8,
    level: float = 0.05,
    discordance: float = DISCORDANCE,
    cluster_size: float = 1.0,
    icc: float = 1.0,
    cells: int = 18,
) -> Needed:
    """Samples for a difference, for equivalence and for the cells of a verdict table.

    discordance: share of answers that only one of two arms gets right; a pilot tells it, and the design effect, which
    else is 1 + (cluster_size - 1) icc (Kish). icc: correlation of the differences within a cluster. Raises UsageError
    for a number out of its range.
    """
    share = pilot.discordance if pilot else discordance
    effect = pilot.design_effect if pilot else 1 + (cluster_size - 1) * icc
    _check({"margin": margin, "power": power, "level": level, "discordance": share}, cluster_size, icc, cells)
    if margin >= share:
        raise UsageError(
            f"two arms that differ on {share:.1%} of the answers cannot differ by {margin:.1%} in accuracy: "
            "give a smaller --margin or a larger --discordance"
        )
    tail = level / (RULES * cells)
    bound = samples_for_noninferiority(margin, share, effect, power, tail)
    cell = max(bound, Settings().min_cell)
    return Needed(
        margin=margin,
        power=power,
        level=level,
        discordance=share,
        design_effect=effect,
        pilot_n=pilot.n if pilot else None,
        difference=samples_for_difference(margin, share, effect, power, level),
        equivalence=samples_for_equivalence(margin, share, effect, power, level),
        cells=cells,
        cell=cell,
        in_all=cell * cells,
    )


def _check(shares: Mapping[str, float], cluster_size: float, icc: float, cells: int) -> None:
    for name, value in shares.items():
        if not 0 < value < 1:
            raise UsageError(f"{name} {value:g} is no share: give a number between 0 and 1")
    if shares["power"] <= shares["level"]:
        raise UsageError(
            f"power {shares['power']:g} is no more than the level {shares['level']:g}, which a test has where nothing "
            "differs: give more"
        )
    if not 0 <= icc <= 1:
        raise UsageError(f"icc {icc:g} is no correlation of likes: give a number from 0 to 1")
    if not 1 <= cluster_size < math.inf:
        raise UsageError(f"clusters of {cluster_size:g} answers do not exist: give 1 or more")
    if cells < 1:
        raise UsageError(f"a table of {cells} cells has no verdict: give 1 or more")


def plan_before(plans: Sequence[Plan], runs: Sequence[RunData]) -> Plan | None:
    """The newest plan that is no younger than the first answer of any run, to the second; None where there is none.

    A run whose invocations are not known has no first answer to be older than.
    """
    starts = [min((one.started[:19] for one in run.invocations), default="") for run in runs]
    return next((plan for plan in reversed(plans) if plan.created[:19] <= min(starts)), None)


def margin_told(margin: float, plan: Plan | None) -> str:
    """Where the margin comes from."""
    if plan is None:
        return f"margin {margin:g}, the default: it was not fixed before the first answer (zoomgap plan --save)"
    return f"margin {margin:g}, fixed on {plan.created[:10]} before the first answer"
