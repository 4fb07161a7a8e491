"""ColorBench (arXiv 2504.10514), parquet: as CV-Bench, with the image's file name."""

from __future__ import annotations

from collections.abc import Iterator

from zoomgap.benchmarks.readers.drafts import Draft
from zoomgap.benchmarks.readers.pictures import pictures
from zoomgap.benchmarks.readers.source import Row


def drafts(row: Row) -> Iterator[Draft]:
    yield Draft(
        where=row.where,
        id=row.word("id", "idx"),
        pictures=pictures(row, "image"),
        question=row.text("question"),
        answer=row.need("answer"),
        choices=row.choices(),
        kind="choice",
        dimensions=(row.word("dimension", "task"),),
        meta=row.rest("type", "task", "filename"),
    )
