from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap import imaging
from zoomgap.distill.consensus import Label
from zoomgap.distill.dataset import (
    IGNORE,
    Encoder,
    Turn,
    check_trainable,
    collate,
    make_items,
    plan_epoch,
    plan_steps,
    prefetch,
    split,
    view_sizes,
)
from zoomgap.distill.micro_model import build_processor, build_tokenizer
from zoomgap.distill.questions import ask
from zoomgap.distill.regions import propose
from zoomgap.errors import UsageError
from zoomgap.models.local import load_checkpoint
from zoomgap.records import Size


@pytest.fixture(scope="module", params=["tiny", "micro"])
def processor(request):
    """Of two checkpoints with templates and tokenizers of their own."""
    if request.param == "micro":
        return build_processor(build_tokenizer())
    return load_checkpoint(request.getfixturevalue("tiny_checkpoint"))[1]


@pytest.fixture
def encoder(processor, world):
    return Encoder(processor, world.pictures.load, 16_384)


def test_items_carry_the_label_and_point_back(world):
    regions = propose(world.traced).kept
    questions = ask(regions, world.samples)
    answers = {q.id: Label(f"answer {k}", 0.75) for k, q in enumerate(questions) if k != 2}
    items = make_items("d-agent", "agent", answers, questions, {r.id: r for r in regions})
    assert [item.answer for item in items] == [f"answer {k}" for k in range(len(questions)) if k != 2]
    asked = {q.id: q for q in questions}
    for item in items:
        question = asked[item.question]
        assert (item.text, item.choices, item.dimension) == (question.text, question.choices, question.dimension)
        assert item.image == world.samples[item.sample].image
        assert (item.overlay is not None) == question.local
        assert (item.labels, item.agreement, item.gold) == ("agent", 0.75, False)
    gold = make_items("d-gold", "gold", answers, questions, {r.id: r for r in regions})
    assert all(item.gold for item in gold)
    assert not {i.id for i in gold} & {i.id for i in items}


@pytest.mark.parametrize("ids", [["micro-4000000", "micro-7999999"], ["micro-5"], [], ["vstar-9000000", "micro-x"]])
def test_training_splits_are_allowed(ids):
    check_trainable(ids)


@pytest.mark.parametrize(
    "ids",
    [["micro-8000000"], ["micro-9000000"], ["micro-9100000"], ["micro-7999999", "micro-8000000"],
     ["micro-3999999", "micro-4000000"]],
)  # fmt: skip
def test_other_seeds_and_mixed_splits_are_refused(ids):
    with pytest.raises(UsageError):
        check_trainable(ids)


def test_split_keeps_an_image_on_one_side_and_never_moves(items):
    many = [replace(items[0], id=f"{k}-{j}", image=f"image{k}") for k in range(400) for j in range(2)]
    train, held = split(many, 0.25)
    assert 140 < len(held) < 260
    assert len(train) + len(held) == len(many)
    assert not {i.image for i in train} & {i.image for i in held}
    assert [i.id for i in split(many[:100], 0.25).validation] == [i.id for i in held if i in many[:100]]
    assert split(many, 0.0).validation == []


def test_an_epoch_has_every_item_once_in_batches_of_one_size(items):
    many = [replace(items[0], id=f"item{k:03}", image=f"image{k}") for k in range(50)]
    sizes = {f"image{k}": Size(256, 256 if k % 3 else 192) for k in range(50)}
    epochs = [plan_epoch(many, sizes, 8, seed=1, epoch=e) for e in (0, 1)]
    for batches in epochs:
        assert sorted(i.id for batch in batches for i in batch) == [i.id for i in many]
        assert all(len({sizes[i.image] for i in batch}) == 1 and len(batch) <= 8 for batch in batches)
    assert len(epochs[0]) == len(epochs[1]) == 8
    assert epochs[0] != epochs[1]
    assert plan_epoch(many[::-1], sizes, 8, seed=1, epoch=0) == epochs[0]
    assert plan_epoch(many, sizes, 8, seed=2, epoch=0) != epochs[0]


@settings(deadline=None)
@given(st.integers(1, 60), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75]))
def test_steps_cover_each_batch_once_with_replay_spread_between(batches, share):
    steps = plan_steps(batches, share, None)
    assert [s.number for s in steps if not s.replay] == list(range(batches))
    old = [s.number for s in steps if s.replay]
    assert old == list(range(len(old)))
    for n in range(1, len(steps) + 1):
        assert abs(sum(s.replay for s in steps[:n]) - n * share) < 1
    assert plan_steps(batches, share, 3) == steps[:3]


def test_replay_steps_are_named():
    assert plan_steps(3, 0.25, None) == [Turn(False, 0), Turn(False, 1), Turn(False, 2), Turn(True, 0)]
    with pytest.raises(UsageError, match="replay share"):
        plan_steps(3, 1.0, None)


def test_sizes_are_those_of_the_views(items, encoder):
    sizes = view_sizes(items, encoder.load_image, 16_384, 32)
    assert {item.image: Size(*encoder.view(item).size) for item in items} == sizes
    assert set(sizes.values()) == {Size(128, 96)}


def test_the_loss_covers_exactly_the_answer_and_the_end_of_its_turn(items, encoder):
    tokenizer = encoder.processor.tokenizer
    batch = encoder.batch(items)
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
    batch = encoder.batch(items)
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
    whole = imaging.open_image(world.pictures.load(items[0].image))
    plain = imaging.fit(whole, 16_384)
    assert (
        encoder.view(items[1]).tobytes()
        == imaging.fit(imaging.open_image(world.pictures.load(items[1].image)), 16_384).tobytes()
    )
    box = items[0].overlay.scaled(plain.width / whole.width, plain.height / whole.height)
    assert encoder.view(items[0]).tobytes() == imaging.overlay(plain, box).tobytes()
    grids = encoder.batch(items).inputs["image_grid_thw"]
    assert grids.tolist() == [[1, 6, 8]] * len(items)


def test_collating_changes_no_logits(items, world, tiny_checkpoint):
    model, processor = load_checkpoint(tiny_checkpoint)
    model.float()
    encoder = Encoder(processor, world.pictures.load, 16_384)
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
