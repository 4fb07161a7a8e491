"""What a reader makes of a row: a draft of a sample whose pictures are still bytes, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, get_args

from zoomgap.records import AnswerKind, EvidenceKind

BoxFormat = Literal["xyxy", "xywh", "relative", "relative_1000"]
"""Corners, or a corner with width and height, in pixels; or corners from 0 to 1, or 0 to 1000, of the image."""
AnswerStyle = Literal["auto", "letter", "text", "index"]
"""How the gold of a choice is written: its letter, its text, its place from 0, or whichever of them fits alone."""
BOX_FORMATS: tuple[str, ...] = get_args(BoxFormat)
ANSWER_STYLES: tuple[str, ...] = get_args(AnswerStyle)


class Refused(Exception):
    """A row cannot be used. reason: the rule that it breaks, in the same words for every row; detail: this row's."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class Refusal(NamedTuple):
    """A row that was refused: where it stands, and why."""

    where: str
    reason: str
    detail: str


class Picture(NamedTuple):
    """An image of a row. data: its file. name: of the file, "" where it has none. same_as: id of the row whose picture
    it is; then data is empty."""

    data: bytes
    name: str = ""
    same_as: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A sample as its set gives it.

    where: file and row, for people. id: "" where the set has none. answer: as written. choices: None where they may
    stand inside the question, () for an open one. kind: None where it follows from the rest. dimensions: the set's own
    names for what is asked, the broadest first. boxes: as written, in box_format. cluster: "" for the image. split:
    what the set says of the row, "" for nothing.
    """

    where: str
    pictures: tuple[Picture, ...]
    question: str
    answer: Any
    id: str = ""
    choices: tuple[str, ...] | None = None
    style: AnswerStyle = "letter"
    kind: AnswerKind | None = None
    dimensions: tuple[str, ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    box_format: BoxFormat = "xyxy"
    boxes_kind: EvidenceKind = "tight"
    crop: Picture | None = None
    cluster: str = ""
    detail_px: float | None = None
    split: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)
