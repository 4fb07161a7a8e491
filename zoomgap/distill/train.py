"""Training of a student on distilled items: supervised, on the answer alone, old skills replayed beside it.

The paper (arXiv 2602.11858) trains with GRPO (lr 1e-6, 8 rollouts, batch 384, 37,000 items). Here the loss is plain
cross-entropy: few passes over many different images, and a share of steps on what the base already knew, without which
a small model memorises the items and loses its zoom skill.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from zoomgap.distill.dataset import (
    batches_of,
    check_trainable,
    plan_epoch,
    plan_steps,
    split,
    view_sizes,
    views_of,
)
from zoomgap.distill.encoding import prefetch
from zoomgap.distill.optim import OUTSIDE, make_optimizer
from zoomgap.distill.rows import RowEncoder, encoder_for
from zoomgap.distill.student import TrainResult, Validation, finished, save_student, state_path
from zoomgap.errors import UsageError, ZoomgapError
from zoomgap.geometry import Box
from zoomgap.models.base import LoadImage
from zoomgap.models.local import load_checkpoint, weights_sha256
from zoomgap.records import Item, digest


class Replay(Protocol):
    """Old tasks: batches that are pure functions of their number, made in a thread, and the loss on one.

    `loss` moves a batch to the model's device itself.
    """

    def batch(self, index: int) -> Any: ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """All that can change a student, beside its base and items.

    Training ends after `epochs`, max_steps or max_minutes, whichever is first; the learning rates lr_matrix (Muon) and
    lr_rest (AdamW) rise for warmup_steps and fall linearly to zero at that end. batch_size: views of a step, each an
    image with all that is asked of it. clip: largest gradient norm. replay_share: share of steps on old tasks.
    look_weight: of the loss that tells a model of few layers where the agent looked (distill/rows.py); 0 for none.
    jitter: how far views are shifted at most, pixels of the view, drawn anew in every epoch: a fixed vision tower would
    otherwise hand over the same tokens each time, and a small set is soon known by heart.
    freeze_vision: keep the vision tower as it is, but for the merger that hands its tokens to the language part.
    base_share: of the base's weights in the student's, averaged at the end (WiSE-FT, arXiv 2109.01903): what training
    made the student forget comes back sooner than what it learned goes.
    validation_share: share of images held out, of which at most validation_items items are used. view_pixels, factor,
    suffix: the full image's budget and the arms' wording.
    """

    epochs: int = 2
    max_steps: int | None = None
    max_minutes: float | None = None
    batch_size: int = 12
    lr_matrix: float = 0.005
    lr_rest: float = 5e-4
    warmup_steps: int = 20
    clip: float = 1.0
    seed: int = 0
    replay_share: float = 0.33
    look_weight: float = 0.0
    jitter: int = 0
    freeze_vision: bool = False
    base_share: float = 0.0
    validation_share: float = 0.05
    validation_items: int = 512
    validate_every: int = 200
    checkpoint_minutes: float = 3.0
    view_pixels: int = 65_536
    factor: int = 32
    suffix: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is. loss: mean of the last 20 steps on items; eta_s: seconds left, None at the first step."""

    step: int
    steps: int
    loss: float | None
    validation_loss: float | None
    elapsed_s: float
    eta_s: float | None


@dataclass
class State:
    """What a resumed training goes on from. seconds: spent in all sittings."""

    step: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    replay_losses: list[float] = field(default_factory=list)
    validation: list[Validation] = field(default_factory=list)


VISION_TOWERS = ("visual", "vision_tower", "vision_model")
"""What transformers calls the vision tower of its architectures."""


def freeze_vision(model: nn.Module) -> None:
    """Take the vision tower out of training. Its merger stays in, as projectors do that stand outside the tower.

    Raises UsageError for a model without a part of such a name.
    """
    towers = [module for name, module in model.named_modules() if name.rpartition(".")[2] in VISION_TOWERS]
    if not towers:
        raise UsageError(f"no part of this model is called {' or '.join(VISION_TOWERS)}: train without freeze_vision")
    for tower in towers:
        for name, weight in tower.named_parameters():
            weight.requires_grad_("merger" in name)


class Trainer:
    """One training, from its first step or from where it was interrupted."""

    def __init__(
        self, config: TrainConfig, items: Sequence[Item], load_image: LoadImage, base: Path, out: Path, identity: str,
        replay: Replay | None, places: Mapping[str, Box],
    ) -> None:  # fmt: skip
        self.config, self.base, self.out, self.identity, self.replay = config, base, out, identity, replay
        self.parts = split(items, config.validation_share)
        if not self.parts.train:
            raise UsageError(f"{len(items)} items leave none to train on: give more images or a lower validation_share")
        torch.manual_seed(config.seed)
        self.model, self.processor = load_checkpoint(base)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device, torch.float32)
        if config.freeze_vision:
            freeze_vision(self.model)
        # Beside a frozen tower, orthogonalising the merger's large matrix would be two thirds of Muon's time.
        outside = (*OUTSIDE, "merger") if config.freeze_vision else OUTSIDE
        self.optimizer = make_optimizer(self.model, config.lr_matrix, config.lr_rest, outside)
        self.encoder = encoder_for(
            self.model, self.processor, load_image, config.view_pixels, config.factor, config.suffix
        )
        if isinstance(self.encoder, RowEncoder):
            self.encoder.places = places
        self.sizes = view_sizes(items, load_image, config.view_pixels, config.factor)
        epochs = [
            plan_epoch(
                self.parts.train, self.sizes, config.batch_size, config.seed, epoch, self.encoder.packs, config.jitter
            )
            for epoch in range(config.epochs)
        ]
        self.batches = [batch for epoch in epochs for batch in epoch]
        self.steps = plan_steps(len(self.batches), config.replay_share if replay else 0.0, config.max_steps)
        self.state = State()
        self.updating = False

    def run(self, progress: Callable[[Progress], None] | None) -> None:
        """All remaining steps; an interruption (Ctrl-C) leaves a state to resume from."""
        self._restore()
        saved = time.monotonic()
        began = saved - self.state.seconds
        try:
            for batch in prefetch(self._make, range(self.state.step, len(self.steps)), workers=2):
                if self._share_done() >= 1:
                    break
                if self.state.step and self.state.step % self.config.validate_every == 0:
                    self.validate()
                self._step(batch)
                self.state.seconds = time.monotonic() - began
                if time.monotonic() - saved > 60 * self.config.checkpoint_minutes:
                    self.save()
                    saved = time.monotonic()
                if progress:
                    progress(self.progress())
        except KeyboardInterrupt:
            # Weights caught between two steps are worth less than those saved minutes ago.
            if not self.updating:
                self.save()
            raise
        if self.config.base_share:
            self._average()
        self.validate()
        self.state.seconds = time.monotonic() - began

    def _average(self) -> None:
        """Move the weights towards the base's."""
        base = dict(load_checkpoint(self.base)[0].named_parameters())
        with torch.no_grad():
            for name, weight in self.model.named_parameters():  # tied weights once
                weight.lerp_(base[name].to(weight), self.config.base_share)

    def progress(self) -> Progress:
        state, done = self.state, self._share_done()
        recent = state.losses[-20:]
        return Progress(
            step=state.step,
            steps=len(self.steps),
            loss=sum(recent) / len(recent) if recent else None,
            validation_loss=state.validation[-1].loss if state.validation else None,
            elapsed_s=state.seconds,
            eta_s=state.seconds * (1 - done) / done if done else None,
        )

    def validate(self) -> None:
        """Loss and exact answers (each token given those before it) on held-out images, once for each step."""
        held = sorted(self.parts.validation, key=lambda item: digest(item.question))[: self.config.validation_items]
        if not held or (self.state.validation and self.state.validation[-1].step == self.state.step):
            return
        batches = batches_of(views_of(held), self.sizes, self.config.batch_size, random.Random(0))
        losses, right = [], 0
        self.model.eval()
        with torch.no_grad(), self._precision():
            for batch in prefetch(lambda k: self.encoder.batch(batches[k]), range(len(batches)), workers=2):
                found = self.encoder.loss(self.model, batch)
                losses.append(float(found.answers) * len(found.exact))
                right += int(found.exact.sum())
        figures = Validation(self.state.step, sum(losses) / len(held), right / len(held), len(held))
        self.state.validation.append(figures)

    def save(self) -> None:
        """Write the state to resume from, whole or not at all."""
        path = state_path(self.out)
        path.parent.mkdir(parents=True, exist_ok=True)
        state = {
            "identity": self.identity,
            "state": asdict(self.state),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        torch.save(state, path.with_suffix(".new"))
        os.replace(path.with_suffix(".new"), path)

    def _restore(self) -> None:
        path = state_path(self.out)
        if not path.exists():
            return
        saved = torch.load(path, map_location=self.device, weights_only=True)
        if saved["identity"] != self.identity:
            raise UsageError(f"{path} is of another training (other config, items or base): choose another out folder")
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"].cpu())
        validation = [Validation(**figures) for figures in saved["state"].pop("validation")]
        self.state = State(**saved["state"], validation=validation)

    def _step(self, batch: Any) -> None:
        state, config = self.state, self.config
        replay = self.steps[state.step].replay
        self.model.train()
        warm = min(1.0, (state.step + 1) / max(config.warmup_steps, 1))
        self.optimizer.set_factor(warm * (1 - self._share_done()))
        with self._precision():
            if replay:
                assert self.replay is not None
                loss = answers = self.replay.loss(self.model, batch)
            else:
                found = self.encoder.loss(self.model, batch)
                loss = answers = found.answers
                if found.looks is not None:
                    loss = answers + config.look_weight * found.looks
        value = float(answers.detach())
        if not math.isfinite(float(loss.detach())):
            raise ZoomgapError(f"the loss is {value} at step {state.step}: lower the learning rates and start anew")
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), config.clip)
        self.updating = True
        self.optimizer.step()
        self.optimizer.zero_grad()
        (state.replay_losses if replay else state.losses).append(value)
        state.step += 1
        self.updating = False

    def _make(self, step: int) -> Any:
        turn = self.steps[step]
        if turn.replay:
            assert self.replay is not None
            return self.replay.batch(turn.number)
        return self.encoder.batch(self.batches[turn.number])

    def items_seen(self) -> int:
        """How many items the steps so far have shown."""
        turns = [turn for turn in self.steps[: self.state.step] if not turn.replay]
        return len({item.id for turn in turns for view in self.batches[turn.number] for item in view.items})

    def _share_done(self) -> float:
        """Share of the training that lies behind, by steps or by minutes, whichever is nearer its end."""
        by_steps = self.state.step / len(self.steps)
        minutes = self.config.max_minutes
        return by_steps if minutes is None else max(by_steps, self.state.seconds / (60 * minutes))

    def _precision(self) -> AbstractContextManager[Any]:
        # Weights and optimiser stay in fp32; on processors autocast costs more than it saves.
        return torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()


