"""Whether two images show the same picture: hashes of the look and of the pixels, and pairs whose looks are near."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import imagehash
import numpy as np
from numpy.typing import NDArray

from zoomgap.imaging import open_image

LOOK, PIXELS = "phash-256", "sha256-rgb"
"""Names of the two hashes: how a picture looks, in coarse, and its exact size and pixels."""
BITS = 256
NEAR = 48
"""Looks at most so many of 256 bits apart are one picture's: docs/overlap.md tells how this was measured. The usual 64
bits would not do: scenes of the procedural benchmark then lie as near as copies that were cropped."""
COPY = 16
"""As far as the look of a JPEG, taken quickly, may lie from that of a lossless copy."""
LEAST_SIDE = 256
"""A look is taken of an image with at least so many pixels a side, if it has them."""
BLOCK = 2048
"""Looks that are compared with as many others at once: 17 MB."""


def look(source: Path | bytes) -> str:
    """Perceptual hash (DCT of the grey image, 256 bits) as 64 hex digits; taken upright and from a quick decoding."""
    return str(imagehash.phash(open_image(source, least=LEAST_SIDE), hash_size=16))


def pixels(source: Path | bytes) -> str:
    """sha256 (hex) over size and RGB pixels, upright: the same for all lossless copies."""
    image = open_image(source)
    return hashlib.sha256(f"{image.width} x {image.height} ".encode() + image.tobytes()).hexdigest()


def is_plain(look: str) -> bool:
    """Whether a look tells nothing: a plain or evenly shaded image sets few bits, and all such look alike."""
    return int(look, 16).bit_count() < BITS // 4


class Near(NamedTuple):
    """Places in two lists of looks, and how many bits lie between them."""

    a: int
    b: int
    distance: int


def near(a: Sequence[str], b: Sequence[str], distance: int) -> list[Near]:
    """All pairs of looks at most `distance` bits apart, in the order of a, then b; in memory only block by block."""
    found: list[Near] = []
    for row in range(0, len(a), BLOCK):
        left = _signs(a[row : row + BLOCK])
        for column in range(0, len(b), BLOCK):
            # Of signs, each bit that agrees adds 1 to the product and each other one takes 1 away.
            product = left @ _signs(b[column : column + BLOCK]).T
            for i, j in np.argwhere(product >= BITS - 2 * distance).tolist():
                found.append(Near(row + i, column + j, (BITS - int(product[i, j])) // 2))
    return sorted(found)


def _signs(looks: Sequence[str]) -> NDArray[np.float32]:
    """The bits of n looks as -1 and 1, (n, 256)."""
    octets = np.frombuffer(bytes.fromhex("".join(looks)), dtype=np.uint8).reshape(len(looks), BITS // 8)
    return np.unpackbits(octets, axis=1).astype(np.float32) * 2 - 1
