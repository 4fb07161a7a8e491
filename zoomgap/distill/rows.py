"""Training batches of Qwen3-VL checkpoints: all questions about one view in one packed row.

The image, the dear part of a step, is encoded once for all of them; every answer has the same loss as in a conversation
of its own (tests/distill/test_rows.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from zoomgap.distill.dataset import View
from zoomgap.distill.encoding import Encoder, Losses, graded
from zoomgap.distill.guidance import cells_on, look_loss, watched
from zoomgap.distill.packing import IGNORE, Look, Markers, Packed, Row, pack, run_packed
from zoomgap.errors import UsageError
from zoomgap.geometry import Box, Frame, Size
from zoomgap.models.base import LoadImage


@dataclass(frozen=True, slots=True)
class RowBatch:
    """pixels, grids: the processor's tensors of the images, in the order in which the packed rows show them."""

    packed: Packed
    pixels: Tensor
    grids: Tensor


class RowEncoder(Encoder):
    """Views into packed rows, for checkpoints of the Qwen3-VL architecture.

    places: question id -> where the agent looked, pixels of the original. Where there are any, a model in training
    mode has a loss for looking elsewhere before it answers (guidance.look_loss).
    """

    packs = True
    places: Mapping[str, Box] = MappingProxyType({})

    def batch(self, views: Sequence[View]) -> RowBatch:
        """One row for each view, one branch for each of its items."""
        images = [self.processor.image_processor(self.view(view), return_tensors="pt") for view in views]
        frames = [self._frame(view) for view in views]
        with self._lock:
            rows = [
                self._row(view, index, frame, image["image_grid_thw"][0].tolist())
                for index, (view, frame, image) in enumerate(zip(views, frames, images, strict=True))
            ]
        packed = pack(rows, self.processor.tokenizer.pad_token_id)
        shown = [images[index] for index in packed.images]
        return RowBatch(
            packed,
            torch.cat([image["pixel_values"] for image in shown]),
            torch.cat([image["image_grid_thw"] for image in shown]),
        )

    def loss(self, model: Any, batch: RowBatch) -> Losses:
        """As Encoder.loss; items in the order of the packed rows."""
        seen = model.model.visual(batch.pixels.to(model.device), grid_thw=batch.grids.to(model.device))
        language, guided = model.model.language_model, model.training and bool(self.places)
        with watched(language) if guided else nullcontext() as watch:
            hidden, mask = run_packed(model, batch.packed, seen.pooler_output, seen.deepstack_features or ())
        lines, places = (batch.packed.labels != IGNORE).nonzero()
        owners = batch.packed.owners[lines, places], batch.packed.branches[lines, places]
        _, item = torch.unique(torch.stack([*map(torch.from_numpy, (lines, *owners))]), dim=1, return_inverse=True)
        targets = torch.from_numpy(batch.packed.labels[lines, places]).to(model.device)
        losses = graded(model.lm_head(hidden[lines, places]), targets, item.to(model.device))
        return losses if watch is None else losses._replace(looks=look_loss(language, watch, batch.packed.looks, mask))

    def _frame(self, view: View) -> Frame:
        """The part of the original that a view shows; a shifted one reaches beyond it."""
        shown, size = self.fitted(view.image)
        sx, sy = size.width / shown.width, size.height / shown.height
        left, up = view.shift[0] * sx, view.shift[1] * sy
        return Frame(0, Size(*shown.size), Box(left, up, left + size.width, up + size.height))

    def _row(self, view: View, index: int, frame: Frame, grid: Sequence[int]) -> Row:
        """grid: of the image in patches: time, height, width."""
        merge = self.processor.image_processor.merge_size
        row, first, prefix = None, 0, None
        for item in view.items:
            prompt, answer = self.texts(item)
            before, (start, mark, end), after = self._parted(prompt)
            if row is None:
                row, prefix = Row(Markers(start, mark, end)), before
                row.text(before)
                first = row.image(index, grid[1] // merge, grid[2] // merge)
            if before != prefix:
                raise UsageError(
                    "the chat template writes questions before the image: give one that writes them after it"
                )
            row.begin_branch()
            row.text(after)
            place = self.places.get(item.question)
            if place is not None and (cells := cells_on(frame, place)):
                row.looks.append(Look(len(row.ids) - 1, tuple(first + cell for cell in cells), naming=False))
            row.text(self.processor.tokenizer.encode(answer, add_special_tokens=False), learn=True)
        assert row is not None, "a view has at least one item"
        return row

    def _parted(self, prompt: str) -> tuple[list[int], list[int], list[int]]:
        """Tokens before the image's three marks, the marks, and those after them. Raises UsageError unless there is
        one image."""
        ids: list[int] = self.processor.tokenizer.encode(prompt)
        marks = [place for place, token in enumerate(ids) if token == self.processor.image_token_id]
        if len(marks) != 1:
            raise UsageError(f"a prompt has {len(marks)} image marks: an item has one, and none in its question")
        (at,) = marks
        return ids[: at - 1], ids[at - 1 : at + 2], ids[at + 2 :]


def encoder_for(
    model: Any, processor: Any, load_image: LoadImage, max_pixels: int, factor: int, suffix: bool
) -> Encoder:
    """The encoder that suits a checkpoint: packed rows for Qwen3-VL, one conversation an item for all others."""
    kind = RowEncoder if model.config.model_type == "qwen3_vl" else Encoder
    return kind(processor, load_image, max_pixels, factor, suffix)
