"""Pretraining of the embedded model `micro` from random weights, seeded, checkpointed and resumable.

Beside the language loss, linear heads on the merged image tokens say colour, shape, value and box of what each token
shows. They start the vision tower at once, where the language loss alone stays at chance for long; they are training
aids and are not part of the exported checkpoint.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoomgap.distill.guidance import found_loss, look_loss, watched
from zoomgap.distill.micro_model import (
    CARD,
    GRID,
    build_model,
    build_processor,
    build_tokenizer,
    save_checkpoint,
)
from zoomgap.distill.optim import make_optimizer
from zoomgap.distill.packing import IGNORE, run_packed
from zoomgap.distill.pretrain_data import DIRECT_PX, HEAD_SIZES, READ_PX, ZOOM_PX, Batch, Mixture, make_batch
from zoomgap.errors import UsageError
from zoomgap.models.speedups import apply_speedups

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast, Qwen3VLForConditionalGeneration

CHECKPOINT = "state.pt"


@dataclass(frozen=True, slots=True)
class Stage:
    """`steps` batches of `size` pictures drawn from `mix`."""

    name: str
    steps: int
    size: int
    mix: Mixture


_LARGE: dict[str, Any] = {"sides": (320, 560), "carriers": (1, 3), "radius": (30.0, 60.0), "evidence": (10.0, 70.0)}
_SIGHT = Mixture(
    views=0.0, dense=1.0, sides=(480, 640), carriers=(8, 11), radius=(14.0, 31.0), evidence=(10.0, 44.0), whole=1.0,
    weights={"counting": 1.6, "ocr": 2.0, "color": 0.8, "structure": 1.2, "material": 1.2, "object": 1.4},
)  # fmt: skip
_SCENES = Mixture(views=0.7, loose=4.0, pixels=(65_536,) * 8 + (36_864, 147_456))
STAGES: tuple[Stage, ...] = (
    Stage("tight crops", 400, 24, Mixture(views=0.0, loose=1.3)),
    Stage("looser crops, first boxes", 500, 20, Mixture(views=0.35, loose=2.0, pixels=(16_384,), whole=0.8, **_LARGE)),
    Stage("small scenes", 700, 12, Mixture(views=0.7, loose=3.0, pixels=(36_864, 65_536), whole=0.4, narrow=0.3)),
    Stage("scenes", 4200, 14, _SCENES),
    Stage("fine sight", 3688, 24, _SIGHT),
    Stage("scenes again", 100_000, 14, replace(_SCENES, dense=0.2, sight=_SIGHT)),
)
"""The curriculum: crops before scenes, large before small (each reversal was tried and stayed at chance). Small details
in a wide view are learned by the vision tower alone: beside conversations it learned no more of them in 540 steps."""


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """seed: of weights and data. steps: where to stop. decay: steps of linear decay to zero before that.

    lr_matrix: Muon; lr_rest: AdamW. warmup: steps. workers: processes that render.
    """

    steps: int
    seed: int = 0
    lr_matrix: float = 0.01
    lr_rest: float = 1.5e-3
    warmup: int = 50
    decay: int = 0
    workers: int = 1
    save_minutes: float = 4.0
    stages: tuple[Stage, ...] = STAGES


@dataclass(frozen=True, slots=True)
class Progress:
    """One line of the training log. losses by part; seconds since this command began."""

    step: int
    steps: int
    stage: str
    losses: dict[str, float]
    seconds: float


def stage_at(stages: tuple[Stage, ...], step: int) -> Stage:
    """The stage that `step` falls into; the last one goes on for ever."""
    for stage in stages:
        if step < stage.steps:
            return stage
        step -= stage.steps
    return stages[-1]


class _Batches(torch.utils.data.Dataset[Batch]):
    """Batch number -> Batch, so that data workers render ahead and any step can be made again."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, config: PretrainConfig) -> None:
        self.tokenizer, self.config = tokenizer, config

    def __getitem__(self, step: int) -> Batch:
        stage = stage_at(self.config.stages, step)
        return make_batch(self.tokenizer, stage.mix, self.config.seed, step, stage.size)


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)
    os.nice(5)


