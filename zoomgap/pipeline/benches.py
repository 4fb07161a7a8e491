"""Benchmarks: making the procedural one, and looking at stored ones: a sample, what a set is made of, pages of both."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoomgap import imaging
from zoomgap.benchmarks import micro
from zoomgap.errors import UsageError
from zoomgap.pipeline.arms import Count
from zoomgap.records import Sample
from zoomgap.storage import BenchmarkInfo, Store

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoomgap.benchmarks.view import Card
    from zoomgap.pipeline.overlaps import Overlap


PICTURE_PIXELS, INSET_PIXELS = 640 * 640, 224 * 224
"""Of a sample's image and of a magnified piece of evidence on the page."""
PICTURE_BYTES, INSET_BYTES = 75_000, 36_000
"""Of a sample's image and of all its insets, at most: as base64, 200 samples stay under 30 MB."""
MAX_INSETS = 4
MAX_PAIRS, PAIR_BYTES = 200, 50_000
"""Pairs of images on a page, and bytes of each of their images."""


def make_micro(
    store: Store,
    n: int,
    seed: int,
    backgrounds: Path | None = None,
    name: str | None = None,
    count: Count | None = None,
    questions: int = 1,
    evidence: tuple[float, float] | None = None,
) -> BenchmarkInfo:
    """Render n scenes of the procedural benchmark into the store, or find them there.

    questions: samples about each scene, as far as it has carriers. evidence: sides that it may have, pixels of the
    direct view. Both are for training: what is measured on is the benchmark as it stands.
    """
    source: dict[str, Any] = {
        "kind": "micro",
        "seed": seed,
        "n": n,
        "backgrounds": str(backgrounds) if backgrounds else None,
    }
    if questions > 1 or evidence is not None:
        if not micro.for_training(seed, n):
            raise UsageError(
                f"seeds {seed} to {seed + n - 1} are not all for training, and several questions a scene and chosen "
                "sizes of evidence are: take seeds 0 to 7999999, or neither of the two"
            )
        source |= {"questions": questions} if questions > 1 else {}
        source |= {"evidence": list(evidence)} if evidence is not None else {}
    called = name or micro.default_name(n, seed, questions, evidence)
    if any(info.name == called and dict(info.source) != source for info in store.benchmarks()):
        raise UsageError(f"benchmark '{called}' exists and was made otherwise: call this one differently with --name")
    samples: list[Sample] = []
    scenes = 0

    def stored() -> Iterator[micro.MicroSample]:
        nonlocal scenes
        made_all = micro.make(n, seed, backgrounds=backgrounds, name=name, questions=questions, evidence=evidence)
        for made in made_all:
            if not samples or made.sample.image != samples[-1].image:
                store.add_image(made.jpeg, "image/jpeg", made.sample.size)
                scenes += 1
            samples.append(made.sample)
            if count:
                count(scenes, n)
            yield made

    sha256 = micro.benchmark_sha256(stored())
    store.add_benchmark(samples[0].benchmark, sha256, source, samples)
    return store.benchmark(samples[0].benchmark)


def find_sample(store: Store, benchmark: str, id: str) -> Sample:
    """A stored sample. Raises UsageError for an unknown one, naming the ids most like it."""
    samples = {sample.id: sample for sample in store.samples(benchmark)}
    if id in samples:
        return samples[id]
    near = get_close_matches(id, samples, n=3, cutoff=0.5) or list(samples)[:3]
    known = f"near it are {', '.join(near)}" if near else "it has none"
    raise UsageError(f"sample '{id}' is not in benchmark '{benchmark}': {known}")


def split_of(info: BenchmarkInfo) -> str:
    """What a benchmark is for: train, validation or test, several of them, or "" where neither its files nor who
    imported it said. The procedural one's splits are those of its first and last seed."""
    source = info.source
    if source.get("kind") == "micro":
        ends = (source["seed"], source["seed"] + source["n"] - 1)
        return ", ".join(dict.fromkeys(micro.split_of(seed) for seed in ends))
    return str(source.get("split", ""))


def bench_stats(store: Store, benchmark: str) -> dict[str, Any]:
    """What a stored benchmark is made of, as `benchmarks.stats.stats` counts it."""
    from zoomgap.benchmarks.stats import stats

    return {"bench": benchmark, **stats(_samples(store, benchmark))}


def write_view(
    store: Store,
    benchmark: str,
    path: Path,
    *,
    limit: int | None = None,
    dimension: str | None = None,
    count: Count | None = None,
) -> tuple[int, int]:
    """Write a page of the first `limit` samples, of one dimension or of all; gives how many it shows, of how many.

    Raises UsageError for an unknown dimension, StoreError for an image that is missing.
    """
    from zoomgap.benchmarks.view import render_samples

    samples = _samples(store, benchmark)
    if dimension is not None:
        known = sorted({sample.dimension for sample in samples})
        samples = [sample for sample in samples if sample.dimension == dimension]
        if not samples:
            raise UsageError(f"dimension '{dimension}' is not in '{benchmark}': choose from {', '.join(known)}")
    check_page(path)
    cards = []
    for sample in samples[:limit]:
        cards.append(_card(store, sample))
        if count:
            count(len(cards), len(samples[:limit]))
    path.write_text(render_samples(benchmark, cards, len(samples)), encoding="utf-8")
    return len(cards), len(samples)


def write_overlap(store: Store, found: Overlap, path: Path, count: Count | None = None) -> None:
    """Write a page of the images that benchmarks share, the first MAX_PAIRS pairs side by side."""
    from zoomgap.benchmarks.view import Picture, render_overlap

    check_page(path)
    shown = found.pairs[:MAX_PAIRS]
    wanted = sorted({image for pair in shown for image in (pair.image_a, pair.image_b)})
    images = {}
    for sha256 in wanted:
        image = imaging.open_image(store.objects.path(sha256), least=512)
        images[sha256] = Picture(_small(image, 400 * 400, PAIR_BYTES), store.image(sha256).size)
        if count:
            count(len(images), len(wanted))
    path.write_text(render_overlap(found.to_json(), images, len(shown)), encoding="utf-8")


def check_page(path: Path) -> None:
    """Make the folder of a page. Raises UsageError or OSError now rather than when all the work is done."""
    if path.is_dir():
        raise UsageError(f"{path} is a folder: give the page a file name, as in {path / 'page.html'}")
    path.parent.mkdir(parents=True, exist_ok=True)


def _samples(store: Store, benchmark: str) -> list[Sample]:
    samples = store.samples(benchmark)
    if not samples:
        raise UsageError(f"benchmark '{benchmark}' has no samples: import or make it again")
    return samples


def _card(store: Store, sample: Sample) -> Card:
    from zoomgap.benchmarks.view import Card

    image = imaging.open_image(store.objects.path(sample.image))
    boxes = [imaging.region_box([box], sample.size) for box in sample.evidence[:MAX_INSETS]]
    insets = [
        (box, _small(imaging.cut(image, box, INSET_PIXELS), INSET_PIXELS, INSET_BYTES // len(boxes))) for box in boxes
    ]
    return Card(sample, _small(image, PICTURE_PIXELS, PICTURE_BYTES), insets)


def _small(image: Image, pixels: int, most: int) -> bytes:
    """JPEG of at most `pixels` pixels and `most` bytes; what does not compress gets fewer pixels."""
    while True:
        shown = imaging.fit(image, pixels, factor=8) if image.width * image.height > pixels else image
        data = imaging.jpeg_within(shown, most, quality=85)
        if len(data) <= most or pixels <= 4096:
            return data
        pixels //= 2