def train(
    config: TrainConfig, items: Sequence[Item], load_image: LoadImage, base: Path, out: Path,
    progress: Callable[[Progress], None] | None = None, replay: Replay | None = None,
    places: Mapping[str, Box] | None = None,
) -> TrainResult:  # fmt: skip
    """Train a student from the checkpoint folder `base` and write it to the folder `out`, with a model card.

    places: question id -> where the agent looked, pixels of the original; for config.look_weight.

    Called again after an interruption, it goes on from the last saved state to the same losses (unless max_minutes
    bounds it); called again after its end, it returns the stored result. Raises UsageError for items that may not be
    trained on and for an `out` that holds another training.
    """
    check_trainable(item.sample for item in items)
    # By question, not by item: the datasets of one build then come in one order, whatever their labels.
    items = sorted(items, key=lambda item: (item.question, item.id))
    weights = weights_sha256(base)
    places = dict(places or {}) if config.look_weight > 0 else {}
    read = [[question, box.as_list()] for question, box in sorted(places.items())]
    identity = digest([asdict(config), [asdict(item) for item in items], weights, replay is not None, read])
    if (result := finished(out, identity)) is not None:
        return result
    trainer = Trainer(config, items, load_image, base, out, identity, replay, places)
    trainer.run(progress)
    state = trainer.state
    result = TrainResult(
        identity=identity,
        base=str(base),
        base_weights=weights,
        out=str(out),
        steps=state.step,
        items=trainer.items_seen(),
        seconds=state.seconds,
        losses=state.losses,
        replay_losses=state.replay_losses,
        validation=state.validation,
    )
    save_student(trainer.model, trainer.processor, out, result, asdict(config), items)
    return result
