"""Items, and the order in which a student sees them: by views, each an image with the questions asked of it."""

from __future__ import annotations

import io
import math
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import PIL.Image

from zoomgap import imaging
from zoomgap.benchmarks.micro import check_training_range, seed_of, split_of
from zoomgap.distill.consensus import Label
from zoomgap.distill.questions import QuestionConfig, overlay_of
from zoomgap.errors import UsageError
from zoomgap.geometry import Box, Size
from zoomgap.models.base import LoadImage
from zoomgap.records import Item, Labels, Question, Region, digest


def make_items(
    dataset: str,
    labels: Labels,
    answers: Mapping[str, Label],
    questions: Iterable[Question],
    regions: Mapping[str, Region],
    asked: QuestionConfig | None = None,
) -> list[Item]:
    """One item for each question that has an answer, in the order of `questions`."""
    items = []
    for question in questions:
        if (label := answers.get(question.id)) is None:
            continue
        region = regions[question.region]
        item = Item(
            id=digest([dataset, labels, question.id])[:16],
            dataset=dataset,
            question=question.id,
            sample=region.sample,
            image=region.image,
            text=question.text,
            choices=question.choices,
            answer=label.answer,
            answer_kind=question.answer_kind,
            dimension=question.dimension,
            overlay=overlay_of(question, region, asked),
            labels=labels,
            agreement=label.agreement,
            gold=labels == "gold",
        )
        items.append(item)
    return items


def check_trainable(samples: Iterable[str]) -> None:
    """Raise UsageError for ids of the procedural benchmark whose seeds may not be trained on, or lie in two splits, and
    for ids that only look like its own."""
    samples = list(samples)
    if strange := next((s for s in samples if re.match(r"micro-\d", s) and seed_of(s) is None), None):
        raise UsageError(f"sample {strange!r} is none of the procedural benchmark: samples of others need other names")
    seeds = sorted({seed for sample in samples if (seed := seed_of(sample)) is not None})
    if seeds:
        # The last seed first: a range that runs into the test seeds is named by what is worst about it.
        check_training_range(seeds[-1], 1, split_of(seeds[-1]))
        check_training_range(seeds[0], seeds[-1] - seeds[0] + 1, split_of(seeds[0]))


class Parts(NamedTuple):
    """Items to train on, and items held out for the validation loss."""

    train: list[Item]
    validation: list[Item]


def split(items: Iterable[Item], validation_share: float) -> Parts:
    """Split by the hash of the image, so that no image stands on both sides and the sides never change."""
    parts = Parts([], [])
    for item in items:
        held = int(digest(item.image)[:8], 16) < validation_share * 2**32
        (parts.validation if held else parts.train).append(item)
    return parts


def view_sizes(items: Iterable[Item], load_image: LoadImage, max_pixels: int, factor: int) -> dict[str, Size]:
    """Fitted size of each item's image, read from its header: what batches are grouped by."""
    sizes: dict[str, Size] = {}
    for image in {item.image for item in items}:
        with PIL.Image.open(io.BytesIO(load_image(image))) as header:
            sizes[image] = imaging.fit_size(Size(*header.size), max_pixels, factor)
    return sizes


class View(NamedTuple):
    """One picture that a student is shown: an image, the box drawn in it, if any, and the items asked of it.

    shift: how far the picture is moved left and up, pixels of the fitted image.
    """

    image: str
    overlay: Box | None
    items: tuple[Item, ...]
    shift: tuple[int, int] = (0, 0)


def views_of(items: Iterable[Item]) -> list[View]:
    """Every item once, those that are shown the same picture together."""
    groups: defaultdict[tuple[str, Box | None], list[Item]] = defaultdict(list)
    for item in items:
        groups[item.image, item.overlay].append(item)
    return [View(image, overlay, tuple(group)) for (image, overlay), group in groups.items()]


def epoch_views(items: Iterable[Item], epoch: int) -> list[View]:
    """The views of one epoch: each image without a box, and with one of its boxes, in the next epoch another.

    What is asked without a box is asked beside it too, for it costs little there: the image is the dear part.
    """
    plain: dict[str, View] = {}
    boxed: defaultdict[str, list[View]] = defaultdict(list)
    for view in views_of(items):
        if view.overlay is None:
            plain[view.image] = view
        else:
            boxed[view.image].append(view)
    views = list(plain.values())
    for image, choices in boxed.items():
        view = choices[epoch % len(choices)]
        named = plain[image].items if image in plain else ()
        views.append(view._replace(items=(*view.items, *named)))
    return views


def plan_epoch(
    items: Sequence[Item], sizes: Mapping[str, Size], batch_size: int, seed: int, epoch: int, packs: bool = True,
    jitter: int = 0,
) -> list[list[View]]:  # fmt: skip
    """Batches of batch_size views in random order, each of images of one size; the same for the same seed and epoch.

    packs: views as epoch_views() has them; else every item is a view of its own. jitter: largest shift of a view, drawn
    anew in every epoch. Vision attention over images of one size is one product; the number of batches is the same in
    every epoch.
    """
    ordered = sorted(items, key=lambda i: (i.question, i.id))
    views = epoch_views(ordered, epoch) if packs else [View(i.image, i.overlay, (i,)) for i in ordered]
    rng = random.Random(f"epoch {seed} {epoch}")
    if jitter:
        views = [view._replace(shift=(rng.randint(-jitter, jitter), rng.randint(-jitter, jitter))) for view in views]
    return batches_of(views, sizes, batch_size, rng)


def batches_of(
    views: Iterable[View], sizes: Mapping[str, Size], batch_size: int, rng: random.Random
) -> list[list[View]]:
    """The views in random batches of one size."""
    buckets: defaultdict[tuple[int, int], list[View]] = defaultdict(list)
    for view in views:
        buckets[sizes[view.image].width, sizes[view.image].height].append(view)
    batches = []
    for _, bucket in sorted(buckets.items()):
        rng.shuffle(bucket)
        batches += [bucket[k : k + batch_size] for k in range(0, len(bucket), batch_size)]
    rng.shuffle(batches)
    return batches


class Turn(NamedTuple):
    """What one step trains on: a batch of items or one of replay, and its number among its kind."""

    replay: bool
    number: int


def plan_steps(batches: int, share: float, max_steps: int | None) -> list[Turn]:
    """Steps over so many item batches, with a share of replay spread evenly among them.

    Raises UsageError unless the share is from 0 to under 1.
    """
    if not 0 <= share < 1:
        raise UsageError(f"a replay share of {share} leaves no items to train on: give 0 to under 1")
    total = math.ceil(batches / (1 - share))
    steps = []
    for step in range(total if max_steps is None else min(total, max_steps)):
        before, after = math.floor(step * share + 1e-9), math.floor((step + 1) * share + 1e-9)
        steps.append(Turn(True, before) if after > before else Turn(False, step - before))
    return [turn for turn in steps if turn.replay or turn.number < batches]
