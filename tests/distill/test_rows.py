"""A packed row must teach what its questions would teach one by one."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from zoomgap.distill.dataset import views_of
from zoomgap.distill.encoding import Encoder, answer_loss
from zoomgap.distill.guidance import cells_on
from zoomgap.distill.micro_model import build_model, build_processor, build_tokenizer
from zoomgap.distill.packing import IGNORE
from zoomgap.distill.rows import RowEncoder, encoder_for
from zoomgap.errors import UsageError
from zoomgap.geometry import Box, Frame, Size
from zoomgap.models.local import load_checkpoint


@pytest.fixture(scope="module")
def micro():
    tokenizer = build_tokenizer()
    return build_model(tokenizer, 0).eval(), build_processor(tokenizer)


@pytest.fixture
def asked(items):
    """Three questions on each of two images and one on a third, two of them with a box."""
    shared = [
        replace(items[k], id=f"{k}{j}", text=f"What color is the {name}?", overlay=None)
        for k in (0, 1)
        for j, name in enumerate(("mark", "block", "dot on the red star"))
    ]
    return [*shared, items[3], replace(items[0], id="boxed")]


def test_losses_and_gradients_are_those_of_single_conversations(asked, micro, world):
    model, processor = micro
    views = [view._replace(shift=(3 * k, -5)) for k, view in enumerate(views_of(asked))]
    assert len(views) == 4
    figures = []
    for kind in (RowEncoder, Encoder):
        encoder = kind(processor, world.pictures.load_image, 16_384)
        model.zero_grad()
        losses = encoder.loss(model, encoder.batch(views))
        losses.answers.backward()
        gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
        figures.append((losses.answers.detach(), losses.exact, gradients))
    (packed, exact, gradients), (alone, exact_alone, gradients_alone) = figures
    assert float(packed) == pytest.approx(float(alone), rel=1e-4)
    assert len(exact) == len(exact_alone) == len(asked)
    for a, b in zip(gradients, gradients_alone, strict=True):
        assert torch.allclose(a, b, atol=1e-5, rtol=1e-3)


def test_exact_answers_are_counted_by_item(asked, micro, world):
    model, processor = copy.deepcopy(micro[0]), micro[1]
    encoder = RowEncoder(processor, world.pictures.load_image, 16_384)
    batch = encoder.batch(views_of(asked))
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(60):
        loss = encoder.loss(model, batch)
        if loss.exact.any():
            break
        optimizer.zero_grad()
        loss.answers.backward()
        optimizer.step()
    plain = Encoder(processor, world.pictures.load_image, 16_384)
    with torch.no_grad():
        found = encoder.loss(model, batch).exact
        alone = [bool(answer_loss(model, plain.batch(views_of([item]))).exact) for item in asked]
    assert len(found) == len(asked)
    assert int(found.sum()) == sum(alone) > 0


def test_deepstack_features_reach_their_layers(asked, world):
    from transformers import Qwen3VLForConditionalGeneration

    tokenizer = build_tokenizer()
    processor = build_processor(tokenizer)
    config = build_model(tokenizer, 0).config
    config.vision_config.deepstack_visual_indexes = [0, 1]
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(config).eval()
    losses = []
    for kind in (RowEncoder, Encoder):
        encoder = kind(processor, world.pictures.load_image, 16_384)
        with torch.no_grad():
            losses.append(float(encoder.loss(model, encoder.batch(views_of(asked))).answers))
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_model_in_training_is_told_to_look_where_the_agent_looked(asked, micro, world):
    model, processor = micro
    encoder = RowEncoder(processor, world.pictures.load_image, 16_384)
    views = views_of(replace(item, question=item.id) for item in asked)
    encoder.places = {item.id: Box(60, 50, 100, 90) for item in asked[:6]}
    batch = encoder.batch(views)
    looks = batch.packed.looks
    assert len(looks.at) == 6
    assert not looks.naming.any()
    # The tokens looked at are image tokens of the same line, and the token that looks stands before an answer.
    image = batch.packed.ids == model.config.image_token_id
    for line, at, cells in zip(looks.line, looks.at, looks.cells, strict=True):
        assert cells.any()
        assert image[line][cells].all()
        assert batch.packed.labels[line, at] != IGNORE
    with torch.no_grad():
        evaluated = encoder.loss(model, batch)
        model.train()
        guided = encoder.loss(model, batch)
        encoder.places = {}
        unguided = encoder.loss(model, batch)
        model.eval()
    assert evaluated.looks is None
    assert unguided.looks is None
    assert float(guided.answers) == pytest.approx(float(evaluated.answers), rel=1e-5)
    assert float(guided.looks) > 1  # untrained heads look everywhere


def test_templates_that_rows_cannot_follow_are_refused(asked, micro, world):
    encoder = RowEncoder(micro[1], world.pictures.load_image, 16_384)
    with pytest.raises(UsageError, match="2 image marks"):
        encoder.batch(views_of([replace(asked[0], text="What does <|image_pad|> mean?")]))
    plain = RowEncoder.texts

    def question_first(self, item):
        prompt, answer = plain(self, item)
        return item.text + prompt, answer

    encoder.texts = question_first.__get__(encoder)
    with pytest.raises(UsageError, match="before the image"):
        encoder.batch(views_of(asked))


@pytest.mark.parametrize("suffix", [False, True])
@pytest.mark.parametrize("system", [False, True])
def test_a_row_has_the_tokens_of_the_conversation_alone(asked, micro, world, system, suffix):
    processor = copy.deepcopy(micro[1])
    if system:
        processor.chat_template = "<|im_start|>system\nLook well.<|im_end|>\n" + processor.chat_template
    encoder = RowEncoder(processor, world.pictures.load_image, 16_384, suffix=suffix)
    for item in asked:
        packed = encoder.batch(views_of([item])).packed
        prompt, answer = encoder.texts(item)
        whole = processor(text=[prompt + answer], images=[encoder.view(item)], return_tensors="pt")["input_ids"]
        assert packed.ids[0].tolist() == whole[0].tolist()


@pytest.mark.parametrize(("shift", "row", "column"), [((0, 0), 1, 1), ((20, 0), 1, 0), ((0, 20), 0, 1)])
def test_cells_follow_a_shifted_view(asked, micro, world, shift, row, column):
    model, processor = micro
    encoder = RowEncoder(processor, world.pictures.load_image, 16_384)
    view = views_of(asked)[0]._replace(items=(asked[0],), shift=shift)
    shown, size = encoder.fitted(view.image)
    sx, sy = size.width / shown.width, size.height / shown.height
    encoder.places = {asked[0].question: Box(40 * sx, 40 * sy, 56 * sx, 56 * sy)}
    packed = encoder.batch([view]).packed
    cells = packed.looks.cells[0][packed.ids[0] == model.config.image_token_id]
    assert cells.nonzero()[0].tolist() == [row * (shown.width // 32) + column]


def test_cells_of_a_place_hold_it():
    frame = Frame(0, Size(256, 128), Box(0, 0, 1024, 512))
    assert cells_on(frame, Box(10, 10, 20, 20)) == (0,)
    assert cells_on(frame, Box(128, 128, 384, 256)) == (9, 10)
    assert cells_on(frame, Box(1000, 500, 1100, 600)) == ()


def test_other_architectures_get_one_conversation_an_item(micro, world, tiny_checkpoint):
    arguments = (world.pictures.load_image, 16_384, 32, False)
    assert type(encoder_for(*micro, *arguments)) is RowEncoder
    model, processor = load_checkpoint(tiny_checkpoint)
    assert type(encoder_for(model, processor, *arguments)) is RowEncoder
    model.config.model_type = "qwen2_5_vl"
    assert type(encoder_for(model, processor, *arguments)) is Encoder
