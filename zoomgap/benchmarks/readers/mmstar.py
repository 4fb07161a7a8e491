"""MMStar (arXiv 2403.20330), parquet or tsv: options stand in the question, as in "Options: A: a cat, B: a dog"."""

from __future__ import annotations

from collections.abc import Iterator

from zoomgap.benchmarks.readers.drafts import Draft
from zoomgap.benchmarks.readers.pictures import pictures
from zoomgap.benchmarks.readers.source import Row


def drafts(row: Row) -> Iterator[Draft]:
    yield Draft(
        where=row.where,
        id=row.word("id", "index"),
        pictures=pictures(row, "image"),
        question=row.text("question"),
        answer=row.need("answer"),
        choices=row.choices(),
        kind="choice",
        dimensions=(row.word("dimension", "category"), row.word("l2_category")),
        meta=row.rest("category", "l2_category"),
    )
