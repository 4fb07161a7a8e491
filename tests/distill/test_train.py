from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from zoomgap.distill.dataset import views_of
from zoomgap.distill.encoding import Encoder, answer_loss
from zoomgap.distill.student import Validation, model_card
from zoomgap.distill.train import TrainConfig, freeze_vision, train
from zoomgap.errors import UsageError, ZoomgapError
from zoomgap.models.local import load_checkpoint

CONFIG = TrainConfig(
    epochs=12, batch_size=3, lr_matrix=0.01, lr_rest=3e-3, warmup_steps=2, validation_share=0.0, view_pixels=16_384
)


class Repeat:
    """Old tasks: the first two items with answers of their own."""

    def __init__(self, encoder, items):
        self.encoder, self.items, self.made = encoder, [replace(i, answer="plain") for i in items[:2]], []

    def batch(self, index):
        self.made.append(index)
        return self.encoder.batch(views_of(self.items))

    def loss(self, model, batch):
        return answer_loss(model, batch).answers


def interrupt_at(step: int):
    def progress(now):
        if now.step == step:
            raise KeyboardInterrupt

    return progress


def test_answer_loss_is_the_models_own_loss(items, world, tiny_checkpoint):
    model, processor = load_checkpoint(tiny_checkpoint)
    model.float()
    batch = Encoder(processor, world.pictures.load_image, 16_384).batch(views_of(items))
    with torch.no_grad():
        loss, exact, _ = answer_loss(model, batch)
        out = model(**batch.inputs, labels=batch.labels)
    assert loss == pytest.approx(float(out.loss), rel=1e-4)
    best = out.logits[:, :-1].argmax(-1)
    right = (best == batch.labels[:, 1:]) | (batch.labels[:, 1:] < 0)
    assert exact.tolist() == right.all(1).tolist()


