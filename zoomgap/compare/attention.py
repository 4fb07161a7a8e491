"""Attention enrichment: does the attention of an answer's tokens lie where the evidence is, more than elsewhere?

Enrichment is the evidence's share of the attention that goes to the image, over its share of the area. It is averaged
in logs, as ratios are, and set against a control: the same boxes moved to where other samples have their evidence. A
model that always looks at the middle, in a set whose evidence lies there, is enriched and no better than its control.
Layers are counted from 0, as transformers counts them. Cells are those of the grid of image tokens, row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoomgap.compare.stats import (
    FEW_CLUSTERS,
    Array,
    Codes,
    Mask,
    bootstrap_means,
    bootstrap_weights,
    cluster_sums,
    holm,
    percentiles,
)
from zoomgap.geometry import Box, Point, Size
from zoomgap.records import Verdict

FLOOR = 2.0**-10
"""Least enrichment that is told apart: attention of zero says nothing is read there, not that infinitely little is, and
one such sample would decide a mean of logs. How many were raised to it stands beside the mean."""
MAX_SHARE = 0.5
"""Of the area: what is larger can hardly be enriched, and a control of its size is mostly the evidence itself."""
CONTROLS = 8
"""Places that a sample's boxes are moved to."""
DRAWS = 2_000
FLIPS = 20_000
SIZES = ("small", "middle", "large")


def coverage(boxes: Sequence[Box], size: Size, rows: int, columns: int) -> Array:
    """Share of each cell of a rows x columns grid over an image of `size` that any of the boxes covers, flat.

    Exact: boxes in pixels of that image may overlap, cut cells, and stick out of the image.
    """
    scaled = [box.scaled(columns / size.width, rows / size.height).clamped(columns, rows) for box in boxes]
    xs = np.unique([*range(columns + 1), *(x for box in scaled for x in (box.x1, box.x2))])
    ys = np.unique([*range(rows + 1), *(y for box in scaled for y in (box.y1, box.y2))])
    inside = np.zeros((ys.size - 1, xs.size - 1), dtype=bool)
    for box in scaled:
        inside |= ((ys[:-1] >= box.y1) & (ys[1:] <= box.y2))[:, None] & ((xs[:-1] >= box.x1) & (xs[1:] <= box.x2))
    parts = np.diff(ys)[:, None] * np.diff(xs) * inside
    across = np.add.reduceat(parts, np.searchsorted(xs, np.arange(columns)), axis=1)
    return np.add.reduceat(across, np.searchsorted(ys, np.arange(rows)), axis=0).ravel()


def outline(boxes: Sequence[Box]) -> Box:
    """The smallest box around all."""
    return Box(
        min(box.x1 for box in boxes), min(box.y1 for box in boxes),
        max(box.x2 for box in boxes), max(box.y2 for box in boxes),
    )  # fmt: skip


def moved(boxes: Sequence[Box], size: Size, centre: Point) -> tuple[Box, ...]:
    """The boxes, moved together so that the middle of their outline lies at `centre` or as near to it as the image of
    `size` allows. centre: parts of width and height, 0 to 1."""
    around = outline(boxes)
    dx = min(max(centre.x * size.width - around.center.x, -around.x1), size.width - around.x2)
    dy = min(max(centre.y * size.height - around.center.y, -around.y1), size.height - around.y2)
    return tuple(box.shifted(dx, dy) for box in boxes)


def controls(boxes: Sequence[Box], size: Size, places: Sequence[Point], seed: Sequence[int]) -> list[tuple[Box, ...]]:
    """The boxes at CONTROLS of `places`, drawn by the seed; at all of them where there are fewer.

    Some overlap the boxes themselves. Leaving those out would send the control of what lies in the middle to the edge,
    and make 1.04 of 1 where all evidence lies there; kept in, they bring it nearer to 1.
    """
    drawn = np.random.default_rng(seed).permutation(len(places))[:CONTROLS]
    return [moved(boxes, size, places[index]) for index in drawn.tolist()]


