"""Training conversations for the embedded model, rendered on the fly from the procedural benchmark's own code.

A batch is a pure function of (seed, step), so that a run resumes anywhere. Two kinds of example:

- a **crop** of 128 x 128 px with questions about what it shows;
- a **view** (a random window of a scene, or the whole scene) with direct answers where the evidence is large in it,
  zoom calls where it is small, and conversations that go on with one or two crops.

Direct answers on small evidence are left out on purpose: they are what distillation has to teach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from zoomgap import imaging
from zoomgap.benchmarks.micro.questions import LOCAL, QUESTIONS, VALUES, choices_for
from zoomgap.benchmarks.micro.render import render
from zoomgap.benchmarks.micro.scene import COLORS, SHAPES, SceneConfig, make_scene
from zoomgap.distill.guidance import cells_on
from zoomgap.distill.micro_model import GRID
from zoomgap.distill.packing import Look, Markers, Packed, Row, pack
from zoomgap.geometry import Box, Frame, Size
from zoomgap.records import DIMENSIONS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CROP_PIXELS = 128 * 128
LAST_SEED = 3_999_999
"""Pretraining's seeds end here (design: the procedural benchmark's seeds)."""

DIRECT_PX = 24.0
"""Smallest evidence, in pixels of the view, on which a direct answer is taught."""
ZOOM_PX = 24.0
"""Below this, in pixels of the latest image, the right next turn is a zoom."""
MAX_ZOOMS = 3
"""Crops in a conversation, as many as the agent has by default."""
LAST_SHARE = 0.3
"""Share of the shown crops after which an answer is asked for, whatever they show."""
READ_PX = 8.0
"""Smallest evidence whose value the vision tower is asked for by the auxiliary head."""

COLOR_IDS = {name: i + 1 for i, name in enumerate(COLORS)}
SHAPE_IDS = {name: i + 1 for i, name in enumerate(SHAPES)}
VALUE_IDS = {(d, v): i + 1 for i, (d, v) in enumerate((d, v) for d in DIMENSIONS for v in VALUES[d])}
HEAD_SIZES = (len(COLOR_IDS) + 1, len(SHAPE_IDS) + 1, len(VALUE_IDS) + 1, len(VALUE_IDS) + 1, 4)
"""Outputs of the auxiliary heads: colour, shape, value from DIRECT_PX up, value below it (0 is none of them), box."""


WEIGHTS: Mapping[str, float] = {
    "counting": 4.0, "ocr": 2.2, "color": 0.8, "structure": 0.7, "material": 0.7, "object": 1.1,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mixture:
    """What a stage of pretraining trains on.

    dense: share of pictures that are only looked at, without a question (the vision tower learns from them alone),
    drawn from the mixture `sight`, if there is one.
    views: share of view examples among the others. pixels: budgets that a view may have. sides, carriers, radius,
    evidence: ranges of the scene (SceneConfig). whole: share of views that show the whole scene. narrow: smallest
    window, as a share of the scene's side. loose: how many times its evidence a crop may be wide. weights: of the
    dimensions; counts and characters take longest to learn.
    """

    views: float
    dense: float = 0.0
    pixels: tuple[int, ...] = (65_536,)
    sides: tuple[int, int] = (640, 1100)
    carriers: tuple[int, int] = (2, 6)
    radius: tuple[float, float] = (14, 40)
    evidence: tuple[float, float] = (5, 56)
    whole: float = 0.5
    narrow: float = 0.35
    loose: float = 3.0
    aspects: tuple[float, ...] = (1, 1, 1, 4 / 3, 3 / 4, 16 / 9, 9 / 16)
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)
    sight: Mixture | None = None


@dataclass(frozen=True, slots=True)
class Thing:
    """One carrier of a picture, boxes in pixels of that picture."""

    name: str
    color: str
    shape: str
    box: Box
    evidence: Box
    dimension: str
    value: str


@dataclass(frozen=True, slots=True)
class Picture:
    """An image and the things that it shows whole."""

    image: Image.Image
    things: tuple[Thing, ...]

    @property
    def size(self) -> Size:
        return Size(*self.image.size)


class ImageGroup(NamedTuple):
    """Images of one size. indices: in the batch; pixels: uint8 [n, H, W, 3]; see cell_targets for the other two."""

    indices: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    classes: NDArray[np.int16]
    boxes: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed conversations, if there are any, and the images, grouped by size."""

    packed: Packed | None
    images: tuple[ImageGroup, ...]


