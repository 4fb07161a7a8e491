"""The dual view of an agent: do its crops hold the evidence, and if so, is it read?

Let r be 1 where the region arm is right (it is shown the evidence: the upper bound of reading) and a be 1 where the
agent is, over the n answers that both gave and whose evidence boxes are known. Each answer has one of three sightings:
the agent did not zoom, its crops missed the evidence, or they held it. Then

    accuracy(region) - accuracy(agent) = no-zoom loss + localisation loss + recognition loss,

    no-zoom loss      = sum over answers without a zoom of (r - a), / n
    localisation loss = the same over answers whose crops missed the evidence
    recognition loss  = the same over answers whose crops held it.

The terms add up exactly, each is a mean over all n answers, and each is paired within its own answers, so that hard
questions among the misses do not count as a loss of finding. What the agent alone has right counts against a loss
(`won`); a loss can be negative: the full image beside the crop can help. The split is an account of where answers were
lost and not an experiment: the agent chose where to look. Recognition is what remains to be lost once the evidence was
in view, be it read badly, asked badly or drowned in other pictures.

A crop holds a box when it shows at least COVER of its area, shows only a part of the image, and shows it no smaller
than the full image does; evidence of several boxes is held when each box is, by whatever crop.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from zoomgap.compare.agent_rows import Dual, DualPart, Group, Loss, Sighting
from zoomgap.compare.matching import counterpart
from zoomgap.compare.protocol import refusal
from zoomgap.compare.rows import Settings
from zoomgap.compare.stats import Array, Difference, Mask, Resamples, accuracy_interval, paired_difference
from zoomgap.compare.table import RunData, Table
from zoomgap.compare.verdicts import Bin
from zoomgap.geometry import Box, Frame, Size

COVER = 0.9
"""Share of a box's area that a crop has to show: boxes and crops are whole pixels, and annotators leave a margin."""
SIGHTINGS: tuple[Sighting, ...] = ("no zoom", "missed", "held")
NO_BOXES = "no dual view: these samples have no evidence boxes, so nobody knows whether a crop held the evidence"
NO_REGION = "no region run of this model: without the upper bound of reading there is no loss to split"


class Sight(NamedTuple):
    """What an agent's crops showed of a sample's evidence.

    every: each box in some crop; one: one crop with all boxes; last: the last crop with all boxes; smallest: the
    smallest box in some crop. px: side of the smallest box in the crop that shows it largest, 0 where none holds it.
    """

    every: bool
    one: bool
    last: bool
    smallest: bool
    px: float


def sight(crops: Sequence[Frame], evidence: Sequence[Box], size: Size, scale: float) -> Sight:
    """crops: as shown, in order. evidence: one box or more, and the image's `size`, in pixels of the original.

    scale: pixels of the full image as shown for one of the original.
    """
    whole = size.pixels
    seen = [(crop, _magnification(crop)) for crop in crops]
    useful = [(crop, zoom) for crop, zoom in seen if crop.box.area < whole and zoom >= scale * 0.999]
    # Plain Python: a set has up to millions of these, of a few crops and boxes each.
    held = [[crop.box.covers(box) >= COVER for box in evidence] for crop, _ in useful]
    small = min(range(len(evidence)), key=lambda i: evidence[i].area)
    side = evidence[small].side
    return Sight(
        every=all(any(row[i] for row in held) for i in range(len(evidence))),
        one=any(all(row) for row in held),
        last=bool(held) and useful[-1][0] is crops[-1] and all(held[-1]),
        smallest=any(row[small] for row in held),
        px=max((zoom * side for (_, zoom), row in zip(useful, held, strict=True) if row[small]), default=0.0),
    )


def _magnification(crop: Frame) -> float:
    """Pixels of the crop for one of the original, geometric mean of both sides."""
    area = crop.box.area
    return math.sqrt(crop.size.pixels / area) if area else 0.0


class Views(NamedTuple):
    """One run's answers, by column of the table.

    code: index into SIGHTINGS, -1 without evidence boxes or without an answer; sights: of those that zoomed; view_px:
    side of the smallest evidence in the full image.
    """

    code: np.ndarray
    sights: Mapping[int, Sight]
    view_px: Array


def views(table: Table, run: RunData) -> Views:
    """What each answer of an agent saw."""
    code = np.full(table.octave.size, -1, dtype=np.int8)
    view_px = np.full(table.octave.size, np.nan)
    sights: dict[int, Sight] = {}
    for result in run.results:
        sample = result.sample
        if result.verdict == "error" or not sample.evidence:
            continue
        column = table.column[sample.id, result.attempt]
        view_px[column] = result.evidence_px
        crops = run.crops.get((sample.id, result.attempt), ())
        if crops:
            sights[column] = sight(crops, sample.evidence, sample.size, result.scale)
        code[column] = 0 if not crops else 2 if sights[column].every else 1
    return Views(code, sights, view_px)


