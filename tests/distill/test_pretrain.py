"""The embedded model's training data, and a training small enough to run here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoomgap.benchmarks.micro.questions import VALUES
from zoomgap.distill.micro_model import GRID, build_model, build_tokenizer
from zoomgap.distill.packing import IGNORE
from zoomgap.distill.pretrain import (
    STAGES,
    OldTasks,
    PretrainConfig,
    Stage,
    Trainee,
    patches,
    pretrain,
    stage_at,
    total,
)
from zoomgap.distill.pretrain_data import (
    VALUE_IDS,
    Mixture,
    Picture,
    Thing,
    cell_targets,
    make_batch,
    quantised,
    unquantised,
)
from zoomgap.errors import UsageError
from zoomgap.geometry import Box, Frame, Size
from zoomgap.models.catalog import open_model
from zoomgap.records import Image as ImagePart
from zoomgap.records import Message, Request, Text

SMALL = {"sides": (320, 400), "carriers": (1, 2), "radius": (30.0, 60.0), "evidence": (20.0, 60.0)}
TINY = (Stage("tiny", 100, 2, Mixture(views=0.5, pixels=(16_384,), aspects=(1,), **SMALL)),)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def test_words_of_the_benchmark_and_coordinates_are_one_token(tokenizer):
    words = [value for values in VALUES.values() for value in values]
    numbers = [str(number) for number in range(0, 1001, GRID)]
    assert all(len(tokenizer.encode(text)) == 1 for text in [*words, *numbers])


@given(st.text())
def test_any_text_survives_the_tokenizer(text):
    tokenizer = build_tokenizer_once()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def build_tokenizer_once(kept=[]):  # noqa: B006
    if not kept:
        kept.append(build_tokenizer())
    return kept[0]


def test_batches_are_a_function_of_seed_and_step(tokenizer):
    first, again, other = (make_batch(tokenizer, TINY[0].mix, 3, step, 2) for step in (5, 5, 6))
    assert np.array_equal(first.packed.ids, again.packed.ids)
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(first.images, again.images, strict=True))
    assert first.packed.ids.shape != other.packed.ids.shape or not np.array_equal(first.packed.ids, other.packed.ids)


def test_what_is_learned_is_answers_and_calls(tokenizer):
    mix = Mixture(views=1.0, sides=(640, 700), aspects=(1,))
    learned = set()
    for step in range(4):
        packed = make_batch(tokenizer, mix, 0, step, 3).packed
        for row, labels in zip(packed.ids, packed.labels, strict=True):
            spans = tokenizer.decode([token for token in labels if token != IGNORE]).split("<|im_end|>")
            learned |= {span.split("\n")[0] for span in spans if span}
            assert len(row) == len(labels)
    allowed = {value for values in VALUES.values() for value in values} | {"<tool_call>"}
    assert learned <= allowed
    assert "<tool_call>" in learned


@given(
    st.floats(0, 900), st.floats(0, 900), st.floats(10, 100), st.floats(10, 100),
    st.sampled_from([Size(256, 256), Size(288, 192), Size(128, 128)]),
)  # fmt: skip
def test_written_boxes_come_back_within_a_step(x, y, w, h, size):
    whole = Frame(0, size, Box(0, 0, 1000, 1000))
    box = Box(x, y, x + w, y + h)
    numbers = quantised(whole, box)
    assert all(number % GRID == 0 and 0 <= number <= 1000 for number in numbers)
    back = unquantised(whole, numbers)
    assert max(abs(a - b) for a, b in zip(back.as_list(), box.as_list(), strict=True)) <= GRID
    assert back.area > 0


def test_cells_know_what_lies_on_them():
    thing = Thing("red star", "red", "star", Box(0, 0, 128, 128), Box(32, 32, 96, 96), "color", "blue")
    picture = Picture(Image.new("RGB", (256, 256)), (thing,))
    classes, boxes = cell_targets(picture, Frame(0, Size(256, 256), Box(0, 0, 256, 256)))
    classes = classes.reshape(8, 8, 4)
    assert classes[1, 1].tolist() == [1, 5, VALUE_IDS["color", "blue"], -1]
    assert classes[6, 6].tolist() == [0, 0, 0, 0]
    assert boxes.reshape(8, 8, 4)[1, 1].tolist() == [0, 0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("side", "judged"),
    [(4, [-1, -1]), (12, [-1, VALUE_IDS["color", "blue"]]), (24, [VALUE_IDS["color", "blue"], -1])],
)
def test_fine_details_are_judged_apart_and_the_finest_not_at_all(side, judged):
    thing = Thing("red star", "red", "star", Box(0, 0, 128, 128), Box(36, 36, 36 + side, 36 + side), "color", "blue")
    picture = Picture(Image.new("RGB", (256, 256)), (thing,))
    classes, _ = cell_targets(picture, Frame(0, Size(256, 256), Box(0, 0, 256, 256)))
    assert classes.reshape(8, 8, 4)[1, 1, 2:].tolist() == judged


def test_patches_are_in_the_processors_order(tokenizer):
    from zoomgap.distill.micro_model import build_processor

    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    processed = build_processor(tokenizer).image_processor(images=[Image.fromarray(image)], return_tensors="pt")
    assert processed["image_grid_thw"].tolist() == [[1, 4, 6]]
    assert torch.allclose(patches(image[None]), processed["pixel_values"], atol=1e-5)


def test_stages_follow_one_another_and_the_last_goes_on():
    assert stage_at(STAGES, 0) is STAGES[0]
    assert stage_at(STAGES, STAGES[0].steps) is STAGES[1]
    assert stage_at(STAGES, 10**9) is STAGES[-1]


def test_pictures_that_are_only_looked_at_train_the_vision_tower_alone(tokenizer):
    mix = Mixture(views=0.0, dense=1.0, pixels=(16_384,), whole=1.0, **SMALL)
    batch = make_batch(tokenizer, mix, 0, 0, 3)
    assert batch.packed is None
    assert sum(len(group.indices) for group in batch.images) == 3
    trainee = Trainee(build_model(tokenizer, 0)).train()
    losses = trainee.losses(batch)
    assert set(losses) == {"see", "box"}
    total(losses).backward()
    touched = {
        name.split(".")[2] for name, p in trainee.named_parameters() if p.grad is not None and "head" not in name
    }
    assert touched == {"visual"}


async def test_training_resumes_to_the_same_losses_and_exports_a_checkpoint(tmp_path):
    losses = {}
    config = PretrainConfig(steps=4, workers=0, warmup=1, stages=TINY)
    pretrain(config, tmp_path / "whole", lambda p: losses.setdefault(p.step, p.losses["words"]))
    pretrain(replace(config, steps=2), tmp_path / "parts", lambda p: None)
    resumed = {}
    export = pretrain(config, tmp_path / "parts", lambda p: resumed.setdefault(p.step, p.losses["words"]))
    assert resumed.keys() == {3, 4}
    assert all(resumed[step] == pytest.approx(losses[step], rel=1e-3) for step in resumed)

    buffer = (tmp_path / "grey.png", Image.new("RGB", (64, 64)))
    buffer[1].save(buffer[0])
    model = open_model(f"hf:{export}", None, lambda sha: buffer[0].read_bytes())
    content = (ImagePart("0" * 64, 64, 64), Text("What color is the mark on it?"))
    reply = await model.reply(Request(messages=(Message(role="user", content=content),)))
    await model.aclose()
    assert reply.usage.image_tokens == 4
    assert reply.image_sizes == (Size(64, 64),)


def test_old_tasks_are_the_same_each_time_and_train_the_language_part(tokenizer):
    old = OldTasks(seed=5)
    first, again, other = old.batch(3), old.batch(3), old.batch(4)
    assert np.array_equal(first.packed.ids, again.packed.ids)
    assert not np.array_equal(first.packed.ids, other.packed.ids)
    model = build_model(tokenizer, seed=0)
    old.loss(model, first).backward()
    assert all(p.grad is not None for p in model.model.language_model.layers.parameters())


def test_a_run_of_another_seed_is_refused(tmp_path):
    pretrain(PretrainConfig(steps=1, workers=0, stages=TINY), tmp_path, lambda p: None)
    with pytest.raises(UsageError, match="seed 0, not 1"):
        pretrain(PretrainConfig(steps=1, seed=1, workers=0, stages=TINY), tmp_path, lambda p: None)