def log_enrichment(attention: Array, cover: Array) -> Array:
    """Log of (share of the attention inside / share of the area inside), over the last axis: (..., cells) -> (...).

    At least log FLOOR; NaN where no attention goes to the image.
    """
    total = attention.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(total > 0, attention @ cover / total, np.nan)
    return np.log(np.maximum(shares / cover.mean(), FLOOR))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """Where one answer's attention went, by layer. px: side of the smallest evidence, pixels of the direct view.

    area: share of the image that the evidence covers. enrichment, control: logs, shape (layers,); control is the mean
    over the moved boxes, NaN without any. image: share of all attention that goes to the image, (layers,). heads: logs
    of enrichment, (layers, heads).
    """

    sample: str
    cluster: str
    px: float
    verdict: Verdict
    area: float
    enrichment: Array
    control: Array
    image: Array
    heads: Array


def look(
    attention: NDArray[np.float32],
    cover: Array,
    moved_covers: Sequence[Array],
    *,
    sample: str,
    cluster: str,
    px: float,
    verdict: Verdict,
) -> Look:
    """What is kept of one answer. attention: (layers, heads, cells), the mean over the answer's tokens of what each
    head gives to each image token; cover, moved_covers: of the evidence and of its controls, (cells,)."""
    heads = attention.astype(np.float64)
    layers = heads.mean(1)
    elsewhere = [log_enrichment(layers, cover) for cover in moved_covers]
    return Look(
        sample=sample,
        cluster=cluster,
        px=px,
        verdict=verdict,
        area=float(cover.mean()),
        enrichment=log_enrichment(layers, cover),
        control=np.mean(elsewhere, axis=0) if elsewhere else np.full(len(layers), np.nan),
        image=layers.sum(-1),
        heads=log_enrichment(heads, cover),
    )


class Figure(NamedTuple):
    """A mean over n answers with its 95% interval; None where there is nothing to tell it from."""

    n: int
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Answers of one kind in one layer. low_px, high_px: bounds of the evidence; None where it is no group by size."""

    name: str
    low_px: float | None
    high_px: float | None
    enrichment: Figure
    over_control: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One layer of one model. enrichment, control, over_control: geometric means.

    evidence_share: of the attention to the image, what the evidence gets; image_share: of all attention, what the image
    gets; both are means.
    best_head: the enrichment of the layer's best head, which was chosen on other samples than those it is measured on.
    floored: answers whose enrichment was raised to FLOOR. groups: by size of the evidence, and by verdict.
    """

    layer: int
    enrichment: Figure
    control: Figure
    over_control: Figure
    evidence_share: Figure
    image_share: Figure
    best_head: Figure
    floored: int
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model and the n answers that were measured. correct: of its own answers. skipped: samples left out, by
    reason. area: mean share of the evidence. layers: those that have attention, lowest first.
    """

    model: str
    weights: str
    dtype: str
    n: int
    correct: int
    area: float | None
    skipped: Mapping[str, int]
    layers: tuple[LayerRow, ...]

    @property
    def best(self) -> LayerRow | None:
        """The layer most enriched over its control, or where nothing has a control, the most enriched."""
        known = [row for row in self.layers if row.over_control.value is not None]
        if known:
            return max(known, key=lambda row: row.over_control.value or 0.0)
        return max(self.layers, key=lambda row: row.enrichment.value or 0.0, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairRow:
    """(enrichment over control of b) / (that of a) in one layer, over the samples that both answered.

    by_size: the same over small, middle and large evidence; none where there are no thirds. p_value: of "no difference"
    by sign flips of clusters; adjusted: by Holm over the layers of the pair.
    """

    a: str
    b: str
    layer: int
    ratio: Figure
    by_size: tuple[Figure, ...]
    p_value: float | None
    adjusted: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrichment:
    """Attention of one or more models over one benchmark. answers: `own` or `gold`, what was read by the models.

    n: samples asked for. refused: pairs of models that are not compared, and why.
    """

    bench: str
    answers: str
    seed: int
    n: int
    models: tuple[ModelRow, ...]
    pairs: tuple[PairRow, ...]
    refused: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values; every figure is n, value, low and high."""
        rest = {"draws": DRAWS, "controls": CONTROLS, "floor": FLOOR}
        return {**_plain(self), **rest}


def _plain(value: Any) -> Any:
    if isinstance(value, Figure):
        return value._asdict()
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return dict(value) if isinstance(value, Mapping) else value


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A model's looks, with what ModelRow says of it. layers: the number of each layer that has attention."""

    model: str
    weights: str
    dtype: str
    layers: tuple[int, ...]
    looks: Sequence[Look]
    skipped: Mapping[str, int]


