"""Images that two benchmarks share, and training images that a benchmark measures on."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

from zoomgap.benchmarks import micro
from zoomgap.benchmarks.overlap import BITS, COPY, LOOK, NEAR, PIXELS, is_plain, look, near, pixels
from zoomgap.errors import UsageError
from zoomgap.pipeline.arms import Count
from zoomgap.pipeline.benches import split_of
from zoomgap.storage import BenchmarkInfo, Store

Kind = Literal["file", "pixels", "look"]
ALL = "all"
BATCH = 64
"""Hashes that are stored at once: as many are lost when the work is interrupted."""
THREADS = min(4, os.cpu_count() or 1)
"""Images that are decoded at once; a large one takes 600 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """An image of one benchmark and one of another that show the same picture.

    kind: what is the same, the file, the pixels, or only the look. distance: of the looks, bits of 256. samples_a,
    samples_b: ids of the samples about them.
    """

    bench_b: str
    image_a: str
    image_b: str
    kind: Kind
    distance: int
    samples_a: tuple[str, ...]
    samples_b: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What benchmark `a` shares with others. images: how many each of them has. pairs: the nearest first."""

    a: str
    others: tuple[str, ...]
    distance: int
    images: Mapping[str, int]
    pairs: tuple[Pair, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values: one row for each other benchmark, then all pairs."""
        return {
            "a": self.a,
            "images": self.images[self.a],
            "distance": self.distance,
            "bits": BITS,
            "benchmarks": [self._row(name) for name in self.others],
            "pairs": [asdict(pair) for pair in self.pairs],
        }

    def _row(self, name: str) -> dict[str, Any]:
        pairs = [pair for pair in self.pairs if pair.bench_b == name]
        kinds = [pair.kind for pair in pairs]
        return {
            "b": name,
            "images": self.images[name],
            "same_file": kinds.count("file"),
            "same_pixels": kinds.count("pixels"),
            "alike": kinds.count("look"),
            "samples_a": len({id for pair in pairs for id in pair.samples_a}),
            "samples_b": len({id for pair in pairs for id in pair.samples_b}),
        }


def overlap(store: Store, a: str, b: str, distance: int = NEAR, count: Count | None = None) -> Overlap:
    """Images of benchmark `a` that `b`, or with b "all" every other benchmark, has too.

    distance: of looks, bits of 256; a pair with the same file or pixels counts whatever it is. Hashes that are not yet
    stored are computed, with count(done, of how many). Raises UsageError for an unknown or empty benchmark, for the
    same one twice, and where there is no other.
    """
    if a == b:
        raise UsageError(f"'{a}' is named twice: give two benchmarks, or '{ALL}' for the second")
    mine = _images(store, a)
    names = [b] if b != ALL else [info.name for info in store.benchmarks() if info.name != a and _is_set(info)]
    others = {name: _images(store, name) for name in names}
    if not others:
        raise UsageError(f"there is no benchmark beside '{a}' to check it against: make or import one")
    theirs = sorted({image for images in others.values() for image in images})
    pairs = [
        Pair(
            bench_b=name, image_a=found.a, image_b=found.b, kind=found.kind, distance=found.distance,
            samples_a=tuple(mine[found.a]), samples_b=tuple(images[found.b]),
        )
        for found in _alike(store, list(mine), theirs, distance, count)
        for name, images in others.items() if found.b in images
    ]  # fmt: skip
    return Overlap(
        a=a,
        others=tuple(others),
        distance=distance,
        images={a: len(mine), **{name: len(images) for name, images in others.items()}},
        pairs=tuple(sorted(pairs, key=lambda pair: (pair.bench_b, get_args(Kind).index(pair.kind), pair.distance))),
    )


def _is_set(info: BenchmarkInfo) -> bool:
    """Whether it holds samples to measure or train on: `zoomgap ask` stores each question as a benchmark too."""
    return info.n > 0 and info.source.get("kind") != "ask"


def _images(store: Store, benchmark: str) -> dict[str, list[str]]:
    """The images of a benchmark, crops of its own among them, and the ids of the samples that have each. Raises
    UsageError where there are none."""
    found: dict[str, list[str]] = defaultdict(list)
    for sample in store.samples(benchmark):
        for image in dict.fromkeys((sample.image, *sample.more_images, *filter(None, [sample.crop]))):
            found[image].append(sample.id)
    if not found:
        raise UsageError(f"benchmark '{benchmark}' has no samples: import or make it again")
    return found


class _Alike(NamedTuple):
    a: str
    b: str
    kind: Kind
    distance: int


def _alike(
    store: Store, mine: Sequence[str], theirs: Sequence[str], distance: int, count: Count | None
) -> list[_Alike]:
    """Pairs of images that show the same picture, and what is the same about them."""
    looks = hashes(store, LOOK, [*mine, *theirs], count)
    found = near([looks[image] for image in mine], [looks[image] for image in theirs], max(distance, COPY))
    pairs = [(mine[pair.a], theirs[pair.b], pair.distance) for pair in found]
    # Only images of one size whose looks are near can have the same pixels, so that few are decoded in full.
    sized = [(a, b) for a, b, _ in pairs if a != b and store.image(a).size == store.image(b).size]
    exact = hashes(store, PIXELS, [image for pair in sized for image in pair], count)
    same = {(a, b) for a, b in sized if exact[a] == exact[b]}
    alike = [_Alike(a, b, "file" if a == b else "pixels" if (a, b) in same else "look", apart) for a, b, apart in pairs]
    return [
        pair for pair in alike if pair.kind != "look" or (pair.distance <= distance and not is_plain(looks[pair.a]))
    ]


def hashes(store: Store, algorithm: str, images: Iterable[str], count: Count | None = None) -> dict[str, str]:
    """The hash of each image by its sha256; what is not stored yet is computed and stored.

    algorithm: LOOK or PIXELS. Raises StoreError for an image that is missing, ImageError for one that is broken.
    """
    compute = {LOOK: look, PIXELS: pixels}[algorithm]
    wanted = list(dict.fromkeys(images))
    known = store.image_hashes(algorithm)
    missing = [image for image in wanted if image not in known]
    with ThreadPoolExecutor(THREADS) as pool:
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            new = dict(zip(batch, pool.map(lambda image: compute(store.objects.path(image)), batch), strict=True))
            store.put_image_hashes(algorithm, new)
            known |= new
            if count:
                count(start + len(batch), len(missing))
    return {image: known[image] for image in wanted}


def measured_on(
    store: Store, benchmark: str, images: Iterable[str], count: Count | None = None
) -> dict[str, list[str]]:
    """Images of `benchmark` that a set which is there to measure has too: for each, the names of those sets.

    Left out are the benchmark itself, sets to train on (split `train`, the procedural one's training seeds), and what
    was only asked about.
    """
    others = {
        info.name: _images(store, info.name)
        for info in store.benchmarks()
        if info.name != benchmark and _measures(info)
    }
    theirs = sorted({image for found in others.values() for image in found})
    found: dict[str, set[str]] = defaultdict(set)
    for pair in _alike(store, sorted(set(images)), theirs, NEAR, count) if theirs else ():
        found[pair.a] |= {name for name, other in others.items() if pair.b in other}
    return {image: sorted(names) for image, names in found.items()}


def _measures(info: BenchmarkInfo) -> bool:
    source = info.source
    trains = micro.for_training(source["seed"], source["n"]) if source.get("kind") == "micro" else False
    return _is_set(info) and not trains and split_of(info) != "train"
