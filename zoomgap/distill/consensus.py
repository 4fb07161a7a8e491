"""Votes on questions, and the agreement that makes a vote a label.

Constants of the paper (arXiv 2602.11858): 4 + 4 votes of two teachers on the crop, kept at an agreement of 0.75. Here
one teacher votes `votes` times, first greedily.

What each kind of label looks at: `agent` the agent's crop; `self` the base looks at the full image (floor);
`random-crop` a crop of the same size elsewhere (placebo); `gold` the benchmark's own answer (ceiling).
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import NamedTuple

from zoomgap import imaging, prompts
from zoomgap.benchmarks.micro import value_shown
from zoomgap.distill.glance import view_of
from zoomgap.distill.questions import QuestionConfig, overlay_of
from zoomgap.distill.regions import box_elsewhere
from zoomgap.errors import ModelError, RefusedError, UsageError
from zoomgap.grading import extract, normal
from zoomgap.models.base import VisionModel
from zoomgap.records import (
    Image,
    ImageInfo,
    Labels,
    Message,
    Question,
    Region,
    Rendition,
    Request,
    Sample,
    Sampling,
    Text,
    Vote,
    digest,
)
from zoomgap.renditions import Renditions


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteConfig:
    """How a teacher is asked. sampling holds for all votes but the first, which is greedy; vote k has seed + k.

    view_pixels: budget of the full image; min_crop_pixels, crop_pixels, factor: as in RunSpec; suffix: add the
    answer-form sentence; concurrency: requests in flight.
    """

    votes: int = 8
    sampling: Sampling = field(default_factory=lambda: Sampling(temperature=0.7, max_tokens=32))
    view_pixels: int = 65_536
    min_crop_pixels: int = 16_384
    crop_pixels: int = 16_384
    factor: int = 32
    suffix: bool = False
    concurrency: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsensusConfig:
    """agreement: share of the votes that the leading answer needs; min_votes: fewest votes that count as a ballot."""

    agreement: float = 0.75
    min_votes: int = 4


class Label(NamedTuple):
    """The answer that a question's votes gave, and the share of the votes behind it."""

    answer: str
    agreement: float


class Consensus(NamedTuple):
    """Labels by question id, and how many questions fell at which rule."""

    kept: dict[str, Label]
    fell: dict[str, int]


def voter_of(model: VisionModel, config: VoteConfig, asked: QuestionConfig | None = None) -> str:
    """Who votes: the model's name, and a hash of its weights and of every setting that can change a vote."""
    settings = {k: v for k, v in asdict(config).items() if k not in ("votes", "concurrency")}
    weights = getattr(model, "weights", None)
    return f"{model.name}#{digest([weights, settings, asdict(asked or QuestionConfig())])[:8]}"


@dataclass(frozen=True, slots=True)
class Material:
    """What voters are shown pieces of: regions and samples by id, and who draws them."""

    regions: Mapping[str, Region]
    samples: Mapping[str, Sample]
    renditions: Renditions


async def vote(
    questions: Iterable[Question],
    labels: Labels,
    model: VisionModel,
    material: Material,
    config: VoteConfig,
    asked: QuestionConfig | None = None,
    known: Iterable[Vote] = (),
) -> AsyncIterator[Vote]:
    """Ask `model` config.votes times for each question; yields votes as they come, failed ones with their error.

    known: votes that exist already; what they answer is not asked again. Raises UsageError for gold labels, which no
    model gives.
    """
    if labels == "gold":
        raise UsageError("labels 'gold' come from the benchmark and no model is asked: use gold_votes")
    voter = voter_of(model, config, asked)
    have = {(v.question, v.index) for v in known if v.labels == labels and v.voter == voter and v.error is None}

    async def ballot(question: Question) -> list[Vote]:
        missing = [index for index in range(config.votes) if (question.id, index) not in have]
        if not missing:
            return []
        # Decoding a large image takes tens of milliseconds, in which other requests can go out.
        info = await asyncio.to_thread(_look, labels, question, material, config, asked)
        request = _request(question, Image(info.sha256, info.width, info.height), config)
        blank = Vote(question=question.id, labels=labels, voter=voter, index=0, answer=None)
        return await asyncio.gather(*(_cast(replace(blank, index=index), model, request) for index in missing))

    pending: set[asyncio.Task[list[Vote]]] = set()
    try:
        for question in questions:
            pending.add(asyncio.create_task(ballot(question)))
            if len(pending) * config.votes >= config.concurrency:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for cast in [cast for task in done for cast in task.result()]:
                    yield cast
        for task in asyncio.as_completed(pending):
            for cast in await task:
                yield cast
    finally:
        for unfinished in pending:
            unfinished.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


def _look(
    labels: Labels, question: Question, material: Material, config: VoteConfig, asked: QuestionConfig | None
) -> ImageInfo:
    """What a voter sees."""
    region = material.regions[question.region]
    if labels == "self":
        with material.renditions.decoded.open(region.image) as image:
            view = view_of(image, overlay_of(question, region, asked), config.view_pixels, config.factor)
        return material.renditions.add(view)
    elsewhere, size = labels == "random-crop", material.samples[region.sample].size
    box = box_elsewhere(region.box, size, region.sample) if elsewhere else region.box
    if box is None:
        raise UsageError(f"region {region.id} leaves no room for a crop of its size elsewhere: propose regions anew")
    fitted = imaging.cut_size(box, config.crop_pixels, config.factor, config.min_crop_pixels)
    return material.renditions.show(Rendition(region.image, box, fitted))