def patches(images: np.ndarray) -> Tensor:
    """uint8 [n, H, W, 3] -> float32 [n * H/16 * W/16, 768] in the order of Qwen's image processor (2 x 2 blocks)."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // 32, 2, 16, w // 32, 2, 16)
    return x.permute(0, 2, 5, 3, 6, 1, 4, 7).reshape(-1, c * 16 * 16)


class Trainee(nn.Module):
    """The model with its auxiliary heads."""

    def __init__(self, model: Qwen3VLForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        width = model.config.vision_config.out_hidden_size
        self.head = nn.ModuleDict(
            {
                "all": nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(HEAD_SIZES))),
                "found": nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4)),
            }
        )

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by part: those of language_losses, `see` (classes of image tokens), `box` (their boxes)."""
        features = image_features(self.model, batch)
        merged = torch.cat([features[index] for group in batch.images for index in group.indices.tolist()])
        device = merged.device
        classes = torch.cat([torch.from_numpy(group.classes).flatten(0, 1) for group in batch.images]).long().to(device)
        boxes = torch.cat([torch.from_numpy(group.boxes).flatten(0, 1) for group in batch.images]).to(device)
        language = language_losses(self.model, batch, features, self.head["found"]) if batch.packed else {}
        return {**language, **self._auxiliary(merged, classes, boxes)}

    def _auxiliary(self, merged: Tensor, classes: Tensor, boxes: Tensor) -> dict[str, Tensor]:
        out = self.head["all"](merged).split(HEAD_SIZES, dim=-1)
        see = merged.new_zeros(())
        for logits, target in zip(out[:-1], classes.unbind(-1), strict=True):
            weight = torch.ones(logits.shape[-1], device=logits.device)
            weight[0] = 0.2  # most cells show nothing
            see = see + F.cross_entropy(logits, target, weight, ignore_index=-1)
        known = ~boxes.isnan().any(-1)
        box = F.smooth_l1_loss(out[-1][known], boxes[known], beta=0.05) if known.any() else merged.new_zeros(())
        return {"see": see, "box": box}


