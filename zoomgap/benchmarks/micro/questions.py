"""Questions of the procedural benchmark: phrasings, possible answers, choices and guess rates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoomgap.benchmarks.micro.stencils import GAPS, GLYPHS, ICONS
from zoomgap.records import AnswerKind

LETTERS = "ABCD"

VALUES: dict[str, tuple[str, ...]] = {
    "counting": ("1", "2", "3", "4", "5", "6"),
    "ocr": tuple(GLYPHS),
    "color": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    "structure": GAPS,
    "material": ("striped", "dotted", "checkered", "grid", "plain"),
    "object": ICONS,
}
"""All possible answers. A colour mark never has the colour of its carrier."""

QUESTIONS: dict[str, tuple[str, ...]] = {
    "counting": (
        "How many dots are on the {name}?",
        "What is the number of dots on the {name}?",
        "Count the dots on the {name}.",
        "How many dots does the {name} have?",
        "Look at the {name}. How many dots are there?",
    ),
    "ocr": (
        "What character is on the {name}?",
        "Which character is on the {name}?",
        "Read the character on the {name}.",
        "What character does the {name} have?",
        "Look at the {name}. What character is there?",
    ),
    "color": (
        "What color is the mark on the {name}?",
        "Which color is the mark on the {name}?",
        "Name the color of the mark on the {name}.",
        "What color of mark does the {name} have?",
        "Look at the {name}. What color is the mark?",
    ),
    "structure": (
        "Where is the gap in the ring on the {name}?",
        "On which side is the gap of the ring on the {name}?",
        "Name the side of the gap in the ring on the {name}.",
        "Where does the ring on the {name} have a gap?",
        "Look at the {name}. Where is the gap in the ring?",
    ),
    "material": (
        "What pattern is on the {name}?",
        "Which pattern is on the {name}?",
        "Name the pattern on the {name}.",
        "What pattern does the {name} have?",
        "Look at the {name}. What pattern is there?",
    ),
    "object": (
        "What object is on the {name}?",
        "Which object is on the {name}?",
        "Name the object on the {name}.",
        "What object does the {name} have?",
        "Look at the {name}. What object is there?",
    ),
}
"""Phrasings about a carrier that is named by colour and shape, for the full image."""

LOCAL: dict[str, tuple[str, ...]] = {
    "counting": ("How many dots are on it?", "What is the number of dots on it?", "Count the dots."),
    "ocr": ("What character is on it?", "Which character is on it?", "Read the character."),
    "color": ("What color is the mark on it?", "Which color is the mark?", "Name the color of the mark."),
    "structure": ("Where is the gap in the ring?", "On which side is the gap?", "Name the side of the gap."),
    "material": ("What pattern is on it?", "Which pattern is on it?", "Name the pattern."),
    "object": ("What object is on it?", "Which object is on it?", "Name the object."),
}
"""Phrasings for a crop that shows the carrier, or for the full image with the region drawn in."""


def choices_for(
    dimension: str, value: str, rng: np.random.Generator, n: int = 4, exclude: Sequence[str] = ()
) -> tuple[str, ...]:
    """n different answers in random order, `value` among them and none of `exclude`."""
    others = [v for v in VALUES[dimension] if v != value and v not in exclude]
    options = [value, *(others[int(k)] for k in rng.choice(len(others), size=n - 1, replace=False))]
    return tuple(options[int(k)] for k in rng.permutation(n))


def guess_rate(dimension: str, answer_kind: AnswerKind) -> float:
    """Probability that a guess is right for one who knows the rules of the benchmark but sees no image."""
    if answer_kind == "choice":
        return 1 / len(LETTERS)
    possible = len(VALUES[dimension])
    return 1 / (possible - 1 if dimension == "color" else possible)
