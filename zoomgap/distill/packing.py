"""Several conversations about one image in one row: a shared prefix and branches that do not see one another.

Encoding the image is the dear part of a training step, so many questions are asked of it at once. A branch's tokens
attend to the prefix and to their own branch, and count positions from the prefix's end: for each branch the result is
the same as that of its conversation alone (tests/distill/test_packing.py). Short rows share a line of the batch
without seeing one another, so that little of it is padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORE = -100
"""Label of a token on which the loss does not count."""


@dataclass(frozen=True, slots=True)
class Markers:
    """Token ids around an image."""

    start: int
    pad: int
    end: int


class Look(NamedTuple):
    """Where a token should look: its place and those of the image tokens that show what it speaks of.

    naming: it names the thing, else it is about to say something of it. box: where that is in the image, xyxy in 0..1,
    where a place is about to be said.
    """

    at: int
    cells: tuple[int, ...]
    naming: bool
    box: tuple[float, float, float, float] | None = None


@dataclass
class Row:
    """One packed row being built. images: indices into the batch's images, in the order of their placeholders."""

    markers: Markers
    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    positions: list[tuple[int, int, int]] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    branch: int = 0
    next_position: int = 0
    prefix_end: int = 0

    def begin_branch(self) -> None:
        """End the prefix (the first time) or the last branch; positions go back to the prefix's end."""
        if self.branch == 0:
            self.prefix_end = self.next_position
        self.branch += 1
        self.next_position = self.prefix_end

    def text(self, ids: list[int], learn: bool = False) -> None:
        """Append text tokens; with `learn` the loss counts on them."""
        for token in ids:
            position = self.next_position
            self._append(token, token if learn else IGNORE, (position, position, position))
            self.next_position += 1

    def image(self, index: int, rows: int, columns: int) -> int:
        """Append an image of rows x columns merged tokens, with its markers, positioned as Qwen3-VL does.

        Returns the place of its first token.
        """
        self.text([self.markers.start])
        base, first = self.next_position, len(self.ids)
        for y in range(rows):
            for x in range(columns):
                self._append(self.markers.pad, IGNORE, (base, base + y, base + x))
        self.next_position = base + max(rows, columns)
        self.images.append(index)
        self.text([self.markers.end])
        return first

    def _append(self, token: int, label: int, position: tuple[int, int, int]) -> None:
        self.ids.append(token)
        self.labels.append(label)
        self.branches.append(self.branch)
        self.positions.append(position)


class Looks(NamedTuple):
    """The looks of a batch. line, at, naming: [n]; cells: bool [n, T], the image tokens that each should look at;
    boxes: [n, 4], NaN where no place is said."""

    line: NDArray[np.int64]
    at: NDArray[np.int64]
    naming: NDArray[np.bool_]
    cells: NDArray[np.bool_]
    boxes: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of B lines of T tokens, each of one row or more, right-padded.

    ids, labels, branches, owners: [B, T] int64 (owner: number of the row within its line, -1 is padding); positions:
    [3, B, T]. labels[b, t] is the token to be predicted AFTER position t, or IGNORE. images: image index of each
    placeholder run, lines in order.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    branches: NDArray[np.int64]
    owners: NDArray[np.int64]
    positions: NDArray[np.int64]
    images: list[int]
    looks: Looks


def pack(rows: Sequence[Row], pad: int) -> Packed:
    """Lay rows into lines as long as the longest row and shift labels to where they are predicted, within a branch."""
    lines = fill([len(row.ids) for row in rows])
    length = max(sum(len(rows[k].ids) for k in line) for line in lines)
    shape = (len(lines), length)
    ids, labels = np.full(shape, pad, np.int64), np.full(shape, IGNORE, np.int64)
    branches, owners = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    positions = np.zeros((3, *shape), np.int64)
    images: list[int] = []
    looks: list[tuple[int, int, Look]] = []
    for b, line in enumerate(lines):
        start = 0
        for owner, row in enumerate(rows[k] for k in line):
            end = start + len(row.ids)
            ids[b, start:end] = row.ids
            branches[b, start:end] = row.branches
            owners[b, start:end] = owner
            positions[:, b, start:end] = np.array(row.positions).T
            same = np.diff(row.branches) == 0
            labels[b, start : end - 1] = np.where(same, row.labels[1:], IGNORE)
            images += row.images
            looks += [(b, start, look) for look in row.looks]
            start = end
    return Packed(ids, labels, branches, owners, positions, images, _looks(looks, length))


def fill(lengths: Sequence[int]) -> list[list[int]]:
    """Indices of `lengths` in lines no longer than the longest (first fit, the longest first)."""
    limit = max(lengths)
    lines: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda k: -lengths[k]):
        line = next((k for k, free in enumerate(room) if free >= lengths[index]), None)
        if line is None:
            line = len(lines)
            lines.append([])
            room.append(limit)
        lines[line].append(index)
        room[line] -= lengths[index]
    return lines


def _looks(looks: Sequence[tuple[int, int, Look]], length: int) -> Looks:
    cells = np.zeros((len(looks), length), np.bool_)
    for k, (_, start, look) in enumerate(looks):
        cells[k, np.array(look.cells) + start] = True
    return Looks(
        np.array([line for line, _, _ in looks], np.int64),
        np.array([start + look.at for _, start, look in looks], np.int64),
        np.array([look.naming for _, _, look in looks], np.bool_),
        cells,
        np.array([look.box or (np.nan,) * 4 for _, _, look in looks], np.float32).reshape(-1, 4),
    )


def allowed(branches: Tensor, owners: Tensor) -> Tensor:
    """Which key each query may see. branches, owners: [B, T] -> bool [B, T, T]."""
    query, key = branches[:, :, None], branches[:, None, :]
    causal = torch.ones(branches.shape[1], branches.shape[1], dtype=torch.bool, device=branches.device).tril()
    return causal & (owners[:, :, None] == owners[:, None, :]) & ((key == query) | (key == 0))


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention mask of allowed(): [B, T, T] -> [B, 1, T, T], 0 where allowed."""
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)[:, None]


def run_packed(model: Any, packed: Packed, images: Tensor, deepstack: Sequence[Tensor] = ()) -> tuple[Tensor, Tensor]:
    """Hidden states of the packed lines, [B, T, H], and which key each query may see, bool [B, T, T].

    model: a Qwen3-VL. images: merged tokens of the images in the order of `packed.images`, [cells of all, H];
    deepstack: the same of its deepstack layers.
    """
    device = model.device
    ids, branches, owners, positions = (
        torch.from_numpy(part).to(device) for part in (packed.ids, packed.branches, packed.owners, packed.positions)
    )
    language = model.model.language_model
    placeholders = ids == model.config.image_token_id
    embeds = language.embed_tokens(ids)
    embeds = embeds.masked_scatter(placeholders[..., None], images.to(embeds.dtype))
    seen = allowed(branches, owners)
    layers = {"visual_pos_masks": placeholders, "deepstack_visual_embeds": list(deepstack)} if deepstack else {}
    out = language(
        inputs_embeds=embeds,
        attention_mask=additive(seen, embeds.dtype),
        position_ids=positions,
        use_cache=False,
        **layers,
    )
    return out.last_hidden_state, seen
