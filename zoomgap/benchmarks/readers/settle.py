"""From a draft, whose pictures are stored by now, to a sample: what is asked, the gold, the boxes and the id."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from typing import Any

from zoomgap.benchmarks.readers.drafts import Draft, Refused
from zoomgap.benchmarks.readers.options import Asked, split_options, tidy, without_labels
from zoomgap.benchmarks.readers.source import as_text, blank, plain, short
from zoomgap.geometry import Box, Size
from zoomgap.records import AnswerKind, ImageInfo, Sample, digest

LETTERS = string.ascii_uppercase
LONGEST_ID = 500
"""Characters."""
DIMENSION_NAMES: Mapping[str, str] = {
    "count": "counting", "counting": "counting", "object counting": "counting", "fine grained counting": "counting",
    "counting problem": "counting", "ocr": "ocr", "ocr with complex context": "ocr", "text recognition": "ocr",
    "color": "color", "colour": "color", "color attributes": "color", "color recognition": "color",
    "structure": "structure", "structural attributes": "structure", "material": "material",
    "material attributes": "material", "object": "object", "object identification": "object",
    "object recognition": "object",
}  # fmt: skip
"""Names that public sets give to the six dimensions."""
SHAPE_SLACK = 0.1
"""By how much a crop may be longer or wider than its box, as a share."""
_LETTER = re.compile(r"[(\[]?\s*([A-Za-z])\s*[)\]]?\s*[.:,、]?")
_LABELLED = re.compile(r"(?s)(?:[(\[]([A-Z])[)\]]|([A-Z])[.:)、])\s*(.+)")
_WRAPPED = re.compile(r"(?is)<answer>(.*)</answer>|\$?\\boxed\{(.*)\}\$?")
_NUMBER = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.0+)?")


def settle(draft: Draft, benchmark: str, images: Sequence[ImageInfo], crop: ImageInfo | None) -> Sample:
    """The sample of a draft. images: of draft.pictures. Raises Refused for what no sample can be made of."""
    asked = _asked(draft)
    if not asked.question:
        raise Refused("no question")
    if not draft.id.isprintable() or len(draft.id) > LONGEST_ID:
        raise Refused("an id that cannot be shown", short(draft.id))
    dimension = dimension_of(*draft.dimensions)
    kind, answer = _gold(draft, asked.choices, dimension)
    hashes = [image.sha256 for image in images]
    boxes = tuple(_box(numbers, draft, images[0].size) for numbers in draft.boxes)
    sample = Sample(
        id=draft.id or digest([hashes, asked.question, asked.choices])[:16],
        benchmark=benchmark,
        image=hashes[0],
        width=images[0].width,
        height=images[0].height,
        question=asked.question,
        answer=answer,
        answer_kind=kind,
        dimension=dimension,
        choices=asked.choices,
        evidence=boxes,
        evidence_kind=draft.boxes_kind if boxes else None,
        cluster=draft.cluster or hashes[0],
        detail_px=draft.detail_px,
        meta=plain(draft.meta),
        crop=None if crop is None else crop.sha256,
        more_images=tuple(hashes[1:]),
    )
    if crop and sample.crop_box:
        _check_shape(sample.crop_box, crop.size, draft)
    return sample


def dimension_of(*names: str) -> str:
    """Our name of the first that means one of the six dimensions, else the first as it is written."""
    for name in names:
        bare = re.sub(r"\([^)]*\)", "", name.rpartition("/")[2])
        if ours := DIMENSION_NAMES.get(" ".join(re.findall(r"\w+", bare.replace("_", " ").lower()))):
            return ours
    return next((name.strip() for name in names if name.strip()), "other")


def _asked(draft: Draft) -> Asked:
    asked = split_options(draft.question)
    if draft.choices is not None:
        choices = tuple(" ".join(choice.split()) for choice in without_labels(draft.choices))
        # Some sets have them in the question too.
        asked = asked if asked.choices == choices else Asked(tidy(draft.question), choices)
    choices = asked.choices
    if draft.kind == "choice" and not choices:
        raise Refused("no options", short(draft.question))
    if choices and (len(choices) < 2 or len(choices) > len(LETTERS) or any(blank(choice) for choice in choices)):
        raise Refused("no choice between options", short(list(choices)))
    return asked


def _gold(draft: Draft, choices: tuple[str, ...], dimension: str) -> tuple[AnswerKind, str]:
    value = draft.answer[0] if isinstance(draft.answer, list | tuple) and len(draft.answer) == 1 else draft.answer
    if blank(value):
        raise Refused("no answer")
    text = as_text(value, "answer")
    while wrapped := _WRAPPED.fullmatch(text):
        text = (wrapped[1] or wrapped[2] or "").strip()
    if not text:
        raise Refused("no answer")
    kind: AnswerKind = draft.kind or ("choice" if choices else "text")
    number = _NUMBER.fullmatch(text)
    if kind == "text" and draft.kind is None and dimension == "counting" and number:
        kind = "integer"
    if kind == "choice":
        return kind, _letter(value, text, choices, draft)
    if choices:
        raise Refused("options of a question that is no choice", f"kind {kind}")
    if kind == "integer" and not number:
        raise Refused("the answer is no whole number", short(text))
    return kind, str(int(text.replace(",", "").partition(".")[0])) if kind == "integer" else text


def _letter(value: Any, text: str, choices: tuple[str, ...], draft: Draft) -> str:
    """The letter of the option that the gold names, in the draft's style. Raises Refused for none, or for several."""
    letters = LETTERS[: len(choices)]
    names = [_bare(choice) for choice in choices]
    by_text = {letter for letter, name in zip(letters, names, strict=True) if name == _bare(text)}
    by_letter = _named(text, letters, names)
    # Digits that are text are a place only where they are said to be one.
    if draft.style == "index" and isinstance(value, bool):
        text = str(int(value))  # true or false, of two options
    place = text.isdecimal() and (draft.style == "index" or (isinstance(value, int) and not isinstance(value, bool)))
    by_index = {letters[int(text)]} if place and int(text) < len(letters) else set()
    readings = {
        "letter": by_letter or by_text, "text": by_text, "index": by_index, "auto": by_letter | by_text | by_index,
    }[draft.style]  # fmt: skip
    if len(readings) == 1:
        return readings.pop()
    among = f"{short(text)} of {short(list(choices))}"
    if readings:
        raise Refused("the answer can be read as several options", f"{among}: say how golds are written with --answers")
    raise Refused("the answer is not among the choices", among)


