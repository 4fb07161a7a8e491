"""From an agent's trajectories to the datasets of a student and its controls: the stages joined.

All datasets of one build have the same images, questions and number of items; only the answers differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from zoomgap.distill.consensus import (
    Consensus,
    ConsensusConfig,
    Label,
    Material,
    VoteConfig,
    agree,
    gold_votes,
    plurality,
    vote,
    voter_of,
)
from zoomgap.distill.dataset import check_trainable, make_items
from zoomgap.distill.questions import QuestionConfig, ask
from zoomgap.distill.regions import RegionConfig, Traced, propose
from zoomgap.errors import UsageError
from zoomgap.models.base import VisionModel
from zoomgap.records import LABELS, Item, Labels, Question, Region, Vote
from zoomgap.renditions import Renditions


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildConfig:
    """labels: the datasets to make, the agent's and its controls. Dataset names are `<name>-<labels>`.

    use_gold: allow labels "gold", which read the benchmark's answer and mark every item.
    """

    name: str
    labels: tuple[Labels, ...] = ("agent", "self", "random-crop")
    use_gold: bool = False
    regions: RegionConfig = field(default_factory=RegionConfig)
    questions: QuestionConfig = field(default_factory=QuestionConfig)
    votes: VoteConfig = field(default_factory=VoteConfig)
    consensus: ConsensusConfig = field(default_factory=ConsensusConfig)


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Votes of one kind of label: how many are in, how many failed, how many were asked for."""

    labels: Labels
    done: int
    errors: int
    total: int


class Built(NamedTuple):
    """All that a build made. datasets: items by labels. fell: by stage, how many records fell at which rule."""

    regions: tuple[Region, ...]
    questions: tuple[Question, ...]
    votes: tuple[Vote, ...]
    datasets: dict[Labels, list[Item]]
    fell: dict[str, dict[str, int]]


async def build(
    traced: Iterable[Traced],
    config: BuildConfig,
    *,
    teacher: VisionModel,
    base: VisionModel,
    renditions: Renditions,
    known: Iterable[Vote] = (),
    keep: Callable[[Vote], None] | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
) -> Built:
    """Regions, questions, votes, consensus and items, for the agent's labels and then for the controls.

    teacher votes on crops, base on the full image. known: stored votes, of which those of the same models and settings
    are not asked again; keep is called with each new vote, failed ones included, as it comes. Raises UsageError for
    samples that may not be trained on, and for gold labels without use_gold.
    """
    _check(config)
    traced = list(traced)
    check_trainable(item.sample.id for item in traced)
    samples = {item.sample.id: item.sample for item in traced}
    found = propose(traced, config.regions)
    regions = {region.id: region for region in found.kept}
    questions = ask(found.kept, samples, config.questions)
    voters = {labels: voter_of(model, config.votes, config.questions) for labels, model in
              {"agent": teacher, "random-crop": teacher, "self": base}.items()}  # fmt: skip
    # Votes of other models or settings are somebody else's: mixed in, they would make the labels depend on history.
    votes = [v for v in known if v.voter == voters.get(v.labels) and v.index < config.votes.votes]
    material = Material(regions, samples, renditions)

    votes += await _collect(questions, "agent", teacher, material, config, votes, keep, progress)
    consensus = agree(questions, votes, "agent", config.consensus)
    answers: dict[Labels, Consensus] = {"agent": consensus}
    kept = [question for question in questions if question.id in consensus.kept]
    for labels in (labels for labels in config.labels if labels != "agent"):
        if labels == "gold":
            gold = gold_votes(kept, regions, samples)
            votes += gold
            answers[labels] = Consensus({vote.question: Label(vote.answer or "", 1.0) for vote in gold}, {})
            continue
        voter = base if labels == "self" else teacher
        votes += await _collect(kept, labels, voter, material, config, votes, keep, progress)
        answers[labels] = plurality(kept, votes, labels)

    # Gold has an answer to everything, so it takes no part in the choice of the questions.
    shared = [question for question in kept if all(question.id in c.kept for c in answers.values())]
    datasets = {
        labels: make_items(f"{config.name}-{labels}", labels, answers[labels].kept, shared, regions, config.questions)
        for labels in config.labels
    }
    fell = {"regions": found.fell, **{f"consensus {labels}": c.fell for labels, c in answers.items()}}
    return Built(found.kept, tuple(questions), tuple(votes), datasets, fell)


def _check(config: BuildConfig) -> None:
    unknown = [labels for labels in config.labels if labels not in LABELS]
    if unknown or not config.labels:
        raise UsageError(f"labels {', '.join(unknown) or 'none'} are not known: choose from {', '.join(LABELS)}")
    if "gold" in config.labels and not config.use_gold:
        raise UsageError("labels 'gold' read the benchmark's answers: add --use-gold, which marks every item")


async def _collect(
    questions: list[Question],
    labels: Labels,
    model: VisionModel,
    material: Material,
    config: BuildConfig,
    known: list[Vote],
    keep: Callable[[Vote], None] | None,
    progress: Callable[[BuildProgress], None] | None,
) -> list[Vote]:
    """The votes of `model` that are not known yet."""
    asked = {question.id for question in questions}
    voter = voter_of(model, config.votes, config.questions)
    total = len(asked) * config.votes.votes
    done = sum(v.labels == labels and v.voter == voter and v.error is None and v.question in asked for v in known)
    cast: list[Vote] = []
    errors = 0
    async for new in vote(questions, labels, model, material, config.votes, config.questions, known):
        cast.append(new)
        errors += new.error is not None
        if keep:
            keep(new)
        if progress:
            progress(BuildProgress(labels, done + len(cast), errors, total))
    return cast
