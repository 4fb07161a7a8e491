"""What a comparison says of an agent's zooms, as frozen records. Accuracies are shares; px are pixels of a picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Sighting = Literal["no zoom", "missed", "held"]
"""Whether the agent zoomed, and whether its crops held the evidence."""
ZoomVerdict = Literal["one zoom is enough", "more zooms are needed", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GapPart:
    """A difference of accuracies within one dimension or one bin of sizes."""

    name: str
    n: int
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The answers with one sighting. share: of all; accuracy, low, high: of the agent; region_accuracy: of the region
    arm on the same answers, None without such a run."""

    name: Sighting
    n: int
    share: float
    correct: int
    accuracy: float | None
    low: float
    high: float
    region_accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the agent lost against the region arm on the answers with one sighting, as a share of all answers.

    lost: answers that the region arm alone has right; won: that the agent alone has right; value = (lost - won) / n,
    None where there is no such answer, which adds nothing.
    """

    name: Sighting
    lost: int
    won: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DualPart:
    """The dual view of some answers. held: share of them whose crops held the evidence.

    difference, low, high: accuracy(region) - accuracy(agent), the sum of the three losses. Without a region run these
    are None and there are no losses.
    """

    name: str
    n: int
    held: float | None
    agent: float | None
    region: float | None
    difference: float | None
    low: float | None
    high: float | None
    losses: tuple[Loss, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dual:
    """Where one run of an agent loses answers: its crops miss the evidence, or hold it and it is misread.

    region: the region run that it is set against, None with the reason (there is none, or it is refused).
    n: answers with evidence boxes; unboxed: answers without,
    which are left out. kind: of the boxes. cover: share of a box that a crop must show to hold it.
    ways: share of the answers that zoomed whose crops held the evidence, by how strictly that is meant. view_px,
    crop_px: median side of the smallest evidence where it was held, in the full image and in the sharpest such crop.
    """

    run: str
    model: str
    region: str | None
    reason: str
    n: int
    unboxed: int
    kind: str
    cover: float
    groups: tuple[Group, ...]
    ways: Mapping[str, float]
    view_px: float | None
    crop_px: float | None
    overall: DualPart
    by_dimension: tuple[DualPart, ...]
    by_evidence: tuple[DualPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """The share of the answers that the agent solved which `run` solves too; None with the reason."""

    run: str | None
    n: int
    share: float | None
    low: float | None
    high: float | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An agent set against one control over the n answers that both gave.

    difference, low, high: accuracy(agent) - accuracy(control) = gain - harm. gain: share that the agent alone solved;
    harm: that the control alone solved; each with its bounds. refused: why no verdict may rest on them, or "".
    """

    arm: str
    run: str
    n: int
    difference: float | None
    low: float | None
    high: float | None
    gain: float | None
    gain_low: float
    gain_high: float
    harm: float | None
    harm_low: float
    harm_high: float
    survived: Survival
    by_dimension: tuple[GapPart, ...]
    by_evidence: tuple[GapPart, ...]
    refused: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoomCount:
    """The answers for which the agent zoomed so often. direct: accuracy of one glance on the same answers, None
    where there is none or it is refused."""

    zooms: int
    n: int
    share: float
    correct: int
    accuracy: float
    low: float
    high: float
    direct: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OneZoomCell:
    """accuracy(agent of one zoom) - accuracy(agent) in one dimension at one size; low and high are simultaneous."""

    dimension: str
    evidence_low: float | None
    evidence_high: float | None
    n: int
    difference: float | None
    low: float | None
    high: float | None
    verdict: ZoomVerdict
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """What zooming brought one run of an agent, against each control of its model that was run.

    schema: accuracy(direct-schema) - accuracy(direct), None unless both were run alike. rerun: the agent against
    itself.
    within_one: share of the answers that are right with at most one zoom; of_right: the same as a share of the right
    ones, None where none is right. one_zoom_run: the same agent with one zoom at most, None with the reason.
    """

    run: str
    model: str
    n: int
    controls: tuple[Control, ...]
    schema: GapPart | None
    rerun: Survival
    histogram: tuple[ZoomCount, ...]
    within_one: float | None
    of_right: float | None
    one_zoom_run: str | None
    one_zoom_reason: str
    one_zoom: tuple[OneZoomCell, ...]
