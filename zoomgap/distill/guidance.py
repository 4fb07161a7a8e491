"""A training aid: some attention heads of the language part are told where to look.

Until a word finds the image tokens that show what it names, nothing can be learned of that thing; left alone, this
takes longer than all else. The procedural benchmark knows where everything is, so one head of each key-value group is
given the place: at NAMING_LAYER for the word that names a thing, at SAYING_LAYER for the token before what is said of
it. The loss is minus the log of the attention that falls on the thing. Where a box is about to be said, a linear head
has to read it from what was found. Nothing of this is in the checkpoint.

A student is guided too, at SAYING_LAYER, by where the agent looked (distill/rows.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoomgap.distill.packing import Looks
from zoomgap.geometry import Box, Frame

NAMING_LAYER, SAYING_LAYER = 1, 2


def cells_on(frame: Frame, box: Box) -> tuple[int, ...]:
    """Merged tokens of a frame that show `box` (pixels of the original); none where its centre lies outside."""
    rows, columns = frame.size.height // 32, frame.size.width // 32
    inner = frame.from_original(box)
    center = inner.center
    if not (0 <= center.x < frame.size.width and 0 <= center.y < frame.size.height):
        return ()
    home = int(center.y // 32) * columns + int(center.x // 32)
    found = {home}
    for y in range(max(0, int(inner.y1 // 32)), min(rows, int(inner.y2 // 32) + 1)):
        for x in range(max(0, int(inner.x1 // 32)), min(columns, int(inner.x2 // 32) + 1)):
            if inner.intersection(Box(x * 32, y * 32, x * 32 + 32, y * 32 + 32)) >= 0.35 * 32 * 32:
                found.add(y * columns + x)
    return tuple(sorted(found))


@dataclass
class Watch:
    """What a forward pass of the language part left. inputs: of the guided layers' attention, layer -> (hidden
    [B, T, H], cosines, sines); found: hidden states after SAYING_LAYER, [B, T, H]."""

    inputs: dict[int, tuple[Tensor, Tensor, Tensor]] = field(default_factory=dict)
    found: Tensor | None = None


@contextmanager
def watched(language: Any) -> Iterator[Watch]:
    """While open, the language part's forward pass is watched."""
    watch = Watch()

    def keep(layer: int) -> Any:
        def hook(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            watch.inputs[layer] = (kwargs["hidden_states"], *kwargs["position_embeddings"])

        return language.layers[layer].self_attn.register_forward_pre_hook(hook, with_kwargs=True)

    def keep_output(module: Any, args: Any, output: Any) -> None:
        watch.found = output[0] if isinstance(output, tuple) else output

    handles = [keep(layer) for layer in (NAMING_LAYER, SAYING_LAYER)]
    handles.append(language.layers[SAYING_LAYER].register_forward_hook(keep_output))
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def look_loss(language: Any, watch: Watch, looks: Looks, allowed: Tensor) -> Tensor:
    """Mean over looks and guided heads of -log(attention on the cells). allowed: bool [B, T, T]; 0 without looks."""
    losses = []
    for layer, naming in ((NAMING_LAYER, True), (SAYING_LAYER, False)):
        chosen = looks.naming == naming
        if not chosen.any():
            continue
        device = allowed.device
        line, at, cells = (torch.from_numpy(part[chosen]).to(device) for part in (looks.line, looks.at, looks.cells))
        scores = guided_scores(language.layers[layer].self_attn, *watch.inputs[layer], line, at)
        scores = scores.masked_fill(~allowed[line, at][:, None], torch.finfo(scores.dtype).min)
        on = scores.masked_fill(~cells[:, None], torch.finfo(scores.dtype).min)
        losses.append(scores.logsumexp(-1) - on.logsumexp(-1))
    return torch.cat(losses).mean() if losses else allowed.new_zeros((), dtype=torch.float32)


def found_loss(head: Any, watch: Watch, looks: Looks) -> Tensor:
    """Smooth L1 of the box that a linear head reads before each coordinate, in image sides; 0 where none is said."""
    assert watch.found is not None
    said = ~np.isnan(looks.boxes).any(-1)
    if not said.any():
        return watch.found.new_zeros(())
    line, at, boxes = (
        torch.from_numpy(part[said]).to(watch.found.device) for part in (looks.line, looks.at, looks.boxes)
    )
    return torch.nn.functional.smooth_l1_loss(head(watch.found[line, at]), boxes, beta=0.05)


def guided_scores(attention: Any, hidden: Tensor, cos: Tensor, sin: Tensor, line: Tensor, at: Tensor) -> Tensor:
    """Attention scores of the first head of each key-value group for the queries (line, at): [n, groups, T]."""
    dim, groups = attention.head_dim, attention.num_key_value_groups
    query_weight = attention.q_proj.weight.unflatten(0, (-1, groups, dim))[:, 0]  # [key-value heads, dim, H]
    query = torch.einsum("nh,kdh->nkd", hidden[line, at], query_weight)
    query = _turned(attention.q_norm(query), cos[line, at][:, None], sin[line, at][:, None])
    key = attention.k_norm(attention.k_proj(hidden).unflatten(-1, (-1, dim)))
    key = _turned(key, cos[:, :, None], sin[:, :, None])
    return torch.einsum("nkd,ntkd->nkt", query, key[line]) * attention.scaling


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, as Qwen applies them (halves, not pairs)."""
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin
