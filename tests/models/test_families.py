"""Miniatures of the big families in process: each reply is what transformers' own generate() writes for it alone."""

from __future__ import annotations

import asyncio
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage
from transformers import AutoModelForImageTextToText, AutoProcessor, LogitsProcessor

from tests.models import tiny
from zoomgap.errors import ModelError
from zoomgap.geometry import Size
from zoomgap.models import local, reading, vision_cache
from zoomgap.models.local import LocalModel, weights_sha256
from zoomgap.records import Image, Message, Reply, Request, Sampling, Text, ToolCall

SIZES = {"a": (64, 96), "b": (128, 128), "c": (64, 96), "d": (32, 32), "e": (150, 50), "long": (7000, 28)}


def load_image(name: str) -> bytes:
    if name == "broken":
        return b"no image"
    width, height = SIZES[name]
    pixels = np.random.default_rng(ord(name[0])).integers(0, 256, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    PILImage.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def picture(name: str) -> Image:
    return Image(name, *SIZES.get(name, (32, 32)))


def ask(text: str, *images: str, **sampling: Any) -> Request:
    content = (*map(picture, images), Text(text))
    return Request(
        messages=(Message(role="user", content=content),), sampling=Sampling(**{"max_tokens": 6, **sampling})
    )


MIXED = [
    ask("short"),
    ask("one image and a longer question than the others", "a"),
    ask("two", "a", "b"),
    ask("two", "b", "a"),
    ask("two of one size", "c", "a"),
    ask("one image and a longer question than the others", "a", max_tokens=2),
    ask("one", "d"),
    ask("one", "e", temperature=1.2, top_p=0.9, seed=1),
    ask("one", "e", temperature=1.2, top_p=0.9, seed=2),
    ask("none", temperature=0.8, seed=3),
]


ROWS = [(3, ("a",)), (9, ()), (1, ("b", "d")), (6, ("d",)), (4, ("a", "c"))]
"""Tokens to write, and images."""


@dataclass(eq=False)
class Family:
    """A checkpoint, as LocalModel and as transformers have it; all in fp32."""

    name: str
    folder: Path
    model: LocalModel
    plain: Any
    processor: Any

    def replies(self, requests: list[Request]) -> list[Reply]:
        outcomes = self.model.answer(requests)
        assert all(isinstance(outcome, Reply) for outcome in outcomes), outcomes
        return outcomes

    def texts(self, requests: list[Request]) -> list[str]:
        return [reply.text for reply in self.replies(requests)]

    def inputs(self, request: Request) -> Any:
        """A request as transformers' own chat template and processor read it."""
        messages = [
            {
                "role": message.role,
                "content": [
                    {"type": "text", "text": part.text}
                    if isinstance(part, Text)
                    else {"type": "image", "image": PILImage.open(io.BytesIO(load_image(part.sha256)))}
                    for part in message.content
                ],
            }
            for message in request.messages
        ]
        return self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )

    def generated(self, request: Request) -> str:
        inputs = self.inputs(request)
        drawing = [Draws(self.model, request)] if request.sampling.temperature > 0 else []
        out = self.plain.generate(
            **inputs, do_sample=False, max_new_tokens=request.sampling.max_tokens, logits_processor=drawing
        )
        return self.processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


class Draws(LogitsProcessor):
    """Makes generate() take the tokens that a sampled request draws from its logits."""

    def __init__(self, model: LocalModel, request: Request) -> None:
        self.row = model._prepare(request)
        self.row.restart()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        drawn = local._draw(scores[0], self.row)
        return torch.full_like(scores, -torch.inf).index_fill(1, drawn[None], 0.0)


NOT_KEPT = "gemma3"
"""No features of its images are kept (vision_cache.FAMILIES)."""


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def family(request, tmp_path_factory):
    if request.param == "smolvlm":
        pytest.importorskip("num2words", reason="the processor of SmolVLM needs num2words")
    folder = tiny.FAMILIES[request.param](tmp_path_factory.mktemp(request.param) / "checkpoint")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "cpu_dtype", lambda: torch.float32)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        model = LocalModel(folder, load_image)
    plain = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    yield Family(request.param, folder, model, plain, AutoProcessor.from_pretrained(folder))
    asyncio.run(model.aclose())


@pytest.fixture(scope="module")
def expected(family):
    """What generate() writes for each of MIXED."""
    return [family.generated(request) for request in MIXED]