def image_features(model: Any, batch: Batch) -> dict[int, Tensor]:
    """Merged tokens of every image of a batch, by image index: [cells, hidden]."""
    features: dict[int, Tensor] = {}
    for group in batch.images:
        n, height, width, _ = group.pixels.shape
        grid = torch.tensor([[1, height // 16, width // 16]] * n, device=model.device)
        merged = model.model.visual(patches(group.pixels).to(model.device), grid_thw=grid).pooler_output
        features.update(zip(group.indices.tolist(), merged.view(n, -1, merged.shape[-1]), strict=True))
    return features


def language_losses(
    model: Any, batch: Batch, features: dict[int, Tensor], head: nn.Module | None = None
) -> dict[str, Tensor]:
    """Losses of the packed rows by part, each a mean: `words` (learned tokens but coordinates), `places` (coordinates,
    with their neighbours as half-right answers), `looks` and, with a head, `found` (guidance)."""
    packed, language = batch.packed, model.model.language_model
    assert packed is not None, "a batch without conversations has no language losses"
    images = torch.cat([features[index] for index in packed.images])
    with watched(language) as watch:
        hidden, seen = run_packed(model, packed, images)
    labels = torch.from_numpy(packed.labels).to(hidden.device)
    learn = labels != IGNORE
    words, places = token_losses(model.lm_head(hidden[learn]), labels[learn])
    losses = {"words": words, "places": places, "looks": look_loss(language, watch, packed.looks, seen)}
    return losses if head is None else {**losses, "found": found_loss(head, watch, packed.looks)}


@cache
def coordinate_ids() -> tuple[int, ...]:
    """Token ids of 0, GRID, 2 GRID ... 1000."""
    ids: list[int] = build_tokenizer().convert_tokens_to_ids([str(number) for number in range(0, 1001, GRID)])
    return tuple(ids)


def token_losses(logits: Tensor, labels: Tensor, spread: float = 0.7) -> tuple[Tensor, Tensor]:
    """Mean losses of words and of coordinates. logits: [n, vocabulary]; labels: [n].

    The target of a coordinate is a bell about it, `spread` steps wide: a box that is a step off is nearly right.
    """
    ids = torch.tensor(coordinate_ids(), device=logits.device)
    steps = torch.arange(len(ids), device=logits.device, dtype=torch.float32)
    bells = torch.softmax(-((steps[:, None] - steps) ** 2) / (2 * spread**2), dim=-1)
    which = (labels[:, None] == ids).int()
    place = which.any(-1)
    zero = logits.sum() * 0  # keeps the graph where a batch has none of a kind
    words = F.cross_entropy(logits[~place], labels[~place]) if (~place).any() else zero
    if not place.any():
        return words, zero
    logp = logits[place].log_softmax(-1)[:, ids]
    return words, -(bells[which[place].argmax(-1)] * logp).sum(-1).mean()


WEIGHTS = {"words": 2.0, "places": 0.5, "looks": 0.5, "found": 5.0, "see": 0.5, "box": 5.0}
"""Of the losses in the sum that is minimised."""


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()


_OLD = replace(_SCENES, views=0.6, evidence=(14.0, 56.0))


class OldTasks:
    """Pretraining's conversations about scenes, for a student to keep the base's skills (distill.train.Replay).

    Evidence is larger than in pretraining and crops are more: what the base reads at one glance, and crops themselves,
    are what students lose first, for items are about small things.
    """

    def __init__(self, seed: int, size: int = 4) -> None:
        self.tokenizer, self.seed, self.size = build_tokenizer(), seed, size

    def batch(self, index: int) -> Batch:
        return make_batch(self.tokenizer, _OLD, self.seed, index, self.size)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        return total(language_losses(model, batch, image_features(model, batch)))


def factor_at(config: PretrainConfig, step: int) -> float:
    """Learning-rate factor: linear warm-up, constant, linear decay over the last `decay` steps."""
    up = min(1.0, (step + 1) / config.warmup)
    return min(up, (config.steps - step) / config.decay) if config.decay else up


def pretrain(config: PretrainConfig, out: Path, report: Callable[[Progress], None]) -> Path:
    """Train to config.steps in the folder `out`, going on from its last checkpoint; returns the exported checkpoint.

    Raises UsageError where `out` holds a run of another seed.
    """
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, config.seed)
    apply_speedups(model)
    trainee = Trainee(model).train()
    optimizer = make_optimizer(trainee, config.lr_matrix, config.lr_rest)
    out.mkdir(parents=True, exist_ok=True)
    step = _resume(out / CHECKPOINT, trainee, optimizer, config)
    began = saved = time.monotonic()
    updating = False
    try:
        for batch in _loader(tokenizer, config, step):
            optimizer.set_factor(factor_at(config, step))
            losses = trainee.losses(batch)
            optimizer.zero_grad()
            total(losses).backward()
            nn.utils.clip_grad_norm_(trainee.parameters(), 1.0)
            updating = True
            optimizer.step()
            step += 1
            updating = False
            stage = stage_at(config.stages, step - 1).name
            values = {name: float(value.detach()) for name, value in losses.items()}
            report(Progress(step, config.steps, stage, values, time.monotonic() - began))
            if time.monotonic() - saved > config.save_minutes * 60 or step == config.steps:
                _save(out / CHECKPOINT, trainee, optimizer, config, step)
                saved = time.monotonic()
    except KeyboardInterrupt:
        # Weights caught between two steps are worth less than those saved minutes ago.
        if not updating:
            _save(out / CHECKPOINT, trainee, optimizer, config, step)
        raise
    export = out / "export"
    save_checkpoint(model, build_processor(tokenizer), export)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    card = CARD.format(
        parameters=millions, steps=step, seed=config.seed, zoom=ZOOM_PX, direct=DIRECT_PX, read=READ_PX, grid=GRID
    )
    (export / "README.md").write_text(card, encoding="utf-8")
    return export


def _loader(tokenizer: PreTrainedTokenizerFast, config: PretrainConfig, start: int) -> Iterator[Batch]:
    workers: dict[str, Any] = {}
    if config.workers:
        workers = {"num_workers": config.workers, "prefetch_factor": 4, "worker_init_fn": _quiet_worker}
    return iter(
        torch.utils.data.DataLoader(
            _Batches(tokenizer, config), batch_size=None, sampler=range(start, config.steps), **workers
        )
    )


def _save(path: Path, trainee: Trainee, optimizer: Any, config: PretrainConfig, step: int) -> None:
    """Whole state to a temporary name, then renamed: a kill leaves the last good checkpoint."""
    state = {
        "step": step,
        "seed": config.seed,
        "config": asdict(config),
        "model": trainee.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def _resume(path: Path, trainee: Trainee, optimizer: Any, config: PretrainConfig) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    if state["seed"] != config.seed:
        raise UsageError(f"{path} holds a run of seed {state['seed']}, not {config.seed}: choose another folder")
    trainee.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])