def _request(question: Question, image: Image, config: VoteConfig) -> Request:
    text = prompts.question(
        question.text, choices=question.choices, answer_kind=question.answer_kind, suffix=config.suffix
    )
    return Request(messages=(Message(role="user", content=(image, Text(text))),), sampling=config.sampling)


async def _cast(blank: Vote, model: VisionModel, request: Request) -> Vote:
    """The vote filled in: the first is greedy, the others have seeds of their own."""
    sampling = replace(request.sampling, seed=request.sampling.seed + blank.index)
    if blank.index == 0:
        sampling = replace(sampling, temperature=0.0)
    try:
        reply = await model.reply(replace(request, sampling=sampling))
    except RefusedError:
        raise
    except ModelError as error:
        return replace(blank, error=str(error))
    return replace(blank, answer=reply.text)


def gold_votes(
    questions: Iterable[Question], regions: Mapping[str, Region], samples: Mapping[str, Sample]
) -> list[Vote]:
    """The benchmark's answer as a single vote: for choices the option's text. Items made of it are marked gold.

    A local question asks about what its region shows: where the agent cut out another thing than the one asked for,
    the truth is that thing's. Where that is not among the choices, the asked thing's stands, untrue of the region.
    """
    votes = []
    for question in questions:
        region = regions[question.region]
        sample = samples[region.sample]
        answer = option_text(sample.answer, sample.choices) if sample.answer_kind == "choice" else sample.answer
        shown = value_shown(sample, region.box) if question.local else None
        if shown is not None and (shown in question.choices or not question.choices):
            answer = shown
        votes.append(Vote(question=question.id, labels="gold", voter=sample.benchmark, index=0, answer=answer))
    return votes


class Group(NamedTuple):
    """Votes of one meaning: the answer as the earliest of them spells it, and how many they are."""

    answer: str
    votes: int


def tally(question: Question, ballot: Iterable[Vote]) -> list[Group]:
    """Votes grouped by meaning, largest first, the earliest vote's among equals, without those that cannot be read."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for cast in sorted(ballot, key=lambda v: v.index):
        answer = read(cast.answer or "", question)
        if answer is not None:
            groups.setdefault(normal(answer), []).append(answer)
    return sorted((Group(answers[0], len(answers)) for answers in groups.values()), key=lambda g: -g.votes)


def read(reply: str, question: Question) -> str | None:
    """What a reply says, or None: a short text, a number, or for choices the text of the option meant."""
    found = extract(reply, question.answer_kind, question.choices)
    if found is None:
        return None
    return option_text(found.answer, question.choices) if question.answer_kind == "choice" else found.answer


def option_text(letter: str, choices: Sequence[str]) -> str:
    """The option that a letter names, A the first; the letter itself where the options stand in the question."""
    return choices[ord(letter) - ord("A")] if choices else letter


def agree(
    questions: Iterable[Question], votes: Iterable[Vote], labels: Labels, config: ConsensusConfig | None = None
) -> Consensus:
    """Labels on which the votes agree. An unreadable vote counts in the denominator; an error counts nowhere."""
    config = config or ConsensusConfig()
    kept: dict[str, Label] = {}
    fell: Counter[str] = Counter()
    ballots = _ballots(votes, labels)
    for question in questions:
        ballot = ballots[question.id]
        groups = tally(question, ballot)
        if len(ballot) < config.min_votes:
            fell["too few votes"] += 1
        elif not groups:
            fell["no vote readable"] += 1
        elif len(groups) > 1 and groups[0].votes == groups[1].votes:
            fell["tie"] += 1
        elif groups[0].votes < config.agreement * len(ballot):
            fell["no agreement"] += 1
        else:
            kept[question.id] = Label(groups[0].answer, groups[0].votes / len(ballot))
    return Consensus(kept, dict(fell))


def plurality(questions: Iterable[Question], votes: Iterable[Vote], labels: Labels) -> Consensus:
    """The leading answer of each question, the earliest vote's among equals: what the controls are labelled with."""
    kept: dict[str, Label] = {}
    fell: Counter[str] = Counter()
    ballots = _ballots(votes, labels)
    for question in questions:
        ballot = ballots[question.id]
        groups = tally(question, ballot)
        if groups:
            kept[question.id] = Label(groups[0].answer, groups[0].votes / len(ballot))
        else:
            fell["no vote readable" if ballot else "too few votes"] += 1
    return Consensus(kept, dict(fell))


def _ballots(votes: Iterable[Vote], labels: Labels) -> defaultdict[str, list[Vote]]:
    """The votes of that kind that are answers, by question."""
    ballots: defaultdict[str, list[Vote]] = defaultdict(list)
    for cast in votes:
        if cast.labels == labels and cast.error is None:
            ballots[cast.question].append(cast)
    return ballots
