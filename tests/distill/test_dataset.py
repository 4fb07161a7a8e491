from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoomgap.distill.consensus import Label
from zoomgap.distill.dataset import (
    Turn,
    check_trainable,
    epoch_views,
    make_items,
    plan_epoch,
    plan_steps,
    split,
    views_of,
)
from zoomgap.distill.questions import ask
from zoomgap.distill.regions import propose
from zoomgap.errors import UsageError
from zoomgap.geometry import Box, Size
from zoomgap.records import Item

TEMPLATE = Item(
    id="", dataset="test-agent", question="q", sample="micro-4000000", image="", text="What color is the mark?",
    choices=(), answer="red", answer_kind="text", dimension="color", overlay=None, labels="agent", agreement=1.0,
    gold=False,
)  # fmt: skip


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


@pytest.mark.parametrize("ids", [["micro-4000000", "micro-7999999.3"], ["micro-5"], [], ["vstar-9000000", "micro-x"]])
def test_training_splits_are_allowed(ids):
    check_trainable(ids)


@pytest.mark.parametrize(
    "ids",
    [["micro-8000000"], ["micro-9000000.2"], ["micro-9100000"], ["micro-7999999", "micro-8000000"],
     ["micro-3999999", "micro-4000000"], ["micro-5-1"], ["micro-5.0"], ["micro-05"]],
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


def test_an_epoch_without_boxes_has_every_item_once_in_batches_of_one_size(items):
    many = [replace(items[1], id=f"item{k:03}", image=f"image{k // 2}") for k in range(100)]
    sizes = {f"image{k}": Size(256, 256 if k % 3 else 192) for k in range(50)}
    epochs = [plan_epoch(many, sizes, 8, seed=1, epoch=e) for e in (0, 1)]
    for batches in epochs:
        assert sorted(i.id for batch in batches for view in batch for i in view.items) == [i.id for i in many]
        assert all(len({sizes[view.image] for view in batch}) == 1 and len(batch) <= 8 for batch in batches)
        assert all(item.image == view.image for batch in batches for view in batch for item in view.items)
    assert len(epochs[0]) == len(epochs[1]) == 8
    assert epochs[0] != epochs[1]
    assert plan_epoch(many[::-1], sizes, 8, seed=1, epoch=0) == epochs[0]
    assert plan_epoch(many, sizes, 8, seed=2, epoch=0) != epochs[0]
    moved = [
        view.shift for epoch in (0, 1) for batch in plan_epoch(many, sizes, 8, 1, epoch, jitter=5) for view in batch
    ]
    assert {abs(value) for shift in moved for value in shift} <= set(range(6))
    assert moved[: len(moved) // 2] != moved[len(moved) // 2 :]
    assert {view.shift for batch in epochs[0] for view in batch} == {(0, 0)}
    alone = plan_epoch(many, sizes, 8, seed=1, epoch=0, packs=False)
    assert sorted(view.items[0].id for batch in alone for view in batch) == [i.id for i in many]
    assert all(len(view.items) == 1 for batch in alone for view in batch)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 3)), min_size=1, max_size=40), st.integers(0, 9))
def test_an_epoch_shows_each_image_plain_and_with_one_of_its_boxes(pairs, epoch):
    made = [
        replace(TEMPLATE, id=str(k), image=f"image{image}", overlay=None if box < 0 else Box(box, 0, 9, 9))
        for k, (image, box) in enumerate(pairs)
    ]
    plain = {item.id for item in made if item.overlay is None}
    assert sorted(item.id for view in views_of(made) for item in view.items) == sorted(item.id for item in made)
    views = epoch_views(made, epoch)
    assert len({(view.image, view.overlay is None) for view in views}) == len(views)
    assert {item.id for view in views if view.overlay is None for item in view.items} == plain
    for view in views:
        asked = [item for item in made if item.image == view.image and item.overlay in (view.overlay, None)]
        assert sorted(item.id for item in view.items) == sorted(item.id for item in asked)
        assert any(item.overlay == view.overlay for item in view.items)
    # In turn every box is shown.
    for image in {item.image for item in made}:
        boxes = {item.overlay for item in made if item.image == image and item.overlay}
        shown = [v.overlay for e in range(len(boxes)) for v in epoch_views(made, e) if v.image == image and v.overlay]
        assert len(shown) == len(boxes)
        assert set(shown) == boxes


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
