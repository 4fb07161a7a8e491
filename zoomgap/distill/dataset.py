"""Items and the batches that a student is trained on: the full image, the question, and a loss on the answer alone.

torch is imported only where tensors are made, so that items can be built without it.
"""

from __future__ import annotations

import io
import math
import random
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import PIL.Image

from zoomgap import imaging, prompts
from zoomgap.benchmarks.micro import check_training_range, is_micro, split_of
from zoomgap.distill.consensus import Label
from zoomgap.distill.glance import answer_text, view_of
from zoomgap.distill.questions import QuestionConfig, overlay_of
from zoomgap.errors import UsageError
from zoomgap.models.base import LoadImage
from zoomgap.records import Item, Labels, Question, Region, Size, digest

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = -100
"""Label of a token on which the loss does not count."""

T = TypeVar("T")


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
    """Raise UsageError for ids of the procedural benchmark whose seeds may not be trained on, or lie in two splits."""
    seeds = sorted({int(sample.removeprefix("micro-")) for sample in samples if is_micro(sample)})
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


def plan_epoch(
    items: Sequence[Item], sizes: Mapping[str, Size], batch_size: int, seed: int, epoch: int
) -> list[list[Item]]:
    """Batches of one epoch in random order, each of images of one size; the same for the same seed and epoch.

    Vision attention over images of one size is one product; the number of batches is the same in every epoch.
    """
    rng = random.Random(f"epoch {seed} {epoch}")
    buckets: defaultdict[tuple[int, int], list[Item]] = defaultdict(list)
    for item in sorted(items, key=lambda i: (i.question, i.id)):
        buckets[sizes[item.image].width, sizes[item.image].height].append(item)
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


@dataclass(frozen=True, slots=True)
class Batch:
    """inputs: keyword arguments of the model, tokens [B, T] right-padded. labels: int64 [B, T], IGNORE off the answer.

    A label stands at its own token's place; the loss shifts it.
    """

    inputs: dict[str, Tensor]
    labels: Tensor

    def to(self, device: Any) -> Batch:
        inputs = {name: tensor.to(device, non_blocking=True) for name, tensor in self.inputs.items()}
        return Batch(inputs, self.labels.to(device, non_blocking=True))


@dataclass(frozen=True, slots=True)
class Example:
    """One item, encoded. inputs: the processor's tensors with a batch of one; labels: int64 [1, T]."""

    inputs: dict[str, Tensor]
    labels: Tensor


class Encoder:
    """Turns items into batches with a checkpoint's own processor and chat template. May be called from many threads."""

    def __init__(
        self, processor: Any, load_image: LoadImage, max_pixels: int, factor: int = 32, suffix: bool = False
    ) -> None:
        self.processor = processor
        self.load_image = load_image
        self.max_pixels = max_pixels
        self.factor = factor
        self.suffix = suffix
        # Fast tokenizers refuse to be called from two threads at once.
        self._lock = threading.Lock()

    def view(self, item: Item) -> PIL.Image.Image:
        """The image as the student sees it."""
        image = imaging.open_image(self.load_image(item.image))
        return view_of(image, item.overlay, self.max_pixels, self.factor)

    def texts(self, item: Item) -> tuple[str, str]:
        """The conversation up to the answer, and the answer with the end of its turn, as the chat template writes them.

        Raises UsageError for a template in which an answered conversation does not begin with the open one.
        """
        text = prompts.question(item.text, choices=item.choices, answer_kind=item.answer_kind, suffix=self.suffix)
        user = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
        answer = answer_text(item.answer, item.choices, self.suffix)
        turn = {"role": "assistant", "content": [{"type": "text", "text": answer}]}
        prompt = self.processor.apply_chat_template([user], tokenize=False, add_generation_prompt=True)
        whole = self.processor.apply_chat_template([user, turn], tokenize=False)
        if not whole.startswith(prompt):
            raise UsageError(
                "the chat template writes an answered turn unlike the prompt of an open one: "
                "give the checkpoint a template whose answered turn begins with its generation prompt"
            )
        return prompt, whole[len(prompt) :].rstrip()

    def encode(self, item: Item) -> Example:
        """Tokens of an item. The answer is tokenised apart from the prompt, as it is when the model generates it."""
        import torch

        view = self.view(item)
        with self._lock:
            prompt, answer = self.texts(item)
            inputs = dict(self.processor(text=[prompt], images=[view], return_tensors="pt"))
            ids = self.processor.tokenizer.encode(answer, add_special_tokens=False, return_tensors="pt")
        shape = inputs["input_ids"].shape
        labels = torch.cat([torch.full(shape, IGNORE), ids], dim=1)
        extra = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        for name, tensor in inputs.items():
            if tensor.shape == shape:
                added = extra.get(name, torch.zeros_like(ids)).to(tensor.dtype)
                inputs[name] = torch.cat([tensor, added], dim=1)
        return Example(inputs, labels)

    def batch(self, items: Sequence[Item]) -> Batch:
        """Encode and collate."""
        return collate([self.encode(item) for item in items], self.processor.tokenizer.pad_token_id)


def collate(examples: Sequence[Example], pad: int) -> Batch:
    """Pad tokens on the right (ids with `pad`, labels with IGNORE, the rest with 0) and join the images."""
    import torch

    length = max(example.labels.shape[1] for example in examples)

    def padded(tensor: Tensor, value: int) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, length - tensor.shape[1]), value=value)

    inputs = {}
    for name, first in examples[0].inputs.items():
        tensors = [example.inputs[name] for example in examples]
        if first.shape == examples[0].labels.shape:
            tensors = [padded(tensor, pad if name == "input_ids" else 0) for tensor in tensors]
        inputs[name] = torch.cat(tensors)
    return Batch(inputs, torch.cat([padded(example.labels, IGNORE) for example in examples]))


def prefetch(make: Callable[[int], T], indices: Iterable[int], workers: int = 1, depth: int = 4) -> Iterator[T]:
    """make(index) for each index, in order, made by threads up to `depth` ahead of the consumer."""
    ahead: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        for index in indices:
            ahead.append(pool.submit(make, index))
            if len(ahead) > depth:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
