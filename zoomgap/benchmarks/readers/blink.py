"""BLINK (arXiv 2404.12390), parquet, a file for each task: up to four images a question; golds of test are hidden."""

from __future__ import annotations

from collections.abc import Iterator

from zoomgap.benchmarks.readers.drafts import Draft, Refused
from zoomgap.benchmarks.readers.pictures import picture
from zoomgap.benchmarks.readers.source import Row

COLUMNS = ("image_1", "image_2", "image_3", "image_4")


def drafts(row: Row) -> Iterator[Draft]:
    answer = row.text("answer")
    if answer.strip("()").lower() == "hidden":
        raise Refused("the gold is hidden", "the test split has none")
    row.need("image", "image_1")
    found = [picture(row, "image", COLUMNS[0]), *(picture(row, column) for column in COLUMNS[1:])]
    yield Draft(
        where=row.where,
        id=row.word("id", "idx"),
        pictures=tuple(image for image in found if image is not None),
        question=row.text("question"),
        answer=answer,
        choices=row.choices(),
        kind="choice",
        dimensions=(row.word("dimension", "sub_task"),),
        meta=row.rest("sub_task"),
    )
