"""Views as tensors, encoded with a checkpoint's own processor and chat template, and the loss on the answers alone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import PIL.Image
import torch
from torch import Tensor, nn

from zoomgap import imaging, prompts
from zoomgap.distill.dataset import View
from zoomgap.distill.glance import answer_text, shifted, with_overlay
from zoomgap.distill.packing import IGNORE
from zoomgap.errors import UsageError
from zoomgap.geometry import Size
from zoomgap.models.base import LoadImage
from zoomgap.records import Item

CACHED_VIEW_PIXELS = 200_000_000
"""How many pixels of fitted images are kept from epoch to epoch: about 800 MB."""

T = TypeVar("T")


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


class Losses(NamedTuple):
    """answers: mean cross-entropy over the answer tokens. exact: bool [items], whether all of an item's answer tokens
    came first. looks: of the guided heads, where a model in training is guided."""

    answers: Tensor
    exact: Tensor
    looks: Tensor | None = None


class Encoder:
    """Turns items into batches with a checkpoint's own processor and chat template. May be called from many threads."""

    packs = False
    """Whether all that is asked of a view costs little more than one question."""

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
        self._kept: dict[str, tuple[PIL.Image.Image, Size]] = {}
        self._room = CACHED_VIEW_PIXELS

    def view(self, shown: Item | View) -> PIL.Image.Image:
        """The image as the student sees it."""
        picture = with_overlay(*self.fitted(shown.image), shown.overlay)
        return shifted(picture, *shown.shift) if isinstance(shown, View) else picture

    def fitted(self, image: str) -> tuple[PIL.Image.Image, Size]:
        """The image within its budget, and its own size."""
        with self._lock:
            kept = self._kept.get(image)
        if kept is None:
            original = imaging.open_image(self.load_image(image))
            kept = imaging.fit(original, self.max_pixels, self.factor), Size(*original.size)
            pixels = kept[0].width * kept[0].height
            with self._lock:
                # What is kept stays: every epoch has the same images, so dropping the oldest would drop the next.
                if image not in self._kept and pixels <= self._room:
                    self._room -= pixels
                    self._kept[image] = kept
        return kept

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

    def encode(self, item: Item, shift: tuple[int, int] = (0, 0)) -> Example:
        """Tokens of an item in a view of that shift.

        The answer is tokenised apart from the prompt, as it is when the model generates it.
        """
        view = self.view(View(item.image, item.overlay, (item,), shift))
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

    def batch(self, views: Sequence[View]) -> Any:
        """The items of the views, encoded: what loss() takes."""
        examples = [
            self.encode(replace(item, overlay=view.overlay), view.shift) for view in views for item in view.items
        ]
        return collate(examples, self.processor.tokenizer.pad_token_id)

    def loss(self, model: Any, batch: Any) -> Losses:
        """The losses of a batch."""
        return answer_loss(model, batch.to(model.device))


def collate(examples: Sequence[Example], pad: int) -> Batch:
    """Pad tokens on the right (ids with `pad`, labels with IGNORE, the rest with 0) and join the images."""
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


def answer_loss(model: Any, batch: Batch) -> Losses:
    """Encoder.loss of a batch on the model's device.

    Logits are made for the answer's places only: with a real vocabulary all others would fill the memory.
    """
    hidden = model.model(**batch.inputs).last_hidden_state[:, :-1]
    labels = batch.labels[:, 1:]
    rows, places = torch.nonzero(labels != IGNORE, as_tuple=True)
    return graded(model.lm_head(hidden[rows, places]), labels[rows, places], rows)


def graded(logits: Tensor, targets: Tensor, owners: Tensor) -> Losses:
    """Losses of answer tokens. logits: [n, vocabulary]; targets: [n]; owners: [n], items 0, 1, ... without gaps."""
    logits = logits.float()
    missed = torch.bincount(owners[logits.argmax(-1) != targets], minlength=int(owners.max()) + 1)
    return Losses(nn.functional.cross_entropy(logits, targets), missed == 0)


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
