"""One glance, as a student has it: the full image within its budget, a box drawn in, and the form of the answer.

Votes on the full image and training share it; the text of a question is the arms' own (zoomgap.prompts).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import PIL.Image

from zoomgap import imaging
from zoomgap.geometry import Box, Size


def view_of(image: PIL.Image.Image, overlay: Box | None, max_pixels: int, factor: int = 32) -> PIL.Image.Image:
    """The image fitted to max_pixels, with `overlay` (pixels of the original) drawn in red.

    Drawn after fitting, unlike in the paper (arXiv 2602.11858): a line of the original can vanish in a small view.
    """
    return with_overlay(imaging.fit(image, max_pixels, factor), Size(*image.size), overlay)


def with_overlay(view: PIL.Image.Image, size: Size, overlay: Box | None) -> PIL.Image.Image:
    """A fitted image of `size` px with the box drawn in."""
    if overlay is None:
        return view
    return imaging.overlay(view, overlay.scaled(view.width / size.width, view.height / size.height))


def shifted(view: PIL.Image.Image, left: int, up: int) -> PIL.Image.Image:
    """The image moved by so many pixels, at its size; what it uncovers repeats its edge."""
    if not (left or up):
        return view
    pixels = np.asarray(view)
    rows = (np.arange(view.height) + up).clip(0, view.height - 1)
    columns = (np.arange(view.width) + left).clip(0, view.width - 1)
    return PIL.Image.fromarray(pixels[rows[:, None], columns])


def answer_text(answer: str, choices: Sequence[str], suffix: bool) -> str:
    """What the student is to say: the option's text, or its letter where the suffix asks for the letter."""
    return chr(ord("A") + choices.index(answer)) if suffix and answer in choices else answer
