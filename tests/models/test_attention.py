"""Attention of answers in miniatures of the big families, against what transformers itself gives out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from tests.models.test_families import SIZES, ask, family  # noqa: F401
from zoomgap.errors import ModelError, TooLongError
from zoomgap.models import reading
from zoomgap.models.attention import Grid, UnknownGridError, read_attention, reply_attention
from zoomgap.models.local import LocalModel
from zoomgap.records import Reply

SHOWN = {
    "qwen2_5_vl": {"a": (3, 2), "e": (2, 5)},
    "qwen3_vl": {"a": (3, 2), "e": (2, 5)},
    "qwen3_5": {"a": (3, 2), "e": (2, 5)},
    "internvl": {"d": (2, 2)},
    "internvl_sliding": {"d": (2, 2)},
    "gemma3": {"a": (2, 2), "e": (2, 2)},
}
"""Images and the grids of their tokens, rows and columns. InternVL cuts larger images into tiles."""
LAYERS = {"qwen3_5": (1,)}
"""Its layer 0 has no attention."""


def naive(family, request, ids: list[int]) -> np.ndarray:  # noqa: F811
    """The same from all matrices of the unpatched model with eager attention: (layers, heads, image tokens)."""
    inputs = dict(family.inputs(request))
    length = inputs["input_ids"].shape[1]
    for name, value in inputs.items():
        if value.shape == (1, length):
            fill = int(name == "attention_mask")
            inputs[name] = torch.nn.functional.pad(value, (0, len(ids)), value=fill)
    inputs["input_ids"][0, length:] = torch.tensor(ids)
    family.plain.set_attn_implementation("eager")
    with torch.no_grad():
        matrices = family.plain(**inputs, output_attentions=True).attentions
    image = inputs["input_ids"][0] == family.plain.config.image_token_id
    found = [matrix for matrix in matrices if matrix is not None]
    return np.stack([matrix[0, :, length - 1 : -1].mean(1)[:, image].numpy() for matrix in found])


def test_rows_are_those_of_the_whole_matrices(family):  # noqa: F811
    for image, grid in SHOWN.get(family.name, {}).items():
        request = ask("what is on it?", image, max_tokens=5)
        (reply,) = family.replies([request])
        found = reply_attention(family.model, request, reply)
        ids, skip = family.model.answer_ids(reply)
        assert skip == 0
        assert found.tokens == len(ids) > 0
        assert found.grid == grid
        assert found.layers == LAYERS.get(family.name, (0, 1))
        assert found.heads.shape == (len(found.layers), 2, grid[0] * grid[1])
        assert found.heads == pytest.approx(naive(family, request, ids), abs=2e-5)
        given = [40, 41, 42]
        assert read_attention(family.model, request, given).heads == pytest.approx(
            naive(family, request, given), abs=2e-5
        )
        assert family.texts([request]) == [reply.text], "listening leaves nothing behind"


def test_where_the_tokens_lie_is_known_or_refused(family):  # noqa: F811
    request = ask("what is on it?", "b", max_tokens=2)
    if family.name in ("internvl", "internvl_sliding"):
        with pytest.raises(UnknownGridError, match="cuts the image into tiles"):
            read_attention(family.model, request, [40])
    elif family.name not in SHOWN:
        with pytest.raises(UnknownGridError, match=r"where in the image the tokens of model type \w+ lie is not"):
            read_attention(family.model, request, [40])
    else:
        assert isinstance(read_attention(family.model, request, [40]).grid, Grid)


@pytest.fixture
def short_sighted(family):  # noqa: F811
    """The family, with a vision tower whose patches do not see one another."""
    tower = next(part for name, part in family.plain.named_modules() if name.endswith(("visual", "vision_tower")))
    weights = [
        weight
        for part in tower.modules() if "Attention" in type(part).__name__
        for weight in part.parameters()
    ]  # fmt: skip
    before = [weight.detach().clone() for weight in weights]
    assert weights
    with torch.no_grad():
        for weight in weights:
            weight.zero_()
        yield family
        for weight, value in zip(weights, before, strict=True):
            weight.copy_(value)


@pytest.mark.parametrize("family", list(SHOWN), indirect=True)
def test_cells_lie_where_their_pixels_do(short_sighted):
    """What is changed in one cell of the image changes the features of that cell's token, and no other's."""
    for image, (rows, columns) in SHOWN.get(short_sighted.name, {}).items():
        plain = features(short_sighted, image)
        assert len(plain) == rows * columns
        for cell in range(rows * columns):
            moved = (features(short_sighted, image, (cell // columns, cell % columns), (rows, columns)) - plain).norm(
                dim=-1
            )
            assert int(moved.argmax()) == cell
            assert float(moved.sort().values[:-1].sum()) < 0.01 * float(moved[cell])


def features(family, image: str, cell=(0, 0), grid=None) -> torch.Tensor:  # noqa: F811
    """An image's tokens as the language part gets them. grid: makes the middle of one cell of the grey image white."""
    width, height = SIZES[image]
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    if grid is not None:
        y1, y2 = (round((cell[0] + part) * height / grid[0]) for part in (0.3, 0.7))
        x1, x2 = (round((cell[1] + part) * width / grid[1]) for part in (0.3, 0.7))
        pixels[y1:y2, x1:x2] = 255
    inputs = family.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image", "image": PILImage.fromarray(pixels)}]}],
        add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
    )  # fmt: skip
    wanted = {name: inputs[name] for name in ("pixel_values", "image_grid_thw") if name in inputs}
    pooled = family.plain.get_image_features(**wanted, return_dict=True).pooler_output
    return (torch.cat(list(pooled)) if isinstance(pooled, list | tuple) else pooled).flatten(0, -2)


