"""Where the time of an answer goes: a sum of parts in ms, each read from a clock or fitted to a count.

The wall time of an answer is an exact sum. `view` (drawing the first images), `preprocess` (image preparation in the
model), `generated_tokens` (from the first token of each reply to its last) and `tool` (cutting crops) are read from
clocks; `rest` is what passes outside all of them and the model: the agent's graph, waiting. What is left is the time
until each reply begins. No clock splits that, so counts do: by least squares over all answers of one model in the
session it is so many ms a call (its text and all that is fixed) and so many ms an image token, neither negative. What
the fit leaves is `unsplit`, shown and not spread over the others. So the parts of a run add up to its mean time, and
the differences of two runs' parts to the difference of their means.

A clock that some answer lacks is used for none. Where no clock says when replies begin, generated tokens are a third
count. Where the answers of a model are few, or do not vary enough to tell calls from tokens (one call, one size),
neither is given and their time stays in `unsplit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoomgap.compare.stats import Array, Codes
from zoomgap.records import TimedAnswer

CAUSES = ("calls", "image_tokens", "generated_tokens", "view", "preprocess", "tool", "rest", "unsplit")
MIN_FIT = 10
"""Fewer answers of a model tell no costs."""
MIN_SPREAD = 0.005
"""Least ratio of the singular values of the counts, each divided by its mean: under it they go together."""

Weights = NDArray[np.float32]


class Clocks(NamedTuple):
    """Which clocks and counts every answer has. tokens: image tokens are told; else pixels stand in for them."""

    model: bool
    view: bool
    preprocess: bool
    first_byte: bool
    tool: bool
    tokens: bool
    generated: bool

    @property
    def counts(self) -> tuple[str, ...]:
        return ("calls", "image_tokens", *(("generated_tokens",) if self.generated and not self.first_byte else ()))


def clocks_of(answers: Sequence[TimedAnswer]) -> Clocks:
    """What is known of all these answers."""

    def known(name: str) -> bool:
        return all(getattr(answer, name) is not None for answer in answers)

    model = known("model_ms")
    return Clocks(
        model=model,
        view=known("view_ms"),
        preprocess=model and known("preprocess_ms"),
        first_byte=model and known("first_byte_ms"),
        tool=known("tool_ms"),
        tokens=known("image_tokens"),
        generated=known("completion_tokens"),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """n answers of one run. read: ms by cause, from clocks, each (n,). left: ms that counts have to split, (n,).
    counts: (n, k), one column for each of Clocks.counts. clusters: codes, (n,)."""

    read: Mapping[str, Array]
    left: Array
    counts: Array
    clusters: Codes


def measure(answers: Sequence[TimedAnswer], clocks: Clocks, clusters: Codes) -> Measured:
    """Clocks and counts of answers as arrays."""

    def column(name: str) -> Array:
        return np.array([getattr(answer, name) for answer in answers], dtype=float)

    read: dict[str, Array] = {}
    left = column("wall_ms")
    if clocks.tool:
        read["tool"] = column("tool_ms")
    if clocks.view:
        read["view"] = column("view_ms")
    if clocks.model and clocks.tool:
        read["rest"] = left - column("model_ms") - sum(read.values())
    if clocks.preprocess:
        read["preprocess"] = column("preprocess_ms")
    if clocks.first_byte:
        read["generated_tokens"] = column("model_ms") - column("first_byte_ms")
    for part in read.values():
        left = left - part
    images = column("image_tokens") if clocks.tokens else column("pixels_sent") / 1000
    columns = [column("turns"), images]
    if "generated_tokens" in clocks.counts:
        columns.append(column("completion_tokens"))
    return Measured(read, left, np.stack(columns, axis=1), clusters)


def separable(counts: Array) -> bool:
    """Whether costs of the counts (n, k) can be told apart."""
    means = counts.mean(axis=0)
    if len(counts) < MIN_FIT or (means <= 0).any():
        return False
    values = np.linalg.svd(counts / means, compute_uv=False)
    return bool(values[-1] > MIN_SPREAD * values[0])


def costs(measured: Sequence[Measured], weights: Weights) -> Array | None:
    """Ms of one of each count in each draw, (draws, k), fitted to all answers of one model; None where inseparable.

    Least squares with no cost negative. weights: (draws, clusters), how often each cluster counts.
    """
    counts = np.concatenate([part.counts for part in measured])
    if not separable(counts):
        return None
    left = np.concatenate([part.left for part in measured])
    clusters = np.concatenate([part.clusters for part in measured])
    scale = counts.mean(axis=0)
    scaled = counts / scale
    size, k = weights.shape[1], counts.shape[1]
    gram, moment = np.zeros((size, k, k)), np.zeros((size, k))
    np.add.at(gram, clusters, scaled[:, :, None] * scaled[:, None, :])
    np.add.at(moment, clusters, scaled * left[:, None])
    drawn = weights.astype(float)
    return least_squares(np.tensordot(drawn, gram, 1), drawn @ moment) / scale


def least_squares(gram: Array, moment: Array) -> Array:
    """Minimum of b'Gb - 2 m'b over b >= 0 for each G (draws, k, k) and m (draws, k); (draws, k).

    With few costs every set of them that may be positive is tried, which is exact.
    """
    draws, k = moment.shape
    best, loss = np.zeros((draws, k)), np.zeros(draws)
    for chosen in (list(s) for size in range(1, k + 1) for s in combinations(range(k), size)):
        inner = np.linalg.pinv(gram[:, chosen][:, :, chosen], hermitian=True)
        found = np.einsum("dij,dj->di", inner, moment[:, chosen])
        gained = -np.einsum("di,di->d", found, moment[:, chosen])
        better = (found >= 0).all(axis=1) & (gained < loss)
        loss = np.where(better, gained, loss)
        full = np.zeros((draws, k))
        full[:, chosen] = found
        best = np.where(better[:, None], full, best)
    return best


def parts(measured: Measured, clocks: Clocks, cost: Array | None, weights: Weights) -> dict[str, Array | None]:
    """Mean ms an answer of each of CAUSES in each draw, (draws,); None for what is neither read nor fitted.

    cost: of the run's model, (draws, k), from the same weights; None to leave unsplit what counts would split.
    """
    means = {name: weighted_means(values, measured.clusters, weights) for name, values in measured.read.items()}
    rest = weighted_means(measured.left, measured.clusters, weights)
    found: dict[str, Array | None] = {name: means.get(name) for name in CAUSES}
    if cost is not None:
        for place, name in enumerate(clocks.counts):
            share = weighted_means(measured.counts[:, place], measured.clusters, weights) * cost[:, place]
            found[name], rest = share, rest - share
    found["unsplit"] = rest
    return found


def weighted_means(values: Array, clusters: Codes, weights: Weights) -> Array:
    """Mean of the values in each draw, (draws,); NaN where a draw has none. In float64, so that parts add up."""
    size, drawn = weights.shape[1], weights.astype(float)
    sums = drawn @ np.bincount(clusters, weights=values, minlength=size)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums / (drawn @ np.bincount(clusters, minlength=size)))


def in_words(clocks: Clocks) -> str:
    """How the parts were found, for the reader of a report."""
    clock_words = {
        "view": "drawing the view",
        "preprocess": "preparing images",
        "first_byte": "generating tokens",
        "tool": "cutting crops",
    }
    read = [words for name, words in clock_words.items() if getattr(clocks, name)]
    if clocks.model and clocks.tool:
        read.append("the rest (outside these and the model)")
    images = "image tokens" if clocks.tokens else "pixels sent (the model tells no image tokens)"
    counted = " and ".join(["calls", images, *(["generated tokens"] if "generated_tokens" in clocks.counts else [])])
    inside = "" if clocks.preprocess else ", preparation inside the model among it"
    return (
        f"Read from clocks: {', '.join(read) or 'nothing'}. The other time{inside} is split over {counted} by least "
        "squares, one fit a model, no cost negative; what that leaves is unsplit. The parts add up to the mean."
    )
