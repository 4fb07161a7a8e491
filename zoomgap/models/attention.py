"""What the tokens of an answer attend to: the rows of a checkpoint's attention that wrote them, by layer and head.

A token is written by the position before it, so those positions are read: for the first token the prompt's last one.
The whole matrix of attention is never formed: layers run as always, and for the rows asked for the model's own eager
attention is computed beside it, whatever it does there (soft caps, windows, sinks), one layer at a time.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from zoomgap.errors import ModelError
from zoomgap.records import Reply, Request

if TYPE_CHECKING:
    from torch import Tensor

    from zoomgap.models.local import LocalModel
    from zoomgap.models.reading import Prompt

NAME = "zoomgap_rows"
"""Under which our attention is known to transformers."""
SQUARE = frozenset({"gemma3", "internvl"})
"""Model types whose image of one tile becomes a square of tokens, row by row. That they lie so is tested, as it is for
image_grid_thw (the Qwen-VL family)."""


class Grid(NamedTuple):
    """The tokens of one image: rows x columns of equal cells that cover it, row by row."""

    rows: int
    columns: int


@dataclass(frozen=True, slots=True, eq=False)
class Attention:
    """What an answer attends to in the one image of its prompt.

    layers: those that have attention, counted from 0. heads: (layers, heads, cells), the attention of the answer's
    tokens, averaged over them; a head's cells sum to the part of its attention that goes to the image. tokens: of the
    answer.
    """

    layers: tuple[int, ...]
    grid: Grid
    heads: NDArray[np.float32]
    tokens: int


class UnknownGridError(ModelError):
    """Where in the image its tokens lie cannot be told."""


def read_attention(model: LocalModel, request: Request, ids: Sequence[int], skip: int = 0) -> Attention:
    """The attention of the tokens `ids` that answer a request with one image, the first `skip` of them left out.

    One pass, no batch. Raises UnknownGridError where the image's tokens make no grid over it, ModelError where the
    model's layers cannot be listened to, and for a request that does not fit the model.
    """
    if len(ids) <= skip:
        raise ModelError("the answer is empty")
    kept: dict[int, Tensor] = {}
    with _listening(model.model, len(ids) - skip, kept):
        # The last token writes nothing that is asked about.
        prompt = model.follow(request, ids[:-1])
    places = (prompt.inputs["input_ids"][0] == model.image_token).nonzero()[:, 0]
    grid = grid_of(model, prompt, len(places))
    if not kept:
        raise ModelError(f"{model.name}: no layer of this model goes through transformers' attention interface")
    layers = tuple(sorted(kept))
    heads = np.stack([kept[layer][:, places.to(kept[layer].device)].cpu().numpy() for layer in layers])
    return Attention(layers, grid, heads, len(ids) - skip)


def reply_attention(model: LocalModel, request: Request, reply: Reply) -> Attention:
    """Of what the model itself answered, its reasoning left out. Raises as read_attention."""
    return read_attention(model, request, *model.answer_ids(reply))


def grid_of(model: LocalModel, prompt: Prompt, tokens: int) -> Grid:
    """How the `tokens` of a prompt's one image lie over it. Raises UnknownGridError with the reason."""
    kind = str(model.model.config.model_type)
    grids = [image.grid for image in prompt.images if image.grid is not None] or [prompt.inputs.get("image_grid_thw")]
    if grids[0] is not None:
        if len(grids) != 1 or len(grids[0]) != 1:
            raise UnknownGridError("the prompt has not one image")
        merge = int(getattr(model.processor.image_processor, "merge_size", 1))
        _, height, width = grids[0][0].tolist()
        grid = Grid(height // merge, width // merge)
        if grid.rows * grid.columns != tokens:
            raise UnknownGridError(
                f"{tokens} image tokens of model type {kind} are no {grid.rows} x {grid.columns} grid"
            )
        return grid
    if kind not in SQUARE:
        raise UnknownGridError(f"where in the image the tokens of model type {kind} lie is not known")
    pixels = prompt.inputs.get("pixel_values")
    whole = len(pixels) == 1 if pixels is not None else [image.size is not None for image in prompt.images] == [True]
    side = math.isqrt(tokens)
    if not whole or side * side != tokens:
        raise UnknownGridError(
            f"the processor of model type {kind} cuts the image into tiles, whose tokens make no one grid over it"
        )
    return Grid(side, side)


@contextmanager
def _listening(model: Any, rows: int, kept: dict[int, Tensor]) -> Iterator[None]:
    """While it lasts, each text layer puts its heads' attention of the last `rows` positions, averaged over them, into
    `kept`: (heads, positions), by layer."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    text = model.get_decoder()
    configs = {id(part.config): part.config for part in text.modules() if hasattr(part, "config")}
    before = {key: config._attn_implementation for key, config in configs.items()}

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **options: Any) -> Any:
        eager = sys.modules[type(module).__module__].eager_attention_forward
        own = eager if before[id(module.config)] == "eager" else ALL_ATTENTION_FUNCTIONS["sdpa"]
        last = None if mask is None else mask[:, :, -rows:]
        # In full precision: a softmax rounded to bfloat16 has three digits.
        _, weights = eager(module, query[:, :, -rows:].float(), key.float(), value.float(), last, **options)
        kept[module.layer_idx] = weights[0].mean(1).float()
        return own(module, query, key, value, mask, **options)

    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)
    try:
        for config in configs.values():
            config._attn_implementation = NAME
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation = before[key]