def make_picture(rng: Generator, mix: Mixture, aspect: float) -> Picture:
    """A scene, or a window of it around one of its carriers."""
    config = SceneConfig(
        sides=mix.sides, aspects=(aspect,), carriers=mix.carriers, radius_view=mix.radius, evidence_view=mix.evidence
    )
    weights = np.array([mix.weights[dimension] for dimension in DIMENSIONS])
    dimension = DIMENSIONS[int(rng.choice(len(DIMENSIONS), p=weights / weights.sum()))]
    scene = make_scene(int(rng.integers(LAST_SEED + 1)), config, dimension)
    image = render(scene)
    things = tuple(
        Thing(c.name, c.color, c.shape, c.box, c.detail.box, c.detail.dimension, c.detail.value) for c in scene.carriers
    )
    if rng.random() < mix.whole:
        return Picture(image, things)
    target = things[int(rng.integers(len(things)))]
    smallest = max(mix.narrow, 1.3 * target.box.width / image.width, 1.3 * target.box.height / image.height)
    share = smallest + (1 - smallest) * float(rng.random()) ** 1.5 if smallest < 1 else 1.0
    w, h = image.width * share, image.height * share
    x = float(rng.uniform(max(0, target.box.x2 - w), max(1e-3, min(target.box.x1, image.width - w))))
    y = float(rng.uniform(max(0, target.box.y2 - h), max(1e-3, min(target.box.y1, image.height - h))))
    window = imaging.snap(Box(x, y, x + w, y + h), Size(*image.size))
    inside = tuple(
        replace(t, box=t.box.shifted(-window.x1, -window.y1), evidence=t.evidence.shifted(-window.x1, -window.y1))
        for t in things
        if window.covers(t.box) > 0.999
    )
    return Picture(image.crop(tuple(int(v) for v in window.as_list())), inside)  # type: ignore[arg-type]


def jittered(rng: Generator, box: Box, grow: tuple[float, float], shift: float) -> Box:
    """`box` with each side grown by a random factor and moved by up to `shift` of its size."""
    side = max(box.width, box.height)
    w, h = (max(s, 0.8 * side) * float(rng.uniform(*grow)) for s in (box.width, box.height))
    x = box.center.x + float(rng.uniform(-shift, shift)) * w
    y = box.center.y + float(rng.uniform(-shift, shift)) * h
    return Box(x - w / 2, y - h / 2, x + w / 2, y + h / 2)


def quantised(frame: Frame, box: Box) -> tuple[int, int, int, int]:
    """A box of the original as the model writes it: thousandths of the frame in steps of GRID, never empty."""
    inner = frame.from_original(box).scaled(1000 / frame.size.width, 1000 / frame.size.height)
    x1, y1, x2, y2 = (min(max(round(v / GRID) * GRID, 0), 1000) for v in inner.as_list())
    x1, y1 = min(x1, 1000 - GRID), min(y1, 1000 - GRID)
    return x1, y1, max(x2, x1 + GRID), max(y2, y1 + GRID)


def unquantised(frame: Frame, numbers: Sequence[int]) -> Box:
    """Back to pixels of the original."""
    w, h = frame.size.width / 1000, frame.size.height / 1000
    return frame.to_original(Box(*numbers).scaled(w, h))