def test_a_few_items_are_learned_and_the_student_is_a_checkpoint(items, world, tiny_checkpoint, tmp_path):
    seen = []
    result = train(CONFIG, items, world.pictures.load_image, tiny_checkpoint, tmp_path / "student", seen.append)
    assert len(result.losses) == result.steps == 24
    assert sum(result.losses[-4:]) < 0.5 * sum(result.losses[:4])
    assert [p.step for p in seen] == list(range(1, 25))
    assert seen[-1].eta_s == 0
    assert all(p.steps == 24 and p.eta_s >= 0 and p.elapsed_s > 0 for p in seen)
    model, processor = load_checkpoint(tmp_path / "student")
    batch = Encoder(processor, world.pictures.load_image, 16_384).batch(views_of(items))
    with torch.no_grad():
        loss = answer_loss(model.float(), batch).answers
    assert float(loss) < 0.6 * result.losses[0]
    stored = next((tmp_path / "student").glob("*.safetensors"))
    from safetensors import safe_open

    with safe_open(stored, "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.bfloat16}  # noqa: SIM118
    assert not (tmp_path / "student" / "resume.pt").exists()


def test_a_frozen_vision_tower_stays_and_the_rest_learns(items, world, tiny_checkpoint, tmp_path):
    config = replace(CONFIG, epochs=2, freeze_vision=True)
    train(config, items, world.pictures.load_image, tiny_checkpoint, tmp_path / "student")
    before = load_checkpoint(tiny_checkpoint)[0].state_dict()
    after = load_checkpoint(tmp_path / "student")[0].state_dict()
    # Students are stored in bf16.
    changed = {name for name in before if not torch.equal(before[name].bfloat16(), after[name].bfloat16())}
    assert not [name for name in changed if "visual" in name and "merger" not in name]
    assert [name for name in changed if "merger" in name]
    assert [name for name in changed if "language_model" in name]


def test_a_share_of_the_base_is_averaged_into_the_student(items, world, tiny_checkpoint, tmp_path):
    weights = {}
    for share in (0.0, 0.25, 1.0):
        config = replace(CONFIG, epochs=2, base_share=share)
        train(config, items, world.pictures.load_image, tiny_checkpoint, tmp_path / str(share))
        weights[share] = load_checkpoint(tmp_path / str(share))[0].float().state_dict()
    base = load_checkpoint(tiny_checkpoint)[0].float().state_dict()
    for name, before in base.items():
        trained = weights[0.0][name]
        torch.testing.assert_close(weights[1.0][name], before, rtol=1e-2, atol=1e-3)
        torch.testing.assert_close(weights[0.25][name], 0.75 * trained + 0.25 * before, rtol=2e-2, atol=2e-3)
    assert any((weights[0.0][name] - base[name]).abs().max() > 0.01 for name in base)


def test_a_model_without_a_vision_tower_cannot_have_it_frozen():
    with pytest.raises(UsageError, match="vision_tower"):
        freeze_vision(torch.nn.Linear(2, 2))


def test_an_interrupted_training_goes_on_to_the_same_losses(items, world, tiny_checkpoint, tmp_path):
    config = replace(CONFIG, epochs=5, replay_share=0.25, validation_share=0.3, validate_every=3)
    encoder = Encoder(load_checkpoint(tiny_checkpoint)[1], world.pictures.load_image, 16_384)
    arguments = (config, items, world.pictures.load_image, tiny_checkpoint)
    whole = train(*arguments, tmp_path / "a", replay=Repeat(encoder, items))
    assert len(whole.replay_losses) == (whole.steps) // 4
    assert whole.validation
    for step in (4, 7):
        with pytest.raises(KeyboardInterrupt):
            train(*arguments, tmp_path / "b", interrupt_at(step), replay=Repeat(encoder, items))
        assert (tmp_path / "b" / "resume.pt").exists()
    replay = Repeat(encoder, items)
    again = train(*arguments, tmp_path / "b", replay=replay)
    assert again.losses == whole.losses
    assert again.replay_losses == whole.replay_losses
    assert again.validation == whole.validation
    assert 0 not in replay.made
    weights = [load_checkpoint(tmp_path / name)[0].state_dict() for name in "ab"]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_a_finished_training_is_not_repeated_and_no_other_takes_its_place(items, world, tiny_checkpoint, tmp_path):
    config = replace(CONFIG, max_steps=1)
    first = train(config, items, world.pictures.load_image, tiny_checkpoint, tmp_path)
    called = []
    assert train(config, items[::-1], world.pictures.load_image, tiny_checkpoint, tmp_path, called.append) == first
    assert called == []
    with pytest.raises(UsageError, match="another student"):
        train(replace(config, seed=1), items, world.pictures.load_image, tiny_checkpoint, tmp_path)


def test_a_state_of_another_training_is_refused(items, world, tiny_checkpoint, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, items, world.pictures.load_image, tiny_checkpoint, tmp_path, interrupt_at(1))
    with pytest.raises(UsageError, match="another training"):
        train(CONFIG, items[:-1], world.pictures.load_image, tiny_checkpoint, tmp_path)


def test_validation_is_on_held_out_images_only(items, world, tiny_checkpoint, tmp_path):
    config = replace(CONFIG, max_steps=4, validation_share=0.5, validate_every=2)
    result = train(config, items, world.pictures.load_image, tiny_checkpoint, tmp_path)
    assert [v.step for v in result.validation] == [2, 4]
    assert all(v.items == len(items) - result.items and 0 <= v.accuracy <= 1 for v in result.validation)
    assert 0 < result.items < len(items)


def test_time_bounds_a_training(items, world, tiny_checkpoint, tmp_path):
    config = replace(CONFIG, epochs=1000, max_minutes=0.02)
    result = train(config, items, world.pictures.load_image, tiny_checkpoint, tmp_path)
    assert 0 < result.steps < 2000
    assert result.seconds >= 1.2


def test_what_may_not_be_trained_on_is_refused(items, world, tiny_checkpoint, tmp_path):
    test = [replace(items[0], sample="micro-9000001")]
    with pytest.raises(UsageError, match="training"):
        train(CONFIG, test, world.pictures.load_image, tiny_checkpoint, tmp_path)
    with pytest.raises(UsageError, match="leave none"):
        train(CONFIG, [], world.pictures.load_image, tiny_checkpoint, tmp_path)


def test_a_loss_that_is_not_finite_stops_the_training(items, world, tiny_checkpoint, tmp_path):
    with pytest.raises(ZoomgapError, match="learning rates"):
        train(replace(CONFIG, lr_rest=1e30), items, world.pictures.load_image, tiny_checkpoint, tmp_path)


def test_model_card_states_what_it_was_made_of(items, world, tiny_checkpoint, tmp_path):
    config = replace(CONFIG, max_steps=1)
    mixed = [*items[:-1], replace(items[-1], gold=True, labels="gold")]
    result = train(config, mixed, world.pictures.load_image, tiny_checkpoint, tmp_path)
    card = (tmp_path / "README.md").read_text()
    facts = (
        f"base_model: {tiny_checkpoint.name}",
        result.base_weights[:12],
        "test-agent",
        "agent, gold",
        "6 on 6 images",
        "color 6",
        "was read): 1",
        "clip: 1.0",
    )
    assert all(fact in card for fact in facts)
    table = model_card(replace(result, validation=[Validation(7, 0.5, 0.25, 9)]), {}, mixed)
    assert "| 7 | 0.500 | 0.250 | 9 |" in table
