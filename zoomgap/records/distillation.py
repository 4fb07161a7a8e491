"""From an agent's crop to a training item."""

from __future__ import annotations

from dataclasses import dataclass

from zoomgap.geometry import Box
from zoomgap.records.names import AnswerKind, Labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A place proposed from an agent's crop. box: pixels of the original. step points into `trajectory` (a row id)."""

    id: str
    sample: str
    benchmark: str
    image: str
    box: Box
    label: str
    trajectory: int
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question about a region. local: asked of the crop alone ("what letter is on it?"), needs the overlay."""

    id: str
    region: str
    text: str
    choices: tuple[str, ...]
    answer_kind: AnswerKind
    dimension: str
    local: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """One teacher's answer to a question on its crop. answer None with an error is a vote that failed, no answer."""

    question: str
    labels: Labels
    voter: str
    index: int
    answer: str | None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One training example on the full image. overlay: box to draw, pixels of the original, or None.

    gold marks an item whose label or region read the benchmark's answer or evidence boxes.
    """

    id: str
    dataset: str
    question: str
    sample: str
    image: str
    text: str
    choices: tuple[str, ...]
    answer: str
    answer_kind: AnswerKind
    dimension: str
    overlay: Box | None
    labels: Labels
    agreement: float
    gold: bool