def cell_targets(picture: Picture, frame: Frame) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
    """What each merged token should know: classes int16 [cells, 4] (-1 is not judged), boxes [cells, 4] in 0..1.

    Details below DIRECT_PX have a class of their own: the vision tower may see what the language part does not say yet.
    """
    rows, columns = frame.size.height // 32, frame.size.width // 32
    classes = np.zeros((rows, columns, 4), np.int16)
    boxes = np.full((rows, columns, 4), np.nan, np.float32)
    for thing in picture.things:
        outer, inner = frame.from_original(thing.box), frame.from_original(thing.evidence)
        for y in range(max(0, int(outer.y1 // 32)), min(rows, int(outer.y2 // 32) + 1)):
            for x in range(max(0, int(outer.x1 // 32)), min(columns, int(outer.x2 // 32) + 1)):
                cell = Box(x * 32, y * 32, x * 32 + 32, y * 32 + 32)
                if outer.grown(0.9).intersection(cell) >= min(0.35 * cell.area, 0.5 * outer.area):
                    classes[y, x, :2] = COLOR_IDS[thing.color], SHAPE_IDS[thing.shape]
                    boxes[y, x] = outer.scaled(1 / frame.size.width, 1 / frame.size.height).as_list()
                shared = inner.intersection(cell)
                if shared > 0:
                    classes[y, x, 2:] = -1
                    if inner.side >= READ_PX and shared >= min(0.25 * cell.area, 0.4 * inner.area):
                        fine = inner.side < DIRECT_PX
                        classes[y, x, 3 if fine else 2] = VALUE_IDS[thing.dimension, thing.value]
    return classes.reshape(-1, 4), np.clip(boxes.reshape(-1, 4), -0.5, 1.5)


class Shown(NamedTuple):
    """The latest image of a conversation: the place of its first token in the row, and its frame."""

    first: int
    frame: Frame


class Builder:
    """Builds one batch: rows of packed conversations and the images that they show."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, rng: Generator) -> None:
        self.tokenizer = tokenizer
        self.rng = rng
        start, pad, end, self.pad = tokenizer.convert_tokens_to_ids(
            ["<|vision_start|>", "<|image_pad|>", "<|vision_end|>", "<|endoftext|>"]
        )
        self.markers = Markers(start, pad, end)
        self.rows: list[Row] = []
        self.images: list[tuple[Size, Any, NDArray[np.int16], NDArray[np.float32]]] = []

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False)

    def add_image(self, image: Image.Image, picture: Picture, frame: Frame) -> int:
        self.images.append((frame.size, np.asarray(image), *cell_targets(picture, frame)))
        return len(self.images) - 1

    def new_row(self, image: int, frame: Frame, tools: bool) -> tuple[Row, Shown]:
        """A row whose prefix ends with the first image."""
        system = "<|im_start|>system\nzoom_in(bbox_2d, image, label)<|im_end|>\n" if tools else ""
        row = Row(self.markers)
        row.text(self.encode(system + "<|im_start|>user\n"))
        self.rows.append(row)
        return row, self.show(row, image, frame)

    def show(self, row: Row, image: int, frame: Frame) -> Shown:
        return Shown(row.image(image, frame.size.height // 32, frame.size.width // 32), frame)

    def look(
        self, row: Row, shown: Shown, box: Box, at: int, naming: bool = False, numbers: Sequence[int] | None = None
    ) -> None:
        """The token at `at` should look at what shows `box` (pixels of the original). numbers: the box being said."""
        if cells := cells_on(shown.frame, box):
            said = None if numbers is None else tuple(number / 1000 for number in numbers)
            row.looks.append(Look(at, tuple(shown.first + cell for cell in cells), naming, said))  # type: ignore[arg-type]

    def look_named(self, row: Row, shown: Shown, thing: Thing, start: int) -> None:
        """The last word of the thing's name, searched from the row's place `start` on, should look at the thing."""
        word = self.encode(f" {thing.name}")[-1]
        if word in row.ids[start:]:
            self.look(row, shown, thing.box, row.ids.index(word, start), naming=True)

    def ask(self, row: Row, shown: Shown, thing: Thing, local: bool = False) -> None:
        """A new branch with a question about `thing`, open or with four choices, up to the assistant's turn."""
        rng = self.rng
        templates = (LOCAL if local else QUESTIONS)[thing.dimension]
        text = templates[int(rng.integers(len(templates)))].format(name=thing.name)
        if rng.random() < 0.4:
            options = choices_for(thing.dimension, thing.value, rng)
            text += "\n" + " ".join(f"{letter}) {option}" for letter, option in zip("ABCD", options, strict=False))
        row.begin_branch()
        start = len(row.ids)
        row.text(self.encode(f"{text}<|im_end|>\n<|im_start|>assistant\n"))
        if not local:
            self.look_named(row, shown, thing, start)

    def say(self, row: Row, shown: Shown, thing: Thing) -> None:
        """The answer, learned."""
        self.look(row, shown, thing.evidence, len(row.ids) - 1)
        row.text(self.encode(f"{thing.value}<|im_end|>"), learn=True)

    def call(self, row: Row, shown: Shown, thing: Thing, numbers: Sequence[int], learn: bool) -> None:
        """A zoom call with these coordinates."""
        start = len(row.ids)
        opening = f'<tool_call>\n{{"name": "zoom_in", "arguments": {{"label": "{thing.name}", "bbox_2d": ['
        row.text(self.encode(opening), learn)
        self.look_named(row, shown, thing, start)
        places = len(row.ids)
        row.text(self.encode(", ".join(str(n) for n in numbers)), learn)
        if learn:
            for at in range(places - 1, len(row.ids) - 1, 2):  # before each number; commas stand between
                self.look(row, shown, thing.box, at, numbers=numbers)
        row.text(self.encode("]}}\n</tool_call><|im_end|>"), learn)

    def zoomed(self, row: Row, picture: Picture, box: Box, number: int, last: bool = False) -> Shown:
        """Append the tool's answer and the user's turn that shows crop `number`.

        last: the turn asks for an answer now, as it does when the zooms are used up.
        """
        frame, index = self.crop(picture, box, number)
        row.text(self.encode(f"\n<|im_start|>tool\nimage {number}<|im_end|>\n<|im_start|>user\n"))
        shown = self.show(row, index, frame)
        hint = "\nAnswer now." if last else ""
        row.text(self.encode(f"image {number}{hint}<|im_end|>\n<|im_start|>assistant\n"))
        return shown

    def crop(self, picture: Picture, box: Box, number: int) -> tuple[Frame, int]:
        box = imaging.snap(box, picture.size, min_side=32)
        image = imaging.cut(picture.image, box, CROP_PIXELS)
        frame = Frame(number, Size(*image.size), box)
        return frame, self.add_image(image, picture, frame)

    def crop_example(self, picture: Picture, loose: float) -> None:
        """Up to three crops of a picture, two questions on each."""
        rng = self.rng
        for thing in picture.things[:3]:
            if rng.random() < 0.75:
                box = jittered(rng, thing.evidence, (1.15, max(1.3, loose)), 0.08 if loose < 2 else 0.12)
            else:
                box = jittered(rng, thing.box, (1.0, 1.4), 0.1)
            frame, index = self.crop(picture, box, 0)
            seen = frame.from_original(thing.evidence)
            if seen.side < ZOOM_PX or seen.clamped(frame.size.width, frame.size.height).area < 0.9 * seen.area:
                continue
            row, shown = self.new_row(index, frame, tools=bool(rng.random() < 0.1))
            for local in (False, True):
                self.ask(row, shown, thing, local)
                self.say(row, shown, thing)

    def view_example(self, picture: Picture, pixels: int) -> None:
        """A view with direct answers, zoom calls and conversations that go on."""
        rng = self.rng
        image = imaging.fit(picture.image, pixels)
        whole = Box(0, 0, picture.size.width, picture.size.height)
        frame = Frame(0, Size(*image.size), whole)
        index = self.add_image(image, picture, frame)
        seen = {thing: frame.from_original(thing.evidence).side for thing in picture.things}
        direct = [thing for thing in picture.things if seen[thing] >= DIRECT_PX]
        if direct:
            row, shown = self.new_row(index, frame, tools=False)
            for thing in direct:
                self.ask(row, shown, thing)
                self.say(row, shown, thing)
        row, shown = self.new_row(index, frame, tools=True)
        for i, thing in enumerate(rng.permutation(np.array(picture.things, object))):
            self.ask(row, shown, thing)
            if seen[thing] >= ZOOM_PX:
                self.say(row, shown, thing)
            elif i < 2 and rng.random() < 0.75:
                self.go_on(row, shown, picture, thing)
            else:
                self.call(row, shown, thing, quantised(frame, thing.box.grown(1.15)), learn=True)

    def dense_example(self, picture: Picture, pixels: int) -> None:
        """A picture of which only the image tokens are judged."""
        image = imaging.fit(picture.image, pixels)
        self.add_image(image, picture, Frame(0, Size(*image.size), Box(0, 0, picture.size.width, picture.size.height)))

    def go_on(self, row: Row, view: Shown, picture: Picture, thing: Thing) -> None:
        """A call (learned, or with a jittered box), its crop, then the answer or further calls and crops.

        Some turns ask for an answer now, whatever the crop shows, as they do when the zooms are used up.
        """
        rng = self.rng
        exact = bool(rng.random() < 0.5)
        wide = thing.box.grown(1.15) if exact else jittered(rng, thing.box, (1.0, 1.4), 0.08)
        numbers = quantised(view.frame, wide)
        self.call(row, view, thing, numbers, learn=exact)
        shown = view
        for number in range(1, MAX_ZOOMS + 1):
            last = bool(rng.random() < LAST_SHARE)
            shown = self.zoomed(row, picture, unquantised(shown.frame, numbers), number, last)
            if last or number == MAX_ZOOMS or shown.frame.from_original(thing.evidence).side >= ZOOM_PX:
                break
            if number == 1 and rng.random() < 0.5:
                closer = jittered(rng, thing.evidence, (1.9, 1.9), 0)
                return self.call(row, shown, thing, quantised(shown.frame, closer), learn=True)
            # Hesitant at times, so that conversations with three crops are known too.
            times = (2.5, 5.0) if number == 1 and rng.random() < 0.3 else (1.4, 2.6)
            numbers = quantised(shown.frame, jittered(rng, thing.evidence, times, 0.12))
            self.call(row, shown, thing, numbers, learn=False)
        return self.say(row, shown, thing)

    def batch(self) -> Batch:
        """What was built, padded and grouped by image size."""
        packed = pack(self.rows, self.pad) if self.rows else None
        sizes = sorted({item[0] for item in self.images}, key=lambda s: (s.pixels, s.width))
        groups = []
        for size in sizes:
            indices = np.array([i for i, item in enumerate(self.images) if item[0] == size])
            pixels, classes, boxes = (np.stack([self.images[i][k] for i in indices]) for k in (1, 2, 3))
            groups.append(ImageGroup(indices, pixels, classes, boxes))
        return Batch(packed, tuple(groups))


def make_batch(tokenizer: PreTrainedTokenizerFast, mix: Mixture, seed: int, step: int, size: int) -> Batch:
    """The batch of `step`: `size` pictures' worth of examples."""
    rng = np.random.default_rng([seed, step])
    builder = Builder(tokenizer, rng)
    aspect = mix.aspects[int(rng.integers(len(mix.aspects)))]
    pixels = mix.pixels[int(rng.integers(len(mix.pixels)))]
    for _ in range(size):
        if rng.random() < mix.dense:
            builder.dense_example(make_picture(rng, mix.sight or mix, 1.0), pixels)
        elif rng.random() < mix.views:
            builder.view_example(make_picture(rng, mix, aspect), pixels)
        else:
            small = replace(mix, sides=(320, 560), carriers=(1, 3), radius=(30, 60), evidence=(10, 70), whole=1.0)
            builder.crop_example(make_picture(rng, small, 1.0), mix.loose)
    return builder.batch()
