"""A store on disk with one small benchmark, and makers of records that fit into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from PIL import Image as PILImage

from zoomgap import imaging
from zoomgap.geometry import Box, Size
from zoomgap.grading import GRADER
from zoomgap.records import (
    Clocks,
    Grade,
    Image,
    ImageInfo,
    Invocation,
    Message,
    Request,
    RunSpec,
    Sample,
    Step,
    Text,
    ToolCall,
    Trajectory,
    Usage,
)
from zoomgap.storage import Store

SHA = "b" * 64


@dataclass
class Shelf:
    """A store, and records made for it: a benchmark of four samples on two images, one run, one invocation."""

    store: Store
    original: ImageInfo
    crop: ImageInfo
    spec: RunSpec

    def trajectory(self, sample: str = "s0", attempt: int = 0, run: str | None = None, **change) -> Trajectory:
        """An agent that zoomed once, then answered A."""
        ask = Message(role="user", content=(Image(self.original.sha256, 320, 256), Text("What color?")))
        call = ToolCall("c1", "zoom_in", '{"bbox_2d": [10, 20, 30, 40]}')
        zoom = Step(
            index=0, request=Request(messages=(ask,)), text="look", tool_call=call, frame=0,
            convention="relative_1000", box_written=(10, 20, 30, 40), box=Box(3, 5, 10, 11), label="block",
            observation=Image(self.crop.sha256, self.crop.width, self.crop.height),
            usage=Usage(prompt_tokens=90, completion_tokens=12, image_tokens=64),
            clocks=Clocks(model_ms=20.5, preprocess_ms=2.0, batch_size=4), tool_ms=3, finish_reason="tool_calls",
        )  # fmt: skip
        last = Step(
            index=1, request=Request(messages=(ask, Message(role="assistant", tool_calls=(call,)))), text="A",
            usage=Usage(prompt_tokens=140, completion_tokens=3), clocks=Clocks(model_ms=10.0), confidence=0.75,
        )  # fmt: skip
        run = run or self.spec.id
        values = {
            "run": run, "sample": sample, "attempt": attempt, "invocation": f"i-{run}", "stop_reason": "answered",
            "text": "A", "steps": (zoom, last), "wall_ms": 41.0,
        }  # fmt: skip
        return Trajectory(**values | change)

    @staticmethod
    def grade(verdict: str = "correct", answer: str | None = "A", grader: str = GRADER) -> Grade:
        return Grade(verdict=verdict, rule="lone", answer=answer, span=(0, 1) if answer else None, grader=grader)

    @staticmethod
    def picture(color: str, width: int = 320, height: int = 256) -> bytes:
        return imaging.encode(PILImage.new("RGB", (width, height), color), "image/png")

    @staticmethod
    def sample(number: int, image: ImageInfo, **change) -> Sample:
        values = {
            "id": f"s{number}", "benchmark": "tiny", "image": image.sha256, "width": image.width,
            "height": image.height, "question": "What color?", "answer": "A", "answer_kind": "choice",
            "choices": ("red", "blue"), "dimension": "color", "evidence": (Box(3, 5, 10, 11),),
            "evidence_kind": "tight", "cluster": "one", "detail_px": 2.5, "meta": {"seed": number, "tags": ["x"]},
        }  # fmt: skip
        return Sample(**values | change)

    def start(self, **change) -> str:
        """A run that differs from `spec` by `change`, and an invocation of it."""
        run = self.store.start_run(replace(self.spec, **change))
        self.store.start_invocation(
            Invocation(id=f"i-{run}", run=run, started="2026-01-01T00:00:00+00:00", circumstances={"concurrency": 2})
        )
        return run


def fill(store: Store) -> Shelf:
    original = store.add_image(Shelf.picture("red"), "image/png", Size(320, 256))
    other = store.add_image(Shelf.picture("green", 64, 64), "image/png", Size(64, 64))
    crop = store.add_image(Shelf.picture("blue", 96, 64), "image/png", Size(96, 64))
    images = (original, other, original, other)
    store.add_benchmark("tiny", SHA, {"made": "by hand"}, [Shelf.sample(k, image) for k, image in enumerate(images)])
    shelf = Shelf(store, original, crop, RunSpec(benchmark="tiny", benchmark_sha256=SHA, arm="agent", model="micro"))
    shelf.start()
    return shelf


@pytest.fixture
def shelf(tmp_path: Path) -> Iterator[Shelf]:
    with Store.open(tmp_path / "zoomgap.db") as store:
        yield fill(store)


@pytest.fixture(scope="module")
def lasting_shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """One store for all examples of a property."""
    with Store.open(tmp_path_factory.mktemp("store") / "zoomgap.db") as store:
        yield fill(store)
