"""How far looks of copies, and of other scenes, lie apart: what benchmarks.overlap.NEAR was chosen by.

python perf/look_distances.py [SCENES]; 1,400 take some ten minutes on one core.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import imagehash
import numpy as np
from PIL import Image, ImageEnhance

from zoomgap.benchmarks import micro
from zoomgap.benchmarks.overlap import LEAST_SIDE
from zoomgap.imaging import open_image

SIDES = (8, 16)
"""Bits a side of the hash: 64 and 256."""
SEEDS = (4_200_000, 8_100_000)
COPIED = 7
"""Every so manieth scene is copied in all ways."""


def jpeg(image: Image.Image, quality: int = 92) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def cropped(image: Image.Image, left: float, top: float, right: float, bottom: float) -> Image.Image:
    """Without these shares of width and height at the four edges."""
    w, h = image.size
    return image.crop((round(w * left), round(h * top), w - round(w * right), h - round(h * bottom)))


def reduced(image: Image.Image, times: int) -> Image.Image:
    return image.resize((image.width // times, image.height // times), Image.Resampling.LANCZOS)


def brighter(image: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(factor)


WAYS: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG of quality 60": lambda image: jpeg(image, 60),
    "JPEG of quality 30": lambda image: jpeg(image, 30),
    "half the size": lambda image: jpeg(reduced(image, 2)),
    "a quarter of the size": lambda image: jpeg(reduced(image, 4)),
    "10% brighter": lambda image: jpeg(brighter(image, 1.1)),
    "10% darker": lambda image: jpeg(brighter(image, 0.9)),
    "half, 10% brighter, quality 60": lambda image: jpeg(brighter(reduced(image, 2), 1.1), 60),
    "3% of the sides cut, evenly": lambda image: jpeg(cropped(image, 0.015, 0.015, 0.015, 0.015)),
    "1.5% cut at one corner": lambda image: jpeg(cropped(image, 0.015, 0.015, 0, 0)),
    "3% cut at the left": lambda image: jpeg(cropped(image, 0.03, 0, 0, 0)),
    "3% cut at one corner": lambda image: jpeg(cropped(image, 0.03, 0.03, 0, 0)),
}


def bits(data: bytes, side: int) -> np.ndarray:
    return imagehash.phash(open_image(data, LEAST_SIDE), hash_size=side).hash.ravel()


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 1400
    scenes = [made.jpeg for seed in SEEDS for made in micro.make(n // 2, seed)]
    for side in SIDES:
        looks = np.array([bits(data, side) for data in scenes])
        signs = looks.astype(np.float32) * 2 - 1
        apart = (side * side - signs @ signs.T)[np.triu_indices(len(looks), 1)] / 2
        lowest = ", ".join(f"{value:.0f}" for value in np.sort(apart)[:5])
        print(f"{side * side} bits: {len(apart):,} pairs of scenes, the nearest {lowest} apart")
        for name, way in WAYS.items():
            distances = [
                np.count_nonzero(bits(way(open_image(data)), side) != looks[k * COPIED])
                for k, data in enumerate(scenes[::COPIED])
            ]
            median, most = np.percentile(distances, (50, 95))
            print(f"  {name}: median {median:.0f}, 95% {most:.0f}, at most {max(distances)}")


if __name__ == "__main__":
    main()
