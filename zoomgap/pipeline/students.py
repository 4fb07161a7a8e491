"""Distillation: datasets from an agent's run, and students of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoomgap.errors import ModelError, UsageError
from zoomgap.geometry import Box
from zoomgap.models.catalog import MICRO_PATH, family_of, open_model
from zoomgap.pipeline.arms import Count, ModelChoice
from zoomgap.pipeline.overlaps import measured_on
from zoomgap.records import Item, Labels, RunSpec, Vote
from zoomgap.renditions import Renditions
from zoomgap.storage import Store

if TYPE_CHECKING:
    from zoomgap.distill.build import BuildConfig, BuildProgress, Built
    from zoomgap.distill.regions import Traced
    from zoomgap.distill.student import TrainResult
    from zoomgap.distill.train import Progress as TrainProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """name: datasets are called NAME-LABELS. base: whose own answers are labels `self`; None is the agent's model.

    allow_overlap: keep images that a benchmark measures on.
    """

    name: str
    labels: tuple[Labels, ...]
    votes: int = 4
    agreement: float = 0.75
    use_gold: bool = False
    allow_overlap: bool = False
    base: ModelChoice | None = None


MAX_FAILED_VOTES = 20
"""Votes that fail one after another end a build: a dead endpoint would otherwise make empty datasets."""


@dataclass(slots=True)
class VoteKeeper:
    """Stores each vote as it comes. Raises ModelError after MAX_FAILED_VOTES failures in a row."""

    store: Store
    failed: int = 0

    def __call__(self, vote: Vote) -> None:
        self.store.put_votes([vote])
        self.failed = self.failed + 1 if vote.error else 0
        if self.failed >= MAX_FAILED_VOTES:
            raise ModelError(
                f"voting stopped after {self.failed} errors in a row, the last one: {vote.error}; "
                "mend that, then the same command goes on"
            )


def _build_config(spec: RunSpec, options: BuildOptions) -> BuildConfig:
    """Settings of a build from a run of that spec: votes are shown what its arms were shown."""
    from zoomgap.distill.build import BuildConfig
    from zoomgap.distill.consensus import ConsensusConfig, VoteConfig

    votes = VoteConfig(
        votes=options.votes,
        view_pixels=spec.view_pixels,
        min_crop_pixels=spec.min_crop_pixels,
        crop_pixels=spec.crop_pixels,
        factor=spec.factor,
        suffix=spec.suffix,
    )
    consensus = ConsensusConfig(agreement=options.agreement, min_votes=min(4, options.votes))
    return BuildConfig(
        name=options.name, labels=options.labels, use_gold=options.use_gold, votes=votes, consensus=consensus
    )


def build_datasets(
    store: Store,
    run: str,
    options: BuildOptions,
    progress: Callable[[BuildProgress], None] | None = None,
    hashed: Count | None = None,
) -> dict[str, Any]:
    """Regions, questions, votes and items from an agent's run, stored; counts of what was made and what fell.

    Images that look like one of a benchmark to measure on are left out first, with what hangs on them, and counted
    under `overlap`. hashed: progress of that check. Raises UsageError where nothing is left.
    """
    from zoomgap.distill.questions import ask as ask_about
    from zoomgap.distill.regions import Traced, propose

    spec = store.run(run)
    if spec.arm not in ("agent", "agent-lowres"):
        raise UsageError(f"run {spec.id} is of arm '{spec.arm}': items are made from an agent's zooms, name such a run")
    if spec.variant:
        raise UsageError(
            f"run {spec.id} asked in variant {spec.variant}, which is for measuring noise: distil from variant 0"
        )
    samples = {sample.id: sample for sample in store.samples(spec.benchmark)}
    traced = [
        Traced(id, trajectory, samples[trajectory.sample])
        for id, trajectory in ((id, store.trajectory(id)) for id in store.trajectory_ids(spec.id))
    ]
    config = _build_config(spec, options)
    kept, overlap = (traced, _NONE) if options.allow_overlap else _apart(store, spec, traced, config, hashed)
    # Stored before the votes are cast, so that each vote can be stored as it comes and a later build goes on.
    regions = propose(kept, config.regions).kept
    store.put_regions(regions)
    store.put_questions(ask_about(regions, samples, config.questions))
    built = asyncio.run(_build(store, spec, options, kept, config, progress))
    store.put_votes(built.votes)
    allowed = {"allow_overlap": True} if options.allow_overlap else {}
    for labels, items in built.datasets.items():
        dataset = f"{options.name}-{labels}"
        store.put_dataset(dataset, {"run": spec.id, "labels": labels, "build": asdict(config), **allowed})
        store.put_items(dataset, items)
    return {
        "run": spec.id,
        "trajectories": len(kept),
        "regions": len(built.regions),
        "questions": len(built.questions),
        "votes": len(built.votes),
        "errors": sum(vote.error is not None for vote in built.votes),
        "datasets": {f"{options.name}-{labels}": len(items) for labels, items in built.datasets.items()},
        "fell": built.fell,
        "overlap": overlap,
    }


_NONE: Mapping[str, Any] = {"images": 0, "trajectories": 0, "questions": 0, "benchmarks": {}}


def _apart(
    store: Store, spec: RunSpec, traced: list[Traced], config: BuildConfig, hashed: Count | None
) -> tuple[list[Traced], Mapping[str, Any]]:
    """The trajectories on images that no benchmark measures on, and what was left out: as many questions as would have
    been asked, and how many images each benchmark has of them."""
    from zoomgap.distill.questions import ask as ask_about
    from zoomgap.distill.regions import propose

    sets = measured_on(store, spec.benchmark, {item.sample.image for item in traced}, hashed)
    kept = [item for item in traced if item.sample.image not in sets]
    fell = [item for item in traced if item.sample.image in sets]
    named = Counter(name for names in sets.values() for name in names)
    if fell and not kept:
        raise UsageError(
            f"run {spec.id} has no image that is not also in {', '.join(named)}: a student of it could not be measured "
            "there; run the agent on other images, or add --allow-overlap"
        )
    samples = {item.sample.id: item.sample for item in fell}
    questions = ask_about(propose(fell, config.regions).kept, samples, config.questions)
    counts = {"images": len(sets), "trajectories": len(fell), "questions": len(questions), "benchmarks": dict(named)}
    return kept, counts


async def _build(
    store: Store,
    spec: RunSpec,
    options: BuildOptions,
    traced: list[Traced],
    config: BuildConfig,
    progress: Callable[[BuildProgress], None] | None,
) -> Built:
    from zoomgap.distill.build import build

    teacher_choice = ModelChoice(model=spec.model, endpoint=spec.endpoint)
    base_choice = options.base or teacher_choice
    teacher = open_model(teacher_choice.model, teacher_choice.endpoint, store.objects.read, batch_size=64)
    same = base_choice == teacher_choice
    base = teacher if same else open_model(base_choice.model, base_choice.endpoint, store.objects.read)
    try:
        return await build(
            traced,
            config,
            teacher=teacher,
            base=base,
            renditions=Renditions(store),
            known=store.votes(),
            keep=VoteKeeper(store),
            progress=progress,
        )
    finally:
        await teacher.aclose()
        if not same:
            await base.aclose()


MICRO: Mapping[str, Any] = {
    "look_weight": 0.5, "freeze_vision": True, "jitter": 8, "lr_matrix": 0.01, "lr_rest": 1e-3,
    "base_share": 0.25,
}  # fmt: skip
"""How a student of the embedded model is trained, unless settings say otherwise."""


def train_student(
    store: Store,
    dataset: str,
    base: str,
    out: Path,
    settings: Mapping[str, Any],
    progress: Callable[[TrainProgress], None] | None = None,
) -> TrainResult:
    """Train a student on a stored dataset into the folder `out`. settings: fields of TrainConfig.

    A student of the embedded model replays its old tasks, is told where the agent looked, keeps its vision tower and
    sees shifted views, whatever its labels; another model has no old tasks here, and too many layers to say which
    should look.
    """
    from zoomgap.distill.train import TrainConfig, train

    family = family_of(base)
    items: list[Item] = store.items(dataset)
    config = TrainConfig(
        **{
            "view_pixels": family.view_pixels,
            "factor": family.factor,
            "suffix": family.suffix,
            **(MICRO if family.name == "micro" else {}),
            **settings,
        }
    )
    replay = None
    if family.name == "micro" and config.replay_share > 0:
        from zoomgap.distill.pretrain import OldTasks

        replay = OldTasks(seed=1_000_000 + config.seed)
    path = MICRO_PATH if base == "micro" else Path(base.removeprefix("hf:"))
    result = train(config, items, store.objects.read, path, out, progress, replay, region_places(store, dataset))
    metrics = {"steps": result.steps, "items": result.items, "seconds": result.seconds, "losses": result.losses}
    settings = {"dataset": dataset, "base": base, "base_weights": result.base_weights, **asdict(config)}
    store.put_training(result.identity, settings, metrics, out)
    return result


def region_places(store: Store, dataset: str) -> dict[str, Box]:
    """Question id -> the crop of the agent that it is about, pixels of the original; the same for all labels."""
    regions = {region.id: region.box for region in store.regions(dataset)}
    return {question.id: regions[question.region] for question in store.questions(dataset)}
