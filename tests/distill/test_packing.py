"""Packed training must see exactly what a conversation alone sees through the processor and the chat template."""

import numpy as np
import pytest
import torch
from PIL import Image

from zoomgap.distill.micro_model import build_model, build_processor, build_tokenizer
from zoomgap.distill.packing import IGNORE, Markers, Row, branch_mask, pack
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


def packed_logits(tokenizer, model, images, row):
    """Logits of a packed row, [T, vocabulary], computed as pretraining computes them."""
    packed = pack([row], 0)
    grids = torch.tensor([[1, image.shape[0] // 16, image.shape[1] // 16] for image in images])
    pixels = torch.cat([patches(image[None]) for image in images])
    features = model.model.visual(pixels, grid_thw=grids).pooler_output
    ids = torch.from_numpy(packed.ids)
    embeds = model.model.language_model.embed_tokens(ids)
    embeds = embeds.masked_scatter((ids == model.config.image_token_id)[..., None], features)
    mask = branch_mask(torch.from_numpy(packed.branches), embeds.dtype)
    positions = torch.from_numpy(packed.positions)
    hidden = model.model.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    return model.lm_head(hidden)[0], packed


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
        logits, packed = packed_logits(tokenizer, model, [view, crop], row)
    prefix = row.ids.index(markers.end) + 1
    assert inputs["input_ids"][0].tolist() == row.ids[:prefix] + row.ids[start:]
    assert torch.allclose(logits[start:], alone[prefix:], atol=1e-4)
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


def test_padding_attends_to_nothing_real():
    mask = branch_mask(torch.tensor([[0, 1, 2, -1]]), torch.float32)[0, 0] == 0
    assert mask.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, False, True, False],
        [True, False, False, True],
    ]