class _Resamples(NamedTuple):
    """The clusters of all samples, and the one matrix of draws that every figure takes."""

    codes: Mapping[str, int]
    weights: NDArray[np.float32]

    def of(self, looks: Sequence[Look]) -> Codes:
        return np.array([self.codes[look.cluster] for look in looks], dtype=np.int64)


def enrichment(bench: str, measured: Sequence[Measured], *, answers: str, n: int, seed: int) -> Enrichment:
    """Figures of every model and layer, and each further model against the first."""
    names = dict.fromkeys(look.cluster for model in measured for look in model.looks)
    codes = {name: place for place, name in enumerate(names)}
    resamples = _Resamples(codes, bootstrap_weights(len(codes), DRAWS, seed))
    bounds = _thirds([look.px for look in measured[0].looks]) if measured else ()
    pairs: list[PairRow] = []
    refused: list[str] = []
    for other in measured[1:]:
        if other.layers == measured[0].layers:
            pairs += _pair(measured[0], other, resamples, bounds, seed)
        else:
            refused.append(
                f"{other.model} has attention in {len(other.layers)} layers and {measured[0].model} in "
                f"{len(measured[0].layers)}, or in others: layer by layer they cannot be compared"
            )
    return Enrichment(
        bench=bench,
        answers=answers,
        seed=seed,
        n=n,
        models=tuple(_model_row(model, resamples, bounds) for model in measured),
        pairs=tuple(pairs),
        refused=tuple(refused),
    )


def labels(models: Sequence[str]) -> dict[str, str]:
    """What to call models in print: the folder's own name where that tells them apart."""
    short = {model: model.removeprefix("hf:").rstrip("/").rpartition("/")[2] or model for model in models}
    return short if len(set(short.values())) == len(short) else {model: model for model in models}


def model_row(measured: Measured, seed: int) -> ModelRow:
    """One model alone, as `enrichment` has it."""
    return enrichment("", [measured], answers="", n=len(measured.looks), seed=seed).models[0]


def _model_row(measured: Measured, resamples: _Resamples, bounds: Sequence[float]) -> ModelRow:
    looks = measured.looks
    codes = resamples.of(looks)
    heads = _held_out_heads(looks, codes)
    return ModelRow(
        model=measured.model,
        weights=measured.weights,
        dtype=measured.dtype,
        n=len(looks),
        correct=sum(look.verdict == "correct" for look in looks),
        area=float(np.mean([look.area for look in looks])) if looks else None,
        skipped=measured.skipped,
        layers=tuple(
            _layer_row(place, layer, looks, codes, heads[:, place], resamples, bounds)
            for place, layer in enumerate(measured.layers)
            if looks
        ),
    )


def _layer_row(
    place: int,
    layer: int,
    looks: Sequence[Look],
    codes: Codes,
    heads: Array,
    resamples: _Resamples,
    bounds: Sequence[float],
) -> LayerRow:
    there = np.array([look.enrichment[place] for look in looks])
    elsewhere = np.array([look.control[place] for look in looks])
    image = np.array([look.image[place] for look in looks])
    area = np.array([look.area for look in looks])
    every = np.ones(len(looks), dtype=bool)

    def figure(values: Array, among: Mask = every) -> Figure:
        return _geometric(_mean(values, codes, resamples.weights, among))

    def group(name: str, among: Mask, low: float | None = None, high: float | None = None) -> Group:
        over = figure(there - elsewhere, among)
        return Group(name=name, low_px=low, high_px=high, enrichment=figure(there, among), over_control=over)

    sizes = np.array([look.px for look in looks])
    right = np.array([look.verdict == "correct" for look in looks])
    by_size = [
        group(name, (sizes >= low) & (sizes < high), low, high if np.isfinite(high) else float(sizes.max()))
        for name, (low, high) in zip(SIZES, pairwise(bounds), strict=False)
    ]
    return LayerRow(
        layer=layer,
        enrichment=figure(there),
        control=figure(elsewhere),
        over_control=figure(there - elsewhere),
        evidence_share=_mean(np.exp(there) * area, codes, resamples.weights, every),
        image_share=_mean(image, codes, resamples.weights, every),
        best_head=figure(heads),
        floored=int((there <= np.log(FLOOR)).sum()),
        groups=(*by_size, group("right", right), group("wrong", ~right)),
    )


