"""CV-Bench (arXiv 2406.16860) and ColorBench (arXiv 2504.10514), parquet.

`question` stands without its options, which are in `choices`; answers as "(A)".
"""

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
        meta=row.rest("type", "task", "source", "source_dataset", "source_filename", "filename"),
    )
