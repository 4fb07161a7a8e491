"""Number format and two exact rewrites that make the Qwen-VL family quick, above all on a processor.

Both rewrites compute what transformers' modules compute, keep every state_dict key, and pass gradients.
"""

from __future__ import annotations

import sys
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def cpu_dtype() -> torch.dtype:
    """bfloat16 where the processor multiplies it natively (AMX, AVX512-BF16), else float32.

    Without such instructions a bfloat16 product takes up to 100 times as long as a float32 one; with them a tenth.
    """
    import torch

    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    native = any(getattr(torch.cpu, test, lambda: False)() for test in tests)
    return torch.bfloat16 if native else torch.float32


def apply_speedups(model: Any) -> None:
    """Rewrite, in place, the vision tower of a Qwen-VL model; other models are left as they are.

    The patch embedding, a convolution whose stride is its kernel, becomes one linear product; the attention of equal
    images in a batch becomes one batched call instead of one an image.
    """
    for module in model.modules():
        kind = type(module).__name__
        if not (kind.startswith(("Qwen2_5_V", "Qwen3VL", "Qwen3_5")) and "Vision" in kind):
            continue
        if kind.endswith("PatchEmbed"):
            module.forward = MethodType(_embed_patches, module)
        elif kind.endswith("VisionAttention") and "flash" not in (module.config._attn_implementation or ""):
            module.forward = MethodType(_attend, module)


def _embed_patches(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    """(patches, channels x time x height x width) -> (patches, hidden)."""
    from torch.nn.functional import linear

    weight = self.proj.weight
    return linear(hidden_states.to(weight.dtype).view(-1, weight[0].numel()), weight.flatten(1), self.proj.bias)


def _attend(
    self: Any,
    hidden_states: torch.Tensor,
    cu_seqlens: torch.Tensor,
    position_embeddings: tuple[torch.Tensor, torch.Tensor],
    max_seqlen: int | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """The module's attention, (patches of all images, hidden) -> the same shape, one call for each image length."""
    import torch
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    source = sys.modules[type(self).__module__]
    query, key, value = self.qkv(hidden_states).view(len(hidden_states), 3, self.num_heads, -1).unbind(1)
    query, key = source.apply_rotary_pos_emb_vision(query, key, *position_embeddings)
    implementation = self.config._attn_implementation
    attention = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, source.eager_attention_forward)

    def attend(rows: torch.Tensor | slice, length: int) -> torch.Tensor:
        parts = (part[rows].unflatten(0, (-1, length)).transpose(1, 2) for part in (query, key, value))
        dropout = self.attention_dropout if self.training else 0.0
        out, _ = attention(
            self, *parts, attention_mask=None, scaling=self.scaling, dropout=dropout, is_causal=False, **kwargs
        )
        return out.flatten(0, 1).flatten(1)

    lengths = cu_seqlens.diff()
    distinct = lengths.unique().tolist()
    if len(distinct) == 1:
        return self.proj(attend(slice(None), distinct[0]))
    owner = lengths.repeat_interleave(lengths)
    rows = [torch.nonzero(owner == length).flatten() for length in distinct]
    parts = torch.cat([attend(index, length) for index, length in zip(rows, distinct, strict=True)])
    return self.proj(parts[torch.cat(rows).argsort()])