def _thirds(sizes: Sequence[float]) -> tuple[float, ...]:
    """Bounds of three groups of nearly as many each, the last one open; none where the sizes do not make three."""
    if not sizes:
        return ()
    low, first, second = np.quantile(sizes, [0, 1 / 3, 2 / 3]).tolist()
    return (low, first, second, float("inf")) if low < first < second else ()


def _mean(values: Array, codes: Codes, weights: NDArray[np.float32], among: Mask) -> Figure:
    """Mean of what is known, with a cluster bootstrap interval; under FEW_CLUSTERS clusters without one."""
    known = among & np.isfinite(values)
    if not known.any():
        return Figure(0)
    values, codes = values[known], codes[known]
    mean = float(values.mean())
    if np.unique(codes).size < FEW_CLUSTERS:
        return Figure(values.size, mean)
    return Figure(values.size, mean, *percentiles(bootstrap_means(values, codes, weights)))


def _geometric(logs: Figure) -> Figure:
    return Figure(logs.n, *(None if part is None else float(np.exp(part)) for part in logs[1:]))


def _held_out_heads(looks: Sequence[Look], codes: Codes) -> Array:
    """For each answer and layer the log enrichment of the head that is best on the other half, (answers, layers).

    Halves are the even and the odd clusters. A head chosen and measured on the same samples would look better than it
    is. NaN where the other half is empty.
    """
    if not looks:
        return np.zeros((0, 0))
    heads = np.stack([look.heads for look in looks])
    found = np.full(heads.shape[:2], np.nan)
    for half in (0, 1):
        mine, other = codes % 2 == half, codes % 2 != half
        if not mine.any() or not other.any():
            continue
        # A head that saw the image in no answer of the half is never the best.
        means = np.where(np.isfinite(heads[other]), heads[other], np.log(FLOOR)).mean(0)
        found[mine] = np.take_along_axis(heads[mine], means.argmax(-1)[None, :, None], axis=2)[..., 0]
    return found


def _over_control(look: Look) -> Array:
    """Log of enrichment over control, (layers,)."""
    return look.enrichment - look.control


def _pair(a: Measured, b: Measured, resamples: _Resamples, bounds: Sequence[float], seed: int) -> list[PairRow]:
    theirs = {look.sample: look for look in b.looks}
    both = [(look, theirs[look.sample]) for look in a.looks if look.sample in theirs]
    codes = resamples.of([look for look, _ in both])
    sizes = np.array([look.px for look, _ in both])
    groups = [(sizes >= low) & (sizes < high) for low, high in pairwise(bounds)]
    rows = []
    for place, layer in enumerate(a.layers):
        values = np.array([_over_control(y)[place] - _over_control(x)[place] for x, y in both])
        known = np.isfinite(values)
        ratio, *by_size = (_geometric(_mean(values, codes, resamples.weights, among)) for among in (known, *groups))
        p_value = None if ratio.low is None else flip_p(values[known], codes[known], seed)
        rows.append(
            PairRow(
                a=a.model, b=b.model, layer=layer, ratio=ratio, by_size=tuple(by_size), p_value=p_value, adjusted=None
            )
        )
    tested = [row for row in rows if row.p_value is not None]
    adjusted = dict(zip((row.layer for row in tested), holm([row.p_value or 0.0 for row in tested]), strict=True))
    return [replace(row, adjusted=adjusted.get(row.layer)) for row in rows]


def flip_p(values: Array, clusters: Codes, seed: int) -> float:
    """Two-sided p of "the mean is 0": the sign of each cluster's sum is flipped by a fair coin, FLIPS times.

    The observed signs count as one of the draws, so that p is never 0 and the level holds exactly.
    """
    sums = cluster_sums(values, clusters, int(clusters.max()) + 1)
    sums = sums[sums != 0]
    rng = np.random.default_rng(seed)
    extreme = 0
    for _ in range(0, FLIPS, 1000):
        signs = rng.integers(0, 2, (1000, sums.size), dtype=np.int8)
        totals = 2 * (signs @ sums) - sums.sum()
        extreme += int((np.abs(totals) >= abs(sums.sum()) * (1 - 1e-12)).sum())
    return (extreme + 1) / (FLIPS + 1)
