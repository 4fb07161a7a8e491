"""A small world: six pictures of one coloured block each, questions about them, and an agent that zoomed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image as PILImage
from PIL import ImageColor

from tests.memory import MemoryImages
from zoomgap import imaging
from zoomgap.distill.regions import Traced
from zoomgap.geometry import Box, Size
from zoomgap.records import Image, Item, Request, Sample, Step, Trajectory

COLORS = ("red", "green", "blue", "yellow", "purple", "orange")
SIZE = Size(320, 256)
SEED = 4_000_000


@dataclass
class World:
    pictures: MemoryImages
    samples: dict[str, Sample]
    traced: list[Traced]

    def answer(self, request: Request) -> str:
        """What a good reader says: the block's colour if the image shows any of it, else nothing useful."""
        pixels = np.asarray(self.shown(request)).reshape(-1, 3).astype(int)
        pixels = pixels[np.ptp(pixels, axis=1) > 100]
        if not len(pixels):
            return "I cannot tell."
        mean = pixels.mean(0)
        return min(COLORS, key=lambda c: sum((a - b) ** 2 for a, b in zip(ImageColor.getrgb(c), mean, strict=True)))

    def shown(self, request: Request) -> PILImage.Image:
        """The one image of a request, checked against the size that it names."""
        (part,) = [part for message in request.messages for part in message.content if isinstance(part, Image)]
        image = imaging.open_image(self.pictures.load_image(part.sha256))
        assert image.size == (part.width, part.height)
        return image


def block_of(k: int) -> Box:
    """Where the coloured block of picture k stands."""
    return Box(20 + 40 * k, 30 + 20 * k, 60 + 40 * k, 70 + 20 * k)


def trajectory(sample: str, boxes: list[Box], stop_reason: str = "answered") -> Trajectory:
    """An agent that asked for each box in turn, then answered."""
    zooms = [
        Step(
            index=i, request=Request(messages=()), box_written=(0, 0, 500, 500), box=box, label="block",
            observation=Image("0" * 64, 128, 128),
        )
        for i, box in enumerate(boxes)
    ]  # fmt: skip
    last = Step(index=len(boxes), request=Request(messages=()), text="red")
    return Trajectory(
        run="run", sample=sample, attempt=0, invocation="i", stop_reason=stop_reason,
        text="red", steps=(*zooms, last), wall_ms=1.0,
    )  # fmt: skip


@pytest.fixture
def world() -> World:
    pictures = MemoryImages()
    samples: dict[str, Sample] = {}
    traced = []
    for k, color in enumerate(COLORS):
        image = PILImage.new("RGB", (SIZE.width, SIZE.height), (200, 200, 200))
        image.paste(color, tuple(int(v) for v in block_of(k).as_list()))
        info = pictures.add_image(imaging.encode(image, "image/png"), "image/png", SIZE)
        choice = k % 2 == 0
        sample = Sample(
            id=f"micro-{SEED + k}", benchmark=f"micro-{SEED}-6", image=info.sha256, width=SIZE.width,
            height=SIZE.height, question=f"What color is the mark on block {k}?", dimension="color",
            answer="ABCDEF"[k] if choice else color, answer_kind="choice" if choice else "text",
            choices=COLORS if choice else (), evidence=(block_of(k),), evidence_kind="tight",
            meta={
                "name": f"block {k}",
                "carriers": [{"name": f"block {k}", "detail_box": block_of(k).as_list(), "value": color}],
            },
        )  # fmt: skip
        samples[sample.id] = sample
        traced.append(Traced(k + 1, trajectory(sample.id, [Box(0, 0, 200, 200), block_of(k)]), sample))
    return World(pictures, samples, traced)


@pytest.fixture
def items(world: World) -> list[Item]:
    """One item for each picture; every second one has choices, every third an overlay."""
    return [
        Item(
            id=f"item{k}", dataset="test-agent", question=f"q{k}", sample=sample.id, image=sample.image,
            text="What color is the mark?", choices=sample.choices, answer=COLORS[k], answer_kind=sample.answer_kind,
            dimension="color", overlay=block_of(k) if k % 3 == 0 else None, labels="agent", agreement=1.0, gold=False,
        )
        for k, sample in enumerate(world.samples.values())
    ]  # fmt: skip
