from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForImageTextToText, Qwen2_5_VLConfig, Qwen2_5_VLModel

from zoomgap.models.speedups import apply_speedups, cpu_dtype

GRIDS = {
    "one": [[1, 4, 6]],
    "equal": [[1, 4, 4]] * 3,
    "mixed": [[1, 4, 4], [1, 8, 6], [1, 4, 4], [1, 2, 2], [1, 6, 8]],
}


def pixels(grid: torch.Tensor, width: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(int(grid.prod(-1).sum()), width, generator=generator, dtype=dtype)


@pytest.fixture(params=["sdpa", "eager"])
def pair(request, tiny_checkpoint):
    plain = AutoModelForImageTextToText.from_pretrained(
        tiny_checkpoint, dtype=torch.float64, attn_implementation=request.param
    )
    quick = copy.deepcopy(plain)
    apply_speedups(quick)
    return plain, quick


@pytest.mark.parametrize("grids", GRIDS.values(), ids=GRIDS)
def test_outputs_and_gradients_are_those_of_transformers(pair, grids):
    grid = torch.tensor(grids)
    outputs = []
    for model in pair:
        visual = model.model.visual
        out = visual(pixels(grid, 3 * 2 * 16 * 16), grid_thw=grid).pooler_output
        out.square().sum().backward()
        outputs.append((out.detach(), {name: p.grad for name, p in visual.named_parameters() if p.grad is not None}))
    (plain, plain_grads), (quick, quick_grads) = outputs
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)
    assert plain_grads.keys() == quick_grads.keys()
    for name, grad in plain_grads.items():
        torch.testing.assert_close(quick_grads[name], grad, atol=1e-5, rtol=1e-5)


def test_speedups_are_in_use_and_change_no_key(pair):
    plain, quick = pair
    assert plain.state_dict().keys() == quick.state_dict().keys()
    patched = [type(m).__name__ for m in quick.modules() if "forward" in vars(m)]
    assert sorted(set(patched)) == ["Qwen3VLVisionAttention", "Qwen3VLVisionPatchEmbed"]


def test_a_copy_of_a_quick_model_uses_its_own_weights(pair):
    _, quick = pair
    twin = copy.deepcopy(quick)
    grid = torch.tensor(GRIDS["one"])
    values = pixels(grid, 3 * 2 * 16 * 16)
    with torch.no_grad():
        before = quick.model.visual(values, grid_thw=grid).pooler_output
        for parameter in twin.parameters():
            parameter.mul_(2)
        assert torch.equal(quick.model.visual(values, grid_thw=grid).pooler_output, before)
        assert not torch.allclose(twin.model.visual(values, grid_thw=grid).pooler_output, before)


def test_windowed_attention_of_qwen25_is_kept():
    """Qwen2.5-VL mixes windows of unequal length with full attention."""
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 64, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 1,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 2, 2]},
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "patch_size": 14,
            "out_hidden_size": 32, "window_size": 56, "fullatt_block_indexes": [1],
        },
    )  # fmt: skip
    torch.manual_seed(0)
    plain = Qwen2_5_VLModel(config).visual.eval()
    quick = copy.deepcopy(plain)
    apply_speedups(quick)
    assert any("forward" in vars(module) for module in quick.modules())
    grid = torch.tensor([[1, 10, 6], [1, 4, 4], [1, 10, 6]])
    values = pixels(grid, 3 * 2 * 14 * 14, torch.float32)
    with torch.no_grad():
        expected = plain(values, grid_thw=grid).pooler_output
        torch.testing.assert_close(quick(values, grid_thw=grid).pooler_output, expected, atol=1e-5, rtol=1e-5)


def test_dtype_follows_the_instructions(monkeypatch):
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert cpu_dtype() == torch.float32
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert cpu_dtype() == torch.bfloat16