def test_without_kept_images_rows_are_the_same(family, monkeypatch):  # noqa: F811
    for image in SHOWN.get(family.name, {}):
        request = ask("what is on it?", image)
        kept = read_attention(family.model, request, [40, 41])
        with monkeypatch.context() as patch:
            patch.setattr(reading, "supported", lambda model: False)
            patch.setattr(
                family.model, "_reader",
                reading.Reader(family.model.model, family.model.processor, family.model._reader._load_image, 0),
            )  # fmt: skip
            again = read_attention(family.model, request, [40, 41])
        assert again.grid == kept.grid
        assert again.heads == pytest.approx(kept.heads, abs=2e-5)


@pytest.mark.parametrize("family", ["qwen3_vl"], indirect=True)
def test_reasoning_is_read_over_and_not_counted(family):  # noqa: F811
    request = ask("what is on it?", "a")
    whole = naive(family, request, [40, 41, 42, 43])
    found = read_attention(family.model, request, [40, 41, 42, 43], skip=3)
    alone = naive(family, request, [40, 41, 42])
    assert found.tokens == 1
    assert found.heads == pytest.approx(4 * whole - 3 * alone, abs=1e-4)


@pytest.mark.parametrize("family", ["qwen3_vl"], indirect=True)
def test_what_cannot_be_read_says_why(family, monkeypatch):  # noqa: F811
    request = ask("what is on it?", "a")
    with pytest.raises(ModelError, match="the answer is empty"):
        read_attention(family.model, request, [])
    with pytest.raises(ModelError, match="the answer is empty"):
        reply_attention(family.model, request, Reply(text=""))
    with pytest.raises(UnknownGridError, match="not one image"):
        read_attention(family.model, ask("two", "a", "b"), [40])
    with monkeypatch.context() as patch:
        patch.setattr(family.model.processor.image_processor, "merge_size", 1)
        with pytest.raises(UnknownGridError, match="6 image tokens of model type qwen3_vl are no 6 x 4 grid"):
            read_attention(family.model, request, [40])
    with pytest.raises(TooLongError):
        read_attention(family.model, ask("long " * 400, "a"), [40])


def test_thoughts_end_where_their_mark_stands(tiny_checkpoint):
    model = LocalModel(tiny_checkpoint, lambda name: b"")
    end = model.processor.tokenizer.eos_token_id
    assert model.answer_ids(Reply(text="", token_ids=(50, 51, end))) == ([50, 51], 0)
    model.processor.tokenizer.add_tokens(["</think>"])
    mark = model.processor.tokenizer.convert_tokens_to_ids("</think>")
    assert model.answer_ids(Reply(text="", token_ids=(50, mark, 51, mark, 52, end))) == ([50, mark, 51, mark, 52], 4)
    assert model.answer_ids(Reply(text="", token_ids=(50, 51))) == ([50, 51], 0)
    assert model.answer_ids(Reply(text="")) == ([], 0)
