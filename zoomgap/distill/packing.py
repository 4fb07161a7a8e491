"""Several conversations about one image in one row: a shared prefix and branches that do not see one another.

Encoding the image is the dear part of a training step, so many questions are asked of it at once. A branch's tokens
attend to the prefix and to their own branch, and count positions from the prefix's end: for each branch the result is
the same as that of its conversation alone (tests/distill/test_packing.py).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORE = -100


@dataclass(frozen=True, slots=True)
class Markers:
    """Token ids around an image."""

    start: int
    pad: int
    end: int


@dataclass
class Row:
    """One packed row being built. images: indices into the batch's images, in the order of their placeholders."""

    markers: Markers
    ids: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    positions: list[tuple[int, int, int]] = field(default_factory=list)
    images: list[int] = field(default_factory=list)
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

    def image(self, index: int, rows: int, columns: int) -> None:
        """Append an image of rows x columns merged tokens, with its markers, positioned as Qwen3-VL does."""
        self.text([self.markers.start])
        base = self.next_position
        for y in range(rows):
            for x in range(columns):
                self._append(self.markers.pad, IGNORE, (base, base + y, base + x))
        self.next_position = base + max(rows, columns)
        self.images.append(index)
        self.text([self.markers.end])

    def _append(self, token: int, label: int, position: tuple[int, int, int]) -> None:
        self.ids.append(token)
        self.labels.append(label)
        self.branches.append(self.branch)
        self.positions.append(position)


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch of rows, right-padded to T.

    ids, labels, branches: [B, T] int64 (branch -1 is padding); positions: [3, B, T]. labels[b, t] is the token to be
    predicted AFTER position t, or IGNORE. images: image index of each placeholder run, rows in order.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    branches: NDArray[np.int64]
    positions: NDArray[np.int64]
    images: list[int]


def pack(rows: list[Row], pad: int) -> Packed:
    """Pad rows to one length and shift labels so that each stands where it is predicted, within its own branch."""
    length = max(len(row.ids) for row in rows)
    shape = (len(rows), length)
    ids = np.full(shape, pad, np.int64)
    labels = np.full(shape, IGNORE, np.int64)
    branches = np.full(shape, -1, np.int64)
    positions = np.zeros((3, *shape), np.int64)
    for b, row in enumerate(rows):
        n = len(row.ids)
        ids[b, :n] = row.ids
        branches[b, :n] = row.branches
        positions[:, b, :n] = np.array(row.positions).T
        same = branches[b, 1:n] == branches[b, : n - 1]
        labels[b, : n - 1] = np.where(same, np.array(row.labels[1:]), IGNORE)
    return Packed(ids, labels, branches, positions, [index for row in rows for index in row.images])


def branch_mask(branches: Tensor, dtype: torch.dtype) -> Tensor:
    """Additive attention mask. branches: [B, T] (0 prefix, -1 padding) -> [B, 1, T, T], 0 where allowed."""
    query, key = branches[:, :, None], branches[:, None, :]
    causal = torch.ones(branches.shape[1], branches.shape[1], dtype=torch.bool, device=branches.device).tril()
    allowed = causal & ((key == query) | (key == 0))
    return torch.zeros(allowed.shape, dtype=dtype, device=branches.device).masked_fill(
        ~allowed, torch.finfo(dtype).min
    )[:, None]
