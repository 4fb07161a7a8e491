"""Samples of the procedural benchmark: a rendered scene with one question about it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from zoomgap.benchmarks.micro.questions import LETTERS, QUESTIONS, choices_for
from zoomgap.benchmarks.micro.render import render
from zoomgap.benchmarks.micro.scene import BENCHMARK, Carrier, Scene, SceneConfig, make_scene
from zoomgap.benchmarks.micro.splits import split_of
from zoomgap.errors import UsageError
from zoomgap.geometry import Box
from zoomgap.imaging import jpeg_within, open_image, sha256
from zoomgap.records import DIMENSIONS, AnswerKind, Sample, digest

MAX_BYTES = 1_500_000
LEAST_EVIDENCE, MOST_EVIDENCE = 4.0, 80.0
"""Sides of evidence that can be asked for, in pixels of the direct view."""
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")


class MicroSample(NamedTuple):
    """A sample and the JPEG that its `image` names."""

    sample: Sample
    jpeg: bytes


def make(
    n: int,
    seed: int,
    config: SceneConfig = BENCHMARK,
    backgrounds: Path | None = None,
    name: str | None = None,
    questions: int = 1,
    evidence: tuple[float, float] | None = None,
) -> Iterator[MicroSample]:
    """Samples about the scenes of the seeds seed to seed + n - 1, one by one.

    questions: samples about each scene, every one about another carrier, fewer where there are fewer carriers; only of
    the first is the evidence's size drawn apart from the carrier's. evidence: smallest and largest side of the evidence
    in pixels of the direct view, if not the benchmark's own. A sample depends on its own seed and place, on `config`
    and `evidence`; only its `benchmark` tells n. Of each dimension, half of the questions have four choices.
    backgrounds: a folder of photographs to use as backdrops. name: of the benchmark, else default_name(). Raises
    UsageError at once for a bad n, seed, range or folder.
    """
    if min(n, questions) < 1:
        raise UsageError(f"{n} scenes with {questions} questions each cannot be made: give at least 1 of both")
    split_of(seed)
    split_of(seed + n - 1)
    if evidence is not None:
        low, high = evidence
        if not LEAST_EVIDENCE <= low <= high <= MOST_EVIDENCE:
            raise UsageError(
                f"evidence of {low:g} to {high:g} px cannot be drawn: give two sizes from {LEAST_EVIDENCE:g} to "
                f"{MOST_EVIDENCE:g}, the smaller first"
            )
        config = replace(config, evidence_view=evidence)
    photos = _photographs(backgrounds) if backgrounds is not None else []
    called = name or default_name(n, seed, questions, evidence)
    return _make(range(seed, seed + n), called, config, photos, questions)


def default_name(n: int, seed: int, questions: int = 1, evidence: tuple[float, float] | None = None) -> str:
    """What a benchmark is called when nobody names it."""
    sizes = "" if evidence is None else f"-{evidence[0]:g}to{evidence[1]:g}px"
    return f"micro-{seed}-{n}" + (f"x{questions}" if questions > 1 else "") + sizes


def _make(seeds: range, name: str, config: SceneConfig, photos: list[Path], questions: int) -> Iterator[MicroSample]:
    for seed in seeds:
        scene = make_scene(seed, config)
        backdrop = [open_image(photos[scene.background.seed % len(photos)])] if photos else None
        jpeg = jpeg_within(render(scene, backdrop), MAX_BYTES)
        as_choice = seed // len(config.dimensions) % 2 == 0
        image = sha256(jpeg)
        others = [place for place in range(len(scene.carriers)) if place != scene.asked]
        for k, place in enumerate([scene.asked, *others][:questions]):
            yield MicroSample(_sample(replace(scene, asked=place), name, image, as_choice ^ (k % 2 == 1), k), jpeg)


def _photographs(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UsageError(f"backgrounds {str(folder)!r} is not a folder: give a folder of photographs")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        known = ", ".join(PHOTO_SUFFIXES)
        raise UsageError(f"backgrounds {str(folder)!r} holds no photographs: put files of type {known} there")
    return paths


def _sample(scene: Scene, name: str, image: str, as_choice: bool, number: int) -> Sample:
    """Question `number` about a scene, about its target; number 0 has the seed alone for its id."""
    carrier, detail = scene.target, scene.target.detail
    rng = np.random.default_rng([scene.seed, len(DIMENSIONS), *([number] if number else [])])
    phrasings = QUESTIONS[detail.dimension]
    question = phrasings[int(rng.integers(len(phrasings)))].format(name=carrier.name)
    choices: tuple[str, ...] = ()
    answer, answer_kind = detail.value, _open_kind(detail.dimension)
    if as_choice:
        # A mark never has its carrier's colour, so that colour would be a choice to strike out unseen.
        struck = (carrier.color,) if detail.dimension == "color" else ()
        choices = choices_for(detail.dimension, detail.value, rng, exclude=struck)
        answer, answer_kind = LETTERS[choices.index(detail.value)], "choice"
    return Sample(
        id=f"micro-{scene.seed}" + (f".{number}" if number else ""),
        benchmark=name,
        image=image,
        width=scene.size.width,
        height=scene.size.height,
        question=question,
        answer=answer,
        answer_kind=answer_kind,
        dimension=detail.dimension,
        choices=choices,
        evidence=(detail.box,),
        evidence_kind="tight",
        cluster=f"micro-{scene.seed}",
        detail_px=detail.decisive_px,
        meta={
            "seed": scene.seed,
            "name": carrier.name,
            "carrier_box": _rounded(carrier.box),
            "value": detail.value,
            "carriers": [_summary(c) for c in scene.carriers],
            "background": scene.background.kind,
            "scale": scene.scale,
        },
    )


def _open_kind(dimension: str) -> AnswerKind:
    return "integer" if dimension == "counting" else "text"


def _summary(carrier: Carrier) -> dict[str, Any]:
    detail = carrier.detail
    return {
        "name": carrier.name,
        "box": _rounded(carrier.box),
        "detail_box": detail.box.as_list(),
        "value": detail.value,
    }


def _rounded(box: Box) -> list[float]:
    """Hundredths of a pixel: the last bits of a sine differ between machines and would change the benchmark's hash."""
    return [round(v, 2) for v in box.as_list()]


def value_shown(sample: Sample, box: Box) -> str | None:
    """What stands on the carrier that `box` (pixels) shows: the one asked about if its detail is whole in it, else the
    one nearest the middle whose detail is; None where no detail is whole.

    Reads the benchmark's gold.
    """
    details = {carrier["name"]: Box(*carrier["detail_box"]) for carrier in sample.meta["carriers"]}
    values = {carrier["name"]: str(carrier["value"]) for carrier in sample.meta["carriers"]}
    shown = [name for name, detail in details.items() if box.intersection(detail) > 0.9 * detail.area]
    if not shown:
        return None
    asked = sample.meta["name"]
    middle = box.center

    def distance(name: str) -> float:
        center = details[name].center
        return math.hypot(center.x - middle.x, center.y - middle.y)

    return values[asked if asked in shown else min(shown, key=distance)]


def benchmark_sha256(samples: Iterable[MicroSample]) -> str:
    """Identity of a benchmark: over the records and the decoded pixels in order, so that two JPEG encoders which
    write the same picture agree. Reads the samples one by one."""
    total = hashlib.sha256()
    image, pixels = "", b""
    for sample, jpeg in samples:
        record = sample.record()
        if record.pop("image") != image:
            image, pixels = sample.image, hashlib.sha256(open_image(jpeg).tobytes()).digest()
        total.update(digest(record).encode())
        total.update(pixels)
    return total.hexdigest()