def _named(text: str, letters: str, names: Sequence[str]) -> set[str]:
    """The letter that a gold gives, alone or in front of its option's text."""
    alone, labelled = _LETTER.fullmatch(text), _LABELLED.fullmatch(text)
    if alone:
        return {alone[1].upper()} & set(letters)
    if labelled and (letter := labelled[1] or labelled[2]) in letters:
        if names[letters.index(letter)] != _bare(labelled[3]):
            raise Refused("the answer's letter and text differ", short(text))
        return {letter}
    return set()


def _bare(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def _box(numbers: Sequence[float], draft: Draft, size: Size) -> Box:
    """A box as pixels of the original. Raises Refused for one that is empty or lies outside the image by a tenth."""
    try:
        a, b, c, d = (float(number) for number in numbers)
    except (TypeError, ValueError) as error:
        raise Refused("a box that is not four numbers", short(list(numbers))) from error
    box = Box(a, b, a + c, b + d) if draft.box_format == "xywh" else Box(a, b, c, d)
    if draft.box_format.startswith("relative"):
        scale = 1000 if draft.box_format == "relative_1000" else 1
        box = box.scaled(size.width / scale, size.height / scale)
    inside = box.clamped(size.width, size.height)
    if 0 < box.width <= 1 and 0 < box.height <= 1:
        raise Refused("a box of one pixel or less", f"{short(list(numbers))} ({draft.box_format})")
    if not (box.width > 0 and box.height > 0 and inside.area >= 0.9 * box.area):
        raise Refused(
            "a box that is empty or outside the image",
            f"{short(list(numbers))} ({draft.box_format}) on {size.width} x {size.height}",
        )
    return inside


def _check_shape(box: Box, crop: Size, draft: Draft) -> None:
    """Raises Refused where a crop cannot show its box, which is how a box in another format is found."""
    # Of a side of few pixels, rounding alone can change the shape.
    ratio = (box.width / box.height) / (crop.width / crop.height)
    slack = SHAPE_SLACK + 2 / min(box.width, box.height, crop.width, crop.height)
    if not 1 / (1 + slack) <= ratio <= 1 + slack:
        raise Refused(
            "a crop of another shape than its box",
            f"{crop.width} x {crop.height}, and a box of {box.width:g} x {box.height:g} ({draft.box_format})",
        )
