"""A small world for arms: one picture with fine detail, a sample about it, and images kept in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import PIL.Image
import pytest

from tests.memory import MemoryImages
from zoomgap import imaging
from zoomgap.agents import Context, Settings
from zoomgap.geometry import Box, Size
from zoomgap.models.base import VisionModel
from zoomgap.records import Sample
from zoomgap.renditions import Renditions

WIDTH, HEIGHT = 800, 600


@dataclass
class World:
    """images: what was stored, by hash."""

    sample: Sample
    kept: MemoryImages = field(default_factory=MemoryImages)

    @property
    def images(self) -> dict[str, bytes]:
        return self.kept.data

    def context(self, model: VisionModel, **settings: Any) -> Context:
        given = {"suffix": False, **settings}
        return Context(model, Renditions(self.kept), Settings(**given))

    def ask_about_several(self) -> None:
        """Make the sample one about three pictures: its own, a grey one of 300 x 900, and its own again."""
        size = Size(300, 900)
        second = self.kept.add_image(imaging.encode(imaging.grey(size), "image/png"), "image/png", size)
        self.sample = replace(self.sample, more_images=(second.sha256, self.sample.image))

    def pixels(self, sha256: str) -> np.ndarray:
        return np.asarray(imaging.open_image(self.images[sha256]), float)


def checkerboard(width: int, height: int) -> PIL.Image.Image:
    """Cells of one pixel: a reduced view of it is flat grey, a crop of the original is not."""
    y, x = np.mgrid[:height, :width]
    return PIL.Image.fromarray(((x + y) % 2 * 255).astype(np.uint8)).convert("RGB")


@pytest.fixture
def world() -> World:
    sample = Sample(
        id="s1", benchmark="b", image="", width=WIDTH, height=HEIGHT, question="What letter is on the red star?",
        answer="B", answer_kind="choice", choices=("E", "F", "H", "K"), dimension="ocr",
        evidence=(Box(400, 300, 440, 340),), evidence_kind="tight", cluster="s1",
    )  # fmt: skip
    made = World(sample)
    info = made.kept.add_image(
        imaging.encode(checkerboard(WIDTH, HEIGHT), "image/png"), "image/png", Size(WIDTH, HEIGHT)
    )
    made.sample = Sample(**{name: getattr(sample, name) for name in sample.__slots__} | {"image": info.sha256})
    return made


@pytest.fixture
def call() -> Callable[..., str]:
    """A zoom call as the embedded model writes it."""

    def written(*box: float, image: int | None = None, label: str = "red star") -> str:
        extra = "" if image is None else f', "image": {image}'
        numbers = ", ".join(f"{value:g}" for value in box)
        arguments = f'{{"label": "{label}", "bbox_2d": [{numbers}]{extra}}}'
        return f'<tool_call>\n{{"name": "zoom_in", "arguments": {arguments}}}\n</tool_call>'

    return written