@pytest.fixture
def unkept(family):
    """The family read as one of which no images are kept: by its processor, prompt by prompt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "supported", lambda model: False)
        reader = reading.Reader(family.model.model, family.model.processor, load_image, 0)
        patch.setattr(family.model, "_reader", reader)
        yield family


def test_batch_writes_what_generate_writes(family, expected):
    replies = family.replies(MIXED)
    assert [reply.text for reply in replies] == expected
    assert len({reply.text for reply in replies}) >= len(MIXED) - 1
    for reply, request in zip(replies, MIXED, strict=True):
        ids = family.inputs(request)["input_ids"]
        assert reply.usage.prompt_tokens == ids.shape[1]
        assert reply.usage.image_tokens == int((ids == family.plain.config.image_token_id).sum())
        assert reply.usage.completion_tokens <= request.sampling.max_tokens


def test_rows_that_leave_take_nothing_along(family):
    """Every row ends at another length, so that keys, states and positions of the others are moved each time."""
    together = family.texts([ask(f"row {n}", *images, max_tokens=n) for n, images in ROWS])
    alone = [family.texts([ask(f"row {n}", *images, max_tokens=n)])[0] for n, images in ROWS]
    assert together == alone


def test_kept_images_change_no_reply(family, monkeypatch):
    cache = family.model._reader.cache
    if cache is None:
        assert family.name == NOT_KEPT
        return
    turns = [ask("q", "a"), ask("q", "a", "d"), ask("q", "a", "d", "b"), ask("another question", "a"), *MIXED]
    cold = []
    for request in turns:
        family.model.forget()
        cold += family.texts([request])
    encoded = []
    tower = family.model.model.get_image_features

    def count(pixel_values, **fields):
        encoded.append(len(pixel_values))
        return tower(pixel_values, **fields)

    monkeypatch.setattr(family.model.model, "get_image_features", count)
    assert [family.texts([request])[0] for request in turns] == cold
    assert len(encoded) == len({image.sha256 for request in turns for image in reading.images_of(request)})
    assert family.texts(turns) == cold
    assert len(encoded) == 5
    family.model.forget()
    assert family.texts([turns[0], turns[3]]) == [cold[0], cold[3]]
    assert encoded[5:] == encoded[:1]


def test_kept_images_are_bounded(family, expected, monkeypatch):
    cache = family.model._reader.cache
    if cache is None:
        assert family.name == NOT_KEPT
        return
    assert family.texts(MIXED) == expected
    for limit in (cache.bytes // 2, 0):
        family.model.forget()
        assert cache.bytes == 0
        monkeypatch.setattr(cache, "_limit", limit)
        assert family.texts(MIXED) == expected
        assert cache.bytes <= limit
        assert bool(cache.bytes) == bool(limit)


def test_images_are_kept_where_a_test_shows_that_they_can_be(family):
    kept = family.plain.config.model_type in vision_cache.FAMILIES
    assert (family.model._reader.cache is not None) == kept
    assert bool(family.model.cache_bytes) == kept
    assert tiny.FAMILIES.keys() >= vision_cache.FAMILIES


def test_without_kept_images_replies_are_the_same(unkept, expected):
    assert unkept.model._reader.cache is None
    assert unkept.texts(MIXED) == expected


SHOWN = {
    "qwen2_5_vl": {"a": (56, 84), "d": (28, 28), "e": (140, 56)},
    "qwen3_vl": {"a": (64, 96), "d": (32, 32), "e": (160, 64)},
    "qwen3_5": {"a": (64, 96), "d": (32, 32), "e": (160, 64)},
    # One tile; what a larger image becomes is not told.
    "internvl": {"d": (32, 32)},
    "internvl_sliding": {"d": (32, 32)},
}


def test_image_sizes_are_those_received_or_left_out(family):
    known = SHOWN.get(family.name, {})
    for name in ("a", "d", "e"):
        sizes = family.replies([ask("size", name)])[0].image_sizes
        assert sizes == ((Size(*known[name]),) if name in known else ())
    both = family.replies([ask("size", "d", "a")])[0].image_sizes
    assert len(both) == (2 if "a" in known else 0)


def test_conversation_shows_texts_calls_and_images(family):
    request = Request(
        messages=(
            Message(role="system", content=(Text("rules"),)),
            Message(role="user", content=(picture("a"), Text("question"))),
            Message(role="assistant", tool_calls=(ToolCall("1", "zoom_in", '{"bbox_2d":[1,2]}'),)),
            Message(role="tool", content=(Text("image 1"),), tool_call_id="1"),
            Message(role="user", content=(picture("d"), Text("image 1"))),
        ),
        sampling=Sampling(max_tokens=2),
    )
    (outcome,) = family.model.answer([request])
    if family.name == "gemma3":
        assert isinstance(outcome, ModelError)
        assert "alternate" in str(outcome)
        return
    assert isinstance(outcome, Reply), outcome
    text = family.model._prepare(request).prompt.text
    parts = ("rules", "question", '<tool_call>\n{"name": "zoom_in", "arguments": {"bbox_2d": [1, 2]}}\n</tool_call>')
    places = [text.index(part) for part in (*parts, "image 1")]
    assert places == sorted(places)
    assert text.count("zoom_in") == 1


def test_what_cannot_be_read_fails_alone(family, expected):
    mark = family.processor.image_token
    bad = [ask("x", "broken"), ask(f"see {mark}", "a"), ask("long " * 400)]
    if family.name.startswith("qwen"):
        bad.append(ask("x", "long"))  # a side ratio over 200
    good, *failed = family.model.answer([MIXED[1], *bad])
    assert good.text == expected[1]
    for error in failed:
        assert isinstance(error, ModelError)
        assert "\n" not in str(error)


def test_memory_of_kept_images_is_given_up_first(family, expected, monkeypatch):
    cache = family.model._reader.cache
    if cache is None:
        assert family.name == NOT_KEPT
        return
    assert family.texts(MIXED) == expected
    generate = LocalModel._generate

    def poor(self, inputs, which, rows):
        if cache.bytes:
            raise torch.OutOfMemoryError("no memory")
        generate(self, inputs, which, rows)

    monkeypatch.setattr(LocalModel, "_generate", poor)
    replies = family.replies(MIXED)
    assert [reply.text for reply in replies] == expected
    assert {reply.clocks.batch_size for reply in replies} == {len(MIXED)}


def test_every_file_of_a_checkpoint_is_in_its_identity(family, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(family.folder, copy)
    assert weights_sha256(copy) == family.model.weights
    for file in copy.iterdir():
        before = file.read_bytes()
        file.write_bytes(before + b" ")
        assert weights_sha256(copy) != family.model.weights, file.name
        file.write_bytes(before)
    for name in ("tokenizer.model", "added_tokens.json", "preprocessor_config.json", "chat_template.json"):
        (copy / name).write_text(json.dumps({}))
        assert weights_sha256(copy) != family.model.weights, name
        (copy / name).unlink()
