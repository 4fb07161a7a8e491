from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from zoomgap import imaging
from zoomgap.distill import encoding
from zoomgap.distill.dataset import view_sizes, views_of
from zoomgap.distill.encoding import Encoder, collate, prefetch
from zoomgap.distill.glance import shifted
from zoomgap.distill.micro_model import build_processor, build_tokenizer
from zoomgap.distill.packing import IGNORE
from zoomgap.errors import UsageError
from zoomgap.geometry import Size
from zoomgap.models.local import load_checkpoint


@pytest.fixture(scope="module", params=["tiny", "micro"])
def processor(request):
    """Of two checkpoints with templates and tokenizers of their own."""
    if request.param == "micro":
        return build_processor(build_tokenizer())
    return load_checkpoint(request.getfixturevalue("tiny_checkpoint"))[1]


@pytest.fixture
def encoder(processor, world):
    return Encoder(processor, world.pictures.load_image, 16_384)


def test_sizes_are_those_of_the_views(items, encoder):
    sizes = view_sizes(items, encoder.load_image, 16_384, 32)
    assert {item.image: Size(*encoder.view(item).size) for item in items} == sizes
    assert set(sizes.values()) == {Size(128, 96)}


def test_fitted_images_are_kept_without_the_box_until_the_room_is_full(items, processor, world, monkeypatch):
    loaded = []
    monkeypatch.setattr(encoding, "CACHED_VIEW_PIXELS", 2 * 128 * 96)
    encoder = Encoder(processor, lambda sha256: loaded.append(sha256) or world.pictures.load_image(sha256), 16_384)
    first = [encoder.view(item).tobytes() for item in items[:4]]
    assert [encoder.view(item).tobytes() for item in items[:4]] == first
    images = [item.image for item in items[:4]]
    assert loaded == images + images[2:]
    assert encoder.view(replace(items[0], overlay=None)).tobytes() != first[0]


def test_the_loss_covers_exactly_the_answer_and_the_end_of_its_turn(items, encoder):
    tokenizer = encoder.processor.tokenizer
    batch = encoder.batch(views_of(items))
    ids, labels = batch.inputs["input_ids"], batch.labels
    for row, item in enumerate(items):
        learned = labels[row] != IGNORE
        assert tokenizer.decode(ids[row][learned]) == f"{item.answer}<|im_end|>"
        assert torch.equal(labels[row][learned], ids[row][learned])
        before = tokenizer.decode(ids[row][: int(learned.nonzero()[0])])
        assert before.endswith("<|im_end|>\n<|im_start|>assistant\n")
        assert item.text in before
        assert all(choice in before for choice in item.choices)
        after = ids[row][int(learned.nonzero()[-1]) + 1 :]
        assert (after == tokenizer.pad_token_id).all()


def test_padding_stands_right_and_is_masked(items, encoder):
    batch = encoder.batch(views_of(items))
    mask, ids = batch.inputs["attention_mask"], batch.inputs["input_ids"]
    assert batch.labels.shape == ids.shape == mask.shape == batch.inputs["mm_token_type_ids"].shape
    assert (mask.diff() <= 0).all()
    lengths = mask.sum(1)
    assert len(set(lengths.tolist())) > 1
    for row, item in enumerate(items):
        alone = encoder.encode(item)
        assert torch.equal(ids[row, : lengths[row]], alone.inputs["input_ids"][0])
    assert (batch.labels[mask == 0] == IGNORE).all()


def test_prompt_is_what_the_model_is_asked_when_it_answers(items, encoder):
    prompt, _ = encoder.texts(items[0])
    asked = encoder.processor(text=[prompt], images=[encoder.view(items[0])], return_tensors="pt")
    length = asked["input_ids"].shape[1]
    example = encoder.encode(items[0])
    assert torch.equal(example.inputs["input_ids"][:, :length], asked["input_ids"])
    assert torch.equal(example.inputs["pixel_values"], asked["pixel_values"])
    assert (example.labels[:, :length] == IGNORE).all()
    assert (example.labels[:, length:] != IGNORE).all()


def test_images_are_fitted_and_the_overlay_is_drawn(items, encoder, world):
    whole = imaging.open_image(world.pictures.load_image(items[0].image))
    plain = imaging.fit(whole, 16_384)
    assert (
        encoder.view(items[1]).tobytes()
        == imaging.fit(imaging.open_image(world.pictures.load_image(items[1].image)), 16_384).tobytes()
    )
    box = items[0].overlay.scaled(plain.width / whole.width, plain.height / whole.height)
    assert encoder.view(items[0]).tobytes() == imaging.overlay(plain, box).tobytes()
    grids = encoder.batch(views_of(items)).inputs["image_grid_thw"]
    assert grids.tolist() == [[1, 6, 8]] * len(items)


def test_a_shifted_view_is_moved_and_repeats_its_edge():
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    moved = np.asarray(shifted(Image.fromarray(pixels), 2, -1))
    assert (moved[1:, :4] == pixels[:3, 2:]).all()
    assert (moved[0, :4] == pixels[0, 2:]).all()
    assert (moved[1:, 4:] == pixels[:3, 5:]).all()


def test_collating_changes_no_logits(items, world, tiny_checkpoint):
    model, processor = load_checkpoint(tiny_checkpoint)
    model.float()
    encoder = Encoder(processor, world.pictures.load_image, 16_384)
    examples = [encoder.encode(item) for item in items[:3]]
    batch = collate(examples, encoder.processor.tokenizer.pad_token_id)
    with torch.no_grad():
        together = model(**batch.inputs).logits
        for row, example in enumerate(examples):
            alone = model(**example.inputs).logits[0]
            assert torch.allclose(together[row, : len(alone)], alone, atol=1e-4)


def test_the_answer_has_the_form_that_the_suffix_asks_for(items, encoder):
    encoder.suffix = True
    assert [encoder.texts(item)[1] for item in items[:3]] == ["A<|im_end|>", "green<|im_end|>", "C<|im_end|>"]
    assert "letter only" in encoder.texts(items[0])[0]


def test_a_template_that_rewrites_the_prompt_is_refused(items, encoder, monkeypatch):
    def template(messages, tokenize, add_generation_prompt=False):
        return "user: ... assistant:" if add_generation_prompt else "[user] ... [assistant] red"

    monkeypatch.setattr(encoder.processor, "apply_chat_template", template)
    with pytest.raises(UsageError, match="template"):
        encoder.encode(items[0])


def test_prefetch_keeps_order_works_ahead_and_passes_errors_on():
    made, gate = [], threading.Event()

    def make(k: int) -> int:
        if k == 0:
            gate.wait(10)
        made.append(k)
        if k == 9:
            raise UsageError("broken")
        return k * k

    stream = prefetch(make, range(12), workers=2, depth=3)
    gate.set()
    assert [next(stream) for _ in range(9)] == [k * k for k in range(9)]
    with pytest.raises(UsageError, match="broken"):
        next(stream)
    assert list(prefetch(lambda k: k, range(0))) == []
    assert list(prefetch(lambda k: k, range(2), depth=9)) == [0, 1]


def test_prefetch_stops_its_threads_when_left_early():
    before = threading.active_count()
    stream = prefetch(lambda k: k, range(1000), workers=2)
    next(stream)
    stream.close()
    assert threading.active_count() == before
