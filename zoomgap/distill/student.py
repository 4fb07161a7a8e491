"""A trained student's folder: the checkpoint, its model card and the result of its training."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoomgap.distill.micro_model import save_checkpoint
from zoomgap.errors import UsageError
from zoomgap.records import Item, Labels

RESULT = "training.json"

TAUGHT: Mapping[Labels, str] = {
    "agent": "what its teacher read on the agent's crops",
    "self": "the base's own at one glance (a floor: what mere training brings)",
    "random-crop": "what its teacher read on crops of other places (a placebo)",
    "gold": "the benchmark's own (a ceiling)",
}


@dataclass(frozen=True, slots=True)
class Validation:
    """Figures on held-out images. accuracy: answers whose every token was the likeliest after those before it."""

    step: int
    loss: float
    accuracy: float
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a training did. items: that were trained on, of those not held out; losses: of each step on items."""

    identity: str
    base: str
    base_weights: str
    out: str
    steps: int
    items: int
    seconds: float
    losses: list[float]
    replay_losses: list[float]
    validation: list[Validation]


def state_path(out: Path) -> Path:
    """Where an unfinished training keeps what it resumes from."""
    return out / "resume.pt"


def finished(out: Path, identity: str) -> TrainResult | None:
    """The stored result of the same training, if it has ended. Raises UsageError when `out` holds another one."""
    path = out / RESULT
    if not path.exists():
        return None
    stored = json.loads(path.read_text())["result"]
    if stored["identity"] != identity:
        raise UsageError(f"{out} holds another student (other config, items or base): choose another out folder")
    validation = [Validation(**figures) for figures in stored.pop("validation")]
    return TrainResult(**stored, validation=validation)


def save_student(
    model: Any, processor: Any, out: Path, result: TrainResult, config: Mapping[str, Any], items: Sequence[Item]
) -> None:
    """Write the checkpoint in bf16 and its card; the result comes last and says that the folder is complete."""
    save_checkpoint(model, processor, out)
    (out / "README.md").write_text(model_card(result, config, items))
    (out / RESULT).write_text(json.dumps({"result": asdict(result), "config": dict(config)}, indent=1))
    state_path(out).unlink(missing_ok=True)


def model_card(result: TrainResult, config: Mapping[str, Any], items: Sequence[Item]) -> str:
    """Markdown that states the base, the items, their labels, the settings and the figures."""
    datasets = ", ".join(sorted({item.dataset for item in items}))
    labels = ", ".join(sorted({item.labels for item in items}))
    dimensions = ", ".join(f"{name} {n}" for name, n in sorted(Counter(item.dimension for item in items).items()))
    base = Path(result.base).name  # the folder's place is of no use elsewhere
    gold = sum(item.gold for item in items)
    taught = "; ".join(TAUGHT[name] for name in sorted({item.labels for item in items}))
    rows = (
        "\n".join(f"| {v.step} | {v.loss:.3f} | {v.accuracy:.3f} | {v.items} |" for v in result.validation)
        or "| - | - | - | 0 |"
    )
    settings = "\n".join(f"- {name}: {value}" for name, value in config.items())
    return f"""---
library_name: transformers
pipeline_tag: image-text-to-text
base_model: {base}
tags: [zoomgap, distillation]
---
# A student distilled by zoomgap

Trained to answer at one glance, with answers that are {taught}.

- Base: `{base}` (weights {result.base_weights[:12]})
- Dataset: {datasets}; labels: {labels}
- Items: {len(items)} on {len({item.image for item in items})} images, {result.items} of them trained on; {dimensions}
- With overlay: {sum(item.overlay is not None for item in items)}; marked gold (the benchmark's answer was read): {gold}
- Steps: {result.steps} in {result.seconds / 60:.1f} minutes, {len(result.replay_losses)} of them on old tasks
  (scenes of pretraining with their true answers, the same for every student of this base)

Held-out images of the same dataset. "Accuracy" is agreement with the labels, token by token, not with the truth:

| step | loss | accuracy | items |
|---|---|---|---|
{rows}

## Settings

{settings}
"""