def dual_views(table: Table, bins: Sequence[Bin], weights: Resamples, settings: Settings) -> tuple[Dual, ...]:
    """One for each run of the arm `agent`."""
    return tuple(_dual(table, run, bins, weights, settings) for run in table.runs if run.spec.arm == "agent")


def _dual(table: Table, run: RunData, bins: Sequence[Bin], weights: Resamples, settings: Settings) -> Dual:
    row, seen = table.row(run), views(table, run)
    region = counterpart(table.runs, run, "region")
    faulty = refusal(table, (row, table.row(region)), settings) if region else ""
    if faulty:
        region = None
    answered = table.shared(row) if region is None else table.shared(row, table.row(region))
    known = answered & (seen.code >= 0)
    n = int(known.sum())
    agent_right = table.right[row]
    region_right = None if region is None else table.right[table.row(region)]
    places = [("all answers", known)]
    places += [(name, known & (table.dimension == name)) for name in table.dimensions]
    # Bins without a size are those of a set without evidence, of which nothing is known here.
    places += [(span.name, known & span.mask) for span in bins if span.low is not None]
    parts = [_part(table, seen.code, agent_right, region_right, *place, weights, settings) for place in places]
    kinds = {table.samples[k].evidence_kind or "unnamed" for k in np.flatnonzero(known)}
    cut = 1 + len(table.dimensions)
    zoomed = [s for k, s in seen.sights.items() if known[k]]
    held = [(seen.view_px[k], s.px) for k, s in seen.sights.items() if known[k] and s.every]
    return Dual(
        run=run.id,
        model=run.spec.model,
        region=None if region is None else region.id,
        reason=NO_BOXES if not n else f"no losses: {faulty}" if faulty else NO_REGION if region is None else "",
        n=n,
        unboxed=int((answered & (seen.code < 0)).sum()),
        kind=" and ".join(sorted(kinds)),
        cover=COVER,
        groups=_groups(table, seen.code, known, agent_right, region_right, settings) if n else (),
        ways=_ways(zoomed),
        view_px=float(np.median([view for view, _ in held])) if held else None,
        crop_px=float(np.median([crop for _, crop in held])) if held else None,
        overall=parts[0],
        by_dimension=tuple(parts[1:cut]),
        by_evidence=tuple(parts[cut:]),
    )


def _ways(sights: Sequence[Sight]) -> dict[str, float]:
    """Share of the answers that zoomed by how strictly `held` is meant."""
    if not sights:
        return {}
    return {
        "each box in some crop": float(np.mean([s.every for s in sights])),
        "all boxes in one crop": float(np.mean([s.one for s in sights])),
        "all boxes in the last crop": float(np.mean([s.last for s in sights])),
        "the smallest box in some crop": float(np.mean([s.smallest for s in sights])),
    }


def _groups(
    table: Table, code: np.ndarray, known: Mask, agent: Array, region: Array | None, settings: Settings
) -> tuple[Group, ...]:
    groups = []
    for index, name in enumerate(SIGHTINGS):
        mask = known & (code == index)
        n = int(mask.sum())
        interval = accuracy_interval(agent[mask], table.cluster[mask], settings.confidence)
        groups.append(
            Group(
                name=name,
                n=n,
                share=n / int(known.sum()),
                correct=int(agent[mask].sum()),
                accuracy=float(agent[mask].mean()) if n else None,
                low=interval.low,
                high=interval.high,
                region_accuracy=float(region[mask].mean()) if n and region is not None else None,
            )
        )
    return tuple(groups)


def _part(
    table: Table,
    code: np.ndarray,
    agent: Array,
    region: Array | None,
    name: str,
    mask: Mask,
    weights: Resamples,
    settings: Settings,
) -> DualPart:
    """The dual view of the answers in `mask`."""
    n, seen, right = int(mask.sum()), code[mask], agent[mask]
    best = None if region is None else region[mask]

    def lead(among: Mask) -> Difference:
        """Of the region arm, as far as it comes from some of these answers: a mean over all of them."""
        assert best is not None
        return paired_difference(best * among, right * among, table.cluster[mask], weights, settings.confidence)

    whole, losses = Difference(n, None, None, None), []
    if best is not None:
        whole = lead(np.ones(n, dtype=bool))
        for index, sighting in enumerate(SIGHTINGS):
            among = seen == index
            figure = lead(among) if among.any() else Difference(0, None, None, None)
            losses.append(
                Loss(
                    name=sighting,
                    lost=int((among & (best > right)).sum()),
                    won=int((among & (best < right)).sum()),
                    value=figure.difference,
                    low=figure.low,
                    high=figure.high,
                )
            )
    return DualPart(
        name=name,
        n=n,
        held=float((seen == SIGHTINGS.index("held")).mean()) if n else None,
        agent=float(right.mean()) if n else None,
        region=float(best.mean()) if n and best is not None else None,
        difference=whole.difference,
        low=whole.low,
        high=whole.high,
        losses=tuple(losses),
    )
