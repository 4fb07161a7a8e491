"""Packed training must see exactly what a conversation alone sees through the processor and the chat template."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoomgap.distill.guidance import guided_scores, look_loss, watched
from zoomgap.distill.micro_model import build_model, build_processor, build_tokenizer
from zoomgap.distill.packing import IGNORE, Look, Looks, Markers, Row, additive, allowed, fill, pack
from zoomgap.distill.pretrain import patches

CALL = '{"label": "red star", "bbox_2d": [340, 200, 420, 280]}'
TOOL = {
    "type": "function",
    "function": {"name": "zoom_in", "parameters": {"properties": {"bbox_2d": {}, "image": {}, "label": {}}}},
}


@pytest.fixture(scope="module")
def parts():
    tokenizer = build_tokenizer()
    return tokenizer, build_processor(tokenizer), build_model(tokenizer, 0).eval()


def packed_logits(tokenizer, model, images, rows):
    """Logits of the packed lines, [B, T, vocabulary], computed as pretraining computes them."""
    packed = pack(rows, 0)
    images = [images[index] for index in packed.images]
    grids = torch.tensor([[1, image.shape[0] // 16, image.shape[1] // 16] for image in images])
    pixels = torch.cat([patches(image[None]) for image in images])
    features = model.model.visual(pixels, grid_thw=grids).pooler_output
    ids = torch.from_numpy(packed.ids)
    embeds = model.model.language_model.embed_tokens(ids)
    embeds = embeds.masked_scatter((ids == model.config.image_token_id)[..., None], features)
    mask = additive(allowed(torch.from_numpy(packed.branches), torch.from_numpy(packed.owners)), embeds.dtype)
    positions = torch.from_numpy(packed.positions)
    hidden = model.model.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    return model.lm_head(hidden), packed


def test_branch_equals_its_conversation_alone(parts):
    tokenizer, processor, model = parts
    rng = np.random.default_rng(0)
    view, crop = (rng.integers(0, 256, size, np.uint8) for size in ((128, 192, 3), (64, 96, 3)))
    markers = Markers(*tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]))

    def encode(text):
        return tokenizer.encode(text, add_special_tokens=False)

    row = Row(markers)
    row.text(encode("<|im_start|>system\nzoom_in(bbox_2d, image, label)<|im_end|>\n<|im_start|>user\n"))
    row.image(0, 4, 6)
    row.begin_branch()
    row.text(encode("What color is it?<|im_end|>\n<|im_start|>assistant\nred<|im_end|>"))
    row.begin_branch()
    start = len(row.ids)
    row.text(encode("What object is on the red star?<|im_end|>\n<|im_start|>assistant\n"))
    row.text(encode(f'<tool_call>\n{{"name": "zoom_in", "arguments": {CALL}}}\n</tool_call><|im_end|>'), learn=True)
    row.text(encode("\n<|im_start|>tool\nimage 1<|im_end|>\n<|im_start|>user\n"))
    row.image(1, 2, 3)
    row.text(encode("image 1<|im_end|>\n<|im_start|>assistant\n"))

    messages = [
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What object is on the red star?"}]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "zoom_in", "arguments": CALL}}]},
        {"role": "tool", "content": "image 1"},
        {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "image 1"}]},
    ]
    prompt = processor.apply_chat_template(messages, tools=[TOOL], add_generation_prompt=True, tokenize=False)
    inputs = processor(text=[prompt], images=[Image.fromarray(view), Image.fromarray(crop)], return_tensors="pt")
    with torch.no_grad():
        alone = model(**inputs).logits[0]
        logits, packed = packed_logits(tokenizer, model, [view, crop], [row])
    prefix = row.ids.index(markers.end) + 1
    assert inputs["input_ids"][0].tolist() == row.ids[:prefix] + row.ids[start:]
    assert torch.allclose(logits[0, start:], alone[prefix:], atol=1e-4)
    learned = packed.labels[0][packed.labels[0] != IGNORE]
    assert tokenizer.decode(learned).endswith("</tool_call><|im_end|>")
    assert tokenizer.decode(learned).startswith("<tool_call>")


def test_first_token_of_a_branch_is_never_learned():
    row = Row(Markers(1, 2, 3))
    row.text([5, 6])
    for _ in range(2):
        row.begin_branch()
        row.text([7, 8], learn=True)
    labels = pack([row], 0).labels[0].tolist()
    assert labels == [IGNORE, IGNORE, 8, IGNORE, 8, IGNORE]


def test_rows_that_share_a_line_do_not_see_one_another(parts):
    tokenizer, _, model = parts
    view = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    markers = Markers(*tokenizer.convert_tokens_to_ids(["<|vision_start|>", "<|image_pad|>", "<|vision_end|>"]))

    def row(text):
        made = Row(markers)
        made.image(0, 2, 2)
        made.begin_branch()
        made.text(tokenizer.encode(text, add_special_tokens=False))
        return made

    long, one, two = row("What color is the mark on the red star? " * 3), row("red"), row("What object is on it?")
    with torch.no_grad():
        together, packed = packed_logits(tokenizer, model, [view], [long, one, two])
        alone = [packed_logits(tokenizer, model, [view], [single])[0][0] for single in (two, one)]
    assert packed.owners.max(1).tolist() == [0, 1], "the two short rows share the second line"
    assert torch.allclose(together[1, : len(two.ids)], alone[0], atol=1e-4)
    assert torch.allclose(together[1, len(two.ids) : len(two.ids) + len(one.ids)], alone[1], atol=1e-4)


def test_padding_and_rows_attend_to_nothing_of_others():
    seen = allowed(torch.tensor([[0, 1, 2, 0, 1, 0]]), torch.tensor([[0, 0, 0, 1, 1, -1]]))[0]
    assert seen.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_lines_hold_every_row_once_and_none_is_longer_than_the_longest(lengths):
    lines = fill(lengths)
    assert sorted(index for line in lines for index in line) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in line) <= max(lengths) for line in lines)


def test_guided_scores_are_the_models_own(parts):
    """The scores that guidance is put on must be those that the model attends with."""
    _, _, model = parts
    language = model.model.language_model
    generator = torch.Generator().manual_seed(0)
    embeds = torch.randn(2, 9, language.config.hidden_size, generator=generator)
    positions = torch.randint(0, 9, (3, 2, 9), generator=generator)
    seen = torch.ones(9, 9, dtype=torch.bool).tril().expand(2, 9, 9)
    language.config._attn_implementation, before = "eager", language.config._attn_implementation
    weights = {}
    hooks = [
        layer.self_attn.register_forward_hook(lambda m, i, o, k=k: weights.__setitem__(k, o[1]))
        for k, layer in enumerate(language.layers)
    ]
    with torch.no_grad(), watched(language) as watch:
        language(
            inputs_embeds=embeds, attention_mask=additive(seen, embeds.dtype), position_ids=positions, use_cache=False
        )
    language.config._attn_implementation = before
    for hook in hooks:
        hook.remove()
    line, at = torch.tensor([0, 1]), torch.tensor([8, 5])
    for layer, hidden in watch.inputs.items():
        attention = language.layers[layer].self_attn
        scores = guided_scores(attention, *hidden, line, at)
        scores = scores.masked_fill(~seen[line, at][:, None], torch.finfo(scores.dtype).min)
        expected = weights[layer][line, :: attention.num_key_value_groups][torch.arange(2), :, at]
        assert torch.allclose(scores.softmax(-1), expected, atol=1e-5)
    cells = np.zeros((2, 9), bool)
    cells[0, 2:4], cells[1, 1] = True, True
    looks = Looks(line.numpy(), at.numpy(), np.array([True, True]), cells, np.full((2, 4), np.nan, np.float32))
    loss = look_loss(language, watch, looks, seen)
    heads = weights[1][line, :: attention.num_key_value_groups][torch.arange(2), :, at]
    by_hand = -(heads * torch.from_numpy(cells)[:, None]).sum(-1).log().mean()
    assert float(loss) == pytest.approx(float(by_hand), rel=1e-4)


def test_looks_move_with_their_row():
    markers = Markers(1, 2, 3)
    rows = []
    for length in (8, 3, 5):
        row = Row(markers)
        row.text(list(range(length)))
        row.looks.append(Look(length - 1, (0, 1), naming=False))
        rows.append(row)
    packed = pack(rows, 0)
    assert packed.ids.shape == (2, 8)
    for line, at, cells in zip(packed.looks.line, packed.looks.at, packed.looks.cells, strict=True):
        first = at - packed.ids[line, at]
        assert np.flatnonzero(cells).tolist() == [first, first + 1]
