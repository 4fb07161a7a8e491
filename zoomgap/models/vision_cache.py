"""What the vision tower made of an image, kept: an image is decoded, processed and encoded once for all its questions.

transformers' models take the tower's output in place of pixels (`mm_encoder_outputs` of `forward`) and add it to the
prompt as they add their own. So no model is patched, and the deepstack layers of Qwen3-VL come along.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoomgap.geometry import Size

if TYPE_CHECKING:
    from torch import Tensor

FAMILIES = frozenset({"qwen2_5_vl", "qwen3_vl", "qwen3_5", "internvl", "idefics3", "smolvlm"})
"""Model types for which a test shows that kept features change no reply."""


@dataclass(eq=False, slots=True)
class SeenImage:
    """One image as a checkpoint reads it.

    ids: the tokens that its mark in a prompt becomes. inputs: the processor's tensors of this image alone; none once
    `features` are known. features: first what stands for the image tokens, then a tensor for each deepstack layer.
    grid: int64 [1, 3] of the Qwen-VL family. size: the image as the model received it, None where it was cut up.
    """

    sha256: str
    ids: list[int]
    inputs: dict[str, Tensor]
    grid: Tensor | None
    size: Size | None
    features: tuple[Tensor, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(part.numel() * part.element_size() for part in (*self.inputs.values(), *self.features))


def supported(model: Any) -> bool:
    """Whether features can be given to this model, and are known to change no reply."""
    takes = inspect.signature(type(model).forward).parameters
    return model.config.model_type in FAMILIES and "mm_encoder_outputs" in takes


class VisionCache:
    """Images by sha256; over `limit` bytes the least recently used ones leave. With a limit of 0 nothing is kept."""

    def __init__(self, model: Any, limit: int) -> None:
        self.bytes = 0
        self._model = model
        self._kind: Any = None
        self._deep = False
        self._limit = limit
        self._kept: OrderedDict[str, tuple[SeenImage, int]] = OrderedDict()

    def get(self, sha256: str) -> SeenImage | None:
        if sha256 not in self._kept:
            return None
        self._kept.move_to_end(sha256)
        return self._kept[sha256][0]

    def keep(self, image: SeenImage) -> None:
        """Keep an image, or note that it weighs something else now."""
        _, before = self._kept.pop(image.sha256, (None, 0))
        self._kept[image.sha256] = image, image.bytes
        self.bytes += image.bytes - before
        while self.bytes > self._limit:
            self.bytes -= self._kept.popitem(last=False)[1][1]

    def clear(self) -> bool:
        """Let all go; whether there was any."""
        had, self.bytes = bool(self._kept), 0
        self._kept.clear()
        return had

    def output(self, images: Sequence[SeenImage]) -> Any:
        """The tower's output for images in the order of their tokens; those without features are encoded first."""
        import torch

        if new := list(dict.fromkeys(image for image in images if not image.features)):
            self._encode(new)
        first, *layers = zip(*(image.features for image in images), strict=True)
        # Tiled images (InternVL) are one tensor [tiles, tokens, hidden], others a list with [tokens, hidden] for each.
        pooled = torch.cat(first) if first[0].ndim > 2 else first
        return self._kind(pooler_output=pooled, **({"deepstack_features": layers} if self._deep else {}))

    def _encode(self, images: Sequence[SeenImage]) -> None:
        """Give images their features, in one call of the tower."""
        inputs = {name: value.to(self._model.device) for name, value in stack([i.inputs for i in images]).items()}
        out = self._model.get_image_features(**inputs, return_dict=True)
        self._kind, self._deep = type(out), hasattr(out, "deepstack_features")
        rows = [len(image.inputs["pixel_values"]) for image in images]
        layers = [out.pooler_output, *(getattr(out, "deepstack_features", None) or ())]
        parts = [layer if isinstance(layer, list | tuple) else layer.split(rows) for layer in layers]
        for image, *features in zip(images, *parts, strict=True):
            # Clones: a view would hold the memory of the whole batch.
            image.features, image.inputs = tuple(part.clone() for part in features), {}
            self.keep(image)


def stack(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Tensors joined along the first axis; along others the smaller ones are filled up with zeros at the end."""
    import torch
    from torch.nn.functional import pad

    joined = {}
    for name in dict.fromkeys(name for part in parts for name in part):
        values = [part[name] for part in parts if name in part]
        widest = [max(sides) for sides in zip(*(value.shape[1:] for value in values), strict=True)]
        for place, value in enumerate(values):
            missing = [want - have for want, have in zip(widest, value.shape[1:], strict=True)]
            if any(missing):
                values[place] = pad(value, [n for side in reversed(missing) for n in (0, side)])
        joined[name] = torch.cat(values)
    return joined
